"""A job as the line of code that adds one like it."""

from __future__ import annotations

import dataclasses

from conveyor_nb.core.freezing import peek
from conveyor_nb.core.model import JobData
from conveyor_nb.core.options.job_options import JobOptions
from conveyor_nb.core.values.text import fit, one_line

__all__ = ["code_of"]

_MOST_CODE = 6_000
_DEFAULTS = JobOptions()


def code_of(job: JobData) -> str:
    """The ``queue.add(...)`` that makes such a job again, under an id of its own.

    A payload that can't be written down stands there as ``...``, with its name behind it.

    >>> code_of(JobData("emails-1", "send", "emails", {"to": "ada"}, opts=JobOptions(attempts=3)))
    "await queue.add('send', {'to': 'ada'}, attempts=3)"
    """
    data = peek(job, "data")
    parts = [repr(job.name)]
    remark = ""
    if data is not None:
        if _is_literal(data) and len(text := repr(data)) <= _MOST_CODE:
            parts.append(text)
        else:
            parts.append("...")
            remark = f"  # the payload: {one_line(data, 60)}"
    parts += [
        f"{field.name}={getattr(job.opts, field.name)!r}"
        for field in dataclasses.fields(job.opts)
        if field.name != "job_id"
        and getattr(job.opts, field.name) != getattr(_DEFAULTS, field.name)
    ]
    return fit(f"await queue.add({', '.join(parts)}){remark}")


def _is_literal(value: object) -> bool:
    """Whether its repr is code that makes it, and not too much of it."""
    left = 2_000

    def look(value: object, depth: int) -> bool:
        nonlocal left
        left -= 1
        if left < 0 or depth > 20:
            return False
        kind = type(value)
        if kind is dict:
            assert isinstance(value, dict)
            parts = [*value.keys(), *value.values()] if len(value) <= left else [...]
            return all(look(part, depth + 1) for part in parts)
        if kind in (list, tuple, set):
            assert isinstance(value, (list, tuple, set))
            return len(value) <= left and all(look(part, depth + 1) for part in value)
        if kind in (str, bytes):
            assert isinstance(value, (str, bytes))
            return len(value) <= _MOST_CODE
        if kind is int:
            assert isinstance(value, int)
            return value.bit_length() <= 1_000
        if kind is float:
            assert isinstance(value, float)
            return value - value == 0.0  # neither nan nor infinite
        return kind in (bool, type(None))

    return look(value, 0)
