"""Handlers in processes of their own, for work that keeps a core busy.

A child is a new Python that runs ``process_child``; the two talk through its standard input and
output. It is not made by ``multiprocessing``, whose children run the main program once more, so
that a script without ``if __name__ == "__main__"`` would start itself again and again. Nor is
the pool a library's: ``concurrent.futures`` and loky give up all their processes when one dies
and can't stop a call; pebble can, but lets nothing come back while it runs.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import inspect
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from conveyor_nb.clocks.clock import REAL_TIME, Clock
from conveyor_nb.core.errors import ConveyorError
from conveyor_nb.core.handlers import Handler
from conveyor_nb.core.options.retry_policy import Retried
from conveyor_nb.job import Job
from conveyor_nb.running.process_child import CALLS, FIELDS
from conveyor_nb.running.process_group import HAS_GROUPS, kill_group
from conveyor_nb.running.process_pickle import (
    Classes,
    pack_data,
    pack_error,
    pack_handler,
    unpack_result,
)
from conveyor_nb.running.runner import Argument, Background, Raised, Runner
from conveyor_nb.running.tracebacks import ProcessEndedError, RemoteError

__all__ = ["ProcessRunner"]

T = TypeVar("T")

_LAST_SECONDS = 1.0
"""For how many seconds a child that was told to end may take to do so."""


class ProcessRunner(Runner):
    """Calls a plain handler in child processes, one for each job or batch that runs.

    Children are started as they are needed and used again. One that dies, or is killed as its
    job is stopped, concerns that one job; the next job has another child.

    Args:
        handler: what to call; it is copied now, with the variables it uses.
        clock: told when work goes on that it can't see.
        retry_on: what the worker retries, see ``Worker``.

    Raises:
        TypeError: the handler can't be copied.
        RuntimeError: this Python has no processes.
    """

    def __init__(self, handler: Handler, clock: Clock, retry_on: Retried = None) -> None:
        if sys.platform == "emscripten":
            raise RuntimeError("there are no processes here: leave out executor='process'")
        packed, cells, self._classes = pack_handler(handler, retry_on)
        self._handler = (packed, cells)
        self._clock = clock
        self._idle: list[_Child] = []
        self._children: set[_Child] = set()

    async def call(self, argument: Argument, keep: Callable[[Background], None]) -> Any:
        """Call the handler in a child, and do what it asks for meanwhile."""
        jobs = argument if isinstance(argument, list) else [argument]
        packed = await self._off_loop(_pack_jobs, jobs, isinstance(argument, list), self._classes)
        child = self._take_child()
        try:
            kind, *told = await self._converse(child, packed, {job.id: job for job in jobs})
        except BaseException as error:  # stopped, or the child has died
            child.kill()
            with self._clock.off_loop():
                await asyncio.wrap_future(child.ended)
            if isinstance(error, asyncio.CancelledError):
                return Raised(ProcessEndedError())
            raise
        self._idle.append(child)
        if kind == "failed":
            return Raised(RemoteError(*told))
        return await self._off_loop(unpack_result, *told)

    async def close(self) -> None:
        """End every child: at once, but for the little time an idle one takes to go by itself."""
        for child in self._idle:
            child.let_go()
        ends = [asyncio.wrap_future(child.ended) for child in self._children]
        over: asyncio.Future[Any] = asyncio.gather(*ends, return_exceptions=True)
        try:
            if await REAL_TIME.wait(over, _LAST_SECONDS):
                return
        finally:
            for child in self._children:
                child.kill()
        await REAL_TIME.wait(over, _LAST_SECONDS)

    def _take_child(self) -> _Child:
        self._children = {child for child in self._children if not child.ended.done()}
        while self._idle:
            child = self._idle.pop()
            if child in self._children:
                return child
        child = _Child(self._handler)
        self._children.add(child)
        return child

    async def _converse(self, child: _Child, packed: bytes, jobs: dict[str, Job]) -> Any:
        """Send the jobs, and do what the child asks for until it says what came of them."""
        message = await self._off_loop(child.begin, packed)
        while True:
            match message:
                case ("call", job_id, name, arguments):
                    reply = await _reply(jobs.get(job_id), name, arguments)
                    message = await self._off_loop(child.exchange, ("reply", reply))
                case ("write", stream, text):
                    getattr(sys, stream).write(text)
                    message = await self._off_loop(child.exchange, None)
                case end:
                    return end

    async def _off_loop(self, function: Callable[..., T], *arguments: Any) -> T:
        with self._clock.off_loop():
            return await asyncio.wrap_future(_in_thread(function, *arguments))


class _Child:
    """A child process. Its pipes are read and written in threads, one at a time."""

    def __init__(self, handler: tuple[bytes, dict[str, Any]]) -> None:
        self.ended: concurrent.futures.Future[int] = concurrent.futures.Future()
        """Done when the process is gone, with its exit code."""
        self.ended.set_running_or_notify_cancel()
        self._handler = handler
        self._process: subprocess.Popen[bytes] | None = None
        self._killed = False
        self._talking = threading.Lock()

    def begin(self, packed: bytes) -> Any:
        """Send jobs to a child that has none; returns its first message."""
        if self._process is None:
            self._start()
            self._send(("handler", self._handler))
        return self.exchange(("job", packed))

    def exchange(self, message: tuple[str, Any] | None) -> Any:
        """Send a message if there is one, and return the child's next."""
        assert self._process is not None and self._process.stdout is not None
        if message is not None:
            self._send(message)
        try:
            with self._talking:
                return pickle.load(self._process.stdout)
        except (EOFError, OSError, ValueError, pickle.UnpicklingError):  # closed, or cut off
            raise self._death() from None

    def let_go(self) -> None:
        """Let an idle child end by itself."""
        assert self._process is not None and self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()

    def kill(self) -> None:
        """End the process, whatever it does, and all that it started."""
        self._killed = True  # if it is being started, it is ended after that
        if self._process is not None and self._process.poll() is None:
            self._kill_group()

    def _start(self) -> None:
        path = [entry for entry in sys.path if isinstance(entry, str)]
        program = (
            f"import sys; sys.path[:] = {path!r}\n"
            f"from conveyor_nb.running.process_child import serve; serve({os.getpid()})"
        )
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-c", program],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                # a kernel's interrupt goes to its whole group, and is not meant for jobs
                process_group=0 if HAS_GROUPS else None,
            )
        except BaseException:
            self.ended.set_result(-1)
            raise
        _in_thread(self._wait, self._process)
        if self._killed:
            self.kill()

    def _send(self, message: tuple[str, Any]) -> None:
        assert self._process is not None and self._process.stdin is not None
        with self._talking, contextlib.suppress(OSError, ValueError):  # closed: reading tells so
            pickle.dump(message, self._process.stdin)
            self._process.stdin.flush()

    def _wait(self, process: subprocess.Popen[bytes]) -> None:
        code = process.wait()
        if HAS_GROUPS:
            self._kill_group()  # what the handler started would hold the pipes open
        for pipe in (process.stdin, process.stdout):
            with self._talking, contextlib.suppress(OSError):
                assert pipe is not None
                pipe.close()
        self.ended.set_result(code)

    def _kill_group(self) -> None:
        assert self._process is not None
        if HAS_GROUPS:
            kill_group(self._process.pid)
        else:
            with contextlib.suppress(PermissionError):
                self._process.kill()

    def _death(self) -> RemoteError:
        with contextlib.suppress(TimeoutError):
            self.ended.result(_LAST_SECONDS)
        self.kill()  # if only its pipes were closed
        code = self.ended.result()
        said = f"its process ended with exit code {code}"
        if -code in list(signal.Signals):
            said += f" ({signal.Signals(-code).name})"
        return RemoteError(said, f"{said}\n")


def _pack_jobs(jobs: list[Job], batch: bool, of_handler: Classes) -> bytes:
    fields = [{name: getattr(job, name) for name in FIELDS} for job in jobs]
    return pack_data((fields, batch), jobs[0].data, of_handler)


async def _reply(job: Job | None, name: str, arguments: tuple[Any, ...]) -> tuple[bool, bytes]:
    """Do what a child asks for: whether it was done, and else the error."""
    try:
        if job is None or name not in CALLS:
            raise ConveyorError(f"job.{name} was called for a job that is done")
        answer = getattr(job, name)(*arguments)
        if inspect.isawaitable(answer):
            await answer
    except Exception as error:  # it is raised where the call was made
        return False, pack_error(error)
    return True, b""


def _in_thread(function: Callable[..., T], *arguments: Any) -> concurrent.futures.Future[T]:
    """Call a function in a thread that an exit of Python does not wait for, as an executor's."""
    future: concurrent.futures.Future[T] = concurrent.futures.Future()
    future.set_running_or_notify_cancel()

    def run() -> None:
        try:
            future.set_result(function(*arguments))
        except BaseException as error:  # raised where the future is awaited
            future.set_exception(error)

    threading.Thread(target=run, name="conveyor_nb-process", daemon=True).start()
    return future
