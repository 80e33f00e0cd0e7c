"""A tape as a sequence diagram for Mermaid, which JupyterLab, GitHub and others draw."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from conveyor_nb.core.model import ALL_NAMES, EventType, StoreEvent
from conveyor_nb.core.values.checks import check_count
from conveyor_nb.core.values.durations import format_seconds
from conveyor_nb.core.values.text import fit, one_line
from conveyor_nb.stores.tapes.moments import Moment, Taped

__all__ = ["sequence_diagram"]

_SPECIAL = re.compile(r"[#;<>{}\[\]\"%]")
_MOST_WORKERS = 12


def sequence_diagram(tape: Taped, limit: int) -> str:
    r"""The diagram: the queues and the slots of workers, and an arrow for each way of a job.

    >>> from datetime import UTC, datetime
    >>> from conveyor_nb.stores.tapes.tape import Tape
    >>> print(sequence_diagram(Tape("emails", datetime(2027, 1, 1, tzinfo=UTC)), 10))
    sequenceDiagram
        participant you as your code
        participant q1 as emails
        Note over you,q1: nothing happened
    """
    return _Diagram(tape, check_count(limit, what="limit")).whole()


class _Diagram:
    def __init__(self, tape: Taped, limit: int) -> None:
        self._tape = tape
        self._limit = limit
        self._queues: dict[str, str] = {}
        self._slots: dict[tuple[str, int | None], str] = {}
        self._at: dict[tuple[str, str], str] = {}
        """In whose hands each job is that is active."""

    def whole(self) -> str:
        if self._tape.queue_name is not None:
            self._queue(self._tape.queue_name)
        told: list[str] = []
        left = 0
        for moment in self._tape.moments:
            lines = list(self._told(moment))
            if len(told) + len(lines) > self._limit or left:
                left += bool(lines)
            else:
                told += lines
        left += self._tape.left_out
        if not self._queues:
            self._queue("no queue")
        head = ["participant you as your code"]
        head += [f"participant {one} as {_safe(name, 30)}" for name, one in self._queues.items()]
        for (worker, slot), one in self._slots.items():
            called = _safe(self._tape.workers.get(worker, worker), 30)
            head.append(f"participant {one} as {called}{f' slot {slot}' if slot else ''}")
        over = f"Note over you,{next(reversed(self._queues.values()))}: "
        if left:
            told.append(f"{over}{left:,} more {'event' if left == 1 else 'events'} left out")
        if not told:
            told.append(f"{over}nothing happened")
        return "\n".join(["sequenceDiagram", *(f"    {line}" for line in (*head, *told))])

    def _queue(self, name: str) -> str:
        return self._queues.setdefault(name, f"q{len(self._queues) + 1}")

    def _slot(self, moment: Moment) -> str:
        job, event = moment.job, moment.event
        slot = job.attempt_logs[-1].slot if job is not None and job.attempt_logs else None
        key = (str(event.data.get("worker_id")), slot)
        if key not in self._slots and len(self._slots) >= _MOST_WORKERS:
            return self._slots.setdefault(("other slots", None), f"s{_MOST_WORKERS + 1}")
        return self._slots.setdefault(key, f"s{len(self._slots) + 1}")

    def _told(self, moment: Moment) -> Iterator[str]:
        event = moment.event
        if event.job_id is None:
            if (note := _of_queue(event)) is not None:
                yield f"Note over {self._queue(event.queue_name)}: {note}"
            return
        key = (event.queue_name, event.job_id)
        queue, job = self._queue(event.queue_name), _safe(event.job_id, 40)
        data = event.data
        name = _safe(data.get("name", ""), 30)
        is_new = "previous" in data and data["previous"] is None
        match event.type:
            case EventType.WAITING | EventType.DELAYED | EventType.WAITING_CHILDREN if is_new:
                what = {
                    EventType.WAITING: "",
                    EventType.DELAYED: " for later",
                    EventType.WAITING_CHILDREN: ", after its children",
                }[EventType(event.type)]
                yield f"you->>{queue}: add {job} {name}{what}"
            case EventType.ACTIVE:
                slot = self._at[key] = self._slot(moment)
                again = f", attempt {data['attempt']}" if data.get("attempt", 1) > 1 else ""
                yield f"{queue}->>{slot}: {job}{again}"
            case EventType.COMPLETED if key in self._at:
                yield f"{self._at.pop(key)}-->>{queue}: {job} completed"
            case EventType.FAILED if key in self._at:
                yield f"{self._at.pop(key)}--x{queue}: {job} failed: {_reason(data)}"
            case EventType.FAILED:
                yield f"Note over {queue}: {job} failed: {_reason(data)}"
            case EventType.RETRYING if key in self._at:
                yield f"{self._at.pop(key)}--x{queue}: {job} failed: {_reason(data)}"
                when = f"in {format_seconds(data['delay'])}" if data.get("delay") else "at once"
                yield f"Note over {queue}: {job} again {when}"
            case EventType.STALLED:
                yield f"Note over {self._at.pop(key, queue)}: {job} stalled"
            case EventType.CANCELLED:
                yield f"you->>{queue}: cancel {job}"
            case EventType.WAITING | EventType.DELAYED if key in self._at:
                yield f"{self._at.pop(key)}-->>{queue}: {job} put back"
            case EventType.WAITING if data.get("previous") == "waiting-children":
                yield f"Note over {queue}: the children of {job} are done"


def _of_queue(event: StoreEvent) -> str | None:
    if event.type in (EventType.PAUSED, EventType.RESUMED):
        what = "paused" if event.type == EventType.PAUSED else "resumed"
        name = event.data.get("job_name")
        return what if name == ALL_NAMES else f"{_safe(name, 30)} {what}"
    return None


def _reason(data: Mapping[str, object]) -> str:
    return _safe(data.get("reason", ""), 60)


def _safe(text: object, most: int) -> str:
    """Other people's text where Mermaid takes some characters for its own."""
    return _SPECIAL.sub(lambda found: f"#{ord(found[0])};", fit(one_line(text, most)))
