"""The rows of a DataFrame as payloads of jobs: plain dicts of plain Python values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from conveyor_nb.core.values.text import shown

__all__ = ["payloads_of"]


def payloads_of(frame: object) -> list[dict[Any, Any]]:
    """A dict for each row, by column; what is missing is ``None``.

    The index is a column too if it has a name, as is each named level of a ``MultiIndex``.

    Raises:
        TypeError: it is no DataFrame.
        ValueError: two columns have the same name, or a column and the index.

    >>> payloads_of(pd.DataFrame({"to": ["ada", None], "size": [1.5, float("nan")]}))
    [{'to': 'ada', 'size': 1.5}, {'to': None, 'size': None}]
    """
    if not isinstance(frame, pd.DataFrame):
        raise TypeError(f"add_frame takes a pandas DataFrame, not {shown(frame)}")
    index = frame.index
    columns: list[tuple[Any, list[Any]]] = [
        (_plain(level), _values(index.get_level_values(place).to_series()))
        for place, level in enumerate(index.names)
        if level is not None
    ]
    columns += [
        (_plain(name), _values(frame.iloc[:, place])) for place, name in enumerate(frame.columns)
    ]
    names = [name for name, _ in columns]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(
            f"two columns (or one and the index) are named {shown(twice)}; rename one of them"
        )
    if not columns:
        return [{} for _ in range(len(frame))]
    return [
        dict(zip(names, row, strict=True)) for row in zip(*(v for _, v in columns), strict=True)
    ]


def _values(column: pd.Series[Any]) -> list[Any]:
    values = column.tolist()
    dtype = column.dtype
    if not isinstance(dtype, np.dtype) or dtype.kind not in "biu":  # all others are plain already
        missing = column.isna().to_numpy()
        values = [
            None if gone else _plain(value) for value, gone in zip(values, missing, strict=True)
        ]
    return values


def _plain(value: Any) -> Any:
    if isinstance(value, pd.Timestamp):
        return value.to_pydatetime(warn=False)
    if isinstance(value, pd.Timedelta):
        return value.to_pytimedelta()
    if isinstance(value, np.datetime64):
        return _plain(pd.Timestamp(value))
    if isinstance(value, np.timedelta64):
        return _plain(pd.Timedelta(value))
    if value is pd.NaT or value is pd.NA:  # inside of what is in a cell
        return None
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return [_plain(part) for part in value] if value.ndim else _plain(value[()])
    if type(value) is dict:
        return {_plain(key): _plain(part) for key, part in value.items()}
    return type(value)(map(_plain, value)) if type(value) in (list, tuple) else value
