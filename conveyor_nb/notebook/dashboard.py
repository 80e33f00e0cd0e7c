"""The live panel of a queue, as a widget: what its page asks for, and who does it.

Python holds the state and the front end (``static/panel.js``) draws it. What is shown is read
by ``queue_view``, when it goes to the page is decided by ``feed``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from conveyor_nb.errors import FAULTS, ConveyorError, JobNotFoundError
from conveyor_nb.job import Job
from conveyor_nb.model import EventType, StoreEvent
from conveyor_nb.notebook.command_line import Mistake
from conveyor_nb.notebook.feed import Feed
from conveyor_nb.notebook.queue_view import QueueView, sendable
from conveyor_nb.notebook.subjects import at_once
from conveyor_nb.notebook.workers_panel import act_on_worker
from conveyor_nb.queue import Queue

__all__ = ["Panel", "close_panels", "dashboard"]

_STATIC = Path(__file__).parent / "static"
_logger = logging.getLogger("conveyor_nb")

_KEPT_ASLEEP = 16
"""So many panels that no page shows any more are kept: their notebook may be opened again."""

_panels: list[Panel] = []

Message = Mapping[str, Any]


class Panel(anywidget.AnyWidget):
    """Shows a queue live: its jobs, workers and events, with buttons to manage them.

    It follows the queue only while a page shows it; ``close()`` ends it for good. Needs a running
    loop, on whose thread all but :meth:`receive` is to be called.
    """

    _esm = "\n".join((_STATIC / name).read_text("utf-8") for name in ("elements.js", "panel.js"))
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
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._notices = 0
        self.was_live = False
        super().__init__(**at_once(self._view.read()) or {})
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
        self._feed.stop()
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
        self._view.log.add(event)
        self._feed.touch()
        if event.type == EventType.ERROR and event.job_id is None:  # a fault of the engine itself
            self._notify(str(event.data.get("error")))

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
        text = str(error)
        if not isinstance(error, (ConveyorError, Mistake)):
            text = f"{type(error).__name__}: {text}"
            _logger.warning("the panel of %r failed", self._view.queue, exc_info=error)
        self._notify(text)

    def _notify(self, text: str) -> None:
        self._notices += 1
        self.notice = sendable({"n": self._notices, "text": text})

    # -- from the page to the queue -----------------------------------------------------------

    def receive(self, message: Message) -> None:
        """Take a message of a page, on any thread.

        JupyterLab has widgets' messages served by a subshell of the kernel, which is a thread
        with a loop of its own; the engine lives on the loop of the cells.
        """
        self._loop.call_soon_threadsafe(self._take, message)

    def _take(self, message: Message) -> None:
        page = str(message.get("view", ""))
        what = str(message.get("do", ""))
        if what == "drawn":
            if self._feed.knows(page):
                self._feed.drawn(int(message.get("frame", 0)))
                return
            what = "hello"  # it was silent for long, for instance on a laptop that slept
        elif what == "bye":
            self._feed.farewell(page)
            return
        self.send({"heard": message.get("n"), "view": page})
        if what == "hello":
            self._view.log.resend()
            self._feed.welcome(page)
            return
        task = self._loop.create_task(self._do(what, message))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _do(self, what: str, message: Message) -> None:
        try:
            await self._find_action(what)(message)
        except FAULTS as error:  # a person's click must be answered whatever it led to
            self._complain(error)
        if self.live:
            self._feed.touch()

    def _find_action(self, what: str) -> Callable[[Message], Awaitable[object]]:
        """What a message of this name does.

        Raises:
            LookupError: no message has this name.
        """
        view, queue = self._view, self._view.queue
        actions: dict[str, Callable[[Message], Awaitable[object]]] = {
            "pause": lambda _: queue.pause(),
            "resume": lambda _: queue.resume(),
            "retry_failed": lambda _: queue.retry_jobs(),
            "promote_delayed": lambda _: queue.promote_jobs(),
            "show": lambda message: _now(view.table.show, str(message["state"])),
            "page": lambda message: _now(view.table.turn_to, int(message["page"])),
            "open": lambda message: _now(view.open, str(message["id"])),
            "event_type": lambda message: _now(view.log.show, str(message["type"])),
        }
        verb, _, kind = what.partition("_")
        if kind == "job" and verb in _JOB_ACTIONS:
            return lambda message: self._act_on_job(str(message["id"]), _JOB_ACTIONS[verb])
        if kind == "worker" and verb in ("start", "stop", "pause", "resume"):
            return lambda message: act_on_worker(
                queue.store, queue.name, str(message["worker"]), verb
            )
        if what not in actions:
            raise LookupError(f"a panel does not know how to do {what!r}")
        return actions[what]

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


async def _now(function: Callable[[Any], None], value: object) -> None:
    function(value)


def dashboard(queue: Queue) -> Panel:
    """A live panel of a queue, to be shown in a notebook.

    Needs a running loop, as there is one in a kernel.
    """
    panel = Panel(queue)
    asleep = [one for one in _panels if one.was_live and not one.live]
    for forgotten in asleep[:-_KEPT_ASLEEP]:
        forgotten.close()
    return panel


def close_panels() -> None:
    """Close every panel: for when the extension is unloaded."""
    while _panels:
        _panels[-1].close()
