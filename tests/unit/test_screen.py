"""What printed text leaves on a terminal."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tqdm import tqdm

from conveyor_nb.notebook.shell.screen import MAX_LINE_LENGTH, Screen

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def later(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


@pytest.fixture
def screen() -> Screen:
    return Screen(1_000, later)


class File(io.TextIOBase):
    """A stream whose text goes to a screen."""

    encoding = "utf-8"

    def __init__(self, screen: Screen) -> None:
        self._screen = screen

    def write(self, text: str) -> int:
        self._screen.write(text, "file")
        return len(text)


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("one\ntwo\n", ["one", "two"]),
        ("\n\nno end", ["", "", "no end"]),
        ("0 of 2\r1 of 2\r2 of 2\n", ["2 of 2"]),
        ("loading...\rdone\n", ["doneing..."]),
        ("loading...\r\x1b[Kdone\n", ["done"]),
        ("dos\r\nlines\r\r\n", ["dos", "lines"]),
        ("working |\b/\b-\b\\\n", ["working \\"]),
        ("ab\b\b\b\b\bX\n", ["Xb"]),
        ("\x1b[1;31mred\x1b[0m \x1b[38;5;9mred\x1b[39m\n", ["red red"]),
        ("a \x1b]8;;https://example.org\x1b\\link\x1b]8;;\x07\x1b]0;title\x07\n", ["a link"]),
        ("one\ntwo\x1b[A\rONE\x1b[B\rTWO\n", ["ONE", "TWO"]),
        ("one\ntwo\nthree\x1b[2A\rONE\n\nTHREE\n", ["ONE", "two", "THREE"]),
        ("one\ntwo\n\x1b[2F\x1b[JONE\n", ["ONE"]),
        ("x\x1b[3Cy\x1b[2Dz\x1b[1GX\n", ["X  zy"]),
        ("abcdef\x1b[3D\x1b[1K\n", ["   def"]),
        ("gone\x1b[2K\r", []),
        ("bell\x07 and null\x00\n", ["bell and null"]),
        ("\x1b[99999A\x1b[9999999999Btext\n", None),
        ("tab\tstays\n", ["tab\tstays"]),
    ],
)
@pytest.mark.parametrize("size", [1, 3, 1_000])
def test_text_is_what_a_terminal_shows(
    screen: Screen, text: str, lines: list[str] | None, size: int
) -> None:
    for start in range(0, len(text), size):  # wherever it is cut
        screen.write(text[start : start + size], "file")
    taken = screen.take(None, ends=True)
    assert taken == lines or lines is None


@pytest.mark.parametrize("leave", [True, False])
def test_nested_bars_are_their_last_states(screen: Screen, leave: bool) -> None:
    file = File(screen)
    taken = []
    for _ in tqdm(range(3), "outer", file=file, mininterval=0, ascii=True):
        for _ in tqdm(range(50), "inner", file=file, mininterval=0, leave=leave):
            taken += screen.take(NOW)
        tqdm.write("a line", file=file)
    print("after", file=file)
    taken += screen.take(later(1))
    # a bar wipes out no more than itself, also in a real terminal
    names = [line.partition(":")[0] if ":" in line else line[:6].strip() for line in taken]
    assert names.count("a line") == 3
    assert names[-2:] == ["outer", "after"]
    assert names.count("inner") == 3 * leave
    assert len(names) == 5 + 3 * leave
    assert all("100%" in line for line in taken if ":" in line)
    assert screen.take(None, ends=True) == []


def test_what_hides_the_cursor_is_given_when_it_shows_it_again(screen: Screen) -> None:
    screen.write("before\n\x1b[?25l", "file")
    for number in range(5):
        if number:
            screen.write(f"\r\x1b[2K\x1b[1A\x1b[2Kstep {number}\n", "file")
        screen.write(f"a {number}\nb {number}", "file")
        screen.write("other\n", "other")
        taken = screen.take(later(60))
        assert not any(line[:2] in ("a ", "b ") for line in taken)
        assert "other" in taken
    screen.write("\n\x1b[?25h", "file")
    assert screen.take(later(60)) == ["a 4", "b 4"]


def test_a_bar_that_was_left_waits_for_a_moment_and_what_follows_for_it(screen: Screen) -> None:
    screen.write("0\r1\n", "errors")
    screen.write("after\n", "prints")
    assert screen.take(NOW) == []
    assert screen.take(later(1)) == ["1", "after"]
    screen.write("2\r3\n", "errors")
    assert screen.take(None) == ["3"], "whatever is done to the job comes after it"


def test_a_screen_that_is_cleared_again_and_again_is_its_last(screen: Screen) -> None:
    for number in range(5):
        screen.write(f"frame {number}\n", "file")
        screen.show(f"shown {number}")
        assert screen.take(NOW) == ([f"frame {number}", f"shown {number}"] if not number else [])
        if number < 4:
            screen.clear()
    assert screen.take(later(60)) == ["frame 4", "shown 4"]


def test_it_is_bounded(screen: Screen) -> None:
    screen.write("x" * 10 * MAX_LINE_LENGTH, "file")
    for _ in range(10):
        screen.write("x" * MAX_LINE_LENGTH, "file")
    screen.write("\n", "file")
    more = f"{19 * MAX_LINE_LENGTH:,} more characters"
    assert screen.take(None) == [f"{'x' * MAX_LINE_LENGTH} … {more}"]

    screen.write("".join(f"{number}\n" for number in range(5_000)), "file")
    for number in range(5_000, 10_000):
        screen.write(f"{number}\n", "file")
    assert screen.count == 10_001
    assert screen.take(None) == [f"{number}" for number in range(9_000, 10_000)]
    screen.write("\x1b[" + "1" * 10_000, "file")
    screen.write("\x1b]0;" + "1" * 10_000, "file")
    screen.write("\nlast\n", "file")
    assert screen.take(None)[-1] == "last"


@given(st.lists(st.text("ab\n\r\b\x1b[]01;?25lhABCDEFGHJKm\t\x07", max_size=20)))
def test_no_text_makes_it_raise(texts: list[str]) -> None:
    screen = Screen(10, later)
    for number, text in enumerate(texts):
        screen.write(text, number % 2)
        if number % 3 == 2:
            screen.take(NOW)
    assert len(screen.take(None, ends=True)) <= 10 * (len(texts) + 1)
    assert screen.take(None, ends=True) == []
