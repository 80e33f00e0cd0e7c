"""The lines that a worker process writes: one for each thing that happened, for people or as JSON.

They go to the standard error, so that what handlers print stays apart.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from typing import Any

from conveyor_nb.core.event_words import event_text
from conveyor_nb.core.model import EventType, StoreEvent
from conveyor_nb.core.values.durations import format_seconds
from conveyor_nb.core.values.text import fit, inline, one_line

__all__ = ["Journal", "Records", "Writer", "writer_of"]

Writer = Callable[[datetime, str, Mapping[str, Any], str], None]
"""Writes one line: when, what happened, the facts about it, and these in words."""

_TOLD = frozenset(
    {
        EventType.COMPLETED,
        EventType.FAILED,
        EventType.RETRYING,
        EventType.STALLED,
        EventType.HELD,
        EventType.FREED,
        EventType.ERROR,
        EventType.WORKER_STARTED,
        EventType.WORKER_PAUSED,
        EventType.WORKER_CLOSED,
        EventType.WORKER_COMMANDED,
    }
)
_ENDS = frozenset({EventType.COMPLETED, EventType.FAILED, EventType.RETRYING})
_GIVEN_BACK = frozenset({EventType.WAITING, EventType.DELAYED})
_OF_ALL = frozenset({EventType.STALLED, EventType.ERROR})
"""What is told whoever's worker it is about: nobody else may be there to tell it."""


def writer_of(log: str) -> Writer:
    """What writes lines as they were asked for, ``"text"`` or ``"json"``."""
    return _write_json if log == "json" else _write_text


def _write_text(when: datetime, what: str, facts: Mapping[str, Any], words: str) -> None:
    keys = ("queue", "name", "job") if facts.get("job") else ("queue", "worker")
    about = " ".join(inline(str(facts[key])) for key in keys if facts.get(key))
    took = facts.get("seconds")
    told = [fit(words), "" if took is None else f"({format_seconds(round(took, 4))})"]
    line = f"{when.astimezone():%H:%M:%S} {what:<10} {about}  {' '.join(filter(None, told))}"
    print(line.rstrip(), file=sys.stderr, flush=True)


def _write_json(when: datetime, what: str, facts: Mapping[str, Any], words: str) -> None:
    told = {"time": when.isoformat(), "event": what, **facts, "text": words}
    given = {key: value for key, value in told.items() if value not in (None, "")}
    print(json.dumps(given, default=str), file=sys.stderr, flush=True)


class Journal:
    """Writes what happens to the jobs of some workers, and counts it for whoever asks.

    Args:
        write: writes a line.
        workers: the ids of the workers, which may grow.
        on_end: called with the queue, the outcome and the seconds of each attempt that ends.
    """

    def __init__(
        self,
        write: Writer,
        workers: Collection[str],
        on_end: Callable[[str, str, float | None], None] = lambda *_: None,
    ) -> None:
        self._write = write
        self._workers = workers
        self._on_end = on_end
        self._began: dict[tuple[str, str | None], datetime] = {}

    def note(self, event: StoreEvent) -> None:
        """Take note of an event."""
        is_ours = event.data.get("worker_id") in self._workers
        seconds = self._seconds(event) if is_ours else None
        if event.type not in _TOLD or not (is_ours or event.type in _OF_ALL):
            return
        what = event.type.partition(":")[2]
        if event.type in _ENDS:
            self._on_end(event.queue_name, what, seconds)
        name = event.data.get("name", "")
        words = event_text(event).removeprefix(name).removeprefix(" · ")
        facts = {
            "queue": event.queue_name,
            "job": event.job_id,
            "name": name if event.job_id else None,
            "worker": event.data.get("worker_id"),
            "seconds": seconds,
        }
        self._write(event.timestamp, what, facts, words)

    def _seconds(self, event: StoreEvent) -> float | None:
        """How long an attempt took, if this is its end."""
        key = (event.queue_name, event.job_id)
        if event.type == EventType.ACTIVE:
            self._began[key] = event.timestamp
        elif event.type in _ENDS or event.type in _GIVEN_BACK:
            began = self._began.pop(key, None)
            if began is not None and event.type in _ENDS:
                return (event.timestamp - began).total_seconds()
        return None


class Records(logging.Handler):
    """Writes what is logged in the same lines."""

    def __init__(self, write: Writer) -> None:
        super().__init__()
        self._write = write

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record, with its traceback if it has one."""
        when = datetime.fromtimestamp(record.created, UTC)
        words = one_line(record.getMessage(), 1_000)
        if record.exc_info is not None and record.exc_info[0] is not None:
            words = f"{words}\n{logging.Formatter().formatException(record.exc_info)}"
        self._write(when, record.levelname.lower(), {}, words)
