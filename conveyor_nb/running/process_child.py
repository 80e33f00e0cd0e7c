"""What a child process of ``processes`` runs: it calls the handler for each job it gets."""

from __future__ import annotations

import atexit
import functools
import io
import linecache
import os
import pickle
import queue
import signal
import sys
import threading
from typing import Any

from conveyor_nb.core.errors import JobCancelledError
from conveyor_nb.core.options.retry_policy import Retried, ruling_on
from conveyor_nb.core.values.durations import Duration
from conveyor_nb.core.values.text import inline, shown
from conveyor_nb.running.process_group import call_at_end_of, end_own_group
from conveyor_nb.running.process_pickle import pack_result, unpack
from conveyor_nb.running.tracebacks import RemoteError, describe, format_traceback

__all__ = ["CALLS", "FIELDS", "ProcessJob", "serve"]

FIELDS = ("id", "name", "queue_name", "data", "attempts_made")
"""What a handler in a process can read of its job."""

_LAST_SECONDS = 1.0
"""For how many seconds a process that is to end may take to do so."""

CALLS = ("update_progress", "log", "sleep", "raise_if_cancelled")
"""What it can do with it."""


class ProcessJob:
    """The job that a handler gets in a process: the fields and methods that make sense there.

    Its methods block until they are done in the notebook's process.
    """

    id: str
    name: str
    queue_name: str
    data: Any
    attempts_made: int

    def __init__(self, parent: _Parent, fields: dict[str, Any]) -> None:
        self.__dict__.update(fields)
        self._parent = parent

    def update_progress(self, percent: float) -> None:
        """Say how far the job is, from 0 to 100."""
        self._parent.ask(self.id, "update_progress", percent)

    def log(self, text: object) -> None:
        """Add a line to the job's log."""
        self._parent.ask(self.id, "log", str(text))

    def sleep(self, delay: Duration) -> None:
        """Wait for a duration, as the store's clock measures it."""
        self._parent.ask(self.id, "sleep", delay)

    def raise_if_cancelled(self) -> None:
        """Raise ``JobCancelledError`` if this job of a batch is to stop.

        A process is ended when none of its jobs is to go on, so one alone need not ask.
        """
        self._parent.ask(self.id, "raise_if_cancelled")

    @property
    def cancel_requested(self) -> bool:
        """Whether this job of a batch is to stop."""
        try:
            self.raise_if_cancelled()
        except JobCancelledError:
            return True
        return False

    def __getattr__(self, name: str) -> Any:
        known = ", ".join((*FIELDS, *CALLS, "cancel_requested"))
        raise AttributeError(
            f"job.{name} is not there in a process of its own; what is there: {known}", name=name
        )

    def __repr__(self) -> str:
        return f"<ProcessJob {inline(self.id)} {shown(self.name)}>"


def serve(parent_id: int) -> None:
    """Call the handler for one job after the other, until the parent process ends or says so.

    However it ends, what its handlers have started ends with it.

    Args:
        parent_id: the parent process.
    """
    atexit.register(end_own_group)  # what is registered first is called last
    # A kernel ignores interrupts while no cell runs, and so would whatever it starts then.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    parent = _Parent(parent_id)
    sys.stdout, sys.stderr = _Stream(parent, "stdout"), _Stream(parent, "stderr")
    handler = parent.next_job()
    if handler is None:
        return
    packed_handler, cells = handler
    linecache.cache.update(cells)
    while (packed := parent.next_job()) is not None:
        answer = _call(parent, packed_handler, packed)
        sys.stdout.flush()
        sys.stderr.flush()
        parent.answer(*answer)


_load = functools.cache(unpack)


def _call(parent: _Parent, packed_handler: bytes, packed: bytes) -> tuple[Any, ...]:
    retry_on: Retried = None
    try:
        handler, retry_on = _load(packed_handler)
        fields, batch = unpack(packed)
        jobs = [ProcessJob(parent, one) for one in fields]
        value = handler(jobs if batch else jobs[0])
        if batch and isinstance(value, (list, tuple)):
            value = [
                RemoteError.of(one, retry_on) if isinstance(one, BaseException) else one
                for one in value
            ]
        return "done", pack_result(value), type(value).__qualname__
    except BaseException as error:  # KeyboardInterrupt and SystemExit fail a job like others
        return "failed", describe(error), format_traceback(error), ruling_on(error, retry_on)


class _Parent:
    """The way to the parent process: it has the standard input and output for itself."""

    def __init__(self, process_id: int) -> None:
        self._reader = open(os.dup(0), "rb")  # noqa: SIM115 -- as long as the process
        self._writer = open(os.dup(1), "wb")  # noqa: SIM115
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(2, 1)  # what a library of C prints shows as errors do
        self._jobs: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._replies: queue.SimpleQueue[tuple[bool, bytes]] = queue.SimpleQueue()
        self._sending = threading.Lock()
        self._asking = threading.Lock()
        self._counting = threading.Lock()
        self._owed = 0
        threading.Thread(target=self._listen, name="conveyor_nb-parent", daemon=True).start()
        call_at_end_of(process_id, self._end)

    def next_job(self) -> Any:
        """Wait for the handler, and then for jobs; ``None``: there is to be no other."""
        return self._jobs.get()

    def answer(self, *message: Any) -> None:
        """Say what came of a job."""
        with self._counting:
            self._owed -= 1
        self.send(*message)

    def ask(self, job_id: str, name: str, *arguments: Any) -> None:
        """Have a method of the job called; what it raises is raised here."""
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        with self._asking:
            self.send("call", job_id, name, arguments)
            done, packed = self._replies.get()
        if not done:
            raise unpack(packed)

    def send(self, *message: Any) -> None:
        """Send a message."""
        packed = pickle.dumps(message)
        with self._sending:
            self._writer.write(packed)
            self._writer.flush()

    def _listen(self) -> None:
        while True:
            try:
                kind, content = pickle.load(self._reader)
            except (EOFError, OSError, pickle.UnpicklingError):
                break
            with self._counting:
                self._owed += kind == "job"
            (self._replies if kind == "reply" else self._jobs).put(content)
        self._end()

    def _end(self) -> None:
        """End this process: by itself if it is idle, and in a little time at the latest."""
        if not self._owed:  # otherwise nobody is left who would take the result
            self._jobs.put(None)
            threading.Event().wait(_LAST_SECONDS)
        end_own_group()


class _Stream(io.TextIOBase):
    """What a handler prints, sent to the parent process line by line."""

    encoding = "utf-8"

    def __init__(self, parent: _Parent, name: str) -> None:
        self._parent = parent
        self._name = name
        self._unsent = ""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self._unsent += text
        if "\n" in text:
            self.flush()
        return len(text)

    def flush(self) -> None:
        text, self._unsent = self._unsent, ""
        if text:
            self._parent.send("write", self._name, text)
