"""What happened between two looks at a queue, instant by instant: for a clock that jumps.

An advance of a virtual clock is over at once. A picture that follows it shows the way there: each
event takes a job to its next place, and the counts with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import chain, groupby
from typing import Any

from msgspec.structs import replace

from conveyor_nb.core.lifecycle import STATE_EVENTS
from conveyor_nb.core.model import EventType, JobData, JobState, StoreEvent
from conveyor_nb.core.worker_info import WorkerInfo
from conveyor_nb.notebook.pictures.belt_state import (
    MOST_DELAYED,
    MOST_ENDED,
    MOST_STATIONS,
    MOST_WAITING,
    BeltState,
    Station,
    worker_by_record,
)

__all__ = ["replay"]

_STATES: Mapping[str, JobState] = {kind: state for state, kind in STATE_EVENTS.items()}


def replay(
    before: BeltState,
    events: Sequence[StoreEvent],
    counts: Mapping[JobState, int],
    most: int = 20,
) -> list[BeltState]:
    """The pictures between ``before`` and now, at most so many.

    Args:
        before: what was shown last.
        events: what has happened since, in order; of very much, the last part.
        counts: how many jobs are in each state after all that, which the pictures lead to.
        most: how many pictures there may be; of more instants some are shown together.
    """
    moments = [list(some) for _, some in groupby(events, key=lambda event: event.timestamp)]
    stride = -(-len(moments) // most) if moments else 1
    scene = _Scene(before, events, counts)
    pictures = []
    for first in range(0, len(moments), stride):
        for event in chain.from_iterable(moments[first : first + stride]):
            scene.take(event)
        pictures.append(scene.picture())
    return pictures


class _Scene:
    """The places of jobs, changed by one event after the other."""

    def __init__(
        self,
        before: BeltState,
        events: Sequence[StoreEvent],
        counts: Mapping[JobState, int],
    ) -> None:
        self._before = before
        self._now = before.now
        # from the end back: the first of the events may not be known
        self._counts = dict(counts)
        for event in events:
            self._count(event, -1)
        self._stations = list(before.stations)
        self._gone: dict[str, WorkerInfo] = {}
        self._places: dict[JobState, list[JobData]] = {
            JobState.WAITING: list(before.coming),
            JobState.DELAYED: list(before.delayed),
            JobState.COMPLETED: list(before.completed),
            JobState.FAILED: list(before.failed),
        }
        self._jobs = {job.id: job for job in self._seen()}
        self._line_up(events)

    def take(self, event: StoreEvent) -> None:
        """Let an event take its job where it goes."""
        self._now = event.timestamp
        if event.job_id is None:
            return
        state = _STATES.get(event.type)
        if event.type == EventType.PROGRESS:
            self._progress(event.job_id, event.data)
        elif state is not None or event.type == EventType.REMOVED:
            self._leave(event.job_id)
            self._count(event, 1)
            if state is not None:
                self._arrive(self._job(event.job_id, state, event), state)

    def picture(self) -> BeltState:
        """The scene as it is now."""
        before, places = self._before, self._places
        return BeltState(
            name=before.name,
            now=self._now,
            counts={state: max(0, count) for state, count in self._counts.items()},
            coming=tuple(places[JobState.WAITING][:MOST_WAITING]),
            delayed=tuple(places[JobState.DELAYED][:MOST_DELAYED]),
            stations=tuple(self._stations),
            more_stations=before.more_stations,
            completed=tuple(places[JobState.COMPLETED][:MOST_ENDED]),
            failed=tuple(places[JobState.FAILED][:MOST_ENDED]),
            paused_names=before.paused_names,
            workers=(*before.workers, *self._gone.values()),
            rate=None,
        )

    def _count(self, event: StoreEvent, sign: int) -> None:
        """Count a job out of the state that it has left, and into the one that it came to."""
        state = _STATES.get(event.type)
        if state is None and event.type != EventType.REMOVED:
            return
        previous = event.data.get("previous")
        if previous in self._counts:
            self._counts[JobState(previous)] -= sign
        if state is not None:
            self._counts[state] += sign

    def _seen(self) -> Iterator[JobData]:
        yield from chain.from_iterable(self._places.values())
        yield from (station.job for station in self._stations if station.job is not None)

    def _line_up(self, events: Sequence[StoreEvent]) -> None:
        """Let those that will start, and have waited out of sight, wait behind those seen."""
        told: set[str] = set(self._jobs)
        for event in events:
            if event.job_id is None or event.job_id in told:
                continue
            told.add(event.job_id)
            if event.type == EventType.ACTIVE:
                job = self._job(event.job_id, JobState.WAITING, event)
                self._places[JobState.WAITING].append(job)

    def _job(self, job_id: str, state: JobState, event: StoreEvent) -> JobData:
        job = self._jobs.get(job_id) or JobData(
            job_id, str(event.data.get("name", "")), event.queue_name
        )
        fresh: dict[str, Any] = {"state": state}
        if state is JobState.ACTIVE:
            worker = event.data.get("worker_id")
            fresh |= {"processed_at": event.timestamp, "locked_by": worker, "progress": 0}
        elif state is JobState.DELAYED:
            until = event.data.get("delay_until")
            known = isinstance(until, datetime)
            fresh["delay_until"] = until if known else event.timestamp + timedelta(seconds=1)
            if event.data.get("previous") == JobState.ACTIVE:
                fresh["attempts_made"] = job.attempts_made + 1
        self._jobs[job_id] = job = replace(job, **fresh)
        return job

    def _progress(self, job_id: str, data: Mapping[str, Any]) -> None:
        for place, station in enumerate(self._stations):
            if station.job is not None and station.job.id == job_id:
                progress = float(data.get("progress", 0))
                self._stations[place] = Station(
                    station.worker, replace(station.job, progress=progress)
                )

    def _leave(self, job_id: str) -> None:
        for jobs in self._places.values():
            jobs[:] = [job for job in jobs if job.id != job_id]
        self._stations = [
            Station(station.worker) if station.job and station.job.id == job_id else station
            for station in self._stations
        ]

    def _arrive(self, job: JobData, state: JobState) -> None:
        if state is JobState.ACTIVE:
            for place, station in enumerate(self._stations):
                worker = station.worker
                if station.job is None and worker is not None and worker.id == job.locked_by:
                    self._stations[place] = Station(worker, job)
                    return
            self._arrive_at_gone(job)
        elif state in (JobState.COMPLETED, JobState.FAILED):
            self._places[state].insert(0, job)
        elif state in self._places:
            self._places[state].append(job)

    def _arrive_at_gone(self, job: JobData) -> None:
        """Show a job with its worker though that is closed by now; with no slot too many."""
        whose = job.locked_by
        if whose is None or any(one.id == whose for one in self._before.workers):
            return
        slots = sum(one.worker is not None and one.worker.id == whose for one in self._stations)
        self._gone[whose] = worker_by_record(whose, job.queue_name, self._now, slots + 1)
        if len(self._stations) < MOST_STATIONS:
            self._stations.append(Station(self._gone[whose], job))
