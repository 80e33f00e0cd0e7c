"""DataFrames made of records, column by column: in one go, or in turns with the loop's other tasks.

A frame has the same columns and dtypes however many rows it has, none included.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pandas as pd
from pandas import DataFrame

from conveyor_nb.clocks.clock import REAL_TIME, checkpoint
from conveyor_nb.core.slicing import Step, sliced
from conveyor_nb.core.values.text import encodable
from conveyor_nb.notebook.cells import payload_cells

__all__ = [
    "COUNT",
    "COUNT_OR_NONE",
    "DURATION",
    "FLAG",
    "INSTANT",
    "NUMBER",
    "OBJECT",
    "PAYLOAD",
    "TEXT",
    "Column",
    "in_one_go",
    "in_turns",
    "index_of",
    "instants",
    "made_of",
    "objects",
    "text_of",
    "texts",
]

T = TypeVar("T")

TEXT = pd.StringDtype(na_value=np.nan)
COUNT = np.dtype("int64")
COUNT_OR_NONE = pd.Int64Dtype()
NUMBER = np.dtype("float64")
FLAG = np.dtype("bool")
OBJECT = np.dtype("object")
INSTANT = "instant"
"""The kind of a column of datetimes."""

DURATION = "duration"
"""The kind of a column of durations, which the records have in seconds."""

PAYLOAD = "payload"
"""The kind of a column of any values, also of such as can't be read or shown."""


class Column(NamedTuple):
    """A column of a frame."""

    name: str
    get: Callable[[Any], Any]
    """Gives the column's value of a record."""

    kind: Any
    """A dtype, or one of the kinds above."""


def in_one_go(building: Step[T]) -> T:
    """What is built, at once."""
    try:
        while True:
            next(building)
    except StopIteration as end:
        built: T = end.value
        return built


async def in_turns(building: Step[T]) -> T:
    """What is built; the loop's other tasks have their turns meanwhile."""
    while True:
        try:
            next(building)
        except StopIteration as end:
            built: T = end.value
            return built
        if REAL_TIME.overdue():
            await checkpoint()


def made_of(rows: Sequence[Any], columns: Iterable[Column], *, index: pd.Index) -> Step[DataFrame]:
    """A frame with a row for each record."""
    series: dict[str, pd.Series] = {}
    for column in columns:
        cells: list[Any] = []
        for some in sliced(rows):
            cells += _cells(some, column)
            yield
        series[column.name] = _series(cells, column.kind, index)
        yield
    return DataFrame(series, index=index, copy=False)


def _cells(rows: Sequence[Any], column: Column) -> list[Any]:
    """A column's values of some records, as far as Python has to look at each of them."""
    if column.kind is PAYLOAD:
        return payload_cells(rows, column.name)
    values = list(map(column.get, rows))
    if column.kind is INSTANT:
        return _seconds(values)
    if isinstance(column.kind, pd.CategoricalDtype):
        codes = {name: code for code, name in enumerate(column.kind.categories)}
        return [codes.get(value, -1) if value else -1 for value in values]
    return values


def _series(cells: list[Any], kind: Any, index: pd.Index) -> pd.Series:
    """A whole column, made by numpy and pandas alone: no Python runs for each cell."""
    if kind is PAYLOAD:
        return pd.Series(objects(cells), index=index)
    if kind is INSTANT:
        return pd.Series(_datetimes(cells), index=index)
    if kind is DURATION:
        return pd.Series(_timedeltas(cells), index=index)
    if isinstance(kind, pd.CategoricalDtype):
        return pd.Series(pd.Categorical.from_codes(cells, dtype=kind), index=index)
    if kind is TEXT and cells.count(None) == len(cells):  # pandas would look at each of them
        return pd.Series(np.nan, index=index, dtype=kind)
    series: pd.Series = pd.Series(cells, index=index, dtype=kind)
    return series


def index_of(values: Iterable[str | None], name: str) -> pd.Index:
    """An index of texts."""
    return pd.Index(list(values), dtype=TEXT, name=name)


def texts(values: Sequence[str | None], index: pd.Index) -> pd.Series:
    """A column of texts."""
    return pd.Series(values, index=index, dtype=TEXT)


def objects(values: list[Any]) -> np.ndarray[Any, Any]:
    """Whatever the values are: pandas must neither unpack lists nor look into arrays."""
    return np.fromiter(values, dtype=OBJECT, count=len(values))


def instants(values: Iterable[datetime | None]) -> pd.DatetimeIndex:
    """An index of datetimes."""
    return _datetimes(_seconds(values))


def text_of(name: str) -> Callable[[Any], str | None]:
    """Gets a text of a record, such that it can be encoded: pyarrow, for one, does so at once."""
    get = attrgetter(name)

    def read(record: Any) -> str | None:
        text: str | None = get(record)
        return text if text is None or text.isascii() else encodable(text)

    return read


def _seconds(values: Iterable[datetime | None]) -> list[float]:
    return [math.nan if value is None else value.timestamp() for value in values]


def _datetimes(seconds: list[float]) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(_microseconds(seconds).view("datetime64[us]")).tz_localize(UTC)


def _timedeltas(durations: list[float | None]) -> pd.TimedeltaIndex:
    seconds = [math.nan if value is None else value for value in durations]
    return pd.TimedeltaIndex(_microseconds(seconds).view("timedelta64[us]"))


def _microseconds(seconds: list[float]) -> np.ndarray[Any, np.dtype[np.int64]]:
    """As whole numbers, ``NaT`` for NaN: ten times as fast as pandas takes ``datetime`` objects."""
    exact = np.rint(np.array(seconds, dtype=NUMBER) * 1e6)  # below 2**53 till the year 2255
    missing = np.isnan(exact)
    whole = np.where(missing, 0, exact).astype(COUNT)
    whole[missing] = np.iinfo(COUNT).min
    return whole
