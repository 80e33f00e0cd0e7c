"""How a queue did over time: what settled, how long it ran and how long it had waited."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from conveyor_nb.core.metrics import MetricsPeriod, MetricsPoint
from conveyor_nb.core.model import JobState
from conveyor_nb.core.values.durations import format_seconds
from conveyor_nb.notebook.pictures.axis import ticks
from conveyor_nb.notebook.pictures.pieces import STATE_LOOKS
from conveyor_nb.notebook.pictures.svg import Attributes, Element, el, picture, soft, text

__all__ = ["LENGTHS", "Charts", "charts_picture"]

LENGTHS = {MetricsPeriod.MINUTE: timedelta(minutes=1), MetricsPeriod.HOUR: timedelta(hours=1)}
"""How long a point is, by its period."""

_LEFT = 62
_RIGHT = 16
_HIGH = 64
_EACH = 106
_COMPLETED = STATE_LOOKS[JobState.COMPLETED].colour
_FAILED = STATE_LOOKS[JobState.FAILED].colour
_RAN = STATE_LOOKS[JobState.ACTIVE].colour
_WAITED = STATE_LOOKS[JobState.DELAYED].colour

Times = Callable[[MetricsPoint], tuple[float | None, float | None]]


@dataclass(frozen=True, slots=True)
class Charts:
    """What charts show.

    Args:
        points: the metrics, the oldest first; a period in which nothing settled has none.
        period: how long each is.
        begin: where the axis begins; likewise ``end``.
        width: that of the picture.
    """

    points: Sequence[MetricsPoint]
    period: MetricsPeriod
    begin: datetime
    end: datetime
    width: int = 920

    @property
    def right(self) -> int:
        """Where charts end."""
        return self.width - _RIGHT

    @property
    def step(self) -> float:
        """How wide a period is."""
        count = (self.end - self.begin) / LENGTHS[self.period]
        return (self.right - _LEFT) / count

    def x(self, instant: datetime) -> float:
        """Where an instant is."""
        share = (instant - self.begin) / (self.end - self.begin)
        return _LEFT + (self.right - _LEFT) * share


def charts_picture(charts: Charts) -> Element:
    """Three charts, one above the other; what is told of each period is in the last group."""
    parts = [
        *_settled(charts, 0),
        *_spread(charts, _EACH, "Run time", _RAN, lambda p: (p.processing_p50, p.processing_p95)),
        *_spread(charts, 2 * _EACH, "Wait", _WAITED, lambda p: (p.waiting_p50, p.waiting_p95)),
    ]
    foot = 3 * _EACH
    for at, told in ticks(charts.begin, charts.end, 9 if charts.width > 500 else 4):
        anchor = "end" if charts.x(at) > charts.right - 24 else "middle"
        parts.append(soft(charts.x(at), foot + 4, told, 10, text_anchor=anchor))
    zone = f"{charts.begin:%Y-%m-%d} UTC"
    parts.append(soft(charts.right, foot + 20, zone, 10, text_anchor="end"))
    hover = [_hover(charts, point) for point in charts.points]
    completed = sum(point.completed for point in charts.points)
    failed = sum(point.failed for point in charts.points)
    title = f"Metrics: {completed:,} completed, {failed:,} failed"
    return picture(charts.width, foot + 28, title, el("g", *parts), el("g", *hover))


def _settled(charts: Charts, top: float) -> list[Element]:
    """Completed jobs above the line, failed ones below it."""
    points = charts.points
    up = max((point.completed for point in points), default=0)
    down = max((point.failed for point in points), default=0)
    most = max(1, up + down)
    # a failure is seen, however many went well
    below = max(8.0, _HIGH * down / most) if down else 0.0
    above = _HIGH - below
    line = top + 22 + above
    rise = [_box(charts, point, line, -above * point.completed / max(1, up)) for point in points]
    fall = [
        _box(charts, point, line + 1, max(2.0, below * point.failed / max(1, down)))
        for point in points
        if point.failed
    ]
    parts = [
        *_frame(charts, top, f"Settled each {charts.period}", f"{up:,}"),
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
    """For each period a box from the median to the 95th percentile, with a line at the median."""
    found = [
        (point, low, high)
        for point in charts.points
        for low, high in [times(point)]
        if low is not None and high is not None
    ]
    most = max((high for _, _, high in found), default=0.0) or 1.0
    foot = top + 22 + _HIGH
    boxes, lines = [], []
    for point, low, high in found:
        y = foot - _HIGH * low / most
        boxes.append(_box(charts, point, y, -max(1.0, _HIGH * (high - low) / most)))
        lines.append(_box(charts, point, y - 1, 2))
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


def _box(charts: Charts, point: MetricsPoint, y: float, high: float) -> str:
    """A box over a period, upwards if it is less than nothing high, as a part of a path."""
    gap = min(2.0, charts.step * 0.2)
    x, wide = charts.x(point.start) + gap / 2, charts.step - gap
    return f"M{x:.1f} {y:.1f}h{wide:.1f}v{high:.1f}h-{wide:.1f}z"


def _hover(charts: Charts, point: MetricsPoint) -> Element:
    return el(
        "g",
        el("title", _told(point)),
        el(
            "rect",
            x=charts.x(point.start),
            y=0,
            width=charts.step,
            height=3 * _EACH - 10,
            fill_opacity=0,
        ),
        class_="cvp-bar",
    )


def _told(point: MetricsPoint) -> str:
    """What is said of a period when somebody points at it."""
    told = [
        f"{point.start:%H:%M} to {point.end:%H:%M} UTC",
        f"{point.completed:,} completed, {point.failed:,} failed",
    ]
    for word, low, high in (
        ("ran", point.processing_p50, point.processing_p95),
        ("waited", point.waiting_p50, point.waiting_p95),
    ):
        if low is not None and high is not None:
            half, most = (format_seconds(float(f"{one:.3g}")) for one in (low, high))
            told.append(f"{word} {half}, 95% under {most}")
    return " · ".join(told)
