"""A timeline in the format of Chrome's tracing, which Perfetto opens."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from typing import Any

from conveyor_nb.core.model import JobData
from conveyor_nb.core.values.text import encodable, one_line
from conveyor_nb.notebook.pictures.timeline_state import Bar, TimelineState

__all__ = ["chrome_trace"]

Event = dict[str, Any]

_LIVES = 1
"""The process in which the lives of jobs are shown; those of workers follow."""


def chrome_trace(state: TimelineState) -> dict[str, Any]:
    """The attempts as trace events: a process for each worker, a thread for each slot.

    Times are in microseconds from the first event on, whose instant ``otherData`` tells. An arrow
    leads from an attempt to the next one of its job. Beside them is the life of each job, from its
    being added to its end, as an asynchronous slice.
    """
    return _Trace(state).whole() if state.bars else _file([], state.name, state.begin)


class _Trace:
    """The trace of a timeline that shows something."""

    def __init__(self, state: TimelineState) -> None:
        self.state = state
        jobs = {(bar.job.queue_name, bar.job.id): bar.job for bar in state.bars}
        self.jobs = list(jobs.values())
        self.begin = min(state.begin, *(job.created_at for job in self.jobs))
        self.pids: dict[str, int] = {}
        for lane in state.lanes:
            self.pids.setdefault(lane.worker_id, _LIVES + 1 + len(self.pids))

    def whole(self) -> dict[str, Any]:
        """All events. Those at the same instant are read in their order.

        So an arrow stands behind the slice that it belongs to: a reader takes the last one.
        """
        arrows: dict[int, list[Event]] = defaultdict(list)
        for number, (before, after) in enumerate(self.state.retries(), 1):
            arrows[id(after)].insert(0, self._arrow(number, after, is_end=True))
            arrows[id(before)].append(self._arrow(number, before, is_end=False))
        events = [*self._names(), *self._lives()]
        for bar in self.state.bars:
            events += [self._slice(bar), *arrows[id(bar)]]
        return _file(events, self.state.name, self.begin)

    def _names(self) -> list[Event]:
        jobs = f"jobs of queue {one_line(self.state.name, 80)}"
        events = [_named("process_name", jobs, pid=_LIVES, tid=0)]
        for place, lane in enumerate(self.state.lanes):
            where = self._where(place)
            if lane.slot == 1:
                events.append(
                    _named("process_name", f"worker {one_line(lane.worker, 80)}", **where)
                )
            events.append(_named("thread_name", f"slot {lane.slot}", **where))
        return events

    def _lives(self) -> list[Event]:
        events = []
        for number, job in enumerate(self.jobs, 1):
            life = {"name": encodable(job.name), "cat": "job", "id": number, "pid": _LIVES}
            told = {"job": encodable(job.id), "state": str(job.state)}
            begin, end = self._at(job.created_at), self._at(self._end_of(job))
            events.append({**life, "ph": "b", "ts": begin, "tid": 0, "args": told})
            events.append({**life, "ph": "e", "ts": max(begin, end), "tid": 0})
        return events

    def _slice(self, bar: Bar) -> Event:
        told = {
            "job": encodable(bar.job.id),
            "attempt": bar.record.attempt,
            "outcome": bar.outcome,
        }
        if bar.record.error:
            told["error"] = encodable(bar.record.error)
        return {
            "name": encodable(bar.job.name),
            "cat": bar.outcome,
            "ph": "X",
            "ts": self._at(bar.start),
            "dur": round(bar.took * 1e6, 3),
            **self._where(bar.lane),
            "args": told,
        }

    def _arrow(self, number: int, bar: Bar, *, is_end: bool) -> Event:
        """The begin of an arrow in the bar from which it leads, or its end where it leads to."""
        link = {"name": "again", "cat": "again", "id": number, **self._where(bar.lane)}
        if is_end:
            return {**link, "ph": "f", "bp": "e", "ts": self._at(bar.start)}
        # it begins within the bar: at its end, it would belong to the next one there
        at = max(self._at(bar.start), round(self._at(bar.end) - 0.001, 3))
        return {**link, "ph": "s", "ts": at}

    def _at(self, instant: datetime) -> float:
        return round((instant - self.begin).total_seconds() * 1e6, 3)

    def _where(self, place: int) -> dict[str, int]:
        """The process and the thread of a lane; Perfetto takes a thread's number for its alone."""
        pid = self.pids[self.state.lanes[place].worker_id]
        return {"pid": pid, "tid": _LIVES + len(self.pids) + 1 + place}

    def _end_of(self, job: JobData) -> datetime:
        return job.completed_at or job.failed_at or self.state.now


def _named(kind: str, name: str, *, pid: int, tid: int) -> Event:
    return {"name": kind, "ph": "M", "pid": pid, "tid": tid, "args": {"name": name}}


def _file(events: list[Event], name: str, begin: datetime) -> dict[str, Any]:
    return {
        "traceEvents": events,
        "displayTimeUnit": "ms",
        "otherData": {"queue": encodable(name), "begin": begin.isoformat()},
    }
