"""Durations at the edge: what is one, what is none, and what the error says."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conveyor_nb.core.values.durations import MAX_SECONDS, format_seconds, to_delta, to_seconds


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (0, 0),
        (2, 2),
        (0.25, 0.25),
        (timedelta(0), 0),
        (timedelta(days=1, milliseconds=1), 86_400.001),
        ("0s", 0),
        ("500ms", 0.5),
        ("5s", 5),
        ("5 seconds", 5),
        ("10m", 600),
        ("10 minutes", 600),
        ("2h", 7_200),
        ("1 day", 86_400),
        ("1w", 604_800),
        ("1.5h", 5_400),
        (".5 s", 0.5),
        ("2. s", 2),
        ("  5 SECONDS\n", 5),
        ("5\tMin", 300),
    ],
    ids=repr,
)
def test_a_duration_is_so_many_seconds(value: float | timedelta | str, seconds: float) -> None:
    assert to_seconds(value) == pytest.approx(seconds, abs=1e-9)
    assert isinstance(to_seconds(value), float)
    assert to_delta(value) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("units", "seconds"),
    [
        ("ms msec msecs millisecond milliseconds", 0.001),
        ("s sec secs second seconds", 1),
        ("m min mins minute minutes", 60),
        ("h hr hrs hour hours", 3_600),
        ("d day days", 86_400),
        ("w wk wks week weeks", 604_800),
    ],
)
def test_every_unit_has_its_names(units: str, seconds: float) -> None:
    for unit in units.split():
        assert to_seconds(f"3{unit}") == pytest.approx(3 * seconds)
        assert to_seconds(f"3 {unit.upper()}") == pytest.approx(3 * seconds)


@pytest.mark.parametrize(
    "value",
    [
        "",
        " ",
        "soon",
        "5",
        "s",
        "five seconds",
        "5 fortnights",
        "5 s later",
        "in 5 s",
        "5s 3s",
        "1h30m",
        "1,5s",
        "1e3s",
        "+5s",
        "--5s",
        "nan s",
        "inf s",
        "0x5s",
        ". s",
        "5 s;",
        "5\u00b5s",
    ],
)
def test_text_that_is_no_duration_is_shown_with_an_example(value: str) -> None:
    with pytest.raises(ValueError, match="'5s', '10 minutes'") as caught:
        to_seconds(value, what="delay")
    assert str(caught.value).startswith(f"delay {value!r} is not a duration")


@pytest.mark.parametrize(
    "value",
    [-1, -0.001, "-5s", "-1 ms", timedelta(seconds=-1), math.nan, math.inf, -math.inf],
    ids=repr,
)
def test_a_duration_is_finite_and_not_negative(value: float | timedelta | str) -> None:
    with pytest.raises(ValueError, match="delay must be") as caught:
        to_seconds(value, what="delay")
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize(
    "value", [10**400, 1e300, "1e0 weeks".replace("1e0", "9" * 400), "6000 weeks", timedelta.max]
)
def test_a_duration_is_a_hundred_years_at_most(value: float | timedelta | str) -> None:
    with pytest.raises(ValueError, match="delay must be"):
        to_seconds(value, what="delay")


def test_a_hundred_years_is_a_duration() -> None:
    assert to_seconds(MAX_SECONDS) == MAX_SECONDS
    with pytest.raises(ValueError, match="a hundred years"):
        to_seconds(math.nextafter(MAX_SECONDS, math.inf))


@pytest.mark.parametrize("value", [None, True, False, [], {}, b"5s", 1j], ids=repr)
def test_another_type_is_named_with_an_example(value: Any) -> None:
    with pytest.raises(TypeError, match="'5s', '10 minutes'") as caught:
        to_seconds(value, what="delay")
    assert str(caught.value).startswith(f"delay {value!r} is a {type(value).__name__}")


@given(st.floats(0, MAX_SECONDS))
def test_a_number_is_taken_as_it_is(seconds: float) -> None:
    assert to_seconds(seconds) == seconds


@given(st.text())
def test_any_text_is_a_duration_or_a_value_error(text: str) -> None:
    try:
        seconds = to_seconds(text)
    except ValueError:
        return
    assert 0 <= seconds <= MAX_SECONDS


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.0004, "0.4ms"),
        (0.25, "250ms"),
        (1, "1s"),
        (59.5, "59.5s"),
        (60, "1m"),
        (90, "1.5m"),
        (3_600, "1h"),
        (86_400, "1d"),
        (604_800, "7d"),
    ],
)
def test_seconds_are_written_as_a_person_would(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


@given(st.floats(0.001, 86_400 * 900))
def test_what_is_written_can_be_read(seconds: float) -> None:
    assert to_seconds(format_seconds(seconds)) == pytest.approx(seconds, rel=0.006)
