"""A timeline in the format of Chrome's tracing, which Perfetto opens."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from conveyor_nb.core.values.text import encodable, one_line
from conveyor_nb.notebook.pictures.timeline_state import Bar, TimelineState

__all__ = ["chrome_trace"]


def chrome_trace(state: TimelineState) -> dict[str, Any]:
    """The attempts as trace events: a process for each worker, a thread for each slot.

    Times are in microseconds from the begin of the timeline, which ``otherData`` tells. An arrow
    leads from an attempt to the next one of its job.
    """
    pids: dict[str, int] = {}
    events: list[dict[str, Any]] = []
    for lane in state.lanes:
        pid = pids.setdefault(lane.worker_id, len(pids) + 1)
        where = {"ph": "M", "pid": pid, "tid": lane.slot}
        if lane.slot == 1:
            worker = {"name": f"worker {one_line(lane.worker, 80)}"}
            events.append({"name": "process_name", **where, "args": worker})
        events.append({"name": "thread_name", **where, "args": {"name": f"slot {lane.slot}"}})

    def at(instant: datetime) -> float:
        return round((instant - state.begin).total_seconds() * 1e6, 3)

    def where_of(bar: Bar) -> dict[str, int]:
        lane = state.lanes[bar.lane]
        return {"pid": pids[lane.worker_id], "tid": lane.slot}

    for bar in state.bars:
        told = {"job": bar.job.id, "attempt": bar.record.attempt, "outcome": bar.outcome}
        if bar.record.error:
            told["error"] = encodable(bar.record.error)
        events.append(
            {
                "name": encodable(bar.job.name),
                "cat": bar.outcome,
                "ph": "X",
                "ts": at(bar.start),
                "dur": round(bar.took * 1e6, 3),
                **where_of(bar),
                "args": told,
            }
        )
    for number, (before, after) in enumerate(state.retries(), 1):
        link = {"name": "retry", "cat": "retry", "id": number}
        # the arrow begins within the bar: at its end, it would belong to the next one there
        ends = max(at(before.start), at(before.end) - 0.001)
        events.append({**link, "ph": "s", "ts": ends, **where_of(before)})
        events.append({**link, "ph": "f", "bp": "e", "ts": at(after.start), **where_of(after)})
    return {
        "traceEvents": events,
        "displayTimeUnit": "ms",
        "otherData": {"queue": encodable(state.name), "begin": state.begin.isoformat()},
    }
