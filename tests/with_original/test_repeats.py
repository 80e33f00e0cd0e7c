"""Jobs that repeat: schedules of ours that they run, and chains of theirs that we run."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest

from conveyor_nb import JobState, Worker
from conveyor_nb.clocks.clock import REAL_TIME
from tests.with_original.conftest import Shared, until

pytestmark = pytest.mark.asyncio


def iso(when: datetime) -> str:
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")


async def test_a_schedule_of_ours_goes_on_when_they_run_it(shared: Shared) -> None:
    queue = shared.queue()
    await shared.theirs.ask("work", queue="emails", deed="nothing")
    async with Worker("others", lambda job: None, store=shared.ours, stalled_interval=0.1):
        await queue.every("50ms", "report", job_id="often", limit=3)

        async def is_over() -> bool:
            (scheduler,) = await queue.get_job_schedulers()
            await shared.ours.get_stalled_jobs("emails")
            return scheduler.runs == 3 and await queue.count("completed") == 3

        await until(is_over)


async def test_a_chain_of_theirs_goes_on_when_we_run_it(shared: Shared) -> None:
    queue = shared.queue()
    data = {"to": ["ada", None]}
    runs: list[Any] = []

    def run(job: Any) -> None:
        runs.append(job.data)
        raise ValueError("even so")

    async with Worker("emails", run, store=shared.ours):
        options = {"repeat": {"limit": 3}, "jobId": "first", "attempts": 1, "priority": 2}
        await shared.theirs.queue("emails", "every", "50 ms", "report", data, options)

        async def is_over() -> bool:
            return len(runs) == 3 and await queue.count("failed") == 3

        await until(is_over)
    assert runs == [data] * 3
    jobs = await shared.theirs.queue("emails", "getJobs", "failed")
    assert sorted(job["opts"]["repeat"]["limit"] for job in jobs) == [1, 2, 3]
    assert {job["opts"].get("jobId") for job in jobs} == {"first", None}
    assert {job["opts"]["repeat"]["every"] for job in jobs} <= {"50 ms", 50}
    assert await queue.count("delayed") == 0


async def test_a_chain_goes_from_hand_to_hand(shared: Shared) -> None:
    queue = shared.queue()
    await shared.theirs.queue("emails", "every", 50, "report", {"n": 1}, {})
    for number in range(4):
        if number % 2:
            worker = await shared.theirs.ask("work", queue="emails", deed="nothing")
            await until(partial(_has, queue, number + 1))
            await shared.theirs.ask("rest", worker=worker)
        else:
            one = Worker("emails", lambda job: None, store=shared.ours, auto_start=False)
            async with one:
                await until(one.run_once)
    assert await queue.count("delayed") + await queue.count("waiting") == 1
    assert {job.data["n"] for job in await queue.get_jobs("completed")} == {1}


async def _has(queue: Any, least: int) -> bool:
    return bool(await queue.count("completed") >= least)


async def test_the_dates_of_a_chain_hold(shared: Shared) -> None:
    queue = shared.queue()
    now = REAL_TIME.now()
    start, end = now + timedelta(hours=1), now + timedelta(milliseconds=150)
    dated = {"repeat": {"startDate": iso(start)}}
    await shared.theirs.queue("later", "every", "1 minute", "report", {}, dated)
    ending = {"repeat": {"endDate": iso(end)}}
    await shared.theirs.queue("emails", "every", "50 ms", "report", {}, ending)
    cron = {"repeat": {"tz": "Europe/Paris", "startDate": iso(start)}}
    await shared.theirs.queue("daily", "cron", "0 9 * * *", "report", {}, cron)
    async with (
        Worker("later", lambda job: None, store=shared.ours),
        Worker("daily", lambda job: None, store=shared.ours),
        Worker("emails", lambda job: None, store=shared.ours),
    ):

        async def is_over() -> bool:
            return not await queue.count("delayed") and not await queue.count("waiting")

        await until(is_over)
        for name in ("later", "daily"):
            other = shared.queue(name)
            for job in await other.get_jobs("delayed"):  # their first run comes at once, or so
                await job.promote()
            await until(partial(_has, other, 1))
    (job,) = await shared.queue("later").get_jobs("delayed")
    assert job.delay_until is not None
    assert abs(job.delay_until - start) < timedelta(minutes=1)
    (job,) = await shared.queue("daily").get_jobs("delayed")
    assert job.state is JobState.DELAYED
    assert job.delay_until is not None
    assert job.delay_until > start
