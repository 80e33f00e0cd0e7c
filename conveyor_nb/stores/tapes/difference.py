"""Where two tapes part, told so that a person understands it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import zip_longest
from typing import Any

from conveyor_nb.core.values.text import inline, one_line
from conveyor_nb.stores.tapes.lines import lines_of
from conveyor_nb.stores.tapes.moments import Taped

__all__ = ["difference_of_lines", "first_difference"]

_MOST = 120
_CONTEXT = 3
"""How many of the last events that are alike are told."""

_FIELDS = {
    "returnvalue": "result",
    "data": "payload",
    "failed_reason": "reason",
    "attempts_made": "count of failed attempts",
    "now": "job",
    "at": "instant",
    "job": "job",
}


def first_difference(this: Taped, other: Taped) -> str | None:
    """What is different first in two tapes; ``None``: nothing is."""
    return difference_of_lines(list(lines_of(this)), list(lines_of(other)))


def difference_of_lines(this: list[str], other: list[str]) -> str | None:
    """What is different first, by the lines of two tapes."""
    if this == other:
        return None
    heads = json.loads(this[0]), json.loads(other[0])
    jobs = heads[0]["jobs"], heads[1]["jobs"]
    started = _different_start(this[1 : jobs[0] + 1], other[1 : jobs[1] + 1])
    if started is None and (begun := _of_heads(*heads, ("queue", "began", "paused", "workers"))):
        started = begun
    if started is not None:
        return f"They begin with something different: {started}"
    events = this[jobs[0] + 1 :], other[jobs[1] + 1 :]
    found = _different_events(*events)
    if found is None:
        return "All events are alike, but " + _of_heads(*heads, heads[0].keys() | heads[1].keys())
    return found


def _of_heads(this: Mapping[str, Any], other: Mapping[str, Any], names: Any) -> str:
    for name in sorted(names):
        here, there = this.get(name), other.get(name)
        if here != there:
            return f"this one has {name} {_value(here)}, and the other {_value(there)}"
    return ""


def _different_start(this: list[str], other: list[str]) -> str | None:
    for here, there in zip_longest(this, other):
        if here == there:
            continue
        mine, theirs = _read(here).get("job", {}), _read(there).get("job", {})
        if mine and theirs and mine["id"] == theirs["id"]:
            return f"job {inline(mine['id'])}: {'; '.join(_told_apart(mine, theirs))}"
        only, whose = (mine, "this one") if mine else (theirs, "the other one")
        return f"only {whose} has job {inline(only['id'])} {inline(only['name'])}, {only['state']}"
    return None


def _different_events(this: list[str], other: list[str]) -> str | None:
    for place, (here, there) in enumerate(zip_longest(this, other)):
        if here == there:
            continue
        mine, theirs = _read(here), _read(there)
        told = [f"Event {place + 1} is different." if place else "The first event is different."]
        told += _alike(this[:place])
        if not mine or not theirs:
            own, whose = (mine, "this tape") if mine else (theirs, "the other tape")
            rest = max(len(this), len(other)) - place
            more = f", and {rest - 1:,} more" if rest > 1 else ""
            told.append(f"  only {whose} goes on: {_event(own)}{more}")
        elif _is_same_event(mine, theirs):
            told.append(f"  both: {_event(mine)}")
            told += [f"    {one}" for one in _parts_told_apart(mine, theirs)]
        else:
            told += [f"  this tape:  {_event(mine)}", f"  the other:  {_event(theirs)}"]
        return "\n".join(told)
    return None


def _read(line: str | None) -> dict[str, Any]:
    """What a line tells; one that there is not tells nothing."""
    told: dict[str, Any] = json.loads(line) if line else {}
    return told


def _alike(lines: list[str]) -> list[str]:
    """The last events that are alike."""
    last = [json.loads(line) for line in lines[-_CONTEXT:]]
    if not last:
        return []
    left = len(lines) - len(last)
    told = [f"  alike: {_event(one)}" for one in last]
    return [f"  ({left:,} earlier ones are alike)", *told] if left else told


def _event(told: Mapping[str, Any]) -> str:
    """An event on one line: when, what, of which job, and what it tells."""
    data = {
        name: value
        for name, value in told.get("data", {}).items()
        if name in ("attempt", "reason", "delay", "progress", "line", "job_name", "delay_until")
    }
    name = told.get("data", {}).get("name")
    whose = " ".join(inline(str(one)) for one in (told.get("job"), name) if one)
    about = ", ".join(f"{key} {one_line(value, 60)}" for key, value in data.items())
    of = f" in {inline(told['queue'])}" if "queue" in told else ""
    at = str(told["at"]).partition("T")[2].rstrip("Z")
    return (
        f"{at} {inline(told['event'])} {whose}".rstrip()
        + (of if not whose else "")
        + (f" ({about})" if about else "")
    )


def _is_same_event(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> bool:
    return all(mine.get(name) == theirs.get(name) for name in ("event", "queue", "job"))


def _parts_told_apart(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    told = []
    if mine["at"] != theirs["at"]:
        told.append(f"in this tape at {mine['at']}, in the other at {theirs['at']}")
    told += _told_apart(mine.get("data", {}), theirs.get("data", {}))
    seen = {name for name in mine.get("data", {}) if name in mine.get("now", {})}
    after = [mine.get("now", {}), theirs.get("now", {})]
    if mine["at"] != theirs["at"]:  # which says it all of the job's instants
        after = [{key: one for key, one in some.items() if not _is_instant(key)} for some in after]
    told += [one for one in _told_apart(*after) if not any(one.startswith(key) for key in seen)]
    return told or ["they differ in what is known of the job before"]


def _is_instant(name: str) -> bool:
    return name.endswith(("_at", "_until")) or name == "attempts"


def _told_apart(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """What two lines tell differently, field by field."""
    return [
        f"{_FIELDS.get(name, name)}: {_value(mine.get(name))} in this tape, "
        f"{_value(theirs.get(name))} in the other"
        for name in dict.fromkeys((*mine, *theirs))
        if mine.get(name) != theirs.get(name)
    ]


def _value(value: Any) -> str:
    return "nothing" if value is None else one_line(repr(value), _MOST)
