"""Payloads: what is kept can't be reached, and what can't be kept is named."""

from __future__ import annotations

import dataclasses
import sys
import threading
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conveyor_nb import ConveyorError, PayloadError
from conveyor_nb.core.freezing import freeze, thaw

LOCK = threading.Lock()

json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner),
    max_leaves=20,
)


@dataclasses.dataclass
class Letter:
    to: str
    body: Any = None


class Careless(Exception):  # noqa: N818
    """Can be pickled, but not unpickled: a classic among exceptions."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)


class Refuses:
    def __reduce__(self) -> str:
        raise RuntimeError("I stay here")


@given(json_like)
def test_what_comes_out_is_what_went_in(value: Any) -> None:
    out = thaw(freeze(value, "data"))
    assert out == value
    assert type(out) is type(value)


@given(st.binary())
def test_bytes_are_bytes_again(value: bytes) -> None:
    assert thaw(freeze(value, "data")) == value


def test_each_reader_gets_a_copy_of_his_own() -> None:
    mine: dict[str, Any] = {"to": ["ada"], "letter": Letter("ada", [1])}
    kept = freeze(mine, "data")
    mine["to"].append("eve")
    first, second = thaw(kept), thaw(kept)
    assert first == second == {"to": ["ada"], "letter": Letter("ada", [1])}
    first["letter"].body.append(2)
    assert second["letter"].body == [1]
    assert thaw(kept)["letter"].body == [1]


def test_a_value_that_holds_itself_comes_back_holding_itself() -> None:
    ring: list[Any] = [1]
    ring.append(ring)
    out = thaw(freeze(ring, "data"))
    assert out[1] is out
    assert out is not ring


def test_one_object_held_twice_is_one_object_again() -> None:
    shared = [1]
    out = thaw(freeze({"a": shared, "b": shared}, "data"))
    assert out["a"] is out["b"]


def test_a_subclass_of_a_plain_type_keeps_its_type() -> None:
    class_of = type(thaw(freeze(np.float64(1.5), "data")))
    assert class_of is np.float64


def test_frames_and_arrays_are_copied() -> None:
    frame = pd.DataFrame({"n": [1, 2]})
    kept = freeze({"frame": frame, "array": np.arange(3)}, "data")
    frame.loc[0, "n"] = 9
    out = thaw(kept)
    assert out["frame"]["n"].tolist() == [1, 2]
    assert out["array"].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (LOCK, "data"),
        ({"a": {"b": [0, LOCK]}}, "data['a']['b'][1]"),
        ([LOCK], "data[0]"),
        ((1, (2, LOCK)), "data[1][1]"),
        ({LOCK}, "a member of data"),
        ({"x": {LOCK}}, "a member of data['x']"),
        ({(1, LOCK): 2}, "a key of data[1]"),
        (Letter("ada", {"x": LOCK}), "data.body['x']"),
        ({"call": lambda: None}, "data['call']"),
        ({"rows": (n for n in range(3))}, "data['rows']"),
        ({5: Refuses()}, "data[5]"),
        ({"error": Careless(404, "not found")}, "data['error']"),
        ([1, Careless(404, "not found")], "data[1]"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_can_not_be_copied_is_named_by_its_path(value: Any, path: str) -> None:
    with pytest.raises(PayloadError) as caught:
        freeze(value, "data")
    assert caught.value.path == path
    assert str(caught.value).startswith(f"{path} is a ")


def test_what_does_not_let_its_parts_be_looked_at_is_named_itself() -> None:
    class Closed(dict[str, Any]):
        def items(self) -> Any:
            raise RuntimeError("closed")

    with pytest.raises(PayloadError, match=r"data\['x'\] is a .*Closed"):
        freeze({"x": Closed(a=LOCK)}, "data")


def test_the_error_says_why_and_what_to_do() -> None:
    with pytest.raises(PayloadError, match="I stay here") as caught:
        freeze({"x": Refuses()}, "data")
    assert "data['x'] is a Refuses" in str(caught.value)
    assert "use JSON-like values or picklable objects" in str(caught.value)
    assert isinstance(caught.value, TypeError)
    assert isinstance(caught.value, ConveyorError)


def test_an_error_in_great_depth_is_found_without_end() -> None:
    deep: Any = LOCK
    for _ in range(100):
        deep = [deep]
    with pytest.raises(PayloadError) as caught:
        freeze(deep, "data")
    assert caught.value.path.startswith("data[0][0]")


def test_a_payload_too_deep_to_copy_is_an_error() -> None:
    deep: Any = None
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(PayloadError):
        freeze(deep, "data")
    while deep:  # let go of it level by level: Python may not be able to all at once
        deep = deep[0]


# -- objects of a class that was defined anew -------------------------------------------------

CELL = """
import collections, dataclasses, enum, typing

class Plain:
    def __init__(self, part=None):
        self.part = part

@dataclasses.dataclass
class Data:
    part: object = None

class Choice(enum.Enum):
    ONE = 1

Pair = collections.namedtuple("Pair", "one two")

class Typed(typing.NamedTuple):
    one: int

class Slotted:
    __slots__ = ()

class Outer:
    class Inner:
        pass

def function():
    pass
"""


@pytest.fixture
def cell(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module that stands for a notebook, with a cell that was run; :func:`rerun` does again."""
    module = ModuleType("notebook_of_a_test")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    rerun(module)
    return module


def rerun(cell: ModuleType) -> None:
    exec(CELL, cell.__dict__)


@pytest.mark.parametrize(
    ("made", "name"),
    [
        ("Plain()", "Plain"),
        ("Data()", "Data"),
        ("Choice.ONE", "Choice"),
        ("Pair(1, 2)", "Pair"),
        ("Typed(1)", "Typed"),
        ("Slotted()", "Slotted"),
        ("Outer.Inner()", "Outer.Inner"),
        ("Plain", "Plain"),
        ("function", "function"),
    ],
)
@pytest.mark.parametrize(
    ("within", "path"),
    [
        ("{}", "data is"),
        ("[0, {}]", "data[1] is"),
        ("{{'a': ({},)}}", "data['a'][0] is"),
    ],
)
def test_an_object_of_before_its_class_was_defined_anew(
    cell: ModuleType, made: str, name: str, within: str, path: str
) -> None:
    old = eval(made, cell.__dict__)
    freeze(old, "data")
    rerun(cell)
    value = eval(within.format("old"), {"old": old})
    with pytest.raises(PayloadError) as caught:
        freeze(value, "data")
    text = str(caught.value)
    assert text.startswith(path)
    assert f"it is from before {name} was defined anew" in text
    assert text.endswith("make the object anew")


def test_what_holds_an_object_of_before_is_told_by_its_path(cell: ModuleType) -> None:
    old = cell.Plain()
    rerun(cell)
    with pytest.raises(PayloadError, match=r"data\.part\[0\] is a Plain"):
        freeze(cell.Data([old]), "data")
    with pytest.raises(PayloadError, match=r"data\.part is a Plain"):
        freeze(cell.Plain(old), "data")


def test_a_class_that_is_gone_is_not_said_to_be_defined_anew(cell: ModuleType) -> None:
    old = cell.Plain()
    del cell.Plain
    with pytest.raises(PayloadError) as caught:
        freeze(old, "data")
    assert "anew" not in str(caught.value)
