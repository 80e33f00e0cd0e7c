"""Jobs, options, payloads and events as a database holds them, there and back."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from conveyor_nb import Backoff, Deduplication, Group, Keep, PayloadError, Repeat
from conveyor_nb.core import freezing
from conveyor_nb.core.errors import UnreadablePayloadError, UnsupportedError
from conveyor_nb.core.event_data import EVENT_DATA
from conveyor_nb.core.job_scheduler import JobScheduler
from conveyor_nb.core.model import (
    AttemptRecord,
    AttemptStatus,
    EventType,
    JobData,
    JobState,
    StoreEvent,
)
from conveyor_nb.core.options.job_options import ChildFailurePolicy, JobOptions
from conveyor_nb.core.rows import ChildRow
from conveyor_nb.core.worker_info import WorkerInfo, WorkerStatus
from conveyor_nb.stores.sql.wire import attempts, exact, options, payloads
from conveyor_nb.stores.sql.wire.codec import Codec, codec_for
from conveyor_nb.stores.sql.wire.events import (
    MOST_BYTES,
    channel_of,
    from_events,
    from_notice,
    from_notification,
    to_events,
    to_notices,
    to_notification,
    with_row,
)
from conveyor_nb.stores.sql.wire.instants import from_milliseconds, to_milliseconds
from conveyor_nb.testing.events import fault_of_data

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


# -- payloads -------------------------------------------------------------------------------

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


@pytest.mark.parametrize("dialect", DIALECTS)
@settings(deadline=None)
@given(value=plain_values)
def test_plain_values_come_back_as_they_were(dialect: str, value: Any) -> None:
    codec = codec_for(dialect)
    job = JobData("a", "send", "emails", codec.freeze(value, "data"), created_at=NOW)
    back = codec.job(kept(codec, codec.new_row(job)))
    assert same(back.data, value)
    nan = "nan" in repr(value).lower()  # which differs from itself
    assert nan or back == job


@settings(deadline=None)
@given(value=plain_values)
def test_what_stands_in_for_a_value_is_json_that_a_server_takes(value: Any) -> None:
    text, beside = payloads.to_json(payloads.pack(value, "data"))
    assert as_jsonb(text) is not None
    assert (beside is None) == exact.is_json(value)


@settings(deadline=None)
@given(value=plain_values)
def test_a_value_is_read_from_its_encoding_alone(value: Any) -> None:
    assert same(exact.decode(exact.encode(value, "data")), value)


@pytest.mark.parametrize("value", [None, True, 0, -7, 1.5, "", "text", "é😀"])
def test_a_plain_scalar_is_kept_as_it_is(value: Any) -> None:
    assert payloads.pack(value, "data") is value


def test_what_a_store_keeps_can_not_be_reached() -> None:
    mine: dict[str, Any] = {"to": ["ada"], "at": (1, [2])}
    packed = payloads.pack(mine, "data")
    mine["to"].append("eve")
    read = packed.decode()
    read["at"][1].append(3)
    assert packed.decode() == {"to": ["ada"], "at": (1, [2])}
    assert payloads.pack(packed, "data") is packed
    assert freezing.thaw(freezing.freeze(packed, "data")) == packed.decode()  # in another store
    assert payloads.pack(freezing.freeze([1], "data"), "data").decode() == [1]


class Table:
    def __init__(self, rows: Any) -> None:
        self.rows = rows

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Table) and other.rows == self.rows

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<Table of {self.rows!r}>"


def iter_nothing() -> Iterator[int]:
    yield from ()


class Name(str):
    __slots__ = ()


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (Table(1), "data is a Table"),
        ({"a": [1, {"b": Table(1)}]}, r"data\['a'\]\[1\]\['b'\] is a Table"),
        ((1, Name("ada")), r"data\[1\] is a Name"),
        ({(1, Table): 2}, r"a key of data\[1\] is a type"),
        (10**4_001, "data is a int, .* more than 4,000 digits"),
        (datetime(2027, 1, 1, tzinfo=None).astimezone, "data is a builtin_function_or_method"),
    ],
)
def test_what_is_no_plain_value_is_refused_by_its_path(value: Any, path: str) -> None:
    with pytest.raises(PayloadError, match=path + r".*payloads='pickle'"):
        payloads.pack(value, "data")


def test_a_value_in_itself_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(PayloadError, match="nested too deeply"):
        payloads.pack(loop, "data")


def test_pickles_are_made_and_read_by_choice_alone() -> None:
    pickling, plain = codec_for("sqlite", "pickle"), codec_for("sqlite")
    job = JobData("a", "send", "emails", pickling.freeze({"t": Table([1])}, "data"))
    row = pickling.new_row(job)
    assert pickling.job(row).data == {"t": Table([1])}
    stand_in = {"python": "builtins.dict", "text": "{'t': <Table of [1]>}"}
    assert plain.job(row).data == stand_in
    assert json.loads(row[Codec.job_columns.index("data")]) == stand_in
    # plain values are written alike by both
    assert pickling.freeze((1,), "data") == plain.freeze((1,), "data")
    with pytest.raises(PayloadError, match=r"data\.rows is a generator"):
        pickling.freeze(Table(iter_nothing()), "data")


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("value", [(1, 2), Table(3), float("nan"), {1: "x"}])
def test_json_that_others_wrote_since_is_what_counts(dialect: str, value: Any) -> None:
    codec = codec_for(dialect, "pickle")
    job = JobData("a", "send", "emails", codec.freeze({"v": value}, "data"), created_at=NOW)
    row = codec.new_row(job)
    place = Codec.job_columns.index("data")
    row = [*row[:place], '{"v":[1,3]}', *row[place + 1 :]]
    assert codec.job(row).data == {"v": [1, 3]}


@pytest.mark.parametrize(
    ("value", "rewritten"),
    [
        ({"n": 1e22, "t": (1, 2.0)}, '{"t":[1,2],"n":1e+22}'),
        ({"n": 2**70, "t": (1,)}, '{"n":1180591620717411300000,"t":[1]}'),
        ({"n": -0.0, "t": (0.1,)}, '{"n":0,"t":[0.1]}'),
    ],
)
def test_json_that_says_the_same_in_other_words_changes_nothing(value: Any, rewritten: str) -> None:
    packed = payloads.pack(value, "data")
    again = payloads.Packed(rewritten, packed.beside)
    assert same(again.decode(), value)


def test_text_is_json_in_json_on_a_server_as_conveyor_reads_it_once_more() -> None:
    codec = codec_for("postgres")
    row = dict(
        zip(
            Codec.job_columns,
            codec.new_row(JobData("a", "send", "emails", "ok", returnvalue='"q"')),
            strict=True,
        )
    )
    assert json.loads(json.loads(row["data"])) == "ok"
    assert json.loads(json.loads(row["returnvalue"])) == '"q"'
    file = codec_for("sqlite").new_row(JobData("a", "send", "emails", "ok"))
    assert file[Codec.job_columns.index("data")] == '"ok"'


def test_an_unreadable_payload_is_so_when_it_is_read() -> None:
    codec = codec_for("sqlite")
    row = original_row(data="{oops", returnvalue="oops")
    job = codec.job(row)
    with pytest.raises(UnreadablePayloadError, match="data of job 'a'"):
        _ = job.data
    with pytest.raises(UnreadablePayloadError, match="returnvalue of job 'a'"):
        _ = job.returnvalue
    odd = payloads.pack((1,), "data")
    with pytest.raises(ValueError, match="plain types"):
        payloads.Packed(odd.json, odd.beside[:13] + b'{"~gone":1}').decode()


# -- options --------------------------------------------------------------------------------

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
    backoff=st.none() | st.builds(Backoff, st.sampled_from(["fixed", "exponential"]), seconds),
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


@settings(deadline=None)
@given(opts=job_options)
def test_options_come_back_as_they_were(opts: JobOptions) -> None:
    text = options.from_options(opts)
    assert options.to_options(text) == opts
    assert options.to_options(as_jsonb(text)) == opts


def test_options_are_written_in_the_words_of_conveyor() -> None:
    opts = JobOptions(
        attempts=3,
        backoff=Backoff("exponential", "1s"),
        delay="5 minutes",
        priority=-1,
        lifo=True,
        timeout=30,
        deduplication=Deduplication(key="k", ttl="1 day"),
        job_id="mine",
        remove_on_complete="1 hour",
        remove_on_fail=Keep(age=60, count=5),
        group=Group("g", 2),
        fail_parent_on_child_failure="remove",
    )
    assert json.loads(options.from_options(opts)) == {
        "attempts": 3,
        "backoff": {"type": "exponential", "delay": 1000},
        "delay": 300_000,
        "priority": -1,
        "lifo": True,
        "timeout": 30_000,
        "deduplication": {"key": "k", "ttl": 86_400_000},
        "jobId": "mine",
        "removeOnComplete": 3_600_000,
        "failParentOnChildFailure": "remove",
        "group": {"id": "g", "maxSize": 2},
        "conveyor_nb": {"removeOnFail": {"age": 60_000, "count": 5}},
    }
    assert options.from_options(JobOptions()) == "{}"
    assert json.loads(options.from_options(JobOptions(remove_on_complete=True))) == {
        "removeOnComplete": True
    }


@pytest.mark.parametrize(
    ("written", "opts"),
    [
        ({"delay": "5 minutes"}, JobOptions(delay=300)),
        ({"delay": "1.5h", "attempts": 3}, JobOptions(delay=5_400, attempts=3)),
        ({"repeat": {"every": "10s", "limit": 4}}, JobOptions(repeat=Repeat(10, limit=4))),
        (
            {"repeat": {"cron": "0 9 * * *", "startDate": "2027-01-02T03:04:05.678Z", "tz": "UTC"}},
            JobOptions(repeat=Repeat(cron="0 9 * * *", start_date=NOW, tz="UTC")),
        ),
        ({"backoff": {"type": "custom", "delay": 250}}, JobOptions(backoff=0.25)),
        ({"backoff": {"type": "fixed"}}, JobOptions(backoff=0)),
        ({"deduplication": {"hash": True}}, JobOptions(deduplication=Deduplication(hash=True))),
        (
            {"deduplication": {"hash": True, "key": "k"}},
            JobOptions(deduplication=Deduplication(key="k")),
        ),
        ({"removeOnFail": False, "removeOnComplete": True}, JobOptions(remove_on_complete=True)),
        ({"removeOnComplete": 60_000}, JobOptions(remove_on_complete="1m")),
        ({"unknown": {"deep": 1}, "priority": 2}, JobOptions(priority=2)),
        # what can't be read counts as not given, and hides nothing else
        ({"attempts": 0, "delay": "soon", "timeout": 0, "lifo": True}, JobOptions(lifo=True)),
        ({"repeat": {"cron": "never"}, "group": {}, "backoff": []}, JobOptions()),
        ({"deduplication": {}, "removeOnFail": "x", "jobId": 7, "priority": None}, JobOptions()),
        ({"failParentOnChildFailure": "explode", "conveyor_nb": 1}, JobOptions()),
        (["no", "options"], JobOptions()),
    ],
)
def test_options_of_others_are_read_as_well_as_can_be(written: Any, opts: JobOptions) -> None:
    assert options.to_options(json.dumps(written)) == opts


def test_options_that_are_no_json_are_none() -> None:
    assert options.to_options("{") == JobOptions()


# -- jobs -----------------------------------------------------------------------------------

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


@pytest.mark.parametrize("dialect", DIALECTS)
@settings(max_examples=60, deadline=None)
@given(job=jobs())
def test_a_job_comes_back_as_it_was(dialect: str, job: JobData) -> None:
    codec = codec_for(dialect)
    row = codec.new_row(job)
    back = codec.job(kept(codec, row))
    assert back == job
    seq = row[Codec.job_columns.index("seq")]
    assert (seq < 0) is (job.opts.lifo and job.sequence > 0)


@pytest.mark.parametrize("dialect", DIALECTS)
@settings(max_examples=40, deadline=None)
@given(before=jobs(), after=jobs())
def test_the_columns_that_changed_make_a_row_the_new_one(
    dialect: str, before: JobData, after: JobData
) -> None:
    codec = codec_for(dialect)
    after = replace(after, sequence=before.sequence, opts=before.opts)
    row = dict(zip(Codec.job_columns, codec.new_row(before), strict=True))
    row |= codec.changed(before, after)
    assert codec.job(kept(codec, [row[name] for name in Codec.job_columns])) == after
    assert codec.changed(before, before) == {}


def test_only_what_changed_is_written() -> None:
    codec = codec_for("sqlite")
    job = JobData("a", "send", "emails", codec.freeze({"x": 1}, "data"), created_at=NOW)
    assert codec.changed(job, replace(job, progress=12.5)) == {
        "progress": 12.5,
        "conveyor_nb_progress": None,
    }
    taken = AttemptRecord(1, "w", NOW)
    changed = codec.changed(job, replace(job, state=JobState.ACTIVE, attempt_logs=(taken,)))
    assert changed.keys() == {"state", "attempt_logs", "conveyor_nb_fence", "cancelled_at"}
    assert changed["conveyor_nb_fence"] == 1


def test_where_columns_hold_whole_numbers_the_exact_progress_stands_beside() -> None:
    codec = codec_for("postgres", fractions=False)
    job = JobData("a", "send", "emails", created_at=NOW, progress=12.5, priority=2.0)
    row = dict(zip(Codec.job_columns, codec.new_row(job), strict=True))
    assert (row["progress"], row["conveyor_nb_progress"], row["priority"]) == (12, 12.5, 2)
    assert type(row["priority"]) is int
    assert codec.job(list(row.values())) == job
    assert codec.job(list((row | {"progress": 40}).values())).progress == 40  # another's report


def test_where_columns_hold_whole_numbers_a_fractional_priority_is_refused() -> None:
    codec = codec_for("postgres", fractions=False)
    with pytest.raises(UnsupportedError, match=r"priority 0\.5"):
        codec.new_row(JobData("a", "send", "emails", priority=0.5))


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_text_that_no_database_takes_is_mended(dialect: str) -> None:
    codec, odd, mended = codec_for(dialect), "a\0b\udcff", "a\ufffdb\ufffd"
    record = AttemptRecord(1, "w", NOW, NOW, AttemptStatus.FAILED, odd, odd, (odd,))
    job = JobData("a", "send", "emails", created_at=NOW, failed_reason=odd, logs=(odd,))
    job = replace(job, stacktrace=(odd,), attempt_logs=(record,))
    back = codec.job(kept(codec, codec.new_row(job)))
    assert (back.failed_reason, back.logs, back.stacktrace) == (mended, (mended,), (mended,))
    (back_record,) = back.attempt_logs
    assert back_record == replace(record, error=mended, stacktrace=mended, logs=(mended,))


@settings(deadline=None)
@given(when=instants)
def test_a_time_in_milliseconds_is_exact(when: datetime) -> None:
    value = to_milliseconds(when)
    assert from_milliseconds(value) == when
    assert (type(value) is int) is (when.microsecond % 1_000 == 0)


# -- jobs as Conveyor writes them -----------------------------------------------------------

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


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_job_of_theirs_is_read(dialect: str) -> None:
    job = codec_for(dialect).job(original_row(dialect))
    assert job == JobData(
        "a",
        "send",
        "emails",
        payloads.pack({"to": "ada"}, "data"),
        opts=JobOptions(attempts=3),
        created_at=NOW,
        sequence=7,
    )


@pytest.mark.parametrize(
    ("written", "data"),
    [
        ('"hello"', "hello"),  # as they write text
        ('"\\"hello\\""', "hello"),  # as we do
        ('"123"', "123"),
        ('"{\\"a\\": 1}"', '{"a": 1}'),
        ("null", None),
        ("[true]", [True]),
        ("1.5", 1.5),
    ],
)
def test_both_forms_of_text_are_read_on_a_server(written: str, data: Any) -> None:
    job = codec_for("postgres").job(original_row("postgres", data=written, returnvalue=written))
    assert same(job.data, data)
    assert same(job.returnvalue, data)


def test_what_they_hold_has_one_open_record_of_who_holds_it() -> None:
    codec = codec_for("sqlite")
    active: dict[str, Any] = {
        "state": "active",
        "locked_by": "worker-1",
        "processed_at": NOW,
        "lock_until": NOW,
    }
    early = codec.job(original_row(**active))  # they write the record in a second statement
    assert early.attempt_logs == (AttemptRecord(1, "worker-1", NOW),)
    later = codec.job(original_row(**active, attempt_logs=HELD))
    assert later.attempt_logs == (AttemptRecord(1, "worker-1", NOW, logs=("on it",)),)


def test_a_record_that_they_left_open_is_closed() -> None:
    codec = codec_for("sqlite")
    stalled = codec.job(original_row(attempts_made=1, attempt_logs=HELD))
    (record,) = stalled.attempt_logs
    assert record.ended_at is not None
    assert record.status is AttemptStatus.FAILED
    assert record.error == "how it ended was not recorded"
    again: dict[str, Any] = {
        "state": "active",
        "locked_by": "worker-2",
        "processed_at": NOW,
        "lock_until": NOW,
    }
    retaken = codec.job(original_row(**again, attempt_logs=OURS, conveyor_nb_fence=1))
    assert [one.worker_id for one in retaken.attempt_logs] == ["w", "worker-2"]
    assert [one.ended_at is None for one in retaken.attempt_logs] == [False, True]


def test_the_number_of_our_take_outlives_a_record_written_anew() -> None:
    codec = codec_for("sqlite")
    row = original_row(
        state="active", locked_by="w", lock_until=NOW, attempt_logs=OURS, conveyor_nb_fence=3
    )
    assert codec.job(row).attempt_logs[-1].attempt == 3
    lost = original_row(state="active", locked_by="w", lock_until=NOW, conveyor_nb_fence=3)
    assert codec.job(lost).attempt_logs[-1].attempt == 3


def test_what_they_leave_behind_is_mended_as_it_is_read() -> None:
    codec = codec_for("sqlite")
    # a retry of theirs keeps that the job was cancelled, and who takes it would stop it
    retried = codec.job(original_row(cancelled_at=NOW))
    assert retried.cancelled_at is None
    taken = replace(retried, state=JobState.ACTIVE)
    assert codec.changed(retried, taken)["cancelled_at"] is None
    cancelled = codec.job(original_row(state="failed", cancelled_at=NOW))
    assert cancelled.failed_at == NOW
    assert codec.job(original_row(state="completed")).completed_at == NOW
    released = codec.job(original_row(state="active", processed_at=NOW))
    assert released.lock_until == NOW
    assert codec.job(original_row(seq=None)).sequence == 0
    odd = codec.job(original_row(state="paused"))
    assert (odd.state, odd.failed_reason) == (JobState.FAILED, "its state 'paused' is none")


def test_nothing_in_a_row_makes_it_unreadable() -> None:
    job = codec_for("sqlite").job(
        original_row(logs="{", stacktrace="7", children_ids="[1]", attempt_logs="[1", opts="[")
    )
    assert (job.logs, job.stacktrace, job.children_ids) == ((), (), ("1",))
    assert (job.attempt_logs, job.opts) == ((), JobOptions())
    mixed = attempts.from_items(f'[{OURS[1:-1]},{{"attempt":"x"}},7]')
    assert [one.worker_id for one in mixed] == ["w"]


def test_an_attempt_is_written_in_the_words_of_conveyor() -> None:
    ended = AttemptRecord(1, "w", NOW, NOW, AttemptStatus.COMPLETED, None, None, ("one", "two"))
    written = json.loads(attempts.to_items([ended, AttemptRecord(2, "v", NOW)]))
    assert written[0] == {
        "attempt": 1,
        "startedAt": "2027-01-02T03:04:05.678000Z",
        "endedAt": "2027-01-02T03:04:05.678000Z",
        "status": "completed",
        "error": None,
        "stacktrace": None,
        "logs": ["one", "two"],
        "workerId": "w",
    }
    assert (written[1]["status"], written[1]["endedAt"]) == ("failed", None)


# -- what else there is ---------------------------------------------------------------------


@pytest.mark.parametrize("dialect", DIALECTS)
@settings(max_examples=40, deadline=None)
@given(opts=job_options, repeat=repeats, data=plain_values, last=maybe, paused=st.booleans())
def test_a_scheduler_comes_back_as_it_was(
    dialect: str, opts: JobOptions, repeat: Repeat, data: Any, last: Any, paused: bool
) -> None:
    codec = codec_for(dialect)
    frozen = codec.freeze(data, "data")
    one = JobScheduler("s", "q", repeat, "send", frozen, opts, 3, last, NOW, "job", paused)
    back = codec.scheduler(kept(codec, codec.scheduler_row(one), Codec.scheduler_columns))
    assert same(freezing.thaw(back.data), data)
    assert replace(back, data=None) == replace(one, data=None)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("returnvalue", [None, "sent", {"n": 1}, (1, 2)])
def test_a_child_comes_back_as_it_was(dialect: str, returnvalue: Any) -> None:
    codec = codec_for(dialect)
    row = ChildRow(True, "why", codec.freeze(returnvalue, "it"), True)
    written = codec.child_row(("q", "p"), ("r", "c"), row)
    assert len(written) == len(Codec.child_columns)
    assert codec.child(kept(codec, written, Codec.child_columns)) == (("r", "c"), row)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_worker_comes_back_as_it_was(dialect: str) -> None:
    codec = codec_for(dialect)
    worker = WorkerInfo("w-1", "w", "emails", 3, WorkerStatus.PAUSED, NOW, NOW)
    back = codec.worker(codec.worker_row(worker))
    assert (back, back.last_seen) == (worker, NOW)


# -- events ---------------------------------------------------------------------------------

DELAYED = {"name": "send", "previous": JobState.ACTIVE, "delay_until": NOW, "reason": "later"}
TOLD = [
    StoreEvent(EventType.DELAYED, "emails", "a", DELAYED, NOW),
    StoreEvent(EventType.WAITING, "emails", "b", {"name": "send", "previous": None}, NOW),
    StoreEvent(
        EventType.PROGRESS, "é", "c", {"name": "n", "worker_id": "w", "progress": 12.5}, NOW
    ),
    StoreEvent(EventType.PAUSED, "emails", None, {"job_name": "__all__"}, NOW),
    StoreEvent("custom:thing", "emails", None, {"x": [1, {"y": None}]}, NOW),
]


def test_events_come_back_as_they_were() -> None:
    codec = codec_for("sqlite")
    back = codec.read_events(codec.events(TOLD))
    assert back == TOLD
    assert type(back[0].data["previous"]) is JobState
    assert type(back[0].type) is EventType
    assert [fault_of_data(one) for one in back[:4]] == [None] * 4


def test_results_are_not_told_to_other_processes() -> None:
    codec = codec_for("sqlite")
    data = {"name": "n", "previous": JobState.ACTIVE, "worker_id": "w", "returnvalue": object()}
    done = StoreEvent(EventType.COMPLETED, "q", "a", data, NOW)
    (back,) = codec.read_events(codec.events([done]))
    assert "returnvalue" not in back.data
    ((notice, _),) = to_notices([done], "me", 1)
    assert "returnvalue" not in from_notice(notice).events[0].data


def test_a_text_of_no_characters_is_told_all_the_same() -> None:
    line = StoreEvent(EventType.LOG, "q", "a", {"name": "n", "line": "a\ud800\0"}, NOW)
    (back,) = from_events(to_events([line]))
    assert back.data["line"] == "a\ufffd\ufffd"


def test_stores_tell_each_other_many_events_at_once() -> None:
    ((payload, count),) = to_notices(TOLD, "me", 7)
    assert count == len(TOLD)
    assert from_notice(payload) == ("me", 7, TOLD, {})


@pytest.mark.parametrize("size", [1, 9_000])
def test_the_result_of_a_job_that_is_gone_is_told_if_there_is_room(size: int) -> None:
    codec = codec_for("postgres")
    data = {"name": "n", "previous": JobState.ACTIVE, "worker_id": "w"}
    done = [StoreEvent(EventType.COMPLETED, "q", job_id, data, NOW) for job_id in "ab"]
    result = codec.payload(codec.freeze(("x" * size, b"y"), "result"))
    notices = to_notices(done, "me", 1, {("q", "a"): result})
    assert all(len(payload.encode()) <= MOST_BYTES for payload, _ in notices)
    told = from_notice(notices[0][0])
    assert told.events == done
    assert told.results == ({("q", "a"): result} if size == 1 else {})


@pytest.mark.parametrize("letter", ["x", "é", "😀", '"', "\n"])
def test_a_notice_is_never_longer_than_a_server_takes(letter: str) -> None:
    data: dict[str, Any] = {"name": letter * 255, "worker_id": "w" * 255}
    data |= {"attempts_made": 1, "attempts": 2, "delay": 0.0, "reason": letter * 10_000}
    event = StoreEvent(EventType.RETRYING, letter * 255, letter * 255, data, NOW)
    huge = StoreEvent("custom:thing", "q", None, {"x": ["x" * 10_000]}, NOW)
    notices = to_notices([*TOLD, event, *(TOLD * 40), huge, event], "me", 10)
    assert all(len(payload.encode()) <= MOST_BYTES for payload, _ in notices)
    assert [from_notice(payload).number for payload, _ in notices] == list(
        range(10, 10 + len(notices))
    )
    back = [one for payload, _ in notices for one in from_notice(payload).events]
    assert sum(count for _, count in notices) == len(back) == 3 + 41 * len(TOLD)
    assert back[: len(TOLD)] == TOLD
    cut = back[len(TOLD)]
    assert (cut.queue_name, cut.job_id) == (event.queue_name, event.job_id)
    assert "left out" in cut.data["reason"]
    assert fault_of_data(cut) is None


# -- events of and for Conveyor -------------------------------------------------------------


@pytest.mark.parametrize("event", TOLD[:4])
def test_conveyor_is_told_in_its_words(event: StoreEvent) -> None:
    payload = to_notification(event, "me")
    assert payload is not None
    told = json.loads(payload)
    progress = {"data"} if event.type == EventType.PROGRESS else set()
    assert told.keys() == {"type", "queueName", "jobId", "timestamp", "_src"} | progress
    assert told["timestamp"].startswith("2027-01-02T03:04:05.678")
    assert told.get("data") == (12.5 if progress else None)
    assert from_notification(payload) is None  # by a store of ours, which tells others itself


def test_conveyor_is_not_told_what_it_does_not_know() -> None:
    assert to_notification(TOLD[4], "me") is None
    line = StoreEvent(EventType.LOG, "q", "a", {"name": "n", "line": "x"}, NOW)
    assert to_notification(line, "me") is None


@pytest.mark.parametrize("length", [1, 54, 55, 255])
def test_a_queue_whose_name_is_too_long_for_a_channel_has_none(length: int) -> None:
    channel = channel_of("q" * length)
    assert channel == (f"conveyor:{'q' * length}" if length <= 54 else None)
    assert channel_of("é" * 30) is None


def test_what_conveyor_tells_is_heard() -> None:
    payload = '{"type":"job:progress","queueName":"emails","jobId":"a","data":40,'
    payload += '"timestamp":"2027-01-02T03:04:05.678Z","_src":"other"}'
    told = from_notification(payload)
    assert told is not None
    assert told.event == StoreEvent(EventType.PROGRESS, "emails", "a", {"progress": 40}, NOW)
    assert not told.is_whole
    bare = from_notification('{"type":"queue:paused","queueName":"emails"}')
    assert bare is not None
    assert bare.event.job_id is None
    odd = from_notification('{"type":"odd","queueName":"emails","timestamp":"soon"}')
    assert odd is not None
    assert odd.is_whole


@pytest.mark.parametrize("payload", ["", "7", "{", "[]", "{}", '{"type":7}'])
def test_a_notification_that_is_no_event_is_a_fault(payload: str) -> None:
    with pytest.raises(ValueError, match=r"event|JSON|Expecting"):
        from_notification(payload)


@pytest.mark.parametrize("kind", sorted(EVENT_DATA))
@pytest.mark.parametrize("is_there", [True, False])
def test_the_row_tells_the_rest_of_what_conveyor_tells(kind: EventType, is_there: bool) -> None:
    job = codec_for("postgres").job(
        original_row("postgres", state="active", locked_by="worker-1", lock_until=NOW)
    )
    event = StoreEvent(kind, "emails", "a", {}, NOW)
    whole = with_row(event, job if is_there else None)
    beyond = (EventType.RETRYING, EventType.LOG, EventType.MISSED)  # it knows none of these
    assert fault_of_data(whole) is None or kind in beyond
    assert whole.data.get("name", "send") == (
        "send" if is_there or "name" not in whole.data else ""
    )


def test_plain_types_by_hand() -> None:
    """What stands in the bytes, so that a later version reads what this one wrote."""
    value = {
        "tuple": (1, [2]),
        "set": {3},
        "frozenset": frozenset({4}),
        "bytes": b"\0\xff",
        "bytearray": bytearray(b"a"),
        "at": datetime(2027, 1, 2, 3, 4, 5, 6, tzinfo=UTC),
        "paris": datetime(2027, 10, 31, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Paris")),
        "naive": datetime(2027, 1, 2),
        "cet": time(3, 4, tzinfo=timezone(timedelta(hours=1), "CET")),
        "day": date(2027, 1, 2),
        "span": timedelta(days=-1, seconds=2, microseconds=3),
        "money": Decimal("1.50"),
        "id": UUID(int=1),
        "nan": math.nan,
        "keys": {1: "a", None: "b", (2,): "c"},
        "odd": {"~tuple": 1},
    }
    written = json.loads(exact.encode(value, "data"))
    assert written == {
        "tuple": {"~tuple": [1, [2]]},
        "set": {"~set": [3]},
        "frozenset": {"~frozenset": [4]},
        "bytes": {"~bytes": "AP8="},
        "bytearray": {"~bytearray": "YQ=="},
        "at": {"~datetime": ["2027-01-02T03:04:05.000006", 0, [0.0]]},
        "paris": {"~datetime": ["2027-10-31T02:30:00", 1, "Europe/Paris"]},
        "naive": {"~datetime": ["2027-01-02T00:00:00", 0, None]},
        "cet": {"~time": ["03:04:00", 0, [3600.0, "CET"]]},
        "day": {"~date": "2027-01-02"},
        "span": {"~timedelta": [-1, 2, 3]},
        "money": {"~Decimal": "1.50"},
        "id": {"~UUID": "00000000-0000-0000-0000-000000000001"},
        "nan": {"~float": "nan"},
        "keys": {"~dict": [[1, "a"], [None, "b"], [{"~tuple": [2]}, "c"]]},
        "odd": {"~dict": [["~tuple", 1]]},
    }
    assert same(exact.decode(json.dumps(written)), value)
