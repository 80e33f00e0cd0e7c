"""A text is found in whatever a payload is made of, and no payload makes that raise."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import Enum
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import pytest

from conveyor_nb.core.values.payload_search import contains_text


class Colour(Enum):
    RED = "cherry"


@dataclass
class Mail:
    to: str
    parts: list[Any]


class Point(NamedTuple):
    x: float
    label: str


class Thing:
    def __init__(self) -> None:
        self.kept = {"deep": ["inside"]}


class Evil(dict[str, int]):
    def items(self) -> Any:
        raise RuntimeError("no items")


class Shaped:
    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("nothing is here")


@pytest.mark.parametrize(
    ("payload", "needle"),
    [
        (Mail("Ada", [Point(1, "start")]), "start"),
        (Mail("Ada", []), "ada"),
        (Colour.RED, "cherry"),
        (Colour.RED, "red"),
        (Thing(), "inside"),
        ({("a", "b"): {1, 2, 33}}, "33"),
        (Decimal("1.50"), "1.5"),
        (date(2027, 1, 2), "2027-01"),
        (PurePosixPath("/data/ada.csv"), "ada.csv"),
        (uuid.UUID(int=255), "00ff"),
        (None, "none"),
    ],
)
def test_it_is_found(payload: Any, needle: str) -> None:
    assert contains_text(payload, needle)


def endless() -> list[Any]:
    cycle: list[Any] = []
    cycle += [cycle, cycle]
    return cycle


def test_what_raises_hides_nothing_beside_it() -> None:
    assert contains_text([Evil(a=1), Shaped(), "ada"], "ada")
    assert contains_text(["ada", Evil(a=1), Shaped()], "ada")
    assert not contains_text([Evil(a=1), Shaped()], "ada")


@pytest.mark.parametrize("payload", [[10**5_000], b"ada", endless(), object()])
def test_what_is_no_text_or_never_ends_does_no_harm(payload: Any) -> None:
    assert not contains_text(payload, "ada")


def test_a_frame_is_passed_over() -> None:
    pandas = pytest.importorskip("pandas")
    assert not contains_text({"frame": pandas.DataFrame({"to": ["ada"]})}, "ada")
