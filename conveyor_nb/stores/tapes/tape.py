"""A tape: what happened in a store over some time, as it is looked at, compared and kept."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from conveyor_nb.core.model import EventType, JobData, JobState, StoreEvent
from conveyor_nb.core.values.durations import roughly
from conveyor_nb.core.values.text import inline, shown
from conveyor_nb.display import Picture, Shown, picture_of, replay_of, tape_frame_of
from conveyor_nb.stores.tapes import difference, lines, mermaid
from conveyor_nb.stores.tapes.moments import Key, Moment, Start, as_of

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["Tape"]


class Tape(Shown):
    """What happened in a queue, or in all of a store, over some time.

    ``with queue.record() as tape:`` makes one, see ``Queue.record``; :meth:`load` reads one from
    a file. It begins with what there was, and has each event from then on, with its job as it was
    after that. As the last line of a cell it is a picture: a lane for each slot, a bar for
    each attempt.

    Two tapes are equal if all that they tell is. With a ``VirtualClock`` and sequential ids a
    program makes the same tape each time, so a tape is a test: see
    ``conveyor_nb.testing.assert_tape``.

    Args:
        queue_name: the queue; ``None``: all.
        began: when it began.
        start: what there was then.
        limit: how many events it has at most.

    >>> import asyncio
    >>> from conveyor_nb import MemoryStore, Queue, VirtualClock, Worker
    >>> async def main():
    ...     store = MemoryStore(clock=VirtualClock(), ids="sequential")
    ...     async with Queue("emails", store=store) as queue:
    ...         with queue.record() as tape:
    ...             await queue.add("send", "ada@example.org")
    ...             async with Worker("emails", lambda job: "sent", store=store) as worker:
    ...                 await worker.run_until_idle()
    ...     return tape
    >>> tape = asyncio.run(main())
    >>> tape
    <Tape of queue emails: 7 events, 1 job, over 0s>
    >>> tape.story[:3]
    ['job:waiting emails-1', 'worker:started', 'job:active emails-1']
    >>> tape.job("emails-1").returnvalue
    'sent'
    """

    def __init__(
        self,
        queue_name: str | None,
        began: datetime,
        start: Start | None = None,
        *,
        limit: int = 10_000,
    ) -> None:
        self.queue_name = queue_name
        """The queue that it is of; ``None``: all of them."""
        self.began = began
        """When it began, by the store's clock."""
        self.ended: datetime | None = None
        """When it ended; ``None``: it goes on."""
        self.start = start or Start()
        """What there was when it began."""
        self.limit = limit
        """How many events it has at most."""
        self.left_out = 0
        """How many events came after it was full."""
        self.moments: list[Moment] = []
        """The events, in order, each with its job as it was after that."""
        self._known: dict[Key, JobData] = {_key(job): job for job in self.start.jobs}
        self._last = dict(self._known)
        self._names = {worker.id: worker.name for worker in self.start.workers}
        self._guard = threading.RLock()

    # -- looking ------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.moments)

    def __repr__(self) -> str:
        return f"<Tape of {self.subject}: {self.in_words}>"

    @property
    def subject(self) -> str:
        """What it is of, in words."""
        return "all queues" if self.queue_name is None else f"queue {inline(self.queue_name)}"

    @property
    def in_words(self) -> str:
        """How much there is of it, in words."""
        jobs = len(self._last)
        told = [_counted(len(self), "event"), _counted(jobs, "job")]
        if self.moments:
            told.append(f"over {roughly((self.last_instant - self.began).total_seconds())}")
        return ", ".join(filter(None, [*told, self.left_out_in_words]))

    @property
    def left_out_in_words(self) -> str:
        """What it has not, in words; empty: it is whole."""
        told = []
        if self.left_out:
            told.append(f"{_counted(self.left_out, 'later event')} left out")
        if self.start.left_out:
            told.append(f"{_counted(self.start.left_out, 'earlier job')} left out")
        if self.ended is None:
            told.append("it is still being recorded")
        return ", ".join(told)

    @property
    def events(self) -> list[StoreEvent]:
        """The events, in order."""
        return [moment.event for moment in self.moments]

    @property
    def story(self) -> list[str]:
        """The type of each event, with the job that it is about: ``"job:active emails-1"``."""
        return [" ".join(filter(None, (one.type, one.job_id))) for one in self.events]

    @property
    def jobs(self) -> list[JobData]:
        """All jobs of it, each as it was last seen; also those that were removed."""
        return list(self._last.values())

    @property
    def queues(self) -> list[str]:
        """The names of the queues of which it tells, sorted."""
        named = {job.queue_name for job in self.start.jobs} | set(self.start.paused)
        return sorted(named | {event.queue_name for event in self.events if event.queue_name})

    @property
    def workers(self) -> dict[str, str]:
        """What each worker is called, by its id."""
        return dict(self._names)

    @property
    def last_instant(self) -> datetime:
        """When the last event of a job was; when it began, if there was none."""
        of_jobs = (one.event for one in reversed(self.moments) if one.event.job_id is not None)
        last = next(of_jobs, None)
        return self.began if last is None else max(self.began, last.timestamp)

    def job(self, job_id: str, queue_name: str | None = None) -> JobData:
        """A job as it was last seen.

        Args:
            job_id: its id.
            queue_name: its queue, if jobs of several queues have this id.

        Raises:
            KeyError: the tape knows no such job.
        """
        for (queue, own_id), job in self._last.items():
            if own_id == job_id and queue_name in (None, queue):
                return job
        raise KeyError(f"the tape tells of no job {shown(job_id)}")

    def count(self, kind: str) -> int:
        """How many events there are of a type, such as ``"job:retrying"``."""
        return sum(event.type == kind for event in self.events)

    def counts_of_states(self) -> Counter[JobState]:
        """In which states its jobs were last seen."""
        return Counter(job.state for job in self.jobs)

    def states(self) -> Iterator[tuple[Moment, dict[Key, JobData]]]:
        """Each moment with all jobs as they were after it; the dict is the same each time."""
        there = {_key(job): job for job in self.start.jobs}
        for moment in self.moments:
            event = moment.event
            if event.job_id is not None:
                key = (event.queue_name, event.job_id)
                if moment.job is None:
                    there.pop(key, None)
                else:
                    there[key] = moment.job
            yield moment, there

    def to_frame(self) -> DataFrame:
        """The events as a pandas DataFrame, a row for each, with its job's id as the index."""
        return tape_frame_of(self)

    # -- pictures -----------------------------------------------------------------------------

    def picture(self) -> Picture:
        """The picture that a notebook shows of it; its ``save("run.svg")`` writes it to a file."""
        return picture_of(self)

    def to_mermaid(self, limit: int = 60) -> str:
        """The tape as a sequence diagram, for Markdown: JupyterLab and GitHub draw it.

        Args:
            limit: how many arrows and notes it has at most; a note tells of what was left out.
        """
        return mermaid.sequence_diagram(self, limit)

    def to_chrome_trace(self) -> dict[str, Any]:
        """Its attempts as Chrome trace events: ``save("run.json")`` writes what Perfetto opens."""
        picture: Any = picture_of(self)
        trace: dict[str, Any] = picture.to_chrome_trace()
        return trace

    def replay(self) -> Any:
        """A panel of what there was at each event, with a slider over them, for a notebook.

        It has the views of a live panel, and the belt; step forward and back by the slider, its
        buttons or the arrow keys. Nothing can be changed in it.

        Raises:
            RuntimeError: no event loop is running, as there is one in a notebook.
        """
        return replay_of(self)

    # -- files --------------------------------------------------------------------------------

    def save(self, path: str | Path) -> Path:
        """Write the tape to a file, and return its path.

        As ``.jsonl`` it is the tape itself: a line for each event, which :meth:`load` reads again.
        Payloads and results are written as JSON; what that has no form for as its ``repr``.
        Tracebacks are left out, as they name the paths of a machine.

        Args:
            path: the file: ``.jsonl``, or ``.svg`` for its picture, or ``.json`` for a Chrome
                trace, which Perfetto (ui.perfetto.dev) opens.

        Raises:
            ValueError: the name ends in another way.
        """
        path = Path(path)
        kind = path.suffix.lower()
        if kind in (".svg", ".json"):
            return picture_of(self).save(path)
        if kind != ".jsonl":
            raise ValueError(
                f"a tape is saved in a file such as run.jsonl, its picture in one such as run.svg,"
                f" and a Chrome trace in one such as run.json, not in {path}"
            )
        path.write_text("".join(f"{line}\n" for line in lines.lines_of(self)), "utf-8")
        return path

    @classmethod
    def load(cls, path: str | Path) -> Tape:
        """Read a tape that :meth:`save` wrote.

        Raises:
            ValueError: the file holds no tape, or not a whole one; the message names the line.
            OSError: it can't be read.
        """
        path = Path(path)
        try:
            text = path.read_text("utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"{path} is no tape: it is not text in UTF-8") from error
        # not splitlines, which also splits at what JSON leaves as it is, such as U+2028
        told = text.removesuffix("\n").split("\n") if text else []
        return cls._of(lines.parts_of(told, str(path)))

    @classmethod
    def _of(cls, parts: lines.Parts) -> Tape:
        tape = cls(parts.queue_name, parts.began, parts.start, limit=parts.limit)
        tape.left_out, tape.ended = parts.left_out, parts.ended
        for moment in parts.moments:
            tape.put(moment)
        return tape

    # -- comparing ----------------------------------------------------------------------------

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Tape):
            return NotImplemented
        return self is other or list(lines.lines_of(self)) == list(lines.lines_of(other))

    __hash__ = None  # type: ignore[assignment]  # it changes while it is recorded

    def difference(self, other: Tape) -> str | None:
        """What is different first, in words; ``None``: nothing is.

        Args:
            other: the tape to compare with, which the words call the other one.

        Raises:
            TypeError: it is no tape.
        """
        if not isinstance(other, Tape):
            raise TypeError(f"a tape is compared with a Tape, not {shown(other)}")
        return difference.first_difference(self, other)

    # -- recording ----------------------------------------------------------------------------

    def take(self, event: StoreEvent, read: JobData | None) -> None:
        """Take in an event, with its job as it was read after that: what a recording does."""
        with self._guard:
            key = (event.queue_name, event.job_id or "")
            before = self._known.get(key)
            if self._was_before(event, before):
                return
            if len(self.moments) >= self.limit:
                self.left_out += 1
                return
            job = None if event.job_id is None else as_of(event, read, before)
            self.put(Moment(event, job))

    def put(self, moment: Moment) -> None:
        """Add a moment."""
        event, job = moment.event, moment.job
        self.moments.append(moment)
        if event.job_id is not None:
            key = (event.queue_name, event.job_id)
            if job is None:
                self._known.pop(key, None)
            else:
                self._known[key] = self._last[key] = job
        elif "worker_id" in event.data and "name" in event.data:
            self._names[event.data["worker_id"]] = event.data["name"]

    def take_result(self, key: Key, result: Any) -> None:
        """Take in what a job returned whose record went with its end."""
        with self._guard:
            for place in range(len(self.moments) - 1, -1, -1):
                moment = self.moments[place]
                event, job = moment.event, moment.job
                if event.type == EventType.COMPLETED and (event.queue_name, event.job_id) == key:
                    if job is not None:
                        done = replace(job, returnvalue=result)
                        self.moments[place] = Moment(event, done)
                        self._last[key] = done
                    return

    def end(self, at: datetime) -> None:
        """It is over."""
        self.ended = at

    def _was_before(self, event: StoreEvent, before: JobData | None) -> bool:
        """Whether an event is of what the tape began with, and was only told late."""
        if self.moments:
            return False
        if event.timestamp < self.began:
            return True
        if self.start.left_out or event.job_id is None or "previous" not in event.data:
            return False
        return bool(event.data["previous"] != (before and before.state))


def _key(job: JobData) -> Key:
    return job.queue_name, job.id


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what if count == 1 else f'{what}s'}"
