"""What the picture of a tape shows: attempts in their slots, and where each job was meanwhile."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from conveyor_nb.core.lifecycle import SETTLED
from conveyor_nb.core.model import ALL_NAMES, EventType, JobData, JobState
from conveyor_nb.notebook.pictures.timeline_state import TimelineState, timeline_of
from conveyor_nb.stores.tapes.moments import Key
from conveyor_nb.stores.tapes.tape import Tape

__all__ = ["WAITS", "WAIT_WORDS", "Depth", "Life", "Span", "SwimlaneState", "swimlane_of"]

WAIT_WORDS: Mapping[JobState, str] = {
    JobState.WAITING: "waits",
    JobState.DELAYED: "waits for its time",
    JobState.WAITING_CHILDREN: "waits for its children",
}
"""What is said of a job that waits."""

WAITS = tuple(WAIT_WORDS)
"""The states in which a job waits for something."""


@dataclass(frozen=True, slots=True)
class Span:
    """For how long a job was in a state, or a queue was paused."""

    begin: datetime
    end: datetime
    state: JobState | None = None

    @property
    def seconds(self) -> float:
        """How long that is."""
        return (self.end - self.begin).total_seconds()


@dataclass(slots=True)
class Life:
    """A job on a tape.

    Args:
        job: the job as it was last seen.
        spans: where it was, one after the other; where it settled, nothing follows.
        settled_at: when it settled last, if it has.
        is_removed: whether it was gone in the end, without having settled.
    """

    job: JobData
    spans: list[Span] = field(default_factory=list)
    settled_at: datetime | None = None
    is_removed: bool = False


@dataclass(frozen=True, slots=True)
class Depth:
    """How many jobs were in each state from an instant on."""

    at: datetime
    counts: Mapping[JobState, int]

    @property
    def waiting(self) -> int:
        """How many waited, for whatever."""
        return sum(self.counts.get(state, 0) for state in WAITS)


@dataclass(frozen=True, slots=True)
class SwimlaneState:
    """What is shown of a tape.

    Args:
        timeline: its attempts, in their slots.
        lives: its jobs, as they came.
        depths: how many were in each state.
        pauses: when its queue was paused; of several queues, when any of them was.
    """

    timeline: TimelineState
    lives: Sequence[Life]
    depths: Sequence[Depth]
    pauses: Sequence[Span]

    def most(self, state: JobState) -> int:
        """How many jobs were in a state at most."""
        return max((depth.counts.get(state, 0) for depth in self.depths), default=0)

    @property
    def most_waiting(self) -> int:
        """How many jobs waited at most, for whatever."""
        return max((depth.waiting for depth in self.depths), default=0)


def swimlane_of(tape: Tape) -> SwimlaneState:
    """What is shown of a tape: from its first event of a job to its last one."""
    begin, end = _extent(tape)
    goes_on = any(job.state is JobState.ACTIVE for job in tape.jobs)
    if goes_on and tape.ended is not None and not tape.left_out:  # else nobody knows for how long
        end = max(end, tape.ended)
    name = tape.queue_name or ", ".join(tape.queues) or "a store"
    timeline = timeline_of(name, tape.jobs, end, names=tape.workers, since=begin, until=end)
    return SwimlaneState(
        timeline, _lives(tape, begin, end), _depths(tape, begin), _pauses(tape, begin, end)
    )


def _extent(tape: Tape) -> tuple[datetime, datetime]:
    instants = [event.timestamp for event in tape.events if event.job_id is not None]
    if not instants:
        return tape.began, tape.last_instant
    return min(instants), max(instants)


def _lives(tape: Tape, begin: datetime, end: datetime) -> list[Life]:
    lives: dict[Key, Life] = {}
    since: dict[Key, tuple[JobState, datetime]] = {}

    def leave(key: Key, at: datetime) -> None:
        state, began = since.pop(key, (None, at))
        if state is not None and state not in SETTLED:
            lives[key].spans.append(Span(began, at, state))

    for job in tape.start.jobs:
        key = job.queue_name, job.id
        if job.state not in SETTLED:  # what was over tells nothing of this time
            lives[key] = Life(job)
            since[key] = job.state, begin
    for moment in tape.moments:
        event, now = moment.event, moment.job
        if event.job_id is None:
            continue
        key = event.queue_name, event.job_id
        if now is None:
            if key in lives:
                leave(key, event.timestamp)
                lives[key].is_removed = lives[key].settled_at is None
            continue
        life = lives.setdefault(key, Life(now))
        life.job = now
        if since.get(key, (None, begin))[0] is now.state:
            continue
        leave(key, event.timestamp)
        since[key] = now.state, event.timestamp
        life.settled_at = event.timestamp if now.state in SETTLED else None
        life.is_removed = False
    for key in tuple(since):
        leave(key, end)
    return list(lives.values())


def _depths(tape: Tape, begin: datetime) -> list[Depth]:
    counts = Counter(job.state for job in tape.start.jobs)
    states = {(job.queue_name, job.id): job.state for job in tape.start.jobs}
    found = [Depth(begin, dict(counts))]
    for moment in tape.moments:
        event = moment.event
        if event.job_id is None:
            continue
        key = event.queue_name, event.job_id
        before = states.pop(key, None)
        after = None if moment.job is None else moment.job.state
        if after is not None:
            states[key] = after
        if before is after:
            continue
        if before is not None:
            counts[before] -= 1
        if after is not None:
            counts[after] += 1
        if found[-1].at == event.timestamp:
            found.pop()  # what is over at once is not seen
        found.append(Depth(event.timestamp, dict(counts)))
    return found


def _pauses(tape: Tape, begin: datetime, end: datetime) -> list[Span]:
    return list(_paused(tape, begin, end))


def _paused(tape: Tape, begin: datetime, end: datetime) -> Iterator[Span]:
    since = {queue: begin for queue, names in tape.start.paused.items() if ALL_NAMES in names}
    for event in tape.events:
        if event.data.get("job_name") != ALL_NAMES:
            continue
        if event.type == EventType.PAUSED:
            since.setdefault(event.queue_name, event.timestamp)
        elif event.type == EventType.RESUMED and event.queue_name in since:
            yield Span(max(begin, since.pop(event.queue_name)), min(end, event.timestamp))
    yield from (Span(max(begin, one), end) for one in since.values() if one < end)
