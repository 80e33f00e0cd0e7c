"""Repeating jobs, run by a worker: when they run, and what changing them does."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from conveyor_nb import Job, JobState, MemoryStore, Queue, Repeat, StoreEvent, VirtualClock, Worker

Start = Callable[..., Worker]

NEW_YORK = "America/New_York"
PARIS = "Europe/Paris"


class Diary:
    """A handler that notes when it ran; it takes ``seconds``."""

    def __init__(self, clock: VirtualClock, seconds: float = 0) -> None:
        self.ran_at: list[datetime] = []
        self._clock = clock
        self._zero = clock.now()
        self._seconds = seconds

    async def __call__(self, job: Job) -> None:
        self.ran_at.append(self._clock.now())
        if self._seconds:
            await job.sleep(self._seconds)

    @property
    def hours(self) -> list[float]:
        """The hours since the diary was begun."""
        return [(when - self._zero) / timedelta(hours=1) for when in self.ran_at]


# -- chains ---------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_a_line_with_a_year_ends_with_it(
    queue: Queue, clock: VirtualClock, start: Start
) -> None:
    diary = Diary(clock)
    start(diary, stalled_interval="30 days")
    await queue.cron("0 0 12 1 1,7 * 2027", "report")
    await clock.advance(timedelta(days=700))
    assert diary.hours == [12, 181 * 24 + 12]
    [scheduler] = await queue.get_job_schedulers()
    assert scheduler.pending_job_id is None


@pytest.mark.parametrize(
    ("begin", "tz"), [("2027-03-13T12:00:00Z", NEW_YORK), ("2027-10-30T12:00:00Z", PARIS)]
)
@pytest.mark.asyncio
async def test_every_day_is_twenty_four_hours(begin: str, tz: str) -> None:
    clock = VirtualClock(datetime.fromisoformat(begin).astimezone(ZoneInfo(tz)))
    diary = Diary(clock)
    async with MemoryStore(clock=clock) as store, Worker("q", diary, store=store):
        await Queue("q", store=store).every("1 day", "report")
        await clock.advance("3 days")
    assert diary.hours == [0, 24, 48, 72]


@pytest.mark.asyncio
async def test_a_failing_nightly_job_runs_again_the_next_night(
    queue: Queue, clock: VirtualClock, start: Start
) -> None:
    nights: list[datetime] = []

    async def fail(job: Job) -> None:
        nights.append(clock.now())
        raise OSError("the disk is full")

    start(fail)
    await queue.cron("0 3 * * *", "backup", attempts=2, backoff="10 minutes")
    await clock.advance("3 days")
    assert [when.strftime("%d %H:%M") for when in nights] == [
        "01 03:00",
        "01 03:10",
        "02 03:00",
        "02 03:10",
        "03 03:00",
        "03 03:10",
    ]
    assert await queue.count("failed") == 3
    assert await queue.count("delayed") == 1


@pytest.mark.asyncio
async def test_a_cancelled_run_is_followed_by_the_next(
    queue: Queue, clock: VirtualClock, start: Start
) -> None:
    diary = Diary(clock, seconds=600)
    start(diary)
    run = await queue.every("1 hour", "report")
    await clock.advance(60)
    await run.cancel()
    await clock.advance("1 hour")
    assert diary.hours == [0, 1]
    assert (await run.refresh()).failed_reason == "cancelled"


@pytest.mark.parametrize("minutes", [0, 20, 60])
@pytest.mark.asyncio
async def test_every_does_not_drift(
    queue: Queue, clock: VirtualClock, start: Start, minutes: int
) -> None:
    diary = Diary(clock, seconds=minutes * 60)
    start(diary)
    await queue.every("1 hour", "report")
    await clock.advance("5 hours")
    assert diary.hours == [0, 1, 2, 3, 4, 5]


@pytest.mark.asyncio
async def test_a_run_that_takes_too_long_delays_the_next_and_no_other(
    queue: Queue, clock: VirtualClock, start: Start
) -> None:
    diary = Diary(clock, seconds=1.5 * 3600)
    start(diary)
    await queue.every("1 hour", "report")
    await clock.advance("6 hours")
    assert diary.hours == [0, 1.5, 3, 4.5, 6]
    planned = [job.planned_at for job in await queue.get_jobs()]
    assert planned == [clock.now() - timedelta(hours=6 - hour) for hour in (0, 1, 3, 4, 6)]


@pytest.mark.parametrize(
    ("repeat", "hours"),
    [
        (Repeat(every="1 hour"), [50.5, 51, 52]),
        (Repeat(every="2 hours"), [50.5, 52]),
        (Repeat(cron="0 3 * * *"), [50.5, 51]),
        (Repeat(cron="0 4 * * *"), [50.5, 52]),
    ],
)
@pytest.mark.asyncio
async def test_runs_that_were_missed_while_no_worker_was_there_collapse_into_one(
    queue: Queue, clock: VirtualClock, start: Start, repeat: Repeat, hours: list[float]
) -> None:
    diary = Diary(clock)
    await queue.add("report", repeat=repeat)
    await clock.advance(50.5 * 3600)
    start(diary)
    await clock.advance(1.5 * 3600)
    assert diary.hours == hours


@pytest.mark.asyncio
async def test_limit_start_and_end_bound_the_runs(
    queue: Queue, clock: VirtualClock, start: Start
) -> None:
    diary = Diary(clock)
    start(diary)
    soon = clock.now() + timedelta(hours=2)
    await queue.every("1 hour", "a", limit=3)
    await queue.every("2 hours", "b", start_date=soon, end_date=soon + timedelta(hours=5))
    await queue.cron("0 5,6,7,8 * * *", "c", limit=2, start_date=soon + timedelta(hours=4))
    await clock.advance("2 days")
    names = [job.name for job in await queue.get_jobs("completed")]
    assert sorted(zip(diary.hours, names, strict=True)) == [
        (0, "a"),
        (1, "a"),
        (2, "a"),
        (2, "b"),
        (4, "b"),
        (6, "b"),
        (6, "c"),
        (7, "c"),
    ]
    assert await queue.count() == 8


# -- schedulers by name ---------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_adding_the_same_repeat_again_makes_no_second_chain(
    queue: Queue, clock: VirtualClock, start: Start
) -> None:
    diary = Diary(clock)
    start(diary)
    for _ in range(3):
        await queue.every("1 hour", "report", {"to": "ada"}, attempts=2)
        await clock.advance("10 minutes")
    await clock.advance("3 hours")
    assert diary.hours == [0, 1, 2, 3]
    await queue.every("1 hour", "report", {"to": "grace"})
    assert len(await queue.get_job_schedulers()) == 2


@pytest.mark.asyncio
async def test_a_changed_scheduler_runs_by_its_new_times_only(
    queue: Queue, clock: VirtualClock, start: Start, events: list[StoreEvent]
) -> None:
    diary = Diary(clock)
    start(diary)
    await queue.upsert_job_scheduler("nightly", Repeat(cron="0 3 * * *"), "report", 1)
    await clock.advance("12 hours")
    run = await queue.upsert_job_scheduler("nightly", Repeat(cron="0 22 * * *"), "report", 2)
    assert (run.data, run.scheduler_id, run.state) == (2, "nightly", JobState.DELAYED)
    await clock.advance("2 days")
    assert diary.hours == [3, 22, 46]
    removed = [event.data["previous"] for event in events if event.type == "job:removed"]
    assert removed == ["delayed"]


@pytest.mark.asyncio
async def test_a_paused_scheduler_runs_no_more_until_it_is_resumed(
    queue: Queue, clock: VirtualClock, start: Start
) -> None:
    diary = Diary(clock)
    start(diary)
    await queue.upsert_job_scheduler("hourly", Repeat(every="1 hour"), "report")
    await clock.advance("90 minutes")
    assert await queue.pause_job_scheduler("hourly") is True
    await clock.advance("3 hours")
    assert [one.paused for one in await queue.get_job_schedulers()] == [True]
    with pytest.raises(ValueError, match="paused"):
        await queue.upsert_job_scheduler("hourly", Repeat(every="1 hour"), "report")
    assert await queue.resume_job_scheduler("hourly") is True
    await clock.advance("1 hour")
    assert diary.hours == [0, 1, 5]


@pytest.mark.parametrize("how", ["remove", "obliterate", "disconnect"])
@pytest.mark.asyncio
async def test_a_removed_scheduler_never_runs_again(
    queue: Queue, clock: VirtualClock, start: Start, store: MemoryStore, how: str
) -> None:
    diary = Diary(clock)
    start(diary)
    await queue.upsert_job_scheduler("hourly", Repeat(every="1 hour"), "report")
    await clock.advance("90 minutes")
    match how:
        case "remove":
            assert await queue.remove_job_scheduler("hourly") is True
        case "obliterate":
            await queue.obliterate()
        case _:
            await store.disconnect()
    await clock.advance("3 hours")
    assert diary.hours == [0, 1]
    assert await queue.get_job_schedulers() == []
    for step in (
        queue.pause_job_scheduler,
        queue.resume_job_scheduler,
        queue.remove_job_scheduler,
    ):
        assert await step("hourly") is False


@pytest.mark.parametrize(
    ("error", "options"),
    [
        (ValueError, {"cron": "0 3 * *"}),
        (ValueError, {"cron": "0 25 * * *"}),
        (ValueError, {"cron": "0 3 * * *", "tz": "Mars/Olympus"}),
        (ValueError, {"every": 0}),
        (ValueError, {"every": "soon"}),
        (ValueError, {"every": 60, "tz": PARIS}),
        (ValueError, {"every": 60, "cron": "* * * * *"}),
        (ValueError, {}),
        (ValueError, {"every": 60, "limit": 0}),
        (ValueError, {"every": 60, "start_date": datetime(2027, 1, 1)}),
        (TypeError, {"every": 60, "end_date": "tomorrow"}),
    ],
)
@pytest.mark.asyncio
async def test_a_bad_repeat_is_an_error_and_stores_nothing(
    queue: Queue, error: type[Exception], options: dict[str, Any]
) -> None:
    with pytest.raises(error):
        await queue.add("report", repeat=Repeat(**options))
    assert (await queue.get_job_schedulers(), await queue.count()) == ([], 0)


@pytest.mark.asyncio
async def test_a_repeat_with_no_run_to_come_is_an_error(queue: Queue, clock: VirtualClock) -> None:
    past = clock.now() - timedelta(days=1)
    with pytest.raises(ValueError, match="end date"):
        await queue.cron("0 3 * * *", "report", end_date=past)
    for option in ({"delay": 5}, {"deduplication": {"key": "a"}}):
        with pytest.raises((ValueError, TypeError)):
            await queue.every(60, "report", **option)
    assert await queue.count() == 0
