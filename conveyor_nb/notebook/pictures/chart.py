"""Plain charts of numbers, in the look of the other pictures: the same text on every run.

For what one measures of a queue: a page follows its theme, a saved notebook keeps it, and nbval
compares it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from operator import itemgetter
from typing import Any, Literal, get_args

from conveyor_nb.core.values.text import one_line, shown
from conveyor_nb.notebook.pictures.figure import Figure
from conveyor_nb.notebook.pictures.pieces import SERIES_LOOKS, Look, mark
from conveyor_nb.notebook.pictures.svg import Element, el, group, picture, soft, text
from conveyor_nb.notebook.pictures.words import brief, text_width

__all__ = ["Kind", "chart"]

Kind = Literal["line", "step", "bars", "dots"]
Point = tuple[float, float]

_WIDTH = 720
_RIGHT = 24
_LEFT = 56
_HIGH = 190
_LOW = 62
_ROW = 26
_MOST_POINTS = 1_000
_LABEL = 34
_EDGE = 16


def chart(
    data: Mapping[str, float] | Mapping[str, Iterable[Any]],
    *,
    x: str = "",
    y: str = "",
    kind: Kind = "line",
    title: str = "",
) -> Figure:
    """Draw numbers as a picture to keep.

    Args:
        data: by name, a number each: they become horizontal bars. Or pairs ``(x, y)`` each: they
            become what ``kind`` says. For ``"dots"`` the places ``x`` alone.
        x: what the horizontal axis counts; likewise ``y``.
        kind: ``"line"``; ``"step"``, where a value holds until the next one; ``"bars"``, a small
            chart for each name, to the same scale; ``"dots"``, a row for each name.
        title: what stands above it.

    Raises:
        ValueError: there is nothing to draw, a number is not finite, or ``kind`` is unknown.
        TypeError: some of it is neither numbers nor pairs of them.

    >>> chart({"1 slot": 200, "5 slots": 40}, x="seconds")
    <Figure: 1 slot: 200, 5 slots: 40 (seconds)>
    >>> chart({"waiting": [(0, 3), (1, 2), (4, 0)]}, kind="step", x="seconds")
    <Figure: waiting: 3 points, 0 to 3>
    """
    if kind not in get_args(Kind):
        known = ", ".join(map(repr, get_args(Kind)))
        raise ValueError(f"the kind of a chart must be one of {known}, not {shown(kind)}")
    if not isinstance(data, Mapping):
        raise TypeError(f"a chart takes a dict of names and numbers, not {shown(data)}")
    if not data:
        raise ValueError("a chart takes at least one name with its numbers; there is none")
    told = {one_line(str(name), 60): value for name, value in data.items()}
    if all(isinstance(value, Real) for value in told.values()):
        numbers = {name: _number(value, name) for name, value in told.items()}
        return _bars(numbers, x, title)
    if kind == "dots":
        places = {name: [_number(one, name) for one in _list(told[name], name)] for name in told}
        return _dots(places, x, title)
    series = {name: [_pair(one, name) for one in _list(told[name], name)] for name in told}
    if not any(series.values()):
        raise ValueError("a chart takes at least one point; there is none")
    return _Plot(series, x, y, kind, title).figure()


def _number(value: Any, name: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name!r} in a chart takes numbers, not {shown(value)}") from None
    if not math.isfinite(number):
        raise ValueError(f"{name!r} in a chart takes finite numbers, not {shown(value)}")
    return number


def _pair(value: Any, name: str) -> Point:
    try:
        across, up = value
    except (TypeError, ValueError):
        raise TypeError(f"{name!r} in a chart takes pairs (x, y), not {shown(value)}") from None
    return _number(across, name), _number(up, name)


def _list(value: Any, name: str) -> list[Any]:
    try:
        return list(value)
    except TypeError:
        raise TypeError(f"{name!r} in a chart takes pairs (x, y), not {shown(value)}") from None


# -- a number for each name -------------------------------------------------------------------


def _bars(numbers: Mapping[str, float], x: str, title: str) -> Figure:
    """Horizontal bars, with the number at the end of each."""
    labels = {name: brief(name, _LABEL) for name in numbers}
    left = min(240.0, max(text_width(label) for label in labels.values()) + 14)
    most = max(max(numbers.values()), 0.0) or 1.0
    room = _WIDTH - _RIGHT - left - 60
    top = 26 if title else 6
    parts = _head(title)
    for place, (name, number) in enumerate(numbers.items()):
        y = top + place * _ROW
        wide = max(2.0, room * number / most) if number > 0 else 0.0
        look = SERIES_LOOKS[0]
        parts += [
            text(left - 10, y + 16, labels[name], text_anchor="end"),
            el("rect", x=left, y=y + 3, width=wide, height=18, rx=3, fill=look.colour),
            text(left + wide + 7, y + 16.5, f"{number:,.6g}", font_weight="600"),
        ]
    foot = top + len(numbers) * _ROW
    if x:
        parts.append(soft(left, foot + 12, x, 11))
    words = ", ".join(f"{name}: {number:,.6g}" for name, number in numbers.items())
    drawn = _on_a_card(foot + (20 if x else 4), title or words, parts)
    return Figure(drawn, f"{words} ({x})" if x else words)


def _dots(places: Mapping[str, Sequence[float]], x: str, title: str) -> Figure:
    """A row for each name, with a mark at each place."""
    every = [one for row in places.values() for one in row]
    if not every:
        raise ValueError("a chart takes at least one point; there is none")
    left = min(240.0, max(text_width(brief(name, _LABEL)) for name in places) + 14)
    axis = _Axis.around(every, left, _WIDTH - _RIGHT)
    top = 26 if title else 6
    foot = top + len(places) * _ROW
    parts = [*_head(title), *_across(axis, top, foot, x)]
    for row, (name, ones) in enumerate(places.items()):
        y = top + row * _ROW + _ROW / 2
        look = SERIES_LOOKS[row % len(SERIES_LOOKS)]
        line: dict[str, Any] = {"class_": "cvp-line", "stroke": "#8a929c", "stroke_opacity": 0.35}
        parts.append(el("line", x1=left, x2=_WIDTH - _RIGHT, y1=y, y2=y, **line))
        parts.append(text(left - 10, y + 4, brief(name, _LABEL), text_anchor="end"))
        parts += [mark(look, axis.at(one) - 6, y - 6) for one in ones[:_MOST_POINTS]]
    words = "; ".join(
        f"{name}: {', '.join(map(_told, ones[:40]))}" for name, ones in places.items()
    )
    return Figure(_on_a_card(foot + 32, title or words, parts), words)


# -- points -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Axis:
    """Where numbers are, from ``begin`` to ``end`` of the picture."""

    low: float
    high: float
    begin: float
    end: float

    @classmethod
    def around(cls, numbers: Iterable[float], begin: float, end: float) -> _Axis:
        """An axis that all of them are on, with nothing if it is near."""
        numbers = list(numbers)
        low, high = min(numbers), max(numbers)
        if 0 < low <= high / 2:
            low = 0.0
        if high <= low:
            high = low + max(1.0, abs(low) * 1e-9)  # next to a very large number, 1 is nothing
        return cls(low, high, begin, end)

    def at(self, number: float) -> float:
        return self.begin + (self.end - self.begin) * (number - self.low) / (self.high - self.low)

    def ticks(self, most: int) -> list[float]:
        """Round numbers on it, at most so many."""
        span = self.high - self.low
        size = 10.0 ** math.floor(math.log10(span / most))
        step = next(one for one in (size, 2 * size, 5 * size, 10 * size) if span / one < most)
        first = math.ceil(self.low / step - 1e-9)
        count = math.floor((self.high - first * step) / step + 1e-9) + 1
        return [round((first + place) * step, 12) for place in range(count)]


class _Plot:
    def __init__(
        self, series: Mapping[str, list[Point]], x: str, y: str, kind: Kind, title: str
    ) -> None:
        self.series, self.kind, self.title = series, kind, title
        self.x_told, self.y_told = x, y
        points = [point for row in series.values() for point in row]
        places = {point[0] for point in points}
        self.gap = _least_gap(places) if kind == "bars" else 0.0
        around = [one + side * self.gap / 2 for one in places for side in (-1, 1)]
        self.x = _Axis.around(around, _LEFT, _WIDTH - _RIGHT)
        self.up = _Axis(0.0, max(0.0, *(point[1] for point in points)) or 1.0, 0.0, 1.0)
        self.low = min(0.0, *(point[1] for point in points))

    def figure(self) -> Figure:
        """The whole of it."""
        top = 26.0 if self.title else 6.0
        parts, foot = self._each(top) if self.kind == "bars" else self._together(top)
        words = "; ".join(
            f"{name}: {len(row):,} {'point' if len(row) == 1 else 'points'}"
            + (f", {_told(min(up))} to {_told(max(up))}" if (up := [y for _, y in row]) else "")
            for name, row in self.series.items()
        )
        whole = [*_head(self.title), *parts]
        return Figure(_on_a_card(foot + 32, self.title or words, whole), words)

    def _together(self, top: float) -> tuple[list[Element], float]:
        """All lines in one frame, told apart in a line above it."""
        parts: list[Element] = []
        if len(self.series) > 1 or not self.title:
            left = float(_LEFT)
            for look, name in zip(_looks(), self.series, strict=False):
                label = brief(name, _LABEL)
                parts += [mark(look, left, top + 1), text(left + 17, top + 11, label)]
                left += 17 + text_width(label) + 20
            top += 20
        foot = top + 2 + _HIGH
        scale = _Axis(self.low, self.up.high, foot, top + 8)
        parts += self._ground(top + 2, foot, scale)
        for look, row in zip(_looks(), self.series.values(), strict=False):
            line = "".join(self._line(_thinned(sorted(row)), scale))
            drawn: dict[str, Any] = {"fill": "none", "stroke": look.colour, "stroke_width": 2}
            parts.append(el("path", d=line, stroke_linejoin="round", **drawn))
        return parts, foot

    def _line(self, row: Sequence[Point], scale: _Axis) -> Iterable[str]:
        for place, (across, up) in enumerate(row):
            x, y = self.x.at(across), scale.at(up)
            if self.kind == "step" and place:
                yield f"H{x:.1f}V{y:.1f}"
            else:
                yield f"{'L' if place else 'M'}{x:.1f} {y:.1f}"

    def _each(self, top: float) -> tuple[list[Element], float]:
        """A frame for each name, all to one scale; the highest bar is told."""
        wide = max(1.5, self.x.at(self.gap) - self.x.at(0) - 1)
        parts: list[Element] = []
        foot = top
        *_, last = self.series
        for look, (name, row) in zip(_looks(), self.series.items(), strict=False):
            foot = top + 18 + _LOW
            scale = _Axis(self.low, self.up.high, foot, top + 22)
            parts += self._ground(top + 18, foot, scale, is_last=name == last)
            bars = "".join(
                f"M{self.x.at(across) - wide / 2:.1f} {scale.at(0):.1f}h{wide:.1f}"
                f"V{scale.at(up):.1f}h{-wide:.1f}z"
                for across, up in row
                if up
            )
            peak = max((up for _, up in row), default=0.0)
            parts += [
                el("path", d=bars, fill=look.colour),
                text(_LEFT, top + 12, brief(name, 60), font_weight="600"),
                soft(self.x.end, top + 12, f"at most {_told(peak)}", 11, text_anchor="end"),
            ]
            top = foot + 10
        return parts, foot

    def _ground(
        self, top: float, foot: float, scale: _Axis, *, is_last: bool = True
    ) -> list[Element]:
        place = {"x": _LEFT, "y": top, "width": self.x.end - _LEFT, "height": foot - top}
        parts = [el("rect", class_="cvp-box", fill="#f6f8fa", rx=3, **place)]
        grid: dict[str, Any] = {"class_": "cvp-line", "stroke": "#9aa3ad", "stroke_opacity": 0.35}
        for tick in scale.ticks(3 if self.kind == "bars" else 5):
            y = scale.at(tick)
            parts.append(el("line", x1=_LEFT, x2=self.x.end, y1=y, y2=y, stroke_width=0.8, **grid))
            parts.append(soft(_LEFT - 8, y + 4, _told(tick), 10, text_anchor="end"))
        if self.y_told and self.kind != "bars":
            parts.append(soft(_LEFT + 6, top + 14, self.y_told, 11))
        return [*parts, *(_across(self.x, foot, foot, self.x_told) if is_last else ())]


def _least_gap(places: Iterable[float]) -> float:
    """How near two bars come to each other."""
    ordered = sorted(places)
    gaps = (after - before for before, after in itertools.pairwise(ordered))
    return max(min(gaps, default=1.0), (ordered[-1] - ordered[0]) / _MOST_POINTS)


def _on_a_card(height: float, title: str, parts: Iterable[Element]) -> Element:
    """The whole, on a ground of its own: not every page tells a picture that it is dark."""
    wide, high = _WIDTH + 2 * _EDGE, height + 2 * _EDGE
    look: dict[str, Any] = {"class_": "cvp-ground", "fill": "#fff", "stroke": "#d5d9de", "rx": 9}
    ground = el("rect", x=0.5, y=0.5, width=wide - 1, height=high - 1, **look)
    return picture(wide, high, title, el("g", ground, group(_EDGE, _EDGE, *parts)))


def _looks() -> Iterable[Look]:
    while True:
        yield from SERIES_LOOKS


def _head(title: str) -> list[Element]:
    return [text(2, 15, brief(title, 90), 13, font_weight="600")] if title else []


def _across(axis: _Axis, top: float, foot: float, told: str) -> list[Element]:
    """The numbers below a chart, and what they are."""
    parts = []
    for tick in axis.ticks(9):
        x = axis.at(tick)
        if foot > top:
            grid: dict[str, Any] = {"class_": "cvp-line", "stroke": "#9aa3ad"}
            line = {"x1": x, "x2": x, "y1": top, "y2": foot}
            parts.append(el("line", stroke_opacity=0.25, stroke_width=0.8, **line, **grid))
        parts.append(soft(x, foot + 14, _told(tick), 10, text_anchor="middle"))
    if told:
        parts.append(soft(axis.end, foot + 28, told, 11, text_anchor="end"))
    return parts


def _told(number: float) -> str:
    """A number, in few letters.

    >>> _told(12345.0), _told(0.25), _told(-3)
    ('12,345', '0.25', '-3')
    """
    return f"{number:,.6g}"


def _thinned(row: Sequence[Point]) -> Sequence[Point]:
    """The lowest and the highest of what is too close to be told apart."""
    if len(row) <= _MOST_POINTS:
        return row
    size = math.ceil(2 * len(row) / _MOST_POINTS)
    kept: list[Point] = []
    for start in range(0, len(row), size):
        some = row[start : start + size]
        kept += sorted({min(some, key=itemgetter(1)), max(some, key=itemgetter(1))})
    return kept
