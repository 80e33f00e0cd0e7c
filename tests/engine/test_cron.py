"""Cron lines, run by a worker: across the changes of the clocks, on quiet days, on rare dates."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from croniter import croniter

from conveyor_nb import Job, MemoryStore, Queue, VirtualClock, Worker

NEW_YORK = "America/New_York"
PARIS = "Europe/Paris"


def instants(text: str) -> list[datetime]:
    """UTC instants of 2027, written as ``03-14: 07:00 07:20``, days apart by ``;``."""
    found = []
    for day in text.split(";"):
        date, times = day.split(":", 1)
        found += [
            datetime.fromisoformat(f"2027-{date.strip()}T{time}:00+00:00") for time in times.split()
        ]
    return found


async def runs_of(line: str, tz: str | None, begin: datetime, end: datetime) -> list[datetime]:
    """When a worker runs a job with this cron line, between two instants."""
    clock = VirtualClock(begin)
    ran_at = []

    async def note(job: Job) -> None:
        ran_at.append(clock.now())

    async with (
        MemoryStore(clock=clock) as store,
        Queue("nightly", store=store) as queue,
        Worker("nightly", note, store=store, stalled_interval="30 days"),
    ):
        await queue.cron(line, "report", tz=tz)
        await clock.advance(end - begin)
    return ran_at


# -- across the changes of the clocks -------------------------------------------------------------
#
# 2027 in UTC. New York: 02:00 becomes 03:00 at 03-14 07:00, 02:00 becomes 01:00 at 11-07 06:00.
# Paris: 02:00 becomes 03:00 at 03-28 01:00, 03:00 becomes 02:00 at 10-31 01:00.

SPRING_IN_NEW_YORK = ("03-13: 05:00", "03-16: 04:00")
AUTUMN_IN_NEW_YORK = ("11-06: 04:00", "11-09: 05:00")
SPRING_IN_PARIS = ("03-26: 23:00", "03-29: 22:00")
AUTUMN_IN_PARIS = ("10-29: 22:00", "11-01: 23:00")
THAT_NIGHT_IN_NEW_YORK = ("03-14: 05:00", "03-14: 09:00")
THAT_NIGHT_IN_PARIS = ("03-28: 00:00", "03-28: 03:00")

ACROSS = [
    # a time that the gap skips runs at the gap's end
    (NEW_YORK, SPRING_IN_NEW_YORK, "30 2 * * *", "03-13: 07:30; 03-14: 07:00; 03-15: 06:30"),
    (PARIS, SPRING_IN_PARIS, "30 2 * * *", "03-27: 01:30; 03-28: 01:00; 03-29: 00:30"),
    (PARIS, SPRING_IN_PARIS, "0 0 2 * * *", "03-27: 01:00; 03-28: 01:00; 03-29: 00:00"),
    # several of them run there once
    (
        NEW_YORK,
        SPRING_IN_NEW_YORK,
        "*/20 2 * * *",
        "03-13: 07:00 07:20 07:40; 03-14: 07:00; 03-15: 06:00 06:20 06:40",
    ),
    # also with one that belongs there
    (
        NEW_YORK,
        SPRING_IN_NEW_YORK,
        "0 2,3 * * *",
        "03-13: 07:00 08:00; 03-14: 07:00; 03-15: 06:00 07:00",
    ),
    (
        PARIS,
        SPRING_IN_PARIS,
        "30 1-3 * * *",
        "03-27: 00:30 01:30 02:30; 03-28: 00:30 01:00 01:30; 03-28: 23:30; 03-29: 00:30 01:30",
    ),
    # a time that comes twice runs once
    (NEW_YORK, AUTUMN_IN_NEW_YORK, "30 1 * * *", "11-06: 05:30; 11-07: 05:30; 11-08: 06:30"),
    (PARIS, AUTUMN_IN_PARIS, "30 2 * * *", "10-30: 00:30; 10-31: 00:30; 11-01: 01:30"),
    (
        NEW_YORK,
        AUTUMN_IN_NEW_YORK,
        "*/20 1 * * *",
        "11-06: 05:00 05:20 05:40; 11-07: 05:00 05:20 05:40; 11-08: 06:00 06:20 06:40",
    ),
    (
        PARIS,
        AUTUMN_IN_PARIS,
        "0 2,3 * * *",
        "10-30: 00:00 01:00; 10-31: 00:00 02:00; 11-01: 01:00 02:00",
    ),
    # every real hour, if the line says so
    (NEW_YORK, THAT_NIGHT_IN_NEW_YORK, "30 * * * *", "03-14: 05:30 06:30 07:30 08:30"),
    (PARIS, THAT_NIGHT_IN_PARIS, "15,45 * * * *", "03-28: 00:15 00:45 01:15 01:45 02:15 02:45"),
    (
        NEW_YORK,
        ("11-07: 04:00", "11-07: 08:00"),
        "30 * * * *",
        "11-07: 04:30 05:30 06:30 07:30",
    ),
    (
        PARIS,
        ("10-30: 23:59", "10-31: 02:30"),
        "*/20 * * * *",
        "10-31: 00:00 00:20 00:40 01:00 01:20 01:40 02:00 02:20",
    ),
    # times that nothing happens to keep their place on the clock
    (NEW_YORK, SPRING_IN_NEW_YORK, "0 9 * * *", "03-13: 14:00; 03-14: 13:00; 03-15: 13:00"),
    (PARIS, AUTUMN_IN_PARIS, "0 9 * * *", "10-30: 07:00; 10-31: 08:00; 11-01: 08:00"),
    (NEW_YORK, AUTUMN_IN_NEW_YORK, "59 23 * * *", "11-07: 03:59; 11-08: 04:59; 11-09: 04:59"),
]


@pytest.mark.parametrize(("tz", "span", "line", "expected"), ACROSS)
@pytest.mark.asyncio
async def test_cron_across_a_change_of_the_clocks(
    tz: str, span: tuple[str, str], line: str, expected: str
) -> None:
    [begin], [end] = map(instants, span)
    assert await runs_of(line, tz, begin, end) == instants(expected)


@pytest.mark.parametrize("tz", [NEW_YORK, PARIS, None, "Asia/Kolkata"])
@pytest.mark.parametrize(
    "line", ["30 2 * * *", "*/45 * * * *", "0 9 * * 1-5", "0 0 1,15 * *", "15 30 6 * * *"]
)
@pytest.mark.asyncio
async def test_cron_of_a_quiet_month_is_what_the_cron_library_says(
    line: str, tz: str | None
) -> None:
    begin, end = datetime(2027, 6, 1, tzinfo=UTC), datetime(2027, 7, 1, tzinfo=UTC)
    zone = ZoneInfo(tz or "UTC")
    matches = croniter(line, begin.astimezone(zone), second_at_beginning=True)
    expected = []
    while (match := matches.get_next(datetime).astimezone(UTC)) <= end:
        expected.append(match)
    assert expected
    assert await runs_of(line, tz, begin, end) == expected


# -- rare dates -----------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_a_leap_day_comes_every_four_years() -> None:
    begin, end = datetime(2027, 1, 1, tzinfo=UTC), datetime(2033, 1, 1, tzinfo=UTC)
    assert await runs_of("0 12 29 2 *", None, begin, end) == [
        datetime(2028, 2, 29, 12, tzinfo=UTC),
        datetime(2032, 2, 29, 12, tzinfo=UTC),
    ]
