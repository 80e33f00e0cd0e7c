"""When a repeating job runs: every so long, by a cron line, and across changes of the clocks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conveyor_nb import Repeat
from conveyor_nb.core.schedule import first_run, next_run, resumed_run

NOON = datetime(2027, 1, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
NEW_YORK, PARIS = "America/New_York", "Europe/Paris"


def at(text: str) -> datetime:
    """An instant of UTC, from ``"2027-01-01 12:30"``."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def on_time(repeat: Repeat, planned: datetime, runs: int = 1) -> datetime | None:
    """The run after one that started and ended when it was planned."""
    return next_run(repeat, planned, planned, runs, started=planned)


def runs_from(repeat: Repeat, start: datetime, most: int) -> list[datetime]:
    """The first runs of a job that is always on time."""
    runs: list[datetime] = []
    planned = first_run(repeat, start)
    while planned is not None and len(runs) < most:
        runs.append(planned)
        planned = on_time(repeat, planned, len(runs))
    return runs


# -- every ------------------------------------------------------------------------------------


def test_every_first_runs_at_once() -> None:
    assert runs_from(Repeat(every="1h"), NOON, 3) == [NOON, NOON + HOUR, NOON + 2 * HOUR]


def test_every_does_not_drift() -> None:
    repeat = Repeat(every="1h")
    ended = NOON + 5 * MINUTE
    assert next_run(repeat, NOON, ended, 1, started=NOON + MINUTE) == NOON + HOUR


@pytest.mark.parametrize(
    ("started", "ended", "expected"),
    [
        # while it ran, others fell due: they become one
        ("12:00", "12:59", "13:00"),
        ("12:00", "13:00", "13:00"),
        ("12:00", "13:01", "13:00"),
        ("12:00", "15:05", "15:00"),
        # a run that starts late stands for all that were due by then
        ("12:59", "12:59", "13:00"),
        ("13:00", "13:00", "14:00"),
        ("15:10", "15:20", "16:00"),
        ("15:10", "17:20", "17:00"),
    ],
)
def test_runs_that_every_missed_become_one(started: str, ended: str, expected: str) -> None:
    [start, end, run] = [at(f"2027-01-01 {time}") for time in (started, ended, expected)]
    assert next_run(Repeat(every="1h"), NOON, end, 1, started=start) == run
    assert next_run(Repeat(cron="0 * * * *"), NOON, end, 1, started=start) == run


def test_every_begins_at_its_start_date() -> None:
    start = NOON + 90 * MINUTE
    assert runs_from(Repeat(every="1h", start_date=start), NOON, 2) == [start, start + HOUR]


def test_every_keeps_to_a_start_date_that_is_past() -> None:
    start = NOON - 150 * MINUTE
    assert first_run(Repeat(every="1h", start_date=start), NOON) == NOON - 30 * MINUTE


@given(
    every=st.integers(1, 10**6),
    delay=st.integers(0, 10**7),
    busy=st.integers(0, 10**7),
)
def test_every_run_is_on_the_grid_and_none_is_skipped(every: int, delay: int, busy: int) -> None:
    repeat, step = Repeat(every=every / 1_000), timedelta(milliseconds=every)
    started = NOON + timedelta(milliseconds=delay)
    now = started + timedelta(milliseconds=busy)
    run = next_run(repeat, NOON, now, 1, started=started)
    assert run is not None
    assert (run - NOON) % step == timedelta(0)
    assert run > started or run == started == now
    assert run > now - step


# -- limits and dates -------------------------------------------------------------------------


@pytest.mark.parametrize("when", [{"every": "1h"}, {"cron": "0 * * * *"}], ids=str)
def test_the_limit_is_the_number_of_runs(when: dict[str, str]) -> None:
    rules: dict[str, Any] = {**when, "limit": 3}
    assert len(runs_from(Repeat(**rules), NOON, 10)) == 3


@pytest.mark.parametrize(
    ("when", "first"), [({"every": "1h"}, NOON), ({"cron": "0 * * * *"}, NOON + HOUR)], ids=str
)
def test_no_run_is_after_the_end_date(when: dict[str, str], first: datetime) -> None:
    rules: dict[str, Any] = {**when, "end_date": first + 2 * HOUR}
    assert runs_from(Repeat(**rules), NOON, 10) == [first, first + HOUR, first + 2 * HOUR]
    rules["end_date"] = first + 2 * HOUR - timedelta(microseconds=1)
    assert runs_from(Repeat(**rules), NOON, 10) == [first, first + HOUR]


@pytest.mark.parametrize("when", [{"every": "1h"}, {"cron": "0 * * * *"}], ids=str)
def test_there_is_no_run_when_the_end_is_past(when: dict[str, str]) -> None:
    rules: dict[str, Any] = {**when, "end_date": NOON - HOUR}
    assert first_run(Repeat(**rules), NOON) is None


def test_cron_runs_at_its_start_date_if_that_is_a_match() -> None:
    start = NOON + 5 * HOUR
    repeat = Repeat(cron="0 * * * *", start_date=start)
    assert runs_from(repeat, NOON, 2) == [start, start + HOUR]
    repeat = Repeat(cron="30 * * * *", start_date=start)
    assert first_run(repeat, NOON) == start + 30 * MINUTE


def test_a_start_date_that_is_past_does_not_hold_cron_back() -> None:
    repeat = Repeat(cron="0 * * * *", start_date=NOON - 5 * HOUR)
    assert first_run(repeat, NOON + MINUTE) == NOON + HOUR


# -- after a pause ----------------------------------------------------------------------------


@pytest.mark.parametrize("when", [{"every": "1h"}, {"cron": "0 * * * *"}], ids=str)
@pytest.mark.parametrize(
    ("now", "expected"),
    [("12:00", "13:00"), ("12:30", "13:00"), ("13:00", "14:00"), ("17:59", "18:00")],
)
def test_a_pause_leaves_missed_runs_out(when: dict[str, str], now: str, expected: str) -> None:
    rules: dict[str, Any] = when
    resumed = resumed_run(Repeat(**rules), NOON, at(f"2027-01-01 {now}"))
    assert resumed == at(f"2027-01-01 {expected}")


def test_a_chain_that_never_ran_begins_when_it_is_resumed() -> None:
    assert resumed_run(Repeat(every="1h"), None, NOON) == NOON
    assert resumed_run(Repeat(cron="0 13 * * *"), None, NOON) == NOON + HOUR


def test_a_run_that_is_still_ahead_is_followed_by_the_next() -> None:
    assert resumed_run(Repeat(every="1h"), NOON, NOON - 30 * MINUTE) == NOON + HOUR


def test_a_pause_does_not_move_the_end() -> None:
    repeat = Repeat(every="1h", end_date=NOON + HOUR)
    assert resumed_run(repeat, NOON, NOON + 30 * MINUTE) == NOON + HOUR
    assert resumed_run(repeat, NOON, NOON + HOUR) is None


# -- cron lines -------------------------------------------------------------------------------


def test_cron_first_runs_at_the_next_match_and_not_at_once() -> None:
    assert first_run(Repeat(cron="0 12 * * *"), NOON) == NOON + timedelta(days=1)
    assert first_run(Repeat(cron="0 12 * * *"), NOON - timedelta(microseconds=1)) == NOON


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("*/20 * * * *", ["01-01 12:20", "01-01 12:40", "01-01 13:00"]),
        ("0 9 * * 1-5", ["01-04 09:00", "01-05 09:00", "01-06 09:00"]),
        ("0 9 * * mon,WED", ["01-04 09:00", "01-06 09:00", "01-11 09:00"]),
        ("0 9 * * 0", ["01-03 09:00", "01-10 09:00", "01-17 09:00"]),
        ("0 9 * * 7", ["01-03 09:00", "01-10 09:00", "01-17 09:00"]),
        ("0 0 1,15 * *", ["01-15 00:00", "02-01 00:00", "02-15 00:00"]),
        ("0 0 31 * *", ["01-31 00:00", "03-31 00:00", "05-31 00:00"]),
        ("0 0 1 feb-apr *", ["02-01 00:00", "03-01 00:00", "04-01 00:00"]),
        # either of the two, when both a day of the month and one of the week are given
        ("0 0 13 * 5", ["01-08 00:00", "01-13 00:00", "01-15 00:00"]),
        # six fields: seconds first
        ("30 0 9 * * *", ["01-02 09:00:30", "01-03 09:00:30", "01-04 09:00:30"]),
        ("*/20 0 13 1 1 *", ["01-01 13:00:00", "01-01 13:00:20", "01-01 13:00:40"]),
        # seven fields: year last
        ("0 0 9 1 2 * 2027", ["02-01 09:00"]),
        ("0 0 9 * * * 2026-2027", ["01-02 09:00", "01-03 09:00", "01-04 09:00"]),
    ],
)
def test_a_line_of_5_6_or_7_fields_runs_when_it_says(line: str, expected: list[str]) -> None:
    runs = runs_from(Repeat(cron=line), NOON, 3)
    assert runs == [at(f"2027-{text}") for text in expected]


def test_a_leap_day_comes_every_four_years() -> None:
    runs = runs_from(Repeat(cron="0 12 29 2 *"), NOON, 3)
    assert [run.isoformat()[:10] for run in runs] == ["2028-02-29", "2032-02-29", "2036-02-29"]


@pytest.mark.parametrize("line", ["0 0 12 1 1 * 2026", "0 0 12 * * * 2020-2026", "0 0 30 2 *"])
def test_a_line_with_no_date_to_come_has_no_run(line: str) -> None:
    assert first_run(Repeat(cron=line), NOON) is None


def test_a_line_ends_with_its_last_year() -> None:
    runs = runs_from(Repeat(cron="0 0 12 1 * * 2027"), NOON, 50)
    assert len(runs) == 11
    assert runs[-1] == at("2027-12-01 12:00")


def test_a_line_is_read_in_its_time_zone() -> None:
    repeat = Repeat(cron="0 9 * * *", tz="Asia/Kolkata")
    assert first_run(repeat, NOON) == at("2027-01-02 03:30")


def test_a_run_is_given_in_utc() -> None:
    run = first_run(Repeat(cron="0 9 * * *", tz=PARIS), NOON)
    assert run is not None
    assert run.tzinfo is UTC


def test_runs_that_cron_missed_become_the_latest_of_them() -> None:
    repeat = Repeat(cron="0 9 * * *", tz=PARIS)
    planned = at("2027-01-01 08:00")
    now = at("2027-01-05 10:00")
    assert next_run(repeat, planned, now, 1, started=planned) == at("2027-01-05 08:00")
    assert next_run(repeat, planned, now, 1, started=now) == at("2027-01-06 08:00")


# -- across the changes of the clocks ---------------------------------------------------------

EVERY_HOUR = "0 * * * *"
EVERY_HALF = "*/30 * * * *"

ACROSS = [
    # New York, 14 March: 2:00 becomes 3:00
    (NEW_YORK, "03-13", "30 2 * * *", "13 02:30-5; 14 03:00-4; 15 02:30-4"),
    (NEW_YORK, "03-13", "30 1 * * *", "13 01:30-5; 14 01:30-5; 15 01:30-4"),
    (NEW_YORK, "03-14", EVERY_HOUR, "14 01:00-5; 14 03:00-4; 14 04:00-4; 14 05:00-4"),
    (NEW_YORK, "03-14", EVERY_HALF, "14 00:30-5; 14 01:00-5; 14 01:30-5; 14 03:00-4; 14 03:30-4"),
    # New York, 7 November: 2:00 becomes 1:00
    (NEW_YORK, "11-06", "30 2 * * *", "06 02:30-4; 07 02:30-5; 08 02:30-5"),
    (NEW_YORK, "11-06", "30 1 * * *", "06 01:30-4; 07 01:30-4; 08 01:30-5"),
    (NEW_YORK, "11-07", EVERY_HOUR, "07 01:00-4; 07 01:00-5; 07 02:00-5; 07 03:00-5"),
    (
        NEW_YORK,
        "11-07",
        EVERY_HALF,
        "07 00:30-4; 07 01:00-4; 07 01:30-4; 07 01:00-5; 07 01:30-5; 07 02:00-5; 07 02:30-5",
    ),
    # Paris, 28 March: 2:00 becomes 3:00
    (PARIS, "03-27", "30 2 * * *", "27 02:30+1; 28 03:00+2; 29 02:30+2"),
    (PARIS, "03-27", "30 1 * * *", "27 01:30+1; 28 01:30+1; 29 01:30+2"),
    (PARIS, "03-28", EVERY_HOUR, "28 01:00+1; 28 03:00+2; 28 04:00+2; 28 05:00+2"),
    (PARIS, "03-28", EVERY_HALF, "28 00:30+1; 28 01:00+1; 28 01:30+1; 28 03:00+2; 28 03:30+2"),
    # Paris, 31 October: 3:00 becomes 2:00
    (PARIS, "10-30", "30 2 * * *", "30 02:30+2; 31 02:30+2; 01 02:30+1"),
    (PARIS, "10-30", "30 1 * * *", "30 01:30+2; 31 01:30+2; 01 01:30+1"),
    (PARIS, "10-31", EVERY_HOUR, "31 01:00+2; 31 02:00+2; 31 02:00+1; 31 03:00+1"),
    (
        PARIS,
        "10-31",
        EVERY_HALF,
        "31 00:30+2; 31 01:00+2; 31 01:30+2; 31 02:00+2; 31 02:30+2; 31 02:00+1; 31 02:30+1;"
        " 31 03:00+1",
    ),
]


def shown(run: datetime, zone: ZoneInfo) -> str:
    """A run as the clocks of a zone show it, with the hours that they are off UTC."""
    local = run.astimezone(zone)
    offset = local.utcoffset()
    assert offset is not None
    return f"{local:%d %H:%M}{offset // HOUR:+d}"


@pytest.mark.parametrize(("tz", "day", "line", "expected"), ACROSS)
def test_cron_across_the_changes_of_the_clocks_of_2027(
    tz: str, day: str, line: str, expected: str
) -> None:
    zone = ZoneInfo(tz)
    midnight = datetime.fromisoformat(f"2027-{day}").replace(tzinfo=zone).astimezone(UTC)
    wanted = [text.strip() for text in expected.split(";")]
    runs = runs_from(Repeat(cron=line, tz=tz), midnight, len(wanted))
    assert [shown(run, zone) for run in runs] == wanted


@pytest.mark.parametrize("line", [EVERY_HOUR, EVERY_HALF])
@pytest.mark.parametrize("day", ["03-14", "11-07", "03-28", "10-31"])
@pytest.mark.parametrize("tz", [NEW_YORK, PARIS])
def test_a_line_for_every_hour_keeps_its_real_intervals(tz: str, day: str, line: str) -> None:
    step = HOUR if line == EVERY_HOUR else HOUR / 2
    runs = runs_from(Repeat(cron=line, tz=tz), at(f"2027-{day} 00:00") - 6 * HOUR, 80)
    assert {later - run for run, later in pairwise(runs)} == {step}


@pytest.mark.parametrize("hour", range(24))
@pytest.mark.parametrize("tz", [NEW_YORK, PARIS])
def test_a_daily_line_runs_once_on_each_day_of_the_year(tz: str, hour: int) -> None:
    zone = ZoneInfo(tz)
    start = datetime(2027, 1, 1, tzinfo=zone).astimezone(UTC) - timedelta(microseconds=1)
    runs = runs_from(Repeat(cron=f"30 {hour} * * *", tz=tz), start, 365)
    days = [run.astimezone(zone).date() for run in runs]
    assert days == sorted(set(days))
    assert len(days) == 365


@pytest.mark.parametrize(
    ("tz", "now", "expected"),
    [
        # missed in the gap: the run at the gap's end is the latest
        (NEW_YORK, "2027-03-14 08:00", "2027-03-14 07:00"),
        # missed in the hour that came twice: it was the first of the two
        (PARIS, "2027-10-31 02:00", "2027-10-31 00:30"),
        (PARIS, "2027-10-31 00:45", "2027-10-31 00:30"),
    ],
)
def test_a_missed_run_on_such_a_night_is_found(tz: str, now: str, expected: str) -> None:
    planned = at(now) - timedelta(days=3)
    run = next_run(Repeat(cron="30 2 * * *", tz=tz), planned, at(now), 1, started=planned)
    assert run == at(expected)
