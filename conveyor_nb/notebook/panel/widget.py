"""The live panel of a queue, as a widget: what its page asks for, and who does it.

Python holds the state and the front end (``static/panel.js``) draws it. What is shown is read
by ``queue_view``, when it goes to the page is decided by ``feed``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import anywidget
import traitlets
from IPython.core.getipython import get_ipython

from conveyor_nb.clocks.loops import WouldWaitError, at_once, call_on
from conveyor_nb.clocks.tasks import BackgroundTasks
from conveyor_nb.core.errors import FAULTS, ConveyorError, JobNotFoundError
from conveyor_nb.core.model import EventType, StoreEvent
from conveyor_nb.core.text import error_line, one_line, shown
from conveyor_nb.job import Job
from conveyor_nb.notebook.commands.command_line import Mistake
from conveyor_nb.notebook.panel.feed import Feed
from conveyor_nb.notebook.panel.modules import bundle
from conveyor_nb.notebook.panel.page_messages import Message, read_message
from conveyor_nb.notebook.panel.queue_view import QueueView, sendable
from conveyor_nb.notebook.panel.workers_panel import act_on_worker
from conveyor_nb.queue import Queue
from conveyor_nb.stores.reads import SynchronousReads

__all__ = ["Panel", "close_panels", "panel_of"]

_STATIC = Path(__file__).parent / "static"
_logger = logging.getLogger("conveyor_nb")

_MOST_TEXT = 500

_KEPT_ASLEEP = 16
"""So many panels that no page shows any more are kept: their notebook may be opened again."""

_KEPT_UNSEEN = 64
"""So many panels that no page has shown yet are kept: a page may still be loading."""

_panels: list[Panel] = []


class Panel(anywidget.AnyWidget):
    """Shows a queue live: its jobs, workers and events, with buttons to manage them.

    It follows the queue only while a page shows it; ``close()`` ends it for good. Needs a running
    loop, on whose thread all but :meth:`receive` is to be called.
    """

    _esm = bundle(_STATIC / "panel.js")
    _css = (_STATIC / "panel.css").read_text("utf-8")

    head = traitlets.Dict().tag(sync=True)
    workers: traitlets.List[dict[str, Any]] = traitlets.List().tag(sync=True)
    jobs = traitlets.Dict().tag(sync=True)
    detail = traitlets.Dict(allow_none=True, default_value=None).tag(sync=True)
    events = traitlets.Dict().tag(sync=True)
    notice = traitlets.Dict(allow_none=True, default_value=None).tag(sync=True)
    frame = traitlets.Int(0).tag(sync=True)

    def __init__(self, queue: Queue) -> None:
        self._view = QueueView(queue)
        self._feed = Feed(self._send_frame, self._on_live)
        self._loop = _loop_of_cells() or asyncio.get_running_loop()
        self._tasks = BackgroundTasks()
        self._notices = 0
        self._has_warned = False
        self.was_live = False
        super().__init__(**_first_parts(self._view))
        self.on_msg(lambda _, message, __: self.receive(message))
        _panels.append(self)

    def __repr__(self) -> str:
        return f"<Panel of {self._view.queue!r}>"

    @property
    def queue(self) -> Queue:
        """The queue that is shown."""
        return self._view.queue

    @property
    def live(self) -> bool:
        """Whether a page shows the panel, so that it follows the queue."""
        return self._feed.live

    def close(self) -> None:
        """Let go of the queue and of the page; what was asked for before is still done."""
        call_on(self._loop, self._feed.stop)
        if self in _panels:
            _panels.remove(self)
        super().close()

    # -- from the queue to the page -----------------------------------------------------------

    def _on_live(self, live: bool) -> None:
        queue = self._view.queue
        if live:
            self.was_live = True
            queue.store.subscribe(queue.name, self._on_event)
        else:
            queue.store.unsubscribe(queue.name, self._on_event)

    def _on_event(self, event: StoreEvent) -> None:
        call_on(self._loop, self._note_event, event)  # it may come from any thread

    def _note_event(self, event: StoreEvent) -> None:
        if not self.live:
            return
        self._view.log.add(event)
        self._feed.touch()
        if event.type == EventType.ERROR and event.job_id is None:  # a fault of the engine itself
            self._notify(one_line(event.data.get("error"), _MOST_TEXT))

    async def _send_frame(self, number: int) -> None:
        parts: dict[str, Any] = {}
        try:
            parts = await self._view.read()
        except FAULTS as error:  # whatever a store raises: the page says so and stays alive
            self._complain(error)
        with self.hold_sync():
            for name, value in parts.items():
                self.set_trait(name, value)
            self.frame = number

    def _complain(self, error: BaseException) -> None:
        """Say in one line of the panel what went wrong; the log gets what was not foreseen."""
        if isinstance(error, (ConveyorError, Mistake)):
            self._notify(one_line(str(error), _MOST_TEXT))
            return
        self._notify(error_line(error, _MOST_TEXT))
        _logger.warning("the panel of %r failed", self._view.queue, exc_info=error)

    def _notify(self, text: str) -> None:
        self._notices += 1
        self.notice = sendable({"n": self._notices, "text": text})

    # -- from the page to the queue -----------------------------------------------------------

    def receive(self, content: object) -> None:
        """Take a message of a page, on any thread; what is none changes nothing.

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
            is_news = True  # it was silent for long, for instance on a laptop that slept
        elif message.do == "bye":
            self._feed.farewell(page)
            return
        self.send({"heard": message.n, "view": page})
        if is_news:
            self._view.log.resend()
            self._feed.welcome(page)
            return
        self._tasks.spawn(self._do(message))

    async def _do(self, message: Message) -> None:
        action = self._find_action(message.do)
        if action is None:
            error = ValueError(f"a panel does not know how to do {shown(message.do)}")
            self._warn_of_page(error)
            self._notify(str(error))
            return
        try:
            await action(message)
        except FAULTS as error:  # a person's click must be answered whatever it led to
            self._complain(error)
        if self.live:
            self._feed.touch()

    def _warn_of_page(self, error: ValueError) -> None:
        """Log that a page sends what it should not: once, as it may do so again and again."""
        if not self._has_warned:
            self._has_warned = True
            _logger.warning("a page of %r: %s", self, error)

    def _find_action(self, what: str) -> Callable[[Message], Awaitable[object]] | None:
        """What a message of this name does; ``None`` if none has it."""
        view, queue = self._view, self._view.queue
        actions: dict[str, Callable[[Message], Awaitable[object]]] = {
            "pause": lambda _: queue.pause(),
            "resume": lambda _: queue.resume(),
            "retry_failed": lambda _: queue.retry_jobs(),
            "promote_delayed": lambda _: queue.promote_jobs(),
            "show": lambda message: _now(view.table.show, message.state),
            "page": lambda message: _now(view.table.turn_to, message.page),
            "open": lambda message: _now(view.open, message.id),
            "event_type": lambda message: _now(view.log.show, message.type),
        }
        verb, _, kind = what.partition("_")
        if kind == "job" and verb in _JOB_ACTIONS:
            return lambda message: self._act_on_job(message.id, _JOB_ACTIONS[verb])
        if kind == "worker" and verb in ("start", "stop", "pause", "resume"):
            return lambda message: act_on_worker(queue.store, queue.name, message.worker, verb)
        return actions.get(what)

    async def _act_on_job(self, job_id: str, action: Callable[[Job], Awaitable[None]]) -> None:
        job = await self._view.queue.get_job(job_id)
        if job is None:
            raise JobNotFoundError(job_id, self._view.queue.name)
        await action(job)


_JOB_ACTIONS: Mapping[str, Callable[[Job], Awaitable[None]]] = {
    "retry": Job.retry,
    "promote": Job.promote,
    "cancel": Job.cancel,
    "remove": Job.remove,
}


def _first_parts(view: QueueView) -> dict[str, Any]:
    """What a panel shows before any page has asked: nothing, if the store takes time."""
    if not isinstance(view.queue.store, SynchronousReads):
        return {}
    try:
        return at_once(view.read())
    except WouldWaitError:  # a long step is under way
        return {}


async def _now(function: Callable[[Any], None], value: object) -> None:
    function(value)


def _loop_of_cells() -> asyncio.AbstractEventLoop | None:
    """The loop in which a kernel runs its cells, and workers with them.

    A callback of a widget may run in another thread with a loop of its own, and end before that
    loop shows anything.
    """
    kernel = getattr(get_ipython(), "kernel", None)
    loop = getattr(getattr(kernel, "io_loop", None), "asyncio_loop", None)
    return loop if isinstance(loop, asyncio.AbstractEventLoop) and loop.is_running() else None


def panel_of(queue: Queue) -> Panel:
    """A live panel of a queue, to be shown in a notebook.

    Needs a running loop, as there is one in a kernel.
    """
    panel = Panel(queue)
    asleep = [one for one in _panels if one.was_live and not one.live]
    unseen = [one for one in _panels if not one.was_live]
    for forgotten in (*asleep[:-_KEPT_ASLEEP], *unseen[:-_KEPT_UNSEEN]):
        forgotten.close()
    return panel


def close_panels() -> None:
    """Close every panel: for when the extension is unloaded."""
    while _panels:
        _panels[-1].close()
