"""Jobs, events, attempts and workers as DataFrames."""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from conveyor_nb import (
    Group,
    GroupFullError,
    Job,
    JobOptions,
    JobState,
    MemoryStore,
    Queue,
    Repeat,
    SystemClock,
    VirtualClock,
    Worker,
)
from conveyor_nb.clocks.clock import checkpoint
from conveyor_nb.core.job_scheduler import JobScheduler
from conveyor_nb.core.metrics import MetricsPoint
from conveyor_nb.core.model import AttemptRecord, AttemptStatus, EventType, JobData, StoreEvent
from conveyor_nb.core.slicing import SLICE
from conveyor_nb.core.worker_info import WorkerInfo, WorkerStatus
from conveyor_nb.notebook.frames import (
    attempts_frame,
    events_frame,
    jobs_frame,
    metrics_frame,
    results_frame,
    schedulers_frame,
    workers_frame,
)

START = datetime(2027, 1, 1, tzinfo=UTC)
LATER = START + timedelta(seconds=2, microseconds=1)


def job(number: int = 1, **fields: object) -> JobData:
    return JobData(f"emails-{number}", "send", "emails", **fields)  # type: ignore[arg-type]


def attempt(number: int) -> AttemptRecord:
    return AttemptRecord(number, "w", START, LATER, AttemptStatus.FAILED, "no", "trace", ("a",))


POINT = MetricsPoint("emails", START, LATER, 3, 1, 0.25, 2.000001, None, 3.0)
NOON = "0 12 * * *"


def scheduler(**repeat: Any) -> JobScheduler:
    return JobScheduler(
        "daily", "emails", Repeat(**repeat), "send", {"to": "ada"}, JobOptions(), next_run=LATER
    )


@pytest.mark.parametrize(
    ("empty", "full"),
    [
        (jobs_frame([]), jobs_frame([job(created_at=START)])),
        (attempts_frame([job()]), attempts_frame([job(attempt_logs=(attempt(1), attempt(2)))])),
        (events_frame([]), events_frame([StoreEvent(EventType.LOG, "q", "1", {}, START)])),
        (
            workers_frame([]),
            workers_frame([WorkerInfo("w", "w", "q", 1, WorkerStatus.RUNNING, START)]),
        ),
        (metrics_frame([]), metrics_frame([POINT])),
        (schedulers_frame([]), schedulers_frame([scheduler(every="1h"), scheduler(cron=NOON)])),
        (results_frame([]), results_frame([job(state=JobState.COMPLETED, returnvalue=1)])),
    ],
    ids=["jobs", "attempts", "events", "workers", "metrics", "schedulers", "results"],
)
def test_an_empty_frame_has_the_columns_of_a_full_one(
    empty: pd.DataFrame, full: pd.DataFrame
) -> None:
    assert len(empty) == 0
    assert len(full) > 0
    assert empty.dtypes.to_dict() == full.dtypes.to_dict()
    assert empty.index.name == full.index.name
    assert full.index.name in ("id", "start")
    assert empty.index.dtype == full.index.dtype


def test_a_job_becomes_a_row() -> None:
    frame = jobs_frame(
        [
            job(
                state=JobState.COMPLETED,
                data=[1, 2],
                returnvalue=np.arange(3),
                created_at=START,
                processed_at=LATER,
                completed_at=LATER + timedelta(seconds=5),
                opts=JobOptions(attempts=3),
            )
        ]
    )
    row = frame.loc["emails-1"]
    assert row["state"] == "completed"
    assert row["attempts"] == 3
    assert row["data"] == [1, 2], "lists and arrays stay whole"
    assert list(row["returnvalue"]) == [0, 1, 2]
    assert row["created_at"] == START
    assert row["wait_time"] == LATER - START, "to the microsecond"
    assert row["processing_time"] == timedelta(seconds=5)
    assert pd.isna(row["failed_at"])
    assert pd.isna(row["failed_reason"])


def test_states_are_ordered_and_all_known() -> None:
    frame = jobs_frame([job(1, state=JobState.FAILED), job(2, state=JobState.WAITING)])
    assert list(frame["state"].cat.categories) == [str(state) for state in JobState]
    assert list(frame.sort_values("state").index) == ["emails-2", "emails-1"]


def test_instants_are_utc_and_missing_ones_are_missing() -> None:
    frame = jobs_frame([job(1, created_at=START, failed_at=LATER), job(2, created_at=START)])
    assert str(frame["created_at"].dtype) == "datetime64[us, UTC]"
    assert str(frame["wait_time"].dtype) == "timedelta64[us]"
    assert list(frame["failed_at"].isna()) == [False, True]


def test_each_attempt_has_a_row() -> None:
    frame = attempts_frame([job(1, attempt_logs=(attempt(1), attempt(2))), job(2)])
    assert list(frame.index) == ["emails-1", "emails-1"]
    assert list(frame["attempt"]) == [1, 2]
    assert list(frame["duration"]) == [LATER - START] * 2
    assert frame["logs"].iloc[0] == ("a",)
    assert list(frame["put_back"]) == [False, False]


def test_the_events_keep_their_order() -> None:
    events = [
        StoreEvent(EventType.PAUSED, "emails", None, {"job_name": "send"}, START),
        StoreEvent(EventType.WAITING, "emails", "emails-1", {}, START),
    ]
    frame = events_frame(events)
    assert list(frame["type"]) == ["queue:paused", "job:waiting"]
    assert pd.isna(frame.index[0])
    assert frame["data"].iloc[0] == {"job_name": "send"}


@pytest.mark.asyncio
async def test_a_queue_a_store_a_worker_and_a_job_have_frames() -> None:
    store = MemoryStore(clock=(clock := VirtualClock()), ids="sequential")
    emails, images = Queue("emails", store=store), Queue("images", store=store)

    async def send(job: Job) -> None:
        await job.sleep("1h")

    await emails.add("send")
    await emails.add("send", delay="1h")
    await images.add("resize")
    async with Worker("images", send, store=store) as worker:
        await clock.settle()
        assert list(emails.to_frame().index) == ["emails-1", "emails-2"]
        assert list(emails.to_frame("delayed").index) == ["emails-2"]
        assert list(store.to_frame()["queue_name"]) == ["emails", "emails", "images"]
        assert list(worker.to_frame().index) == ["images-1"]
        await clock.advance("1h")
    resized = await images.get_job("images-1")
    assert resized is not None
    assert list(resized.to_frame()["status"]) == ["completed"]


@pytest.mark.asyncio
async def test_an_async_frame_is_the_same() -> None:
    store = MemoryStore(clock=(clock := VirtualClock()), ids="sequential")
    emails, images = Queue("emails", store=store), Queue("images", store=store)

    async def send(job: Job) -> dict[str, int]:
        if job.name == "slow":
            await job.sleep("1h")
        return {"size": 1}

    await emails.add_bulk({"name": "send", "data": {"n": n}} for n in range(2 * SLICE + 1))
    await emails.add("send", {"at": object}, delay="1h", priority=2)
    async with Worker("emails", send, store=store) as worker:
        await worker.run_until_idle()
    await images.add("slow")
    async with Worker("images", send, store=store) as worker:
        await clock.settle()
        subjects = (
            emails,
            images,
            store,
            worker,
            *await images.get_jobs(),
            await emails.get_jobs(end=None),
        )
        for subject in subjects:
            assert len(subject.to_frame()) > 0
            assert_frame_equal(await subject.to_frame_async(), subject.to_frame())
        for subject in (emails, store, await emails.get_jobs(end=None)):
            expected = subject.to_frame("delayed")
            assert len(expected) == 1
            assert_frame_equal(await subject.to_frame_async("delayed"), expected)
        with pytest.raises(TypeError, match="all active"):
            await worker.to_frame_async("failed")
        await clock.advance("1h")


@pytest.mark.asyncio
async def test_others_have_their_turns_while_an_async_frame_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    queue = Queue("emails", store=MemoryStore())
    slices = 4
    await queue.add_bulk({"name": "send"} for _ in range(slices * SLICE))
    monkeypatch.setattr(SystemClock, "overdue", lambda _: True)
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            await checkpoint()
            turns += 1

    counting = asyncio.create_task(count_turns())
    frame = await queue.to_frame_async()
    counting.cancel()
    assert len(frame) == slices * SLICE
    read = len(frame.columns) - len(["wait_time", "processing_time"])
    assert turns >= read * slices, "no more than a slice of one column in a turn"


def test_what_is_asked_wrongly_is_told() -> None:
    store = MemoryStore()
    with pytest.raises(ValueError, match="'lost'"):
        Queue("emails", store=store).to_frame("lost")
    with pytest.raises(TypeError, match="attempts"):
        Job(job(), store).to_frame("failed")


def test_what_people_write_comes_out_as_they_wrote_it() -> None:
    names = ["a", "ü", "<b>", "\ud800"]
    frame = jobs_frame([JobData(f"{n}", name, "q") for n, name in enumerate(names)])
    assert json.dumps(list(frame["name"])) == json.dumps(names)


def test_metrics_have_a_row_for_each_period() -> None:
    frame = metrics_frame([POINT])
    assert frame.index[0] == START
    assert str(frame.index.dtype) == "datetime64[us, UTC]"
    row = frame.iloc[0]
    assert (row["completed"], row["failed"], row["end"]) == (3, 1, LATER)
    assert row["processing_p95"] == timedelta(seconds=2, microseconds=1)
    assert pd.isna(row["waiting_p50"])
    assert str(frame["waiting_p95"].dtype) == "timedelta64[us]"


def test_schedulers_have_a_row_each() -> None:
    frame = schedulers_frame([scheduler(every="90s", limit=3), scheduler(cron=NOON, tz="UTC")])
    every, cron = (frame.iloc[place] for place in range(2))
    assert (every["every"], every["limit"]) == (timedelta(seconds=90), 3)
    assert pd.isna(every["cron"])
    assert (cron["cron"], cron["tz"], cron["next_run"]) == (NOON, "UTC", LATER)
    assert pd.isna(cron["every"])
    assert pd.isna(cron["limit"])
    assert str(frame["limit"].dtype) == "Int64"


def done(number: int, value: object) -> JobData:
    return job(number, state=JobState.COMPLETED, returnvalue=value)


def test_results_that_are_dicts_become_columns() -> None:
    failed = job(2, state=JobState.FAILED, failed_reason="no", returnvalue={"x": 9})
    frame = results_frame([done(1, {"x": 1, "name": "ada"}), failed, done(3, {"x": 3, "state": 7})])
    assert list(frame.columns) == ["state", "error", "x", "name", "result_state"]
    assert list(frame.index) == ["emails-1", "emails-2", "emails-3"]
    assert list(frame["state"]) == ["completed", "failed", "completed"]
    assert list(frame["error"].isna()) == [True, False, True]
    assert frame["x"].dtype == np.dtype("float64")
    assert frame["x"].isna().tolist() == [False, True, False], "a failed job has no result"
    assert frame.loc["emails-3", "result_state"] == 7


def test_other_results_stay_whole() -> None:
    frame = results_frame([done(1, {"x": 1}), done(2, [1, 2]), job(3)])
    assert list(frame.columns) == ["state", "error", "returnvalue"]
    assert frame["returnvalue"].tolist() == [{"x": 1}, [1, 2], None]


TYPES: dict[str, Any] = {
    "int": [1, 2],
    "float": [0.5, np.nan],
    "flag": [True, False],
    "text": ["ada", None],
    "nullable": pd.array([1, None], dtype="Int64"),
    "at": pd.to_datetime(["2027-01-01T00:00:00.123456789Z", "NaT"]),
    "naive": pd.to_datetime(["2027-01-01", "NaT"]),
    "long": pd.to_timedelta(["1h", None]),
    "kind": pd.Categorical(["a", None]),
    "any": [[1, 2], {"a": np.nan}],
    "mixed": [np.int64(3), pd.NA],
    "day": [date(2027, 1, 1), pd.NaT],
}


@pytest.mark.asyncio
async def test_each_row_becomes_a_job() -> None:
    queue = Queue("emails", store=MemoryStore(ids="sequential"))
    frame = pd.DataFrame(TYPES, index=pd.Index([np.int64(7), np.int64(8)], name="row"))
    jobs = await queue.add_frame(frame, "send", priority=2, attempts=3)

    assert [job.id for job in jobs] == ["emails-1", "emails-2"]
    assert {(job.name, job.priority, job.opts.attempts) for job in jobs} == {("send", 2, 3)}
    first, second = (job.data for job in jobs)
    assert first == {
        "row": 7,
        "int": 1,
        "float": 0.5,
        "flag": True,
        "text": "ada",
        "nullable": 1,
        "at": datetime(2027, 1, 1, 0, 0, 0, 123456, tzinfo=UTC),
        "naive": datetime(2027, 1, 1),
        "long": timedelta(hours=1),
        "kind": "a",
        "any": [1, 2],
        "mixed": 3,
        "day": date(2027, 1, 1),
    }
    plain = {int, float, bool, str, datetime, timedelta, list, date}
    assert {type(value) for value in first.values()} == plain
    given = {name: value for name, value in second.items() if value is not None}
    assert list(given) == ["row", "int", "flag", "any"]
    assert list(second) == list(first)


@pytest.mark.asyncio
async def test_an_index_goes_along_if_it_has_a_name() -> None:
    queue = Queue("emails", store=MemoryStore())
    frame = pd.DataFrame({"x": [1]})
    levels = pd.MultiIndex.from_tuples([("a", 1)], names=["who", None])
    for one, names in ((frame, ["x"]), (frame.set_axis(levels, axis=0), ["who", "x"])):
        [added] = await queue.add_frame(one, "f")
        assert list(added.data) == names
    assert await queue.add_frame(frame.iloc[:0], "f") == []
    assert [one.data for one in await queue.add_frame(frame[[]], "f")] == [{}]


@pytest.mark.asyncio
async def test_a_frame_is_added_whole_or_not_at_all() -> None:
    queue = Queue("emails", store=MemoryStore())
    frame = pd.DataFrame({"x": [1, 2, 3]})
    with pytest.raises(GroupFullError):
        await queue.add_frame(frame, "send", group=Group("a", max_size=2))
    with pytest.raises(ValueError, match="named 'x'; rename one of them"):
        await queue.add_frame(frame.rename_axis("x"), "send")
    with pytest.raises(TypeError, match="add_frame takes a pandas DataFrame, not"):
        await queue.add_frame([{"x": 1}], "send")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="job_id is for one job"):
        await queue.add_frame(frame, "send", job_id="a")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="attemps"):
        await queue.add_frame(frame, "send", attemps=3)  # type: ignore[call-arg]
    assert await queue.count() == 0


@pytest.mark.asyncio
async def test_without_pandas_it_is_said_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    queue = Queue("emails", store=MemoryStore())
    monkeypatch.setitem(sys.modules, "pandas", None)
    told = "a DataFrame needs pandas, which is not installed here; run: %pip install pandas"
    with pytest.raises(ImportError, match=told):
        queue.to_frame()
    with pytest.raises(ImportError, match=told):
        await queue.to_frame_async()
