"""The canonical JSON of payloads, with examples of what JavaScript writes."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conveyor_nb.core.values.canonical_json import canonical_json

NESTED: list[Any] = []
NESTED.append(NESTED)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (1.0, "1"),
        (-0.0, "0"),
        (0.1, "0.1"),
        (123.456, "123.456"),
        (-2.5e-7, "-2.5e-7"),
        (1e-6, "0.000001"),
        (1e-7, "1e-7"),
        (1e20, "100000000000000000000"),
        (1e21, "1e+21"),
        (5e-324, "5e-324"),
        (1.7976931348623157e308, "1.7976931348623157e+308"),
        (2**63 + 1, "9223372036854775809"),
        ([True, None, (1, 2)], "[true,null,[1,2]]"),
        ({"b": 1, "10": 2, "9": 3, "01": 4}, '{"9":3,"10":2,"01":4,"b":1}'),
        ({"\uffff": 1, "\U0001f600": 2}, '{"\U0001f600":2,"\uffff":1}'),
        ('é"\\\n\x1f\x7f', '"é\\"\\\\\\n\\u001f\x7f"'),
        ("a\ud800", '"a\\ud800"'),
    ],
)
def test_it_is_written_as_javascript_writes_it(value: Any, written: str) -> None:
    assert canonical_json(value) == written


JSON = st.recursive(
    # larger floats are written with zeros for the digits that they don't have
    st.none() | st.booleans() | st.integers() | st.floats(-1e15, 1e15) | st.text(),
    lambda parts: st.lists(parts) | st.dictionaries(st.text(), parts),
    max_leaves=10,
)


@given(JSON)
def test_it_reads_as_the_payload_that_it_was(value: Any) -> None:
    assert json.loads(canonical_json(value)) == value


@given(st.dictionaries(st.text(), st.integers()))
def test_the_order_of_keys_says_nothing(value: dict[str, int]) -> None:
    assert canonical_json(dict(reversed(value.items()))) == canonical_json(value)


def test_numpys_numbers_are_written_as_pythons_own() -> None:
    assert canonical_json([np.int64(7), np.float64(2)]) == "[7,2]"


@pytest.mark.parametrize("value", [math.nan, math.inf, b"x", {1}, {None: 1}, NESTED, object()])
def test_what_is_no_json_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match=r"payload.* is not JSON"):
        canonical_json(value)
