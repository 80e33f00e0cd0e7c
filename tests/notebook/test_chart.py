"""Charts of numbers: what is drawn, in words, and what is refused."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from typing import Any

import numpy as np
import pytest

from conveyor_nb import chart

SVG = "{http://www.w3.org/2000/svg}"


def test_a_bar_is_as_long_as_its_number() -> None:
    figure = chart({"1 slot": 200, "5 slots": 40, "none": 0}, x="seconds", title="When?")
    root = ET.fromstring(figure.svg)
    _, *bars = root.iter(f"{SVG}rect")  # the first is the ground
    wide = [float(bar.attrib["width"]) for bar in bars]
    assert wide == pytest.approx([wide[0], wide[0] / 5, 0], rel=1e-3)
    assert "1 slot: 200, 5 slots: 40, none: 0 (seconds)" in repr(figure)
    assert root.attrib["aria-label"] == "When?"


def heights(figure: Any) -> list[list[float]]:
    """How high the columns of each small chart are."""
    paths = (path.attrib["d"] for path in ET.fromstring(figure.svg).iter(f"{SVG}path"))
    return [
        [float(foot) - float(top) for foot, top in re.findall(r"M\S+ (\S+?)h\S+?V(\S+?)h", path)]
        for path in paths
        if "z" in path and "V" in path
    ]


def test_columns_of_several_names_are_to_one_scale_and_within_the_frame() -> None:
    figure = chart({"a": [(0, 300), (1, 100)], "b": [(0, 0), (1, 150)]}, kind="bars")
    (highest, third), (half,) = heights(figure)
    assert highest == pytest.approx(3 * third, rel=0.01) == pytest.approx(2 * half, rel=0.01)
    lefts = [float(x) for x in re.findall(r"M([\d.]+) [\d.]+h", figure.svg)]
    assert min(lefts) >= 56


def test_a_value_holds_until_the_next_one() -> None:
    figure = chart({"waiting": [(0, 2), (5, 1), (10, 0)]}, kind="step", x="seconds")
    [line] = re.findall(r'd="(M56[^"]+)"', figure.svg)
    assert re.fullmatch(r"M56.0 \S+?(H[\d.]+V[\d.]+){2}", line)


def test_very_many_points_are_drawn_as_few_and_none_stands_out_less() -> None:
    row = [(n, 1.0) for n in range(100_000)]
    row[70_123] = (70_123, 9.0)
    figure = chart({"calls": row})
    assert len(figure.svg) < 30_000
    assert repr(figure) == "<Figure: calls: 100,000 points, 1 to 9>"
    [line] = re.findall(r'd="(M56[^"]+)"', figure.svg)
    ys = [float(y) for y in re.findall(r"[ML][\d.]+ ([\d.]+)", line)]
    assert max(ys) - min(ys) > 100


def test_numbers_of_numpy_are_numbers() -> None:
    counts: dict[str, Any] = {"waiting": np.int64(3), "failed": np.float32(0.5)}
    figure = chart(counts)
    assert repr(figure) == "<Figure: waiting: 3, failed: 0.5>"


@pytest.mark.parametrize("kind", ["line", "step", "bars", "dots"])
def test_one_very_large_number_has_its_place(kind: Any) -> None:
    nanoseconds = 1_800_000_000_000_000_000
    row: list[Any] = [nanoseconds] if kind == "dots" else [(nanoseconds, 1)]
    assert "1.8e+18" in chart({"a": row}, kind=kind).svg


def test_names_are_other_peoples_text() -> None:
    figure = chart({"<img onerror=x>\u202e": [1, 2]}, kind="dots", title="</svg>")
    assert "<img" not in figure.svg
    assert figure.svg.count("</svg>") == 1


@pytest.mark.parametrize(
    ("data", "kind", "error", "words"),
    [
        ({}, "line", ValueError, "at least one name"),
        ({"a": []}, "line", ValueError, "at least one point"),
        ({"a": []}, "dots", ValueError, "at least one point"),
        ([1, 2], "line", TypeError, "a dict of names and numbers, not"),
        ({"a": "text"}, "line", TypeError, "'a' in a chart takes pairs"),
        ({"a": [1, 2]}, "line", TypeError, "pairs (x, y), not 1"),
        ({"a": [("x", 2)]}, "line", TypeError, "takes numbers, not 'x'"),
        ({"a": float("nan")}, "line", ValueError, "finite numbers, not nan"),
        ({"a": [(0, float("inf"))]}, "step", ValueError, "finite numbers, not inf"),
        ({"a": 1}, "pie", ValueError, "one of 'line', 'step', 'bars', 'dots', not 'pie'"),
    ],
)
def test_what_can_not_be_drawn_is_refused(data: Any, kind: Any, error: Any, words: str) -> None:
    with pytest.raises(error, match=re.escape(words)):
        chart(data, kind=kind)
