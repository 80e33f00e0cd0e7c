"""Repeating jobs, run by a worker: when they run, and what changing them does."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from conveyor_nb import (
    Job,
    JobState,
    MemoryStore,
    Queue,
    Repeat,
    ScheduleReplacedWarning,
    StoreEvent,
    VirtualClock,
    Worker,
)
from conveyor_nb.stores.sql.postgres.store import PgStore
from conveyor_nb.stores.sql.sqlite.store import SqliteStore

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
    if how == "disconnect" and isinstance(store, (PgStore, SqliteStore)):
        return  # it keeps the scheduler for who connects it again
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


@pytest.mark.parametrize(
    ("line", "options", "said"),
    [
        ("0 0 30 2 *", {}, "'0 0 30 2 \\*' never comes: no date fits it"),
        ("0 0 12 1 1 * 2020", {}, "comes no more: it came last at 2020-01-01T12"),
        ("0 3 * * *", {"end_date": timedelta(hours=2)}, "none is due between now and its end date"),
        (
            "0 3 * * *",
            {"start_date": timedelta(hours=4), "end_date": timedelta(hours=6)},
            "none is due between its start date .* and its end date",
        ),
        ("0 3 * * *", {"end_date": timedelta(hours=-2)}, "its end date .* is past"),
        (None, {"end_date": timedelta(hours=-2)}, "its end date .* is past"),
    ],
)
@pytest.mark.asyncio
async def test_a_schedule_without_a_run_says_why_and_is_not_stored(
    queue: Queue, clock: VirtualClock, line: str | None, options: dict[str, Any], said: str
) -> None:
    dates = {name: clock.now() + delta for name, delta in options.items()}
    repeat = Repeat(every=None if line else 60, cron=line, **dates)
    for call in (
        queue.add("report", repeat=repeat),
        queue.upsert_job_scheduler("mine", repeat, "report"),
    ):
        with pytest.raises(ValueError, match=f"no run to come: .*{said}") as caught:
            await call
        assert "limit" not in str(caught.value)
    assert (await queue.get_job_schedulers(), await queue.count()) == ([], 0)


@pytest.mark.asyncio
async def test_a_paused_schedule_is_not_changed_by_who_wants_its_next_run(queue: Queue) -> None:
    await queue.upsert_job_scheduler("mine", Repeat(every=60), "report")
    await queue.pause_job_scheduler("mine")
    before = await queue.get_job_schedulers()
    for call in (
        queue.upsert_job_scheduler("mine", Repeat(every=120), "report"),
        queue.every("2m", "report", job_id="mine"),
    ):
        with pytest.raises(ValueError, match=r"no run to come: it is paused; .*resume_job_sched"):
            await call
    assert await queue.get_job_schedulers() == before


@pytest.mark.asyncio
async def test_after_its_last_run_a_schedule_begins_anew_or_says_why_not(
    queue: Queue, clock: VirtualClock, start: Start
) -> None:
    diary = Diary(clock)
    start(diary)
    for _ in range(2):
        await queue.every("1 hour", "report", limit=2)
        await clock.advance("2 hours")
    assert diary.hours == [0, 1, 2, 3]
    end = clock.now() + timedelta(hours=1)
    await queue.every("1 hour", "report", end_date=end)
    await clock.advance("2 hours")
    with pytest.raises(ValueError, match=r"end date .* is past"):
        await queue.every("1 hour", "report", end_date=end)


# -- schedules of one name and payload ------------------------------------------------------------


@pytest.mark.asyncio
async def test_a_schedule_goes_by_the_job_name_and_the_payload(queue: Queue) -> None:
    payloads = [{"a": 1, "b": [2.0]}, {"b": [2], "a": 1}, {"a": 1, "b": [3]}, None]
    for name in ("sync", "report"):
        for data in payloads:
            await queue.every("1h", name, data)
    ids = [one.id for one in await queue.get_job_schedulers()]
    assert len(ids) == 6
    assert [one.partition(":")[0] for one in ids] == ["sync"] * 3 + ["report"] * 3


@pytest.mark.asyncio
async def test_a_long_name_makes_an_id_too(queue: Queue) -> None:
    for name in ("n" * 255, "n" * 254 + "m"):
        await queue.every("1h", name)
    assert [len(one.id) for one in await queue.get_job_schedulers()] == [255, 255]


REPLACED: list[tuple[Callable[[Queue], Any], str]] = [
    (lambda queue: queue.every("10m", "report"), "was every='1h', and is every='10m' from now on"),
    (lambda queue: queue.cron("0 9 * * *", "report", tz=PARIS), "is cron='0 9 .*Europe/Paris'"),
    (lambda queue: queue.every("1h", "report", limit=5), "is every='1h', limit=5 from"),
    (lambda queue: queue.add("report", repeat=Repeat(every=3601)), "is every='3601s' from"),
]


@pytest.mark.parametrize(("edited", "said"), REPLACED)
@pytest.mark.asyncio
async def test_an_edited_rule_replaces_the_one_before_and_warns(
    queue: Queue, edited: Callable[[Queue], Any], said: str
) -> None:
    await queue.every("1h", "report")
    with pytest.warns(ScheduleReplacedWarning, match=said) as warned:
        await edited(queue)
    [scheduler] = await queue.get_job_schedulers()
    assert scheduler.repeat != Repeat(every="1h")
    assert "upsert_job_scheduler" in str(warned[0].message)
    assert warned[0].filename == __file__
    assert await queue.count() == 1


@pytest.mark.asyncio
async def test_the_same_rule_an_id_of_ones_own_and_a_chain_that_is_over_warn_of_nothing(
    queue: Queue, clock: VirtualClock, start: Start
) -> None:
    start(Diary(clock))
    for interval in ("1h", "60 minutes"):
        await queue.every(interval, "report")
    for interval in ("1h", "10m"):
        await queue.every(interval, "mine", job_id="mine")
        await queue.upsert_job_scheduler("other", Repeat(every=interval), "other")
    for interval in ("1h", "10m"):
        await queue.every(interval, "once", limit=1)
        await clock.settle()
    assert len(await queue.get_job_schedulers()) == 4


@pytest.mark.asyncio
async def test_a_warning_that_is_an_error_leaves_the_schedule_as_it_was(queue: Queue) -> None:
    await queue.every("1h", "report")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ScheduleReplacedWarning):
            await queue.every("10m", "report")
    [scheduler] = await queue.get_job_schedulers()
    assert scheduler.repeat == Repeat(every="1h")


@pytest.mark.asyncio
async def test_a_payload_that_is_no_json_needs_an_id_of_its_own(queue: Queue) -> None:
    with pytest.raises(TypeError, match=r"'report' needs an id of its own: .* a set; give job_id="):
        await queue.every("1h", "report", {1, 2})
    assert await queue.get_job_schedulers() == []
    await queue.every("1h", "report", {1, 2}, job_id="mine")
    assert [one.id for one in await queue.get_job_schedulers()] == ["mine"]
