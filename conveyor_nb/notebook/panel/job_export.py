"""Jobs as a file that a page saves: JSON, or CSV for a spreadsheet."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from conveyor_nb.clocks.clock import Clock, checkpoint
from conveyor_nb.core.freezing import peek
from conveyor_nb.core.model import JobData
from conveyor_nb.core.slicing import sliced
from conveyor_nb.core.values.text import one_line
from conveyor_nb.notebook.mistakes import Mistake

__all__ = ["MOST_JOBS", "export", "file_name"]

MOST_JOBS = 10_000
"""So many jobs are put into one file: it goes through the kernel's line to the page."""

_MOST_TEXT = 8_000_000

_FIELDS = (
    *("id", "name", "state", "data", "returnvalue", "failed_reason", "progress", "attempts_made"),
    *("priority", "group_id", "parent_id", "scheduler_id", "created_at", "processed_at"),
    *("completed_at", "failed_at", "delay_until"),
)
_PAYLOADS = frozenset({"data", "returnvalue"})


async def export(jobs: Sequence[JobData], kind: str, clock: Clock) -> str:
    """The jobs as the text of a file, instants as ISO 8601.

    What JSON can't say is written as Python prints it. In CSV a payload is JSON in its cell, and a
    text that a spreadsheet would take for a formula begins with an apostrophe.

    Raises:
        Mistake: there are too many, or the file would be too large.
        ValueError: there is no such kind of file.
    """
    if kind not in ("json", "csv"):
        raise ValueError(f"jobs are exported as json or csv, not {one_line(kind, 60)}")
    if len(jobs) > MOST_JOBS:
        raise Mistake(
            f"a file takes {MOST_JOBS:,} jobs, not {len(jobs):,}: "
            "choose fewer, or take queue.to_frame()"
        )
    parts: list[str] = []
    for some in sliced(jobs):
        parts.append(_lines(some) if kind == "csv" else ",\n".join(map(_object, some)))
        if clock.overdue():
            await checkpoint()
    if kind == "csv":
        text = _csv([_FIELDS]) + "".join(parts)
    else:
        text = "[\n" + ",\n".join(parts) + "\n]\n"
    if len(text) > _MOST_TEXT:
        raise Mistake(
            f"that file would have {len(text):,} characters: choose fewer, or take queue.to_frame()"
        )
    return text


def file_name(queue_name: str, kind: str) -> str:
    """What the file is called.

    >>> file_name("emails/new", "csv")
    'emails-new.csv'
    """
    return f"{re.sub(r'[^A-Za-z0-9._-]+', '-', queue_name)[:60].strip('.-') or 'jobs'}.{kind}"


def _object(job: JobData) -> str:
    values = {field: _value(job, field) for field in _FIELDS}
    return json.dumps(
        {field: json.loads(v) if field in _PAYLOADS else v for field, v in values.items()},
        ensure_ascii=False,
    )


def _lines(jobs: Iterable[JobData]) -> str:
    return _csv([_cell(_value(job, field)) for field in _FIELDS] for job in jobs)


def _csv(rows: Iterable[Sequence[Any]]) -> str:
    file = io.StringIO()
    csv.writer(file).writerows(rows)
    return file.getvalue()


def _cell(value: Any) -> Any:
    """A cell of a spreadsheet, which is data whatever it begins with."""
    if isinstance(value, str) and value[:1] in {"=", "+", "-", "@", "\t", "\r"}:
        return value if _is_number(value) else f"'{value}"
    return value


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _value(job: JobData, field: str) -> Any:
    """A field as JSON has it; a payload as JSON text."""
    if field in _PAYLOADS:
        return _as_json(peek(job, field))
    value = getattr(job, field)
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if field == "state" else value


def _as_json(payload: object) -> str:
    try:
        return json.dumps(payload, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return json.dumps(one_line(payload, 10_000), ensure_ascii=False)
