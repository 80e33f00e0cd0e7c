"""Whatever is given to whatever call: it is taken, or one clear error says what is wrong."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import pytest

from conveyor_nb import (
    Backoff,
    Batch,
    ConveyorError,
    Deduplication,
    FlowJob,
    FlowProducer,
    Group,
    GroupLimits,
    JobOptions,
    JobState,
    Keep,
    Limiter,
    MemoryStore,
    Queue,
    Repeat,
    ScaledClock,
    VirtualClock,
    Worker,
)
from conveyor_nb.core.options.declaring import option_names
from conveyor_nb.core.options.worker_options import WorkerOptions


class Unreadable:
    """Has no repr and no truth."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")

    def __bool__(self) -> bool:
        raise RuntimeError("neither true nor false")


class Whole(int):
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


ODD: list[Any] = [
    *(
        None,
        True,
        0,
        -1,
        3,
        10**400,
        1e308,
        math.nan,
        math.inf,
        "",
        "x" * 300,
        "9" * 5000,
        "\ud800",
    ),
    *(b"x", [], {}, object(), Unreadable(), Whole(3), int, print, JobState.WAITING),
    *(np.int64(3), np.float64("nan"), np.float32(1e30), np.bool_(True), np.array([1, 2])),
    *(np.array(3), np.timedelta64("NaT", "s"), np.datetime64("NaT", "s")),
    np.timedelta64(2**62, "s"),
    *(pd.NaT, pd.NA, pd.Timedelta.max, pd.Timestamp("2027-01-01", tz="UTC"), pd.Series([1])),
    *(pd.DataFrame({"a": [1]}), Decimal("sNaN"), Decimal("1e999999"), Fraction(10**400, 3)),
    *(timedelta.max, timedelta.min, datetime.max.replace(tzinfo=UTC), datetime(2027, 1, 1)),
    date(2027, 1, 1),
]


Call = Callable[[Queue, Any], Any]

OPTIONS: dict[str, Call] = {
    f"{name} of a job": lambda queue, v, name=name: queue.add("x", **{name: v})  # type: ignore[misc]
    for name in sorted(option_names(JobOptions))
}
WORKERS: dict[str, Call] = {
    f"{name} of a worker": lambda queue, v, name=name: Worker(  # type: ignore[misc]
        "q", print, **{"store": queue.store, "auto_start": False, name: v}
    )
    for name in sorted(option_names(WorkerOptions) | {"store", "logger"})
}
PARTS: dict[str, Call] = {
    "Backoff": lambda _, v: Backoff(v, 1),
    "Backoff.delay": lambda _, v: Backoff("fixed", v),
    "Backoff.strategy": lambda _, v: Backoff("custom", 1, v),
    "Keep.age": lambda _, v: Keep(age=v),
    "Keep.count": lambda _, v: Keep(count=v),
    "Deduplication": lambda _, v: Deduplication(v),
    "Deduplication.hash": lambda _, v: Deduplication(hash=v),
    "Deduplication.ttl": lambda _, v: Deduplication("k", ttl=v),
    "Repeat": lambda _, v: Repeat(v),
    "Repeat.cron": lambda _, v: Repeat(cron=v),
    "Repeat.tz": lambda _, v: Repeat(cron="* * * * *", tz=v),
    "Repeat.start_date": lambda _, v: Repeat(1, start_date=v),
    "Group": lambda _, v: Group(v),
    "Group.max_size": lambda _, v: Group("g", v),
    "Limiter": lambda _, v: Limiter(v, 1),
    "Limiter.duration": lambda _, v: Limiter(1, v),
    "GroupLimits": lambda _, v: GroupLimits(v),
    "GroupLimits.limiter": lambda _, v: GroupLimits(1, v),
    "Batch": lambda _, v: Batch(v),
    "ScaledClock": lambda _, v: ScaledClock(v).now(),
    "VirtualClock": lambda _, v: VirtualClock(v),
    "advance": lambda _, v: VirtualClock().advance(v),
    "MemoryStore.seed": lambda _, v: MemoryStore(seed=v),
    "MemoryStore.ids": lambda _, v: MemoryStore(ids=v),
    "MemoryStore.metrics": lambda _, v: MemoryStore(metrics=v),
    "MemoryStore.logger": lambda _, v: MemoryStore(logger=v),
}
CALLS: dict[str, Call] = {
    "Queue": lambda queue, v: Queue(v, store=queue.store),
    "Queue.store": lambda _, v: Queue("q", store=v if v is not None else MemoryStore()),
    "Queue.default_job_options": lambda queue, v: Queue(
        "q", store=queue.store, default_job_options=v
    ),
    "add": lambda queue, v: queue.add(v),
    "add by hash": lambda queue, v: queue.add("x", v, deduplication=Deduplication(hash=True)),
    "add_bulk": lambda queue, v: queue.add_bulk(v),
    "add_bulk's item": lambda queue, v: queue.add_bulk([v]),
    "add_bulk's opts": lambda queue, v: queue.add_bulk([{"name": "x", "opts": v}]),
    "add_frame": lambda queue, v: queue.add_frame(v, "x"),
    "schedule": lambda queue, v: queue.schedule(v, "x"),
    "every": lambda queue, v: queue.every(v, "x"),
    "cron": lambda queue, v: queue.cron(v, "x"),
    "upsert_job_scheduler": lambda queue, v: queue.upsert_job_scheduler(v, Repeat(60), "x"),
    "upsert_job_scheduler's rule": lambda queue, v: queue.upsert_job_scheduler("a", v, "x"),
    "remove_job_scheduler": lambda queue, v: queue.remove_job_scheduler(v),
    "get_job": lambda queue, v: queue.get_job(v),
    "get_jobs": lambda queue, v: queue.get_jobs(v),
    "get_jobs' start": lambda queue, v: queue.get_jobs(None, v),
    "get_jobs' end": lambda queue, v: queue.get_jobs(None, 0, v),
    "clean": lambda queue, v: queue.clean(v),
    "clean's grace": lambda queue, v: queue.clean("completed", v),
    "retry_jobs": lambda queue, v: queue.retry_jobs(v),
    "pause": lambda queue, v: queue.pause(v),
    "is_paused": lambda queue, v: queue.is_paused(v),
    "join": lambda queue, v: Queue("empty", store=queue.store).join(v),
    "obliterate": lambda queue, v: Queue("empty", store=queue.store).obliterate(force=v),
    "events": lambda queue, v: queue.events(v),
    "on": lambda queue, v: queue.on(v, print),
    "worker": lambda queue, v: Worker("q", v, store=queue.store, auto_start=False),
    "flow": lambda queue, v: FlowProducer(store=queue.store).add(v),
    "flow's children": lambda queue, v: FlowProducer(store=queue.store).add(
        FlowJob("x", "q", children=v)
    ),
    "search_jobs' states": lambda queue, v: queue.store.search_jobs("q", states=v),
    "search_jobs' start": lambda queue, v: queue.store.search_jobs("q", start=v),
    "search_jobs' date": lambda queue, v: queue.store.search_jobs("q", created_from=v),
    "search_by_payload": lambda queue, v: queue.store.search_by_payload("q", v),
    "search_by_payload's value": lambda queue, v: queue.store.search_by_payload("q", {"a": v}),
    "update_job": lambda queue, v: queue.store.update_job("q", "delayed", v),
    "update_job's priority": lambda queue, v: queue.store.update_job(
        "q", "delayed", {"priority": v}
    ),
    "get_metrics": lambda queue, v: queue.store.get_metrics("q", v),
}


@pytest.mark.filterwarnings("ignore::conveyor_nb.core.errors.ScheduleReplacedWarning")
@pytest.mark.parametrize("name", [*OPTIONS, *WORKERS, *PARTS, *CALLS])
@pytest.mark.asyncio
async def test_an_odd_value_is_taken_or_refused_by_one_clear_error(name: str) -> None:
    call = (OPTIONS | WORKERS | PARTS | CALLS)[name]
    for value in ODD:
        async with MemoryStore(clock=VirtualClock(), metrics=True) as store:
            queue = Queue("q", store=store)
            await queue.add("x", {"a": 1}, delay=60, job_id="delayed")
            before = await store.list_jobs("q")
            try:
                made = call(queue, value)
                if inspect.isawaitable(made):
                    made = await made
            except (TypeError, ValueError, ConveyorError) as error:
                told = str(error)
                assert told
                assert "\n" not in told
                assert len(told) < 700
                told.encode()
                assert await store.list_jobs("q") == before, "nothing is stored"
            else:
                assert "\n" not in repr(made)
            await queue.close()


JOBS: dict[str, Callable[[Any, Any], Any]] = {
    "update_progress": lambda job, v: job.update_progress(v),
    "change_delay": lambda job, v: job.change_delay(v),
    "change_priority": lambda job, v: job.change_priority(v),
    "move_to_delayed": lambda job, v: job.move_to_delayed(v),
}


@pytest.mark.parametrize("name", JOBS)
@pytest.mark.asyncio
async def test_an_odd_value_changes_a_job_or_does_not(name: str) -> None:
    for value in ODD:
        async with MemoryStore(clock=VirtualClock()) as store:
            job = await Queue("q", store=store).add("x", delay=60)
            before = await store.get_job("q", job.id)
            try:
                await JOBS[name](job, value)
            except (TypeError, ValueError, ConveyorError) as error:
                told = str(error)
                assert "\n" not in told
                assert await store.get_job("q", job.id) == before
            else:
                assert type((await job.refresh()).progress) in (int, float)
                assert type(job.priority) in (int, float)
                assert type(job.delay_until) is datetime
