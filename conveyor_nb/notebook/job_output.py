"""What a job prints, on its way to the job's log."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import re
import threading
from collections import deque

from conveyor_nb.actions import Action, Complete, Fail, Log, MoveToDelayed, Release
from conveyor_nb.bounds import MAX_LOG_LINES
from conveyor_nb.errors import JobNotFoundError, LostLockError
from conveyor_nb.job import Job
from conveyor_nb.model import JobState
from conveyor_nb.notebook.repaint import Repainter
from conveyor_nb.virtual_clock import VirtualClock

__all__ = ["MAX_LINE_LENGTH", "JobOutput"]

MAX_LINE_LENGTH = 1_000
"""So many characters of a printed line are kept; so a log holds a million of them at most."""

_ENDS = (Complete, Fail, Release, MoveToDelayed)
_CONTROL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
"""What a terminal takes for colours and moves of its cursor."""


class JobOutput:
    """Takes what is printed in a run of a job, from any thread, and logs it line by line.

    Lines go to the store in batches, soon after they were printed, and at the latest before
    anything else is done to the job: so all are there when the job settles. Only the newest
    ``MAX_LOG_LINES`` wait here, as a log keeps no more.

    Args:
        job: the job, as its handler has it.
        loop: the loop of the job's worker.
    """

    def __init__(self, job: Job, loop: asyncio.AbstractEventLoop) -> None:
        self._job = job
        self._loop = loop
        self._outside = contextvars.Context()  # to log in: subscribers don't belong to the job
        self._writing = threading.Lock()
        self._begun: dict[object, _Line] = {}
        self._lines: deque[str] = deque(maxlen=MAX_LOG_LINES)
        self._line_count = 0
        self._size = 0
        self._asked = False
        self._repainter = Repainter(self._begin)
        self._flushing = asyncio.Lock()
        self._flushes: set[asyncio.Task[None]] = set()
        job.before_apply(self.flush)

    def write(self, text: str, source: str) -> None:
        """Take in a text, on any thread; it need not be a whole line.

        Args:
            text: what is printed.
            source: through what; a line is put together from the texts of one source and thread.
        """
        first, *others = text.split("\n")
        with self._writing:
            key = (source, threading.get_ident())
            line = self._begun.get(key)
            if line is None:
                line = self._begun[key] = _Line()
            line.add(first)
            self._size += len(text)
            self._line_count += len(others)
            if not others:
                return
            self._lines.append(line.finish())
            self._lines.extend(map(_whole_line, others[:-1][-MAX_LOG_LINES:]))
            self._begun[key] = line = _Line()
            line.add(others[-1])
            if self._asked:
                return
            self._asked = True
        with contextlib.suppress(RuntimeError):  # the loop is closed, and nobody listens any more
            self._loop.call_soon_threadsafe(self._ask, context=self._outside)

    async def flush(self, action: Action | None = None) -> None:
        """Log the lines that have been printed.

        Args:
            action: what is to be done to the job next: if it ends the run, the lines that were
                only begun are logged too, and how many there were if not all could be kept.
        """
        async with self._flushing:
            lines = self._take(ends=isinstance(action, _ENDS))
            if not lines:
                return
            try:
                await self._log(Log(lines[0], tuple(lines[1:])))
            except BaseException:  # the store's fault, or an interrupt: another time, then
                with self._writing:
                    self._lines = deque([*lines, *self._lines], MAX_LOG_LINES)
                raise

    async def _log(self, lines: Log) -> None:
        job = self._job
        try:
            try:
                await job.store.apply(job.queue_name, job.id, lines, lock=job.lock)
            except LostLockError:
                # of a task that outlives its run; but what another attempt logs is its own
                now = await job.store.get_job(job.queue_name, job.id)
                if now is not None and now.state is not JobState.ACTIVE:
                    await job.store.apply(job.queue_name, job.id, lines)
        except JobNotFoundError:  # it was removed, and its log with it
            return

    def _take(self, *, ends: bool) -> list[str]:
        with self._writing:
            self._asked = False
            lines = [*self._lines]
            self._lines.clear()
            if ends:
                begun = [line for line in self._begun.values() if line]
                lines += [line.finish() for line in begun]
                self._begun.clear()
                count = self._line_count + len(begun)
                if count > MAX_LOG_LINES:
                    lines.append(
                        f"… {count:,} lines, {_size_text(self._size)}, were printed; the newest "
                        f"{MAX_LOG_LINES - 1:,} are kept"
                    )
                self._line_count = self._size = 0
            return lines

    # -- on the loop --------------------------------------------------------------------------

    def _ask(self) -> None:
        """Log soon, and ten times a second at most.

        With a virtual clock at once each time: so the order of events is the same in every run.
        """
        if isinstance(self._job.store.clock, VirtualClock):
            self._begin()
        else:
            self._repainter.request()

    def _begin(self) -> None:
        task = self._loop.create_task(self._flush_quietly())
        self._flushes.add(task)
        task.add_done_callback(self._flushes.discard)

    async def _flush_quietly(self) -> None:
        with contextlib.suppress(Exception):  # the worker finds out, and tells
            await self.flush()


class _Line:
    """A line while it is being printed."""

    __slots__ = ("_cut", "_returned", "_text")

    def __init__(self) -> None:
        self._text = ""
        self._cut = 0
        self._returned = False

    def __bool__(self) -> bool:
        return bool(self._text)

    def add(self, text: str) -> None:
        """Print more of it; what follows a carriage return replaces what was before."""
        first, *others = text.split("\r")
        self._append(first)
        for part in others:
            self._returned = True
            self._append(part)

    def finish(self) -> str:
        """The line as it is logged."""
        text = _CONTROL.sub("", self._text)
        return f"{text} … {self._cut:,} more characters" if self._cut else text

    def _append(self, text: str) -> None:
        if not text:
            return
        if self._returned:
            self._text, self._cut, self._returned = "", 0, False
        room = MAX_LINE_LENGTH - len(self._text)
        self._text += text[:room]
        self._cut += max(0, len(text) - room)


def _whole_line(text: str) -> str:
    line = _Line()
    line.add(text)
    return line.finish()


def _size_text(size: int) -> str:
    """A number of characters in a few.

    >>> _size_text(12_340), _size_text(10_400_000)
    ('12 KB', '10.4 MB')
    """
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.0f} KB"
