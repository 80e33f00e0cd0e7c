"""Numbers, flags, text, times as numpy and pandas give them: taken as Python's own, or refused.

They come from a cell of a table sooner or later. What is kept of them has to be what JSON and
msgspec can write.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from enum import IntEnum, StrEnum
from fractions import Fraction
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest

from conveyor_nb import (
    Backoff,
    Batch,
    Deduplication,
    Group,
    GroupLimits,
    JobOptions,
    Keep,
    Limiter,
    MemoryStore,
    Queue,
    Repeat,
    ScaledClock,
    VirtualClock,
    Worker,
)
from conveyor_nb.core.options.worker_options import WorkerOptions
from conveyor_nb.core.values.canonical_json import canonical_json
from conveyor_nb.notebook.frame_rows import payloads_of
from conveyor_nb.stores.events import EventStream

given: Any = np
"""numpy, whose types type checkers know not to be Python's own."""


class Three(IntEnum):
    THREE = 3


class Word(StrEnum):
    A = "a"


WHOLE: list[Any] = [np.int64(3), np.int8(3), np.uint64(3), Three.THREE, pd.Series([3])[0]]
NUMBERS: list[Any] = [*WHOLE, np.float32(3), np.float64(3), np.longdouble(3)]
NUMBERS += [Decimal(3), Fraction(9, 3)]
SPANS: list[Any] = [
    *NUMBERS,
    pd.Timedelta("3s"),
    np.timedelta64(3, "s"),
    np.timedelta64(3000, "ms"),
]
SPANS += [np.timedelta64(3_000_000_000, "ns"), np.str_("3s")]
NOT_WHOLE: list[Any] = [np.float64(3), Decimal(3), Fraction(3), np.bool_(True), np.array([3])]
NOT_WHOLE += [np.timedelta64(3, "s"), np.datetime64("2027-01-01"), pd.NaT, pd.NA, np.nan]
NOT_NUMBERS: list[Any] = [np.bool_(True), np.array([3.0]), np.complex64(3), pd.NaT, pd.NA]
NOT_NUMBERS += [np.timedelta64(3, "s"), pd.Timedelta("3s"), pd.Series([3])]
NOT_FINITE: list[Any] = [np.nan, np.float32("inf"), Decimal("NaN"), Decimal("sNaN"), 10**400]
NOT_FINITE += [Decimal("1e400"), Decimal("-Infinity")]
NOT_SPANS: list[Any] = [np.bool_(True), np.array([3.0]), pd.NaT, pd.NA, np.timedelta64(1, "Y")]
ENDLESS: list[Any] = [*NOT_FINITE, np.timedelta64("NaT", "s"), -np.float64(1)]
INSTANT = pd.Timestamp("2027-01-01 12:00:00.123456789", tz="Europe/Paris")
NOT_INSTANTS: list[Any] = [pd.NaT, np.datetime64("2027-01-01"), pd.Timestamp("2027-01-01"), pd.NA]
BAD: list[Any] = [pd.NA, pd.NaT, np.nan, np.bool_(True), np.array([1])]
FLAGS: list[Any] = [np.bool_(True), True]
NOT_FLAGS: list[Any] = [np.int64(1), np.array([True]), pd.NA, np.str_("yes")]

COUNTS_OF: dict[str, Callable[[Any], Any]] = {
    "attempts": lambda v: JobOptions(attempts=v).attempts,
    "keep count": lambda v: Keep(count=v).count,
    "repeat limit": lambda v: Repeat(every=1, limit=v).limit,
    "group max_size": lambda v: Group("a", v).max_size,
    "limiter max": lambda v: Limiter(v, 1).max,
    "batch size": lambda v: Batch(v).size,
    "group concurrency": lambda v: GroupLimits(v).concurrency,
    "concurrency": lambda v: WorkerOptions(concurrency=v).concurrency,
    "max_global_concurrency": lambda v: (
        WorkerOptions(max_global_concurrency=v).max_global_concurrency
    ),
    "seed": lambda v: MemoryStore(seed=v)._seed,
    "size": lambda v: EventStream(MemoryStore(), "q", v)._unread.maxlen,
}
NUMBERS_OF: dict[str, Callable[[Any], Any]] = {
    "priority": lambda v: JobOptions(priority=v).priority,
    "speed": lambda v: ScaledClock(v).speed,
}
SPANS_OF: dict[str, Callable[[Any], Any]] = {
    "delay": lambda v: JobOptions(delay=v).delay,
    "timeout": lambda v: JobOptions(timeout=v).timeout,
    "backoff": lambda v: JobOptions(backoff=v).backoff.delay,  # type: ignore[union-attr]
    "backoff delay": lambda v: Backoff("exponential", v).delay,
    "deduplication ttl": lambda v: Deduplication("k", ttl=v).ttl,
    "keep age": lambda v: Keep(age=v).age,
    "repeat every": lambda v: Repeat(v).every,
    "limiter duration": lambda v: Limiter(1, v).duration,
    "lock_duration": lambda v: WorkerOptions(lock_duration=v).lock_duration,
    "stalled_interval": lambda v: WorkerOptions(stalled_interval=v).stalled_interval,
}
FLAGS_OF: dict[str, Callable[[Any], Any]] = {
    "lifo": lambda v: JobOptions(lifo=v).lifo,
    "deduplication hash": lambda v: Deduplication(hash=v).hash,
    "worker lifo": lambda v: WorkerOptions(lifo=v).lifo,
    "capture": lambda v: WorkerOptions(capture=v).capture,
    "remove_on_complete": lambda v: JobOptions(remove_on_complete=v).remove_on_complete,
}
NAMES_OF: dict[str, Callable[[Any], Any]] = {
    "job_id": lambda v: JobOptions(job_id=v).job_id,
    "deduplication key": lambda v: Deduplication(v).key,
    "group id": lambda v: Group(v).id,
    "queue": lambda v: Queue(v, store=MemoryStore()).name,
    "worker": lambda v: WorkerOptions(name=v).name,
}


def is_plain(value: object, kind: type) -> bool:
    """Whether JSON gives back what it is, as it is."""
    return type(value) is kind and msgspec.json.decode(msgspec.json.encode(value)) == value


@pytest.mark.parametrize("what", COUNTS_OF)
def test_whole_numbers(what: str) -> None:
    for value in WHOLE:
        kept = COUNTS_OF[what](value)
        assert kept == 3
        assert is_plain(kept, int), value
    for value in NOT_WHOLE:
        with pytest.raises(TypeError, match=f"{what} must be a whole number"):
            COUNTS_OF[what](value)


@pytest.mark.parametrize("what", NUMBERS_OF)
def test_numbers(what: str) -> None:
    for value in NUMBERS:
        kept = NUMBERS_OF[what](value)
        assert kept == 3
        assert is_plain(kept, type(kept)), value
        assert type(kept) in (int, float)
    for value in NOT_NUMBERS:
        with pytest.raises(TypeError, match=f"{what} must be a number"):
            NUMBERS_OF[what](value)
    for value in NOT_FINITE:
        with pytest.raises(ValueError, match=f"{what} must be a finite number"):
            NUMBERS_OF[what](value)


@pytest.mark.parametrize("what", SPANS_OF)
def test_durations(what: str) -> None:
    for value in SPANS:
        kept = SPANS_OF[what](value)
        assert kept == 3
        assert is_plain(kept, float), value
    for value in NOT_SPANS:
        with pytest.raises(TypeError, match=f"{what} .* not a duration"):
            SPANS_OF[what](value)
    for value in ENDLESS:
        with pytest.raises(ValueError, match=f"{what} must be"):
            SPANS_OF[what](value)


@pytest.mark.parametrize("what", FLAGS_OF)
def test_flags(what: str) -> None:
    for value in FLAGS:
        assert FLAGS_OF[what](value) is True
    for value in NOT_FLAGS:
        with pytest.raises((TypeError, ValueError), match=what.removeprefix("worker ")):
            FLAGS_OF[what](value)


@pytest.mark.parametrize("what", NAMES_OF)
def test_names(what: str) -> None:
    for value in (np.str_("a"), Word.A, type("Text", (str,), {})("a")):
        assert is_plain(NAMES_OF[what](value), str)


def test_instants() -> None:
    repeat = Repeat(every=1, start_date=INSTANT, end_date=INSTANT)
    assert repeat.start_date == repeat.end_date == datetime(2027, 1, 1, 11, 0, 0, 123456, UTC)
    assert type(repeat.start_date) is datetime
    assert type(VirtualClock(INSTANT).now()) is datetime
    for value in NOT_INSTANTS:
        with pytest.raises((TypeError, ValueError), match="start_date"):
            Repeat(every=1, start_date=value)
    with pytest.raises(ValueError, match="out of range"):
        Repeat(every=1, start_date=datetime.max.replace(tzinfo=timezone(timedelta(hours=-5))))


@pytest.mark.parametrize("value", [np.int64(1000), np.float32(1000), Decimal(1000)])
def test_a_bare_number_of_jobs_or_seconds(value: Any) -> None:
    with pytest.raises(ValueError, match=r"Keep\(count=1000\) .* '1000s'"):
        JobOptions(remove_on_complete=value)


def test_text_is_taken_as_plain_text() -> None:
    repeat = Repeat(cron=given.str_("0 9 * * *"), tz=given.str_("Europe/Paris"))
    assert type(repeat.cron) is type(repeat.tz) is str
    assert Backoff(given.str_("fixed"), 1) == Backoff("fixed", 1)
    assert JobOptions(fail_parent_on_child_failure=given.str_("ignore")) == JobOptions(
        fail_parent_on_child_failure="ignore"
    )
    assert WorkerOptions(executor=given.str_("process")).executor == "process"
    assert type(WorkerOptions(executor=given.str_("process")).executor) is str


@pytest.mark.asyncio
async def test_what_methods_take() -> None:
    clock = VirtualClock()
    async with MemoryStore(clock=clock, metrics=given.bool_(True)) as store:
        queue = Queue("q", store=store)
        jobs = [
            await queue.add(given.str_("x"), n, delay=given.int64(n), priority=given.float64(n))
            for n in range(1, 4)
        ]
        assert [type(job.name) for job in jobs] == [str] * 3
        assert {type(job.priority) for job in jobs} == {float}
        half: Any = Fraction(1, 2)
        assert len(await queue.get_jobs("delayed", given.int64(1), given.int32(3))) == 2
        assert (await store.search_jobs("q", start=given.int64(1), end=given.int64(2))).total == 3
        await jobs[0].change_priority(given.int64(7))
        await jobs[0].change_delay(pd.Timedelta("9s"))
        assert type((await jobs[0].refresh()).priority) is int
        assert jobs[0].delay_until == clock.now() + timedelta(seconds=9)
        await jobs[0].promote()

        async def work(job: Any) -> Any:
            await job.update_progress(given.float32(12.5))
            assert type(job.progress) is float
            await job.sleep(given.float64(0.5))
            return given.int64(5)

        async with Worker("q", work, store=store, concurrency=given.int64(2)) as worker:
            worker.concurrency = given.int64(3)
            assert type(worker.concurrency) is int
            await clock.advance(given.timedelta64(4, "s"))
            assert await jobs[0].wait_until_finished(given.float64(5)) == 5
            await queue.join(half)
            await worker.close(given.int64(1))
        assert await queue.clean("completed", given.float32(3)) == 1
        assert await store.clean("q", "completed", given.int64(0)) == 2


@pytest.mark.parametrize(("start", "end"), [(-1, 5), (0, -1), (1.0, 5), (0, "5"), (True, 5)])
@pytest.mark.asyncio
async def test_positions_that_are_none(start: Any, end: Any) -> None:
    async with MemoryStore() as store:
        queue = Queue("q", store=store)
        for state in ("waiting", "delayed", "completed", None):
            with pytest.raises((TypeError, ValueError), match=r"(start|end) must be"):
                await queue.get_jobs(state, start, end)
        with pytest.raises((TypeError, ValueError), match=r"(start|end) must be"):
            await store.search_by_name("q", "x", start, end)


@pytest.mark.asyncio
async def test_bad_numbers_change_nothing() -> None:
    async with MemoryStore() as store:
        job = await Queue("q", store=store).add("x", delay=60)
        before = job.to_dict()
        for value in BAD:
            with pytest.raises((TypeError, ValueError), match="progress must be"):
                await job.update_progress(value)
            with pytest.raises((TypeError, ValueError), match="priority must be"):
                await job.change_priority(value)
            with pytest.raises((TypeError, ValueError), match="delay"):
                await job.change_delay(value)
        assert (await job.refresh()).to_dict() == before


def test_payloads_that_are_equal_have_one_text() -> None:
    numbers = {"n": 3, "f": 0.5, "flag": True, "3": [1]}
    others = {"f": given.float32(0.5), "flag": given.bool_(True), given.int64(3): (given.int8(1),)}
    assert canonical_json({"n": given.int64(3), **others}) == canonical_json(numbers)
    for value in (given.timedelta64(3, "s"), given.datetime64("2027-01-01"), pd.NaT, np.nan):
        with pytest.raises(TypeError, match=r"the payload\['n'\] is not JSON"):
            canonical_json({"n": value})


def test_the_cells_of_a_frame_are_plain_to_their_depth() -> None:
    cells: list[Any] = [
        np.datetime64("2027-01-01T00:00:00.000000001", "ns"),
        np.timedelta64(5, "ns"),
        np.timedelta64(5, "s"),
        np.array([1, 2]),
        np.array([np.datetime64("2027-01-01", "ns"), np.datetime64("NaT", "ns")]),
        {"a": [np.float32(0.5), pd.NaT], np.str_("b"): (np.bool_(True), {"c": np.int64(1)})},
    ]
    frame = pd.DataFrame({"x": pd.Series(cells, dtype=object)})
    assert [row["x"] for row in payloads_of(frame)] == [
        datetime(2027, 1, 1),
        timedelta(0),
        timedelta(seconds=5),
        [1, 2],
        [datetime(2027, 1, 1), None],
        {"a": [0.5, None], "b": (True, {"c": 1})},
    ]
    inner = payloads_of(frame)[-1]["x"]
    assert [type(inner["a"][0]), type(inner["b"][0]), type(inner["b"][1]["c"])] == [
        float,
        bool,
        int,
    ]
    assert {type(key) for key in inner} == {str}
