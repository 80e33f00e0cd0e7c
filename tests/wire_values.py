"""Values of every kind that rows hold, for the tests of how a database keeps them."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from conveyor_nb import Backoff, Deduplication, Group, Keep, Repeat
from conveyor_nb.core.model import (
    AttemptRecord,
    AttemptStatus,
    JobData,
    JobState,
)
from conveyor_nb.core.options.job_options import ChildFailurePolicy, JobOptions
from conveyor_nb.stores.sql.wire import payloads
from conveyor_nb.stores.sql.wire.codec import Codec
from conveyor_nb.stores.sql.wire.instants import to_milliseconds

NOW = datetime(2027, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)
DIALECTS = ("sqlite", "postgres")
JSON_COLUMNS = ("data", "returnvalue", "opts", "logs", "stacktrace", "children_ids", "attempt_logs")


def as_jsonb(text: str | None) -> str | None:
    """What a server gives back of JSON: keys in its order, numbers in its digits."""
    if text is None:
        return None
    assert "\0" not in text
    return _jsonb(json.loads(text, parse_float=Decimal))


def _jsonb(value: Any) -> str:
    if isinstance(value, dict):
        keys = sorted(value, key=lambda key: (len(key.encode()), key.encode()))
        fields = ", ".join(f"{_jsonb(key)}: {_jsonb(value[key])}" for key in keys)
        return "{" + fields + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_jsonb, value)) + "]"
    if isinstance(value, Decimal):
        value = value or abs(value)  # a server knows no minus zero
        return format(value, "f")
    if isinstance(value, str):
        assert "\0" not in value
        value.encode()
        return json.dumps(value, ensure_ascii=False)
    return json.dumps(value)


def kept(codec: Codec, row: Any, columns: Any = Codec.job_columns) -> list[Any]:
    """What a database gives back of a row."""
    if codec.instant is to_milliseconds:
        return list(row)
    names = zip(columns, row, strict=True)
    return [as_jsonb(value) if name in JSON_COLUMNS else value for name, value in names]


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal, and of the same types all the way down."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        if len(one) != len(other):
            return False
        if all(type(key) is str for key in one):
            return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
        return all(same(*pair) for pair in zip(one.items(), other.items(), strict=True))
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(same(*pair) for pair in zip(one, other, strict=True))
    if isinstance(one, (set, frozenset)):
        return len(one) == len(other) and {(type(x), x) for x in one} == {
            (type(x), x) for x in other
        }
    if isinstance(one, float):
        return repr(one) == repr(other)
    if isinstance(one, (datetime, time)):
        return repr(one) == repr(other) and one.fold == other.fold
    if isinstance(one, Decimal):
        return str(one) == str(other)
    return bool(one == other)


zones = st.sampled_from(
    [
        None,
        UTC,
        ZoneInfo("Europe/Paris"),
        timezone(timedelta(hours=-3, minutes=-30)),
        timezone(timedelta(hours=1), "CET"),
    ]
)
hashable = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(alphabet=st.characters(exclude_categories=()))
    | st.binary()
    | st.dates()
    | st.datetimes(timezones=zones, allow_imaginary=False)
    | st.times()
    | st.timedeltas()
    | st.decimals(allow_nan=False)
    | st.uuids(),
    lambda parts: st.tuples(parts, parts) | st.frozensets(parts, max_size=3),
    max_leaves=5,
)
plain_values = st.recursive(
    hashable | st.just(float("nan")) | st.just(Decimal("NaN")),
    lambda parts: (
        st.lists(parts, max_size=4)
        | st.dictionaries(st.text(), parts, max_size=4)
        | st.dictionaries(hashable, parts, max_size=3)
        | st.dictionaries(st.sampled_from(["~tuple", "~", "~dict"]), parts, max_size=1)
        | st.sets(hashable, max_size=3)
        | st.tuples(parts)
        | st.builds(bytearray, st.binary())
    ),
    max_leaves=12,
)


seconds = st.integers(0, 10**6) | st.floats(0, 10**6) | st.floats(1e-6, 1)
positive = st.integers(1, 10**6) | st.floats(1e-3, 10**6)
names = st.text("abcdé😀-:", min_size=1, max_size=8)
keeps = (
    st.booleans()
    | st.builds(Keep, age=seconds)
    | st.builds(Keep, count=st.integers(0, 99))
    | st.builds(Keep, age=seconds, count=st.integers(0, 99))
)
repeats = st.builds(
    Repeat,
    every=positive,
    limit=st.none() | st.integers(1, 9),
    end_date=st.none() | st.datetimes(timezones=st.just(UTC), min_value=datetime(1970, 1, 2)),
) | st.builds(Repeat, cron=st.just("0 9 * * 1-5"), tz=st.none() | st.just("Europe/Paris"))
job_options = st.builds(
    JobOptions,
    attempts=st.integers(1, 9),
    backoff=st.none()
    | st.builds(
        Backoff,
        st.sampled_from(["fixed", "exponential"]),
        seconds,
        jitter=st.sampled_from([None, "full"]),
    ),
    delay=seconds,
    priority=st.integers(-9, 9) | st.floats(-9, 9),
    lifo=st.booleans(),
    timeout=st.none() | positive,
    deduplication=st.none()
    | st.builds(Deduplication, key=names, ttl=st.none() | positive)
    | st.builds(Deduplication, hash=st.just(True), ttl=st.none() | positive),
    job_id=st.none() | names,
    remove_on_complete=keeps,
    remove_on_fail=keeps,
    repeat=st.none() | repeats,
    group=st.none() | st.builds(Group, names, st.none() | st.integers(1, 9)),
    fail_parent_on_child_failure=st.sampled_from(ChildFailurePolicy),
)


instants = st.datetimes(
    datetime(1971, 1, 1), datetime(2109, 1, 1), timezones=st.just(UTC)
) | st.integers(0, 10**9).map(lambda ms: NOW + timedelta(milliseconds=ms))
maybe = st.none() | instants
text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
lines = st.lists(text, max_size=3).map(tuple)


@st.composite
def records(draw: Callable[..., Any], worker: str | None) -> tuple[AttemptRecord, ...]:
    """Attempts that have ended, and one that is open if a worker holds the job."""
    count = draw(st.integers(0 if worker is None else 1, 3))
    made = []
    for number in range(1, count + 1):
        ended = worker is None or number < count
        made.append(
            AttemptRecord(
                number,
                worker if worker and not ended else draw(names),
                draw(instants),
                draw(instants) if ended else None,
                draw(st.sampled_from(AttemptStatus)) if ended else None,
                draw(st.none() | text),
                draw(st.none() | text),
                draw(lines),
                draw(st.booleans()) if ended else False,
            )
        )
    return tuple(made)


@st.composite
def jobs(draw: Callable[..., Any], freeze: Any = payloads.pack) -> JobData:
    state = draw(st.sampled_from(JobState))
    worker = draw(names) if state is JobState.ACTIVE else None
    settled = state in (JobState.COMPLETED, JobState.FAILED)
    return JobData(
        id=draw(names),
        name=draw(text),
        queue_name=draw(names),
        data=freeze(draw(plain_values.filter(lambda value: "nan" not in repr(value).lower())), ""),
        state=state,
        attempts_made=draw(st.integers(0, 9)),
        progress=draw(st.integers(0, 100) | st.floats(0, 100)),
        returnvalue=freeze(draw(st.none() | st.lists(st.integers()) | st.text('a~"')), ""),
        failed_reason=draw(st.none() | text),
        opts=draw(job_options),
        deduplication_key=draw(st.none() | text),
        logs=draw(lines),
        stacktrace=draw(lines),
        created_at=draw(instants),
        processed_at=draw(maybe),
        completed_at=draw(instants) if state is JobState.COMPLETED else draw(maybe),
        failed_at=draw(instants) if state is JobState.FAILED else draw(maybe),
        delay_until=draw(maybe),
        lock_until=draw(instants) if worker else draw(maybe),
        locked_by=worker,
        parent_id=draw(st.none() | names),
        parent_queue_name=draw(st.none() | names),
        pending_children_count=draw(st.integers(0, 9)),
        cancelled_at=draw(maybe) if settled or worker else None,
        group_id=draw(st.none() | names),
        discarded=draw(st.booleans()),
        children_ids=draw(lines),
        attempt_logs=draw(records(worker)),
        priority=draw(st.integers(-9, 9) | st.floats(-9, 9)),
        sequence=draw(st.integers(0, 10**12)),
        scheduler_id=draw(st.none() | names),
        planned_at=draw(maybe),
    )


# -- rows of Conveyor -----------------------------------------------------------------------

HELD = '[{"attempt":1,"startedAt":"2027-01-02T03:04:05.678Z","endedAt":null,"status":"failed",'
HELD += '"error":null,"stacktrace":null,"logs":["on it"]}]'
OURS = '[{"attempt":1,"startedAt":"2027-01-02T03:04:05.678Z","workerId":"w","logs":[]}]'


def original_row(dialect: str = "sqlite", **columns: Any) -> list[Any]:
    """A row that a program of Conveyor has written: it knows no column of ours."""
    at = NOW if dialect == "postgres" else to_milliseconds(NOW)
    row = {
        **dict.fromkeys(Codec.job_columns),
        "id": "a",
        "queue_name": "emails",
        "name": "send",
        "data": '{"to": "ada"}',
        "state": "waiting",
        "attempts_made": 0,
        "progress": 0,
        "opts": '{"attempts": 3}',
        "logs": "[]",
        "stacktrace": "[]",
        "created_at": at,
        "pending_children_count": 0,
        "discarded": False if dialect == "postgres" else 0,
        "children_ids": "[]",
        "attempt_logs": "[]",
        "priority": 0,
        "seq": 7,
        "conveyor_nb_fence": 0,
    }
    row |= {name: at if value is NOW else value for name, value in columns.items()}
    return list(row.values())
