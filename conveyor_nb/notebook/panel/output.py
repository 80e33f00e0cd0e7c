"""The place of a panel in the outputs of a notebook: a picture of its last state.

The picture is plain HTML, and so is what is saved: it is there without kernel and widgets. A page
with a kernel puts the live panel over it (``static/mount.js``). It is renewed after each cell, and
when the jobs are done that a cell has left behind: for the file, whether or not anybody looks.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from contextvars import Context
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from IPython.core.getipython import get_ipython
from IPython.display import publish_display_data

from conveyor_nb.clocks.clock import REAL_TIME, TimerHandle
from conveyor_nb.clocks.tasks import BackgroundTasks
from conveyor_nb.core.errors import FAULTS
from conveyor_nb.core.model import EPOCH
from conveyor_nb.notebook.markup import Markup, as_page
from conveyor_nb.notebook.snapshot import note
from conveyor_nb.stores import StoreInterface
from conveyor_nb.stores.in_words import why_unread
from conveyor_nb.stores.read_now import read_now
from conveyor_nb.stores.reads import Look, SynchronousReads, reads_of

__all__ = ["Output"]

_CALM = timedelta(seconds=1)
"""For so long a queue must not have been drained again; some are all the time."""

_MOST_RENEWED = 16
"""How many pictures are renewed after a cell, the last ones: each costs a few small reads."""

_shown: list[Output] = []


class Output:
    """The picture of a panel in a notebook's outputs.

    Args:
        store: what is shown.
        draw: reads it, and gives the picture.
        loop: where it is read when it is renewed.
    """

    def __init__(
        self, store: StoreInterface, draw: Look[Markup], loop: asyncio.AbstractEventLoop
    ) -> None:
        self.id = uuid4().hex
        """By which a page knows the place."""
        self._store = store
        self._draw = draw
        self._loop = loop
        self._tasks = BackgroundTasks()
        self._later: TimerHandle | None = None
        self._stirred_at = EPOCH
        self._until: datetime | None = None
        self._words_now: Callable[[], str] = str
        self._words = self._saved = ""
        self._events: Any = None

    def page(self, *, placed: bool = True) -> str:
        """The picture as it is now, in its place or for a reader without a kernel."""
        try:
            picture = read_now(self._store, self._draw)
        except Exception as error:  # whatever a store raises, the display says so
            picture = note(f"a {type(self._store).__name__} that {why_unread(error)}")
        return self._placed(picture) if placed else as_page(picture)

    def show(self, words: Callable[[], str]) -> None:
        """Show it in the cell that runs, and renew it from now on.

        Args:
            words: gives the same for those who only read text.
        """
        self._words_now = words
        self._words, self._saved = words(), self.page()
        self._publish()
        if self not in _shown:
            _shown.append(self)
            self._events = getattr(get_ipython(), "events", None)
            if self._events is not None:
                self._events.register("post_run_cell", _renew_all)

    def renew(self) -> None:
        """Let the picture be that of now; nothing is sent if it is the same. On any thread."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: there is nobody to read it
            # apart from the cell or the job that has led to it
            self._loop.call_soon_threadsafe(self._start, context=Context())

    def renew_when_calm(self, at_latest: float | None = None) -> None:
        """The same once a moment has passed without another call; on the loop's thread.

        Args:
            at_latest: after how many seconds, though it is called again and again.
        """
        self._stirred_at = REAL_TIME.now()
        if self._later is None and self in _shown:
            wait = None if at_latest is None else timedelta(seconds=at_latest)
            self._until = None if wait is None else self._stirred_at + wait
            self._later = REAL_TIME.call_later(_CALM, self._look)

    def _look(self) -> None:
        """Start if it is calm, or wait for that."""
        now = REAL_TIME.now()
        left = self._stirred_at + _CALM - now
        if left > timedelta(0) and (self._until is None or now < self._until):
            self._later = REAL_TIME.call_later(left, self._look)
        else:
            self._start()

    def close(self) -> None:
        """Leave it as it is."""
        if self._later is not None:
            self._later.cancel()
        self._tasks.cancel()
        if self in _shown:
            _shown.remove(self)
        if self._events is not None and not _shown:
            self._events.unregister("post_run_cell", _renew_all)
            self._events = None

    def _start(self) -> None:
        self._later = None
        if self in _shown:
            self._tasks.cancel()  # an older one would show what was before
            self._tasks.spawn(self._renew())

    async def _renew(self) -> None:
        try:
            page = self._placed(await self._draw(reads_of(self._store)))
        except FAULTS:  # the panel says so; the last picture that there is stays
            return
        if page != self._saved:
            self._saved = page
            if isinstance(self._store, SynchronousReads):  # else the loop would wait for the words
                self._words = self._words_now()
            self._publish(update=True)

    def _publish(self, *, update: bool = False) -> None:
        data = {"text/plain": self._words, "text/html": self._saved}
        publish_display_data(data, transient={"display_id": self.id}, update=update)

    def _placed(self, picture: Markup) -> str:
        return as_page(Markup(f'<div class="cv-mount cv-mount-{self.id}">{picture}</div>'))


def _renew_all(*_: object) -> None:
    for output in _shown[-_MOST_RENEWED:]:
        output.renew()
