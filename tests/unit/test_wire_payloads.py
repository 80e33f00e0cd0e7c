"""Payloads as a database holds them, there and back."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings

from conveyor_nb import PayloadError
from conveyor_nb.core import freezing
from conveyor_nb.core.errors import UnreadablePayloadError
from conveyor_nb.core.model import (
    JobData,
)
from conveyor_nb.stores.sql.wire import exact, payloads
from conveyor_nb.stores.sql.wire.codec import Codec, codec_for
from tests.wire_values import (
    DIALECTS,
    NOW,
    as_jsonb,
    kept,
    original_row,
    plain_values,
    same,
)


@pytest.mark.parametrize("dialect", DIALECTS)
@settings(deadline=None)
@given(value=plain_values)
def test_plain_values_come_back_as_they_were(dialect: str, value: Any) -> None:
    codec = codec_for(dialect)
    job = JobData("a", "send", "emails", codec.freeze(value, "data"), created_at=NOW)
    back = codec.job(kept(codec, codec.new_row(job)))
    assert same(back.data, value)
    nan = "nan" in repr(value).lower()  # which differs from itself
    assert nan or back == job


@settings(deadline=None)
@given(value=plain_values)
def test_what_stands_in_for_a_value_is_json_that_a_server_takes(value: Any) -> None:
    text, beside = payloads.to_json(payloads.pack(value, "data"))
    assert as_jsonb(text) is not None
    assert (beside is None) == exact.is_json(value)


@settings(deadline=None)
@given(value=plain_values)
def test_a_value_is_read_from_its_encoding_alone(value: Any) -> None:
    assert same(exact.decode(exact.encode(value, "data")), value)


@pytest.mark.parametrize("value", [None, True, 0, -7, 1.5, "", "text", "é😀"])
def test_a_plain_scalar_is_kept_as_it_is(value: Any) -> None:
    assert payloads.pack(value, "data") is value


def test_what_a_store_keeps_can_not_be_reached() -> None:
    mine: dict[str, Any] = {"to": ["ada"], "at": (1, [2])}
    packed = payloads.pack(mine, "data")
    mine["to"].append("eve")
    read = packed.decode()
    read["at"][1].append(3)
    assert packed.decode() == {"to": ["ada"], "at": (1, [2])}
    assert payloads.pack(packed, "data") is packed
    assert freezing.thaw(freezing.freeze(packed, "data")) == packed.decode()  # in another store
    assert payloads.pack(freezing.freeze([1], "data"), "data").decode() == [1]


class Table:
    def __init__(self, rows: Any) -> None:
        self.rows = rows

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Table) and other.rows == self.rows

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<Table of {self.rows!r}>"


def iter_nothing() -> Iterator[int]:
    yield from ()


class Name(str):
    __slots__ = ()


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (Table(1), "data is a Table"),
        ({"a": [1, {"b": Table(1)}]}, r"data\['a'\]\[1\]\['b'\] is a Table"),
        ((1, Name("ada")), r"data\[1\] is a Name"),
        ({(1, Table): 2}, r"a key of data\[1\] is a type"),
        (10**4_001, "data is a int, .* more than 4,000 digits"),
        (datetime(2027, 1, 1, tzinfo=None).astimezone, "data is a builtin_function_or_method"),
    ],
)
def test_what_is_no_plain_value_is_refused_by_its_path(value: Any, path: str) -> None:
    with pytest.raises(PayloadError, match=path + r".*payloads='pickle'"):
        payloads.pack(value, "data")


def test_a_value_in_itself_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(PayloadError, match="nested too deeply"):
        payloads.pack(loop, "data")


def test_pickles_are_made_and_read_by_choice_alone() -> None:
    pickling, plain = codec_for("sqlite", "pickle"), codec_for("sqlite")
    job = JobData("a", "send", "emails", pickling.freeze({"t": Table([1])}, "data"))
    row = pickling.new_row(job)
    assert pickling.job(row).data == {"t": Table([1])}
    stand_in = {"python": "builtins.dict", "text": "{'t': <Table of [1]>}"}
    assert plain.job(row).data == stand_in
    assert json.loads(row[Codec.job_columns.index("data")]) == stand_in
    # plain values are written alike by both
    assert pickling.freeze((1,), "data") == plain.freeze((1,), "data")
    with pytest.raises(PayloadError, match=r"data\.rows is a generator"):
        pickling.freeze(Table(iter_nothing()), "data")


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("value", [(1, 2), Table(3), float("nan"), {1: "x"}])
def test_json_that_others_wrote_since_is_what_counts(dialect: str, value: Any) -> None:
    codec = codec_for(dialect, "pickle")
    job = JobData("a", "send", "emails", codec.freeze({"v": value}, "data"), created_at=NOW)
    row = codec.new_row(job)
    place = Codec.job_columns.index("data")
    row = [*row[:place], '{"v":[1,3]}', *row[place + 1 :]]
    assert codec.job(row).data == {"v": [1, 3]}


@pytest.mark.parametrize(
    ("value", "rewritten"),
    [
        ({"n": 1e22, "t": (1, 2.0)}, '{"t":[1,2],"n":1e+22}'),
        ({"n": 2**70, "t": (1,)}, '{"n":1180591620717411300000,"t":[1]}'),
        ({"n": -0.0, "t": (0.1,)}, '{"n":0,"t":[0.1]}'),
    ],
)
def test_json_that_says_the_same_in_other_words_changes_nothing(value: Any, rewritten: str) -> None:
    packed = payloads.pack(value, "data")
    again = payloads.Packed(rewritten, packed.beside)
    assert same(again.decode(), value)


def test_text_is_json_in_json_on_a_server_as_conveyor_reads_it_once_more() -> None:
    codec = codec_for("postgres")
    row = dict(
        zip(
            Codec.job_columns,
            codec.new_row(JobData("a", "send", "emails", "ok", returnvalue='"q"')),
            strict=True,
        )
    )
    assert json.loads(json.loads(row["data"])) == "ok"
    assert json.loads(json.loads(row["returnvalue"])) == '"q"'
    file = codec_for("sqlite").new_row(JobData("a", "send", "emails", "ok"))
    assert file[Codec.job_columns.index("data")] == '"ok"'


def test_an_unreadable_payload_is_so_when_it_is_read() -> None:
    codec = codec_for("sqlite")
    row = original_row(data="{oops", returnvalue="oops")
    job = codec.job(row)
    with pytest.raises(UnreadablePayloadError, match="data of job 'a'"):
        _ = job.data
    with pytest.raises(UnreadablePayloadError, match="returnvalue of job 'a'"):
        _ = job.returnvalue
    odd = payloads.pack((1,), "data")
    with pytest.raises(ValueError, match="plain types"):
        payloads.Packed(odd.json, odd.beside[:13] + b'{"~gone":1}').decode()


def test_plain_types_by_hand() -> None:
    """What stands in the bytes, so that a later version reads what this one wrote."""
    value = {
        "tuple": (1, [2]),
        "set": {3},
        "frozenset": frozenset({4}),
        "bytes": b"\0\xff",
        "bytearray": bytearray(b"a"),
        "at": datetime(2027, 1, 2, 3, 4, 5, 6, tzinfo=UTC),
        "paris": datetime(2027, 10, 31, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Paris")),
        "naive": datetime(2027, 1, 2),
        "cet": time(3, 4, tzinfo=timezone(timedelta(hours=1), "CET")),
        "day": date(2027, 1, 2),
        "span": timedelta(days=-1, seconds=2, microseconds=3),
        "money": Decimal("1.50"),
        "id": UUID(int=1),
        "nan": math.nan,
        "keys": {1: "a", None: "b", (2,): "c"},
        "odd": {"~tuple": 1},
    }
    written = json.loads(exact.encode(value, "data"))
    assert written == {
        "tuple": {"~tuple": [1, [2]]},
        "set": {"~set": [3]},
        "frozenset": {"~frozenset": [4]},
        "bytes": {"~bytes": "AP8="},
        "bytearray": {"~bytearray": "YQ=="},
        "at": {"~datetime": ["2027-01-02T03:04:05.000006", 0, [0.0]]},
        "paris": {"~datetime": ["2027-10-31T02:30:00", 1, "Europe/Paris"]},
        "naive": {"~datetime": ["2027-01-02T00:00:00", 0, None]},
        "cet": {"~time": ["03:04:00", 0, [3600.0, "CET"]]},
        "day": {"~date": "2027-01-02"},
        "span": {"~timedelta": [-1, 2, 3]},
        "money": {"~Decimal": "1.50"},
        "id": {"~UUID": "00000000-0000-0000-0000-000000000001"},
        "nan": {"~float": "nan"},
        "keys": {"~dict": [[1, "a"], [None, "b"], [{"~tuple": [2]}, "c"]]},
        "odd": {"~dict": [["~tuple", 1]]},
    }
    assert same(exact.decode(json.dumps(written)), value)
