"""What a job prints, on its way to the job's log."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta

from conveyor_nb.clocks.clock import REAL_TIME
from conveyor_nb.clocks.tasks import BackgroundTasks
from conveyor_nb.clocks.virtual import VirtualClock
from conveyor_nb.core.actions import Action, Complete, Fail, Log, MoveToDelayed, Release
from conveyor_nb.core.errors import JobNotFoundError, LostLockError
from conveyor_nb.core.model import JobState
from conveyor_nb.core.values.bounds import MAX_LOG_LINES
from conveyor_nb.job import Job
from conveyor_nb.notebook.repaint import Repainter
from conveyor_nb.notebook.shell.screen import Screen

__all__ = ["JobOutput"]

_ENDS_OF_A_RUN = (Complete, Fail, Release, MoveToDelayed)
_MOST_SHOWN = 100
"""How many things that may still change are looked at when a run ends."""


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
        self._screen = Screen(MAX_LOG_LINES, self._later)
        self._shown: dict[str, Callable[[], str]] = {}
        self._lines: deque[str] = deque(maxlen=MAX_LOG_LINES)
        """The lines that the store could not take yet."""
        self._size = 0
        self._is_virtual = isinstance(job.store.clock, VirtualClock)
        self._asked = False
        self._repainter = Repainter(self._flush_soon)
        self._flushing = asyncio.Lock()
        self._flushes = BackgroundTasks()
        job.before_apply(self.flush)

    def write(self, text: str, source: str) -> None:
        """Take in a text, on any thread; it need not be a whole line.

        Args:
            text: what is printed.
            source: through what; a line is put together from the texts of one source and thread.
        """
        with self._writing:
            self._screen.write(text, (source, threading.get_ident()))
            self._size += len(text)
            if self._asked or not self._screen:
                return
            self._asked = True
        self._call_soon(self._ask)

    def show(self, read: Callable[[], str], key: str | None = None) -> None:
        """Take in what is displayed, on any thread.

        Args:
            read: gives its text.
            key: of what may still change: it is read at the end, if nothing else was displayed
                under the same key by then.
        """
        with self._writing:
            if key is not None:
                self._shown[key] = read
                if len(self._shown) <= _MOST_SHOWN:
                    return
                read = self._shown.pop(next(iter(self._shown)))
            text = read()
            self._screen.show(text.rstrip("\n"))
            self._size += len(text)
            if self._asked:
                return
            self._asked = True
        self._call_soon(self._ask)

    def shows(self, key: str) -> bool:
        """Whether something was displayed under this key, which may still change."""
        return key in self._shown

    def clear(self) -> None:
        """Forget what is not in the log yet."""
        with self._writing:
            self._screen.clear()
            self._shown.clear()

    async def flush(self, action: Action | None = None) -> None:
        """Log the lines that have been printed.

        Args:
            action: what is to be done to the job next: if it ends the run, the lines that were
                only begun are logged too, and how many there were if not all could be kept.
        """
        async with self._flushing:
            lines = self._take(action)
            if not lines:
                return
            try:
                await self._log(Log(lines[0], tuple(lines[1:])))
            except BaseException:  # the store's fault, or an interrupt: it is tried again later
                with self._writing:
                    self._lines = deque([*lines, *self._lines], MAX_LOG_LINES)
                raise

    async def _log(self, lines: Log) -> None:
        job = self._job
        try:
            try:
                await job.store.apply(job.queue_name, job.id, lines, lock=job.lock)
            except LostLockError:
                # a task may outlive its run; but what another attempt logs is its own
                now = await job.store.get_job(job.queue_name, job.id)
                if now is not None and now.state is not JobState.ACTIVE:
                    await job.store.apply(job.queue_name, job.id, lines)
        except JobNotFoundError:  # it was removed, and its log with it
            return

    def _take(self, action: Action | None) -> list[str]:
        ends = isinstance(action, _ENDS_OF_A_RUN)
        texts = self._read_shown() if ends else []
        with self._writing:
            for text in filter(None, texts):
                self._screen.show(text)
            now = REAL_TIME.now() if action is None else None
            lines = [*self._lines, *self._screen.take(now, ends=ends)]
            self._lines.clear()
            self._asked = bool(self._screen) and not ends and not self._is_virtual
            if self._asked:  # what may still be redrawn is looked at again
                self._call_soon(self._ask)
            if ends:
                count = self._screen.count
                if count > MAX_LOG_LINES:
                    del lines[: 1 - MAX_LOG_LINES]
                    lines.append(
                        f"… {count:,} lines, {_size_text(self._size)}, were printed; the newest "
                        f"{MAX_LOG_LINES - 1:,} are kept"
                    )
                self._screen.count = self._size = 0
            return lines

    def _read_shown(self) -> list[str]:
        """What was displayed and might have changed, as it is now."""
        shown, self._shown = self._shown, {}
        return [read().rstrip("\n") for read in shown.values()]

    def _later(self, seconds: float) -> datetime | None:
        """The time in so many seconds; with a virtual clock the loop's own thread waits for none.

        There all that is printed without an ``await`` between is taken at once.
        """
        if self._is_virtual and asyncio._get_running_loop() is self._loop:
            return None
        return REAL_TIME.now() + timedelta(seconds=seconds)

    def _call_soon(self, callback: Callable[[], object]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens any more
            self._loop.call_soon_threadsafe(callback, context=self._outside)

    # -- on the loop --------------------------------------------------------------------------

    def _ask(self) -> None:
        """Log soon, and ten times a second at most.

        With a virtual clock at once each time: so the order of events is the same in every run.
        """
        if self._is_virtual:
            self._flush_soon()
        else:
            self._repainter.request()

    def _flush_soon(self) -> None:
        self._flushes.spawn(self._flush_quietly())

    async def _flush_quietly(self) -> None:
        with contextlib.suppress(Exception):  # the worker finds this out, and tells of it
            await self.flush()


def _size_text(size: int) -> str:
    """A number of characters in a few.

    >>> _size_text(12_340), _size_text(10_400_000)
    ('12 KB', '10.4 MB')
    """
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.0f} KB"
