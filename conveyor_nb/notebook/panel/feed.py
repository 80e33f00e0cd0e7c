"""When a panel's page gets a frame, and when there is no page any more.

A frame goes out at most ten times a second, five times in a rush, only if something changed, and
none before a page has drawn the one before it: neither a busy store nor a slow page is felt. Where
nobody can see the page, it says so, and gets none. A page that went away without a word is noticed
by its silence.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any

from conveyor_nb.clocks.clock import REAL_TIME, TimerHandle
from conveyor_nb.clocks.tasks import BackgroundTasks
from conveyor_nb.notebook.panel.wire import IN_A_PAGE
from conveyor_nb.notebook.repaint import INTERVAL, Repainter

__all__ = ["SILENCE", "Feed"]

# A kernel in a page hears nothing of its panels while a cell runs, even one that awaits.

SILENCE = 600.0 if IN_A_PAGE else 30.0
"""Seconds after which pages that have not drawn their frame count as gone."""

UNHEARD = 0.3 if IN_A_PAGE else None
"""Seconds after which a frame goes out though the one before was not drawn; ``None``: none does."""

_IN_A_RUSH = timedelta(seconds=0.2)
"""The time from frame to frame where so much happens that nobody can follow it one by one."""

_MOST_PAGES = 100
"""How many pages of a view are known by name; past that, the first ones are asked to come again."""


class Feed:
    """Sends frames to the pages that show a view.

    Args:
        send_frame: called with the number of the frame to send.
        on_change: called when ``live`` or ``rests`` have changed.
    """

    def __init__(
        self,
        send_frame: Callable[[int], Coroutine[Any, Any, None]],
        on_change: Callable[[], object],
    ) -> None:
        self._send_frame = send_frame
        self._on_change = on_change
        self._pages: dict[str, None] = {}
        self._resting: dict[str, None] = {}
        self._live = False
        self._frame = 0
        self._waiting = False  # a frame is under way: it is being read, or was not drawn yet
        self._dirty = False
        self._repainter = Repainter(self._begin)
        self._sending = BackgroundTasks()
        self._silence: TimerHandle | None = None
        self._is_first_silence = True
        self._unheard: TimerHandle | None = None
        self._later: TimerHandle | None = None

    @property
    def live(self) -> bool:
        """Whether any page shows the view."""
        return self._live

    @property
    def rests(self) -> bool:
        """Whether a page has the view and would show it, if anybody could see that."""
        return bool(self._resting) and not self._live

    def touch(self) -> None:
        """Something changed; cheap enough to be called for every event."""
        self._dirty = True
        if not self._waiting:
            self._repainter.request()

    def in_a_rush(self, rush: bool) -> None:
        """Say whether so much happens now that fewer frames tell as much."""
        self._repainter.interval = _IN_A_RUSH if rush else INTERVAL

    def touch_in(self, seconds: float) -> None:
        """Something will change by itself, such as how long a job has been running.

        The last wish counts, as it is that of what is shown now.
        """
        if self._later is not None:
            self._later.cancel()
        self._later = REAL_TIME.call_later(seconds, self._touch_late)

    def _touch_late(self) -> None:
        self._later = None
        self.touch()

    def welcome(self, page: str) -> None:
        """A page shows the view from now on; it gets a frame at once."""
        self._resting.pop(page, None)
        _put(self._pages, page)
        if not self._live:
            self._live = True
            self._on_change()
        self._go_on()
        self.touch()

    def knows(self, page: str) -> bool:
        """Whether this page shows the view."""
        return page in self._pages

    def drawn(self, frame: int) -> None:
        """A page has drawn a frame: it is ready for the next one."""
        if frame >= self._frame:
            self._go_on()

    def spare(self) -> None:
        """There is nothing new to see: the frame that was begun is not sent, nor waited for."""
        if self._silence is not None and self._is_first_silence:
            self._silence.cancel()
            self._silence = None
        self._be_ready()

    def rest(self, page: str) -> None:
        """A page still has the view, but nobody can see it: it needs nothing until it is back."""
        _put(self._resting, page)
        if self._live:
            self._leave(page)
        else:
            self._on_change()

    def farewell(self, page: str) -> None:
        """A page shows the view no more."""
        rested = self.rests
        self._resting.pop(page, None)
        self._leave(page)
        if rested and not self.rests:
            self._on_change()

    def _leave(self, page: str) -> None:
        self._pages.pop(page, None)
        if self._live and not self._pages:
            self.stop()

    def stop(self) -> None:
        """Send nothing until a page shows the view again."""
        self._pages.clear()
        self._dirty = False
        if self._later is not None:
            self._later.cancel()
            self._later = None
        self._go_on()
        self._repainter.cancel()
        self._sending.cancel()
        if self._live:
            self._live = False
            self._on_change()

    def _go_on(self) -> None:
        """A page was heard."""
        if self._silence is not None:
            self._silence.cancel()
            self._silence = None
        self._be_ready()

    def _be_ready(self) -> None:
        """The next frame may go out."""
        self._waiting = False
        if self._unheard is not None:
            self._unheard.cancel()
            self._unheard = None
        if self._dirty:
            self._repainter.request()

    def _begin(self) -> None:
        self._dirty = False
        self._waiting = True
        self._frame += 1
        self._sending.spawn(self._send_frame(self._frame))
        self._is_first_silence = self._silence is None
        if self._silence is None:
            self._silence = REAL_TIME.call_later(SILENCE, self.stop)
        if UNHEARD is not None:
            self._unheard = REAL_TIME.call_later(UNHEARD, self._be_ready)


def _put(pages: dict[str, None], page: str) -> None:
    """Take in a page, and forget the first one if there are too many."""
    pages[page] = None
    if len(pages) > _MOST_PAGES:
        del pages[next(iter(pages))]
