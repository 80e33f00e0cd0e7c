"""How a queue did over time: what settled, how long it ran and how long it had waited."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from conveyor_nb.core.model import JobState
from conveyor_nb.core.values.durations import format_seconds
from conveyor_nb.notebook.pictures.axis import ticks
from conveyor_nb.notebook.pictures.columns_of_time import Column, Spread
from conveyor_nb.notebook.pictures.pieces import STATE_LOOKS
from conveyor_nb.notebook.pictures.svg import Attributes, Element, el, picture, soft, text

__all__ = ["Charts", "charts_picture"]

_LEFT = 62
_RIGHT = 16
_HIGH = 64
_EACH = 106
_COMPLETED = STATE_LOOKS[JobState.COMPLETED].colour
_FAILED = STATE_LOOKS[JobState.FAILED].colour
_RAN = STATE_LOOKS[JobState.ACTIVE].colour
_WAITED = STATE_LOOKS[JobState.DELAYED].colour

Times = Callable[[Column], Spread | None]


@dataclass(frozen=True, slots=True)
class Charts:
    """What charts show.

    Args:
        columns: what settled, the oldest first.
        length: how long each of them is.
        begin: where the axis begins; likewise ``end``.
        width: that of the picture.
    """

    columns: Sequence[Column]
    length: timedelta
    begin: datetime
    end: datetime
    width: int = 920

    @property
    def right(self) -> int:
        """Where charts end."""
        return self.width - _RIGHT

    @property
    def step(self) -> float:
        """How wide a column is."""
        count = (self.end - self.begin) / self.length
        return (self.right - _LEFT) / count

    def x(self, instant: datetime) -> float:
        """Where an instant is."""
        share = (instant - self.begin) / (self.end - self.begin)
        return _LEFT + (self.right - _LEFT) * share


def charts_picture(charts: Charts) -> Element:
    """Three charts, one above the other; what is told of each column is in the last group."""
    parts = [
        *_settled(charts, 0),
        *_spread(charts, _EACH, "Run time", _RAN, lambda column: column.ran),
        *_spread(charts, 2 * _EACH, "Wait", _WAITED, lambda column: column.waited),
    ]
    foot = 3 * _EACH
    for at, told in ticks(charts.begin, charts.end, 9 if charts.width > 500 else 4):
        anchor = "end" if charts.x(at) > charts.right - 24 else "middle"
        parts.append(soft(charts.x(at), foot + 4, told, 10, text_anchor=anchor))
    zone = f"from {charts.begin:%Y-%m-%d %H:%M} UTC"
    parts.append(soft(charts.right, foot + 20, zone, 10, text_anchor="end"))
    hover = [_hover(charts, column) for column in charts.columns]
    completed = sum(column.completed for column in charts.columns)
    failed = sum(column.failed for column in charts.columns)
    title = f"Metrics: {completed:,} completed, {failed:,} failed"
    return picture(charts.width, foot + 28, title, el("g", *parts), el("g", *hover))


def _settled(charts: Charts, top: float) -> list[Element]:
    """Completed jobs above the line, failed ones below it."""
    columns = charts.columns
    up = max((column.completed for column in columns), default=0)
    down = max((column.failed for column in columns), default=0)
    most = max(1, up + down)
    # a failure is seen, however many went well
    below = max(8.0, _HIGH * down / most) if down else 0.0
    above = _HIGH - below
    line = top + 22 + above
    rise = [_box(charts, one, line, -above * one.completed / max(1, up)) for one in columns]
    fall = [
        _box(charts, one, line + 1, max(2.0, below * one.failed / max(1, down)))
        for one in columns
        if one.failed
    ]
    parts = [
        *_frame(charts, top, f"Settled {_each(charts.length)}", f"{up:,}"),
        el("path", d="".join(rise), fill=_COMPLETED),
        el("path", d="".join(fall), fill=_FAILED),
        el(
            "path",
            d=f"M{_LEFT} {line:.1f}H{charts.right}",
            class_="cvp-line",
            stroke="#9aa3ad",
            stroke_width=0.8,
        ),
    ]
    if down:
        low = soft(_LEFT - 8, top + 22 + _HIGH, f"{down:,} failed", 10, text_anchor="end")
        parts.append(low)
    return parts


def _spread(charts: Charts, top: float, title: str, colour: str, times: Times) -> list[Element]:
    """For each column a box from the median to the 95th percentile, with a line at the median."""
    found = [(one, spread) for one in charts.columns if (spread := times(one)) is not None]
    most = max((spread.high for _, spread in found), default=0.0) or 1.0
    foot = top + 22 + _HIGH
    boxes, lines = [], []
    for one, spread in found:
        y = foot - _HIGH * spread.middle / most
        high = _HIGH * (spread.high - spread.middle) / most
        boxes.append(_box(charts, one, y, -max(1.0, high)))
        lines.append(_box(charts, one, y - 1, 2))
    told = format_seconds(float(f"{most:.3g}")) if found else ""
    return [
        *_frame(charts, top, f"{title}, median to 95th percentile", told),
        el("path", d="".join(boxes), fill=colour, fill_opacity=0.35),
        el("path", d="".join(lines), fill=colour),
    ]


def _frame(charts: Charts, top: float, title: str, most: str) -> list[Element]:
    """The ground of a chart, what it is of, and how much its height is."""
    ground: Attributes = {"class_": "cvp-box", "fill": "#f6f8fa", "rx": 3}
    return [
        el(
            "rect",
            x=_LEFT,
            y=top + 22,
            width=charts.right - _LEFT,
            height=_HIGH,
            **ground,
        ),
        text(_LEFT, top + 15, title, 11.5, font_weight="600"),
        soft(_LEFT - 8, top + 31, most, 10, text_anchor="end"),
    ]


def _box(charts: Charts, column: Column, y: float, high: float) -> str:
    """A box over a column, upwards if it is less than nothing high, as a part of a path."""
    gap = min(2.0, charts.step * 0.2)
    x, wide = charts.x(column.start) + gap / 2, charts.step - gap
    return f"M{x:.1f} {y:.1f}h{wide:.1f}v{high:.1f}h-{wide:.1f}z"


def _hover(charts: Charts, column: Column) -> Element:
    return el(
        "g",
        el("title", _told(column)),
        el(
            "rect",
            x=charts.x(column.start),
            y=0,
            width=charts.step,
            height=3 * _EACH - 10,
            fill_opacity=0,
        ),
        class_="cvp-bar",
    )


def _told(column: Column) -> str:
    """What is said of a column when somebody points at it."""
    day = "" if column.is_exact else f"{column.start:%Y-%m-%d} "
    told = [
        f"{day}{column.start:%H:%M} to {column.end:%H:%M} UTC",
        f"{column.completed:,} completed, {column.failed:,} failed",
    ]
    about = "" if column.is_exact else "about "
    for word, spread in (("ran", column.ran), ("waited", column.waited)):
        if spread is not None:
            half, most = (
                format_seconds(float(f"{one:.3g}")) for one in (spread.middle, spread.high)
            )
            told.append(f"{word} {about}{half}, 95% under {most}")
    return " · ".join(told)


def _each(length: timedelta) -> str:
    """How long each column is, in words.

    >>> _each(timedelta(minutes=1)), _each(timedelta(hours=6))
    ('each minute', 'each 6 hours')
    """
    for unit, one in (("hour", timedelta(hours=1)), ("minute", timedelta(minutes=1))):
        if length >= one:
            count = length // one
            return f"each {unit}" if count == 1 else f"each {count} {unit}s"
    return f"each {length.total_seconds():g} s"
