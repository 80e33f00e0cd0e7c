"""What is said of an event, besides whose it is."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from conveyor_nb.core.locks import STILL_AT_WORK
from conveyor_nb.core.model import ALL_NAMES, EventType, StoreEvent
from conveyor_nb.core.values.durations import format_seconds
from conveyor_nb.core.values.text import one_line
from conveyor_nb.core.worker_info import WorkerCommand

__all__ = ["event_text"]


def event_text(event: StoreEvent) -> str:
    """What an event tells, on one line, besides whose it is."""
    if (describe := _TEXTS.get(event.type)) is not None:
        with contextlib.suppress(TypeError, ValueError):  # it was published by hand
            return one_line(describe(event.data))
    told = {key: value for key, value in event.data.items() if key not in _SAID_ELSEWHERE}
    parts = [f"{one_line(key, 40)}: {one_line(value, 60)}" for key, value in told.items()]
    return one_line(", ".join(parts))


_SAID_ELSEWHERE = frozenset({"previous", "worker_id", "name"})


def _name(data: Mapping[str, Any]) -> str:
    return str(data.get("name", ""))


def _named(*parts: str) -> str:
    return " · ".join(part for part in parts if part)


def _retrying(data: Mapping[str, Any]) -> str:
    delay = data.get("delay", "")  # a job's record does not tell it
    when = f"in {format_seconds(delay)}" if delay else "at once" if delay != "" else ""
    return _named(when, str(data.get("reason", "")))


def _told(data: Mapping[str, Any]) -> str:
    command = WorkerCommand(data.get("status"), data.get("concurrency"))
    return f"told to {command}" if command else "what it was told holds no more"


def _delayed(data: Mapping[str, Any]) -> str:
    until = data.get("delay_until")
    due = f"due {until:%H:%M:%S} UTC" if isinstance(until, datetime) else ""
    return _named(_name(data), due, str(data.get("reason", "")))


_TEXTS: Mapping[str, Callable[[Mapping[str, Any]], object]] = {
    EventType.WAITING: lambda data: _named(_name(data), str(data.get("reason", ""))),
    EventType.WAITING_CHILDREN: _name,
    EventType.REMOVED: _name,
    EventType.CANCELLED: _name,
    EventType.DELAYED: _delayed,
    EventType.ACTIVE: lambda data: _named(_name(data), f"attempt {data.get('attempt', '?')}"),
    EventType.COMPLETED: _name,
    EventType.FAILED: lambda data: _named(_name(data), str(data.get("reason", ""))),
    EventType.PROGRESS: lambda data: f"{data.get('progress', 0):g} %",
    EventType.LOG: lambda data: data.get("line", "cleared"),
    EventType.RETRYING: _retrying,
    EventType.STALLED: lambda data: data.get("reason", ""),
    EventType.HELD: lambda data: f"{data.get('reason', '')}; {STILL_AT_WORK}",
    EventType.FREED: lambda _: "its handler has returned",
    EventType.PAUSED: lambda data: _paused_name(data),
    EventType.RESUMED: lambda data: _paused_name(data),
    EventType.ERROR: lambda data: data.get("error", ""),
    EventType.MISSED: lambda data: f"{data.get('missed') or ''} more, not told one by one".strip(),
    EventType.WORKER_STARTED: _name,
    EventType.WORKER_PAUSED: _name,
    EventType.WORKER_CLOSED: _name,
    EventType.WORKER_COMMANDED: lambda data: _named(_name(data), _told(data)),
}


def _paused_name(data: Mapping[str, Any]) -> str:
    name = str(data.get("job_name", ""))
    return "all jobs" if name == ALL_NAMES else f"jobs named {name}"
