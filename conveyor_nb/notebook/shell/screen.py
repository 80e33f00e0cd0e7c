"""Lines as a terminal would be left with them: a bar that redraws itself is one line, its last.

Enough of a terminal is here for what draws progress: carriage returns, backspaces, moves of the
cursor and erasing. Colours and all else that a terminal takes for commands are left out.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from datetime import datetime
from enum import Enum

__all__ = ["MAX_LINE_LENGTH", "Screen"]

MAX_LINE_LENGTH = 1_000
"""How many characters of a printed line are kept, so that a log holds a million at most."""

_NEXT_BAR = 0.1
"""Seconds within which the cursor comes back from the next bar; drawing takes no time."""

_NEXT_FRAME = 2.0
"""Seconds within which a line that is cleared again and again is cleared once more."""

_WINDOW = 100
"""How many lines the cursor can go up; what has scrolled further stays as it is."""

_ESCAPE = re.compile(
    r"\x1b(?:\[(?P<args>[0-?]*)[ -/]*(?P<act>[@-~])|\][^\x07\x1b]*(?:\x07|\x1b\\)|[^\[\]])"
)
_UNFINISHED = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|\][^\x07\x1b]{0,1000}\x1b?)?$")
_PLAIN = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]+")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


class _Place(Enum):
    OPEN = "being printed"
    QUEUED = "finished, and may still be redrawn"
    GONE = "taken"


class _Row:
    """A line of a screen."""

    __slots__ = ("is_live", "is_redrawn", "length", "place", "settles_at", "text")

    def __init__(self, text: str = "") -> None:
        self.text = text[:MAX_LINE_LENGTH]
        self.length = len(text)
        self.place = _Place.OPEN
        self.is_redrawn = False
        self.is_live = False
        self.settles_at: datetime | None = None

    @property
    def shown(self) -> str:
        more = self.length - MAX_LINE_LENGTH
        if more > 0:
            return f"{self.text} … {more:,} more characters"
        return self.text.rstrip() if self.is_redrawn else self.text

    @property
    def is_blank(self) -> bool:
        return self.is_redrawn and not self.text.strip()

    def put(self, column: int, text: str) -> None:
        end = column + len(text)
        if column == self.length:
            self.text += text[: max(0, MAX_LINE_LENGTH - len(self.text))]
        elif column < MAX_LINE_LENGTH:
            before = self.text.ljust(column)
            self.text = f"{before[:column]}{text}{before[end:]}"[:MAX_LINE_LENGTH]
        self.length = max(self.length, end)

    def erase(self, start: int, end: int | None) -> None:
        if end is None:
            self.text = self.text[:start]
            self.length = min(self.length, start)
        else:
            self.text = " " * min(end, len(self.text)) + self.text[end:]
        self.is_redrawn = True


class _Writer:
    """What one stream has printed lately, and where its cursor is."""

    __slots__ = ("at", "column", "is_hidden", "most_up", "rows", "unfinished")

    def __init__(self) -> None:
        self.rows = [_Row()]
        self.at = 0
        self.column = 0
        self.unfinished = ""
        self.is_hidden = False  # the cursor, by code that redraws several lines all the time
        self.most_up = 0


class Screen:
    r"""Takes what is printed, and gives it line by line when it will change no more.

    A line that was redrawn and then left may only have been left for the next bar's, from which the
    cursor comes back at once: so it is given a moment later. Lines come in the order in which they
    were finished.

    Args:
        size: so many finished lines are kept, the newest.
        later: the time in so many seconds; ``None``: what is left will change no more.

    >>> screen = Screen(100, lambda seconds: None)
    >>> screen.write("0 %\r50 %\r100 %\nab\b\033[31mc\n", "stdout")
    >>> screen.take(None)
    ['100 %', 'ac']
    """

    def __init__(self, size: int, later: Callable[[float], datetime | None]) -> None:
        self.count = 0
        """How many lines were finished."""
        self._size = size
        self._later = later
        self._is_cleared = False
        self._writers: dict[object, _Writer] = {}
        self._queue: deque[_Row] = deque()

    def __bool__(self) -> bool:
        """Whether there are finished lines that will be given in time."""
        return any(not row.is_live for row in self._queue)

    def write(self, text: str, source: object) -> None:
        """Take in a text, which need not be a whole line.

        Args:
            text: what is printed.
            source: through what; the lines of each are put together apart from all others'.
        """
        writer = self._writers.get(source)
        if writer is None:
            writer = self._writers[source] = _Writer()
        if writer.unfinished or _CONTROL.search(text):
            self._write_with_controls(writer, text)
            return
        first, *others = text.split("\n")
        if first:
            self._put(writer, first)
        if skipped := len(others) - self._size:
            self.count += max(0, skipped)
        for line in others[-self._size :]:
            self._new_line(writer)
            if line:
                self._put(writer, line)

    def show(self, text: str) -> None:
        """Take in lines that belong to no stream."""
        self.write(f"{text}\n", source := object())
        del self._writers[source]

    def clear(self) -> None:
        """Forget all that was not taken yet; what comes now may be forgotten by the next call."""
        self._writers.clear()
        self._queue.clear()
        self._is_cleared = True

    def take(self, now: datetime | None, *, ends: bool = False) -> list[str]:
        """The lines that are finished, each once.

        Args:
            now: what may still be redrawn at this time stays; ``None``: nothing does, but for what
                is being redrawn all the time.
            ends: all lines are given, those that were only begun too.
        """
        if ends:
            for writer in self._writers.values():
                for row in writer.rows:
                    if row.place is _Place.OPEN and row.text and not row.is_blank:
                        self._queue_up(row)
            self._writers.clear()
        taken: list[str] = []
        left: deque[_Row] = deque()
        while self._queue:
            row = self._queue[0]
            if row.is_live and not ends:
                left.append(row)
            elif now is not None and row.settles_at is not None and row.settles_at > now:
                break
            else:
                row.place = _Place.GONE
                if not row.is_blank:
                    taken.append(row.shown)
            self._queue.popleft()
        self._queue.extendleft(reversed(left))
        return taken

    # -- the terminal -------------------------------------------------------------------------

    def _write_with_controls(self, writer: _Writer, text: str) -> None:
        text, writer.unfinished = writer.unfinished + text, ""
        if (rest := _UNFINISHED.search(text)) is not None:
            text, writer.unfinished = text[: rest.start()], rest[0]
        at = 0
        while at < len(text):
            if (plain := _PLAIN.match(text, at)) is not None:
                self._put(writer, plain[0])
                at = plain.end()
            elif (escape := _ESCAPE.match(text, at)) is not None:
                if escape["act"]:
                    self._act(writer, escape["act"], escape["args"])
                at = escape.end()
            else:
                self._control(writer, text[at], text[at + 1 : at + 2])
                at += 1

    def _control(self, writer: _Writer, character: str, following: str) -> None:
        match character:
            case "\n":
                self._new_line(writer)
            case "\r" if following not in ("\n", "\r"):
                self._redraw(writer)
                writer.column = 0
            case "\b":
                self._redraw(writer)
                writer.column = max(0, writer.column - 1)

    def _act(self, writer: _Writer, act: str, arguments: str) -> None:
        """Do what an escape sequence asks for, if it is one of the few that are known here."""
        if act in "hl":
            if arguments == "?25":
                self._hide(writer, act == "l")
            return
        first = arguments.partition(";")[0]
        number = int(first) if first.isdecimal() and len(first) < 6 else 0
        times = max(1, number)
        match act:
            case "A" | "F":
                self._go_up(writer, times)
            case "B" | "E":
                column = writer.column
                for _ in range(min(times, _WINDOW)):
                    self._new_line(writer)
                writer.column = column
            case "C":
                writer.column = min(writer.column + times, MAX_LINE_LENGTH)
            case "D":
                writer.column = max(0, writer.column - times)
            case "G":
                writer.column = times - 1
            case "K":
                span = {0: (writer.column, None), 1: (0, writer.column), 2: (0, None)}
                self._redraw(writer).erase(*span.get(number, (0, None)))
            case "J":
                self._erase_below(
                    writer, 0 if number else writer.at, 0 if number else writer.column
                )
        if act in "EF":
            writer.column = 0

    def _put(self, writer: _Writer, text: str) -> None:
        row = writer.rows[writer.at]
        if row.place is not _Place.OPEN or writer.column < row.length:
            row = self._redraw(writer)
        row.put(writer.column, text)
        writer.column += len(text)

    def _redraw(self, writer: _Writer, at: int | None = None) -> _Row:
        """The row of the cursor, or another, which is about to change."""
        at = writer.at if at is None else at
        row = writer.rows[at]
        if row.place is _Place.GONE:  # it stays as it was; its new state is another line
            row = writer.rows[at] = _Row(row.text)
        self._take_back(row)
        row.is_redrawn = True
        return row

    def _new_line(self, writer: _Writer) -> None:
        row = writer.rows[writer.at]
        if row.place is _Place.OPEN:
            row.is_live = writer.is_hidden
            is_last = writer.at + 1 == len(writer.rows)
            row.settles_at = self._settles_at(is_redrawn=row.is_redrawn or not is_last)
            self._queue_up(row)
        writer.at += 1
        writer.column = 0
        if writer.at == len(writer.rows):
            writer.rows.append(_Row())
            if writer.at > 2 * _WINDOW:
                for old in writer.rows[:_WINDOW]:
                    old.is_live = False
                del writer.rows[:_WINDOW]
                writer.at -= _WINDOW
        else:
            self._take_back(writer.rows[writer.at])
        if writer.is_hidden and writer.most_up:
            for old in writer.rows[: max(0, writer.at - writer.most_up)]:  # never reached again
                old.is_live = False

    def _go_up(self, writer: _Writer, times: int) -> None:
        writer.most_up = max(writer.most_up, min(times, writer.at))
        writer.at = max(0, writer.at - times)
        self._take_back(writer.rows[writer.at])

    def _erase_below(self, writer: _Writer, at: int, column: int) -> None:
        for index in range(at, len(writer.rows)):
            self._redraw(writer, index).erase(column if index == at else 0, None)

    def _hide(self, writer: _Writer, is_hidden: bool) -> None:
        writer.is_hidden = is_hidden
        writer.most_up = 0
        if not is_hidden:
            for row in writer.rows:
                row.is_live = False

    # -- the finished lines -------------------------------------------------------------------

    def _settles_at(self, *, is_redrawn: bool) -> datetime | None:
        if self._is_cleared:
            return self._later(_NEXT_FRAME)
        return self._later(_NEXT_BAR) if is_redrawn else None

    def _queue_up(self, row: _Row) -> None:
        if len(self._queue) == self._size:
            self._queue.popleft().place = _Place.GONE
        row.place = _Place.QUEUED
        self._queue.append(row)
        self.count += 1

    def _take_back(self, row: _Row) -> None:
        if row.place is _Place.QUEUED:
            self._queue.remove(row)
            row.place = _Place.OPEN
            self.count -= 1
