"""The live panel of a queue or of a store, as a widget: what its page asks for, and who does it.

Python holds the state and the front end (``static/panel.js``) draws it. What is shown is read
by ``queue_view``, when it goes to the page is decided by ``feed``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import anywidget
import traitlets
from IPython.core.getipython import get_ipython

from conveyor_nb.clocks.clock import REAL_TIME
from conveyor_nb.clocks.loops import WouldWaitError, at_once, call_on
from conveyor_nb.clocks.tasks import BackgroundTasks
from conveyor_nb.core.errors import FAULTS, ConveyorError
from conveyor_nb.core.model import EPOCH, EventType, StoreEvent
from conveyor_nb.core.values.checks import check_flag
from conveyor_nb.core.values.text import error_line, inline, one_line
from conveyor_nb.notebook.host import Host, host_of, loop_of_cells
from conveyor_nb.notebook.markup import Markup
from conveyor_nb.notebook.mistakes import Mistake
from conveyor_nb.notebook.panel.feed import Feed
from conveyor_nb.notebook.panel.hearing import Hearing
from conveyor_nb.notebook.panel.job_table import JobsView
from conveyor_nb.notebook.panel.known_panels import (
    close_panels,
    end_panels,
    forget_some,
    namesakes_of,
    panels,
)
from conveyor_nb.notebook.panel.modules import bundle, style_sheet
from conveyor_nb.notebook.panel.output import Output
from conveyor_nb.notebook.panel.page_messages import Message, read_message
from conveyor_nb.notebook.panel.queue_view import QueueView
from conveyor_nb.notebook.panel.queues_view import QueuesView
from conveyor_nb.notebook.panel.sizes import has_news, in_messages, sendable
from conveyor_nb.notebook.panel.store_names import name_of
from conveyor_nb.notebook.panel.view import UnknownRequestError
from conveyor_nb.notebook.panel.wire import PART
from conveyor_nb.notebook.reads import queue_lines
from conveyor_nb.notebook.snapshot import queue_page, queues_html, read_queue_page
from conveyor_nb.queue import Queue, end_with
from conveyor_nb.stores import StoreInterface, check_store
from conveyor_nb.stores.reads import Reads, SynchronousReads

__all__ = ["Panel", "close_panels", "dashboard", "end_panels", "panel_of"]

_STATIC = Path(__file__).parent / "static"
_logger = logging.getLogger("conveyor_nb")

_MOST_TEXT = 500

_SENT_EACH = timedelta(seconds=10)
"""So often a page is sent a frame though there is nothing new: one that has gone is missed then."""

_PICTURE_AT_LATEST = 30.0
"""Seconds after which the picture in the notebook is renewed, however busy the queue still is."""


class Panel(anywidget.AnyWidget):
    """Shows a queue, or all queues of a store, live, with buttons to manage them.

    It follows the store only while a page shows it; ``close()`` ends it for good. Needs a running
    loop, on whose thread all but :meth:`receive` is to be called.

    Args:
        store: whose queues are shown.
        queue: the one queue that is shown, and no other; ``None``: all, as cards that open one.
        read_only: show and change nothing.
    """

    _esm = bundle(_STATIC / "panel.js")
    _css = style_sheet(_STATIC)

    queues = traitlets.Dict(allow_none=True, default_value=None).tag(**PART)
    mount = traitlets.Unicode("").tag(sync=True)
    ended = traitlets.Unicode("").tag(sync=True)
    tab = traitlets.Unicode(allow_none=True, default_value=None).tag(**PART)
    head = traitlets.Dict().tag(**PART)
    pulse = traitlets.Dict().tag(**PART)
    belt = traitlets.Dict().tag(**PART)
    workers: traitlets.List[dict[str, Any]] = traitlets.List().tag(**PART)
    jobs = traitlets.Dict().tag(**PART)
    detail = traitlets.Dict(allow_none=True, default_value=None).tag(**PART)
    flows = traitlets.Dict().tag(**PART)
    flow_belt = traitlets.Dict(allow_none=True, default_value=None).tag(**PART)
    schedules = traitlets.Dict().tag(**PART)
    groups = traitlets.Dict().tag(**PART)
    events = traitlets.Dict().tag(**PART)
    timeline = traitlets.Dict().tag(**PART)
    metrics = traitlets.Dict().tag(**PART)
    worker_cards = traitlets.Dict().tag(**PART)
    notice = traitlets.Dict(allow_none=True, default_value=None).tag(**PART)
    frame = traitlets.Int(0).tag(sync=True)

    def __init__(
        self, store: StoreInterface, queue: Queue | None = None, *, read_only: bool = False
    ) -> None:
        self._store = store
        self.is_read_only = read_only = read_only or store.read_only
        self._overview = None if queue else QueuesView(store, read_only=read_only)
        self._view = QueueView(queue, read_only=read_only) if queue else None
        self._feed = Feed(self._send_frame, self._on_sight)
        self._loop = loop_of_cells() or asyncio.get_running_loop()
        self._tasks = BackgroundTasks()
        self._notices = 0
        self._is_owed = True
        self._send_by = EPOCH
        self._has_warned = False
        self.was_live = False
        self.output = Output(store, self._draw, self._loop)
        """Its place in the outputs of the notebook."""
        self._hearing = Hearing(
            store,
            self._loop,
            take_in=self._take_in,
            count=lambda settled: self._shown.count(settled),
            miss=lambda since, until: self._shown.miss(since, until),
            on_news=self._feed.touch,
            on_drained=self.output.renew_when_calm,
        )
        mine = {"model_id": self.output.id, "mount": self.output.id}
        super().__init__(**mine, **self._first_parts())
        self.on_msg(lambda _, message, __: self.receive(message))
        self._watch = _EndOfQueue(self)
        if queue is not None:
            end_with(queue, self._watch)
        panels.append(self)
        self._touch_namesakes()

    def __repr__(self) -> str:
        # it reads nothing: a repr goes into logs, and the loop must not stand still for that
        if self._view is None:
            return f"<Panel of a {type(self._store).__name__}>"
        return f"<Panel of queue {inline(self._view.queue.name)}>"

    def _ipython_display_(self) -> None:
        """Show it where what is shown can be renewed.

        Raises:
            NotImplementedError: there is no such place here.
        """
        if host_of(get_ipython()) is not Host.JUPYTERLAB:
            raise NotImplementedError
        self.output.show(self.__repr__)

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """A picture for readers without a kernel, and the live panel where there can be one."""
        bundle = {"text/plain": repr(self), "text/html": self.output.page(placed=False)}
        return (bundle if host_of(get_ipython()) is Host.FILE else bundle | self.forms()), {}

    def forms(self) -> dict[str, Any]:
        """The forms of it for a page with a kernel, by MIME type."""
        if host_of(get_ipython()) is Host.JUPYTERLAB:
            return {"text/html": self.output.page()}
        view = {"version_major": 2, "version_minor": 0, "model_id": self.model_id}
        return {"application/vnd.jupyter.widget-view+json": view}

    @property
    def queue(self) -> Queue | None:
        """The queue that is shown; ``None``: all of them are."""
        return self._view.queue if self._view else None

    @property
    def table(self) -> JobsView | None:
        """The table of jobs; ``None``: all queues are shown.

        Its ``frame`` is the page that it shows, ``await table.frame_of_all()`` all that fit.
        """
        return self._view.table if self._view else None

    @property
    def store(self) -> StoreInterface:
        """The store whose queues are shown."""
        return self._store

    def shows(self, queue_name: str) -> bool:
        """Whether it shows a queue of this name now."""
        return self._view is not None and self._view.queue.name == queue_name

    @property
    def live(self) -> bool:
        """Whether a page shows the panel, so that it follows the store."""
        return self._feed.live

    @property
    def rests(self) -> bool:
        """Whether a page has the panel where nobody can see it now."""
        return self._feed.rests

    def touch(self) -> None:
        """Let who sees the panel see what there is now, though no event told of it."""
        if self.live:
            self._feed.touch()

    def close(self) -> None:
        """Let go of the store and of the page; what was asked for before is still done."""
        call_on(self._loop, self._feed.stop)
        call_on(self._loop, self._hearing.stop)
        call_on(self._loop, self.output.close)
        if self in panels:
            panels.remove(self)
        super().close()

    def end(self, why: str) -> None:
        """Say why nothing can be changed here any more, and offer nothing of that; on any thread.

        What there is goes on to be shown.
        """
        call_on(self._loop, self._end, why)

    def _end(self, why: str) -> None:
        if not self.ended:
            self.ended = why
            self.output.renew()

    # -- from the store to the page -----------------------------------------------------------

    async def _read(self) -> dict[str, Any]:
        """The parts of a frame: of a queue, or of all."""
        if self._view is not None:
            parts = await self._view.read()
            is_alone = not any(one.store is not self.store for one in namesakes_of(self))
            parts["head"]["store"] = "" if is_alone else sendable(name_of(self.store))
            if self._overview is not None:
                parts["head"]["queues"] = sendable(await self._overview.names())
            return parts
        assert self._overview is not None, "it shows all queues if it shows none"
        return {"tab": None, **await self._overview.read()}

    async def _draw(self, reads: Reads) -> Markup:
        """The picture of what is shown."""
        if self._view is None:
            return queues_html(self._store, await queue_lines(reads))
        now = self._store.clock.now()
        page = await read_queue_page(reads, self._view.queue.name, now)
        return queue_page(page, state=self.ended)

    def _touch_namesakes(self) -> None:
        for other in namesakes_of(self):
            other.touch()

    @property
    def _shown(self) -> QueueView | QueuesView:
        """What hears of events now."""
        shown = self._view or self._overview
        assert shown is not None, "it shows all queues if it shows none"
        return shown

    def _first_parts(self) -> dict[str, Any]:
        """What is shown before any page has asked: nothing, if the store takes time."""
        if not isinstance(self._store, SynchronousReads):
            return {}
        try:
            return at_once(self._read())
        except WouldWaitError:  # a long step is under way
            return {}

    def _on_sight(self) -> None:
        """Hear of what is shown while somebody sees it, of little while nobody does."""
        name = None if self._view is None else self._view.queue.name
        if self.live:
            self.was_live = True
            self._listen()
        elif self._feed.rests:
            self._hearing.doze(name)
        else:
            self._hearing.stop()
        if not self.live:
            self._shown.rest()

    def _listen(self) -> None:
        name = None if self._view is None else self._view.queue.name
        shown = self._shown
        self._hearing.listen(name, to_all=shown.tells_of_all, favour=shown.favours)

    def _take_in(self, events: Sequence[StoreEvent]) -> None:
        self._shown.note(events)
        kinds = {event.type for event in events}
        if EventType.DISCONNECTED in kinds:
            self._end("Its store was disconnected")
        if EventType.DRAINED in kinds:
            self.output.renew_when_calm(at_latest=_PICTURE_AT_LATEST)
        if EventType.ERROR in kinds:
            for event in events:
                if event.type == EventType.ERROR and event.job_id is None:
                    self._notify(one_line(event.data.get("error"), _MOST_TEXT))  # of the engine

    async def _send_frame(self, number: int) -> None:
        self._feed.in_a_rush(self._hearing.flush())
        parts: dict[str, Any] = {}
        try:
            parts = await self._read()
        except FAULTS as error:  # whatever a store raises, the page says so and stays alive
            self._complain(error)
        shown = {name: getattr(self, name) for name in parts}
        now = REAL_TIME.now()
        if self._is_owed or now > self._send_by or has_news(shown, parts):
            self._is_owed, self._send_by = False, now + _SENT_EACH
            self._set_parts(parts | {"frame": number})
        else:
            self._feed.spare()
        again = self._shown.again
        if again is not None and self.live:
            self._feed.touch_in(again)

    def _set_parts(self, parts: Mapping[str, Any]) -> None:
        """Send what is new of a frame; its number comes last, when all is there."""
        fresh = {name: part for name, part in parts.items() if part != getattr(self, name)}
        for some in in_messages(fresh):
            with self.hold_sync():
                for name, part in some.items():
                    self.set_trait(name, part)

    def _complain(self, error: BaseException) -> None:
        """Say in one line of the panel what went wrong; the log gets what was not foreseen."""
        if isinstance(error, (ConveyorError, Mistake, PermissionError)):
            self._notify(one_line(str(error), _MOST_TEXT))
            return
        self._notify(error_line(error, _MOST_TEXT))
        _logger.warning("%r failed", self, exc_info=error)

    def _notify(self, text: str) -> None:
        self._notices += 1
        self._is_owed = True
        self.notice = sendable({"n": self._notices, "text": text})

    # -- from the page to the store -----------------------------------------------------------

    def receive(self, content: object) -> None:
        """Take a message of a page, on any thread; content that is no message changes nothing.

        JupyterLab has widgets' messages served by a subshell of the kernel, which is a thread
        with a loop of its own; the engine lives on the loop of the cells.
        """
        try:
            message = read_message(content)
        except ValueError as error:
            self._warn_of_page(error)
            return
        with contextlib.suppress(RuntimeError):  # the loop is closed: there is nobody to answer
            self._loop.call_soon_threadsafe(self._take, message)

    def set_state(self, sync_data: object) -> None:
        """Let no page change what Python holds and the page only draws."""

    def _take(self, message: Message) -> None:
        page = message.view
        is_news = message.do == "hello"
        if message.do == "drawn":
            if self._feed.knows(page):
                self._feed.drawn(message.frame)
                return
            is_news = True  # it was silent for a long time, for instance on a laptop that slept
        elif message.do == "rest":
            self._feed.rest(page)
            return
        elif message.do == "bye":
            self._feed.farewell(page)
            return
        self.send({"heard": message.n, "view": page})
        if is_news:
            self._shown.renew()
            self._is_owed = True
            self._feed.welcome(page)
            return
        self._tasks.spawn(self._do(message))

    async def _do(self, message: Message) -> None:
        try:
            if message.do == "queue" and self._overview is not None:
                await self._open_queue(message)
            elif self._view is not None:
                if self.ended and self._view.changes(message.do):
                    raise PermissionError(self.ended)
                await self._view.take(message)
            elif self._overview is not None:
                self._overview.take(message)
        except UnknownRequestError as error:
            self._warn_of_page(error)
            self._notify(str(error))
        except FAULTS as error:  # a person's click must be answered, whatever it led to
            self._complain(error)
        if self.live:
            self._listen()
            self._feed.touch()

    def _warn_of_page(self, error: ValueError) -> None:
        """Log that a page sends what it should not: once, as it may do so again and again."""
        if not self._has_warned:
            self._has_warned = True
            _logger.warning("a page of %r: %s", self, error)

    async def _open_queue(self, message: Message) -> None:
        """Show one of the queues, with a job that is named, or all of them if the name is empty."""
        assert self._overview is not None, "it shows all"
        if message.queue:
            await self._overview.require(message.queue)
            queue = Queue(message.queue, store=self._store)
        self._view = QueueView(queue, read_only=self.is_read_only) if message.queue else None
        if self._view is None:
            self._overview.renew()
        else:
            self._overview.rest()
            if message.id:
                await self._view.do("open", id=message.id)
        self._on_sight()
        self._touch_namesakes()


class _EndOfQueue:
    """Tells a panel that its queue was closed."""

    def __init__(self, panel: Panel) -> None:
        self._panel = panel

    def dispose(self) -> None:
        self._panel.end("This queue was closed")


def panel_of(queue: Queue) -> Panel:
    """A live panel of a queue, to be shown in a notebook.

    Needs a running loop, as there is one in a kernel.
    """
    panel = Panel(queue.store, queue)
    forget_some()
    return panel


def dashboard(store: StoreInterface | None = None, *, read_only: bool = False) -> Panel:
    """A live panel of all queues of a store, each a card that opens it.

    Args:
        store: the store; the default one if not given.
        read_only: show and change nothing.

    Raises:
        RuntimeError: no event loop is running, as there is one in a kernel.
    """
    panel = Panel(check_store(store), read_only=check_flag(read_only, what="read_only"))
    forget_some()
    return panel
