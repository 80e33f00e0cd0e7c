"""Jobs, events, attempts and workers as DataFrames."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from conveyor_nb import Job, JobOptions, JobState, MemoryStore, Queue, VirtualClock, Worker
from conveyor_nb.model import (
    AttemptRecord,
    AttemptStatus,
    EventType,
    JobData,
    StoreEvent,
    WorkerInfo,
    WorkerStatus,
)
from conveyor_nb.notebook.frames import attempts_frame, events_frame, jobs_frame, workers_frame

START = datetime(2027, 1, 1, tzinfo=UTC)
LATER = START + timedelta(seconds=2, microseconds=1)


def job(number: int = 1, **fields: object) -> JobData:
    return JobData(f"emails-{number}", "send", "emails", **fields)  # type: ignore[arg-type]


def attempt(number: int) -> AttemptRecord:
    return AttemptRecord(number, "w", START, LATER, AttemptStatus.FAILED, "no", "trace", ("a",))


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
    ],
    ids=["jobs", "attempts", "events", "workers"],
)
def test_an_empty_frame_has_the_columns_of_a_full_one(
    empty: pd.DataFrame, full: pd.DataFrame
) -> None:
    assert len(empty) == 0
    assert len(full) > 0
    assert empty.dtypes.to_dict() == full.dtypes.to_dict()
    assert empty.index.name == full.index.name == "id"
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
