"""Isolation of payloads: what a store holds can't be reached by whoever gave or got it.

A payload is kept as its pickle, and each reader gets an object of its own. That is one path for
JSON-like values and for DataFrames alike; plain immutable values need no copy and are kept as
they are.
"""

from __future__ import annotations

import contextlib
import dataclasses
import pickle
from collections.abc import Iterator, Mapping
from enum import Enum
from types import FunctionType, ModuleType
from typing import Any

from msgspec import Struct

from conveyor_nb.core.errors import PayloadError, UnreadablePayloadError
from conveyor_nb.core.values.text import error_line, shown

__all__ = ["Encoded", "Frozen", "Unreadable", "freeze", "peek", "thaw", "thaw_for"]


class Frozen(Struct, frozen=True, gc=False):
    """A payload as a store keeps it; the collector, which has nothing to find there, passes it by.

    Args:
        pickle: the payload's pickle.
    """

    pickle: bytes


class Encoded(Struct, frozen=True, gc=False):
    """The base of what another store keeps in place of a payload, in a form of its own."""

    def decode(self) -> Any:
        """A new copy of the payload; may raise anything."""
        raise NotImplementedError

    def __reduce__(self) -> tuple[Any, ...]:
        return _same, (self.decode(),)  # wherever it goes, it goes as the payload


def _same(value: Any) -> Any:
    return value


_KEPT_AS_IT_IS = frozenset({type(None), bool, int, float, str, Frozen})
_PROTOCOL = pickle.HIGHEST_PROTOCOL
_STACK_GLOBAL = ord(pickle.STACK_GLOBAL)  # bytes are searched much faster for a number
_MAX_PATH_DEPTH = 20


def freeze(value: Any, what: str) -> Any:
    """Turn ``value`` into what a store keeps.

    Args:
        value: any picklable object, or what is frozen already.
        what: what the value is, as the root of the path in the error message.

    Raises:
        PayloadError: a part of the value can't be copied; the message names the path to it.

    >>> mine = {"to": ["a@example.org"]}
    >>> kept = freeze(mine, "data")
    >>> mine["to"].append("b@example.org")
    >>> thaw(kept)
    {'to': ['a@example.org']}
    """
    if type(value) in _KEPT_AS_IT_IS:
        return value
    try:
        return Frozen(_pack(value))
    except Exception as error:  # a reducer may raise anything; all of it means "can't be copied"
        path, culprit = _find_culprit(what, value)
        raise PayloadError.of(path, culprit, error) from error


def thaw(frozen: Any) -> Any:
    """A new copy of what :func:`freeze` was given; what is not frozen is returned as it is."""
    if type(frozen) is Frozen:
        return pickle.loads(frozen.pickle)
    return frozen.decode() if isinstance(frozen, Encoded) else frozen


class Unreadable:
    """Stands for a payload that can't be read, where others are shown.

    Args:
        error: what was raised when it was read.
    """

    __slots__ = ("error",)

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __repr__(self) -> str:
        return f"can't be read: {error_line(self.error)}"


def thaw_for(owner: str, what: str, frozen: Any) -> Any:
    """What :func:`thaw` gives.

    Raises:
        UnreadablePayloadError: it can't be thawed; the message says whose it is.
    """
    try:
        if type(frozen) is Frozen:
            return pickle.loads(frozen.pickle)
        return frozen.decode() if isinstance(frozen, Encoded) else frozen
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # what is unpickled may raise anything
        raise UnreadablePayloadError(what, owner, error) from error


def peek(job: object, name: str) -> Any:
    """A field of a job, or an :class:`Unreadable` in its place: one job must not hide others."""
    try:
        return getattr(job, name)
    except UnreadablePayloadError as error:
        return Unreadable(error.__cause__ or error)


def _pack(value: Any) -> bytes:
    packed = pickle.dumps(value, _PROTOCOL)
    if _STACK_GLOBAL in packed:  # a class is in it, which may pickle well and not come back
        pickle.loads(packed)
    return packed


def _find_culprit(path: str, value: Any) -> tuple[str, Any]:
    """The path of the smallest part of ``value`` that can't be pickled, and that part."""
    with contextlib.suppress(Exception):  # a value may not let its parts be looked at
        for _ in range(_MAX_PATH_DEPTH):
            for part_path, part in _parts(path, value):
                if not _is_picklable(part):
                    path, value = part_path, part
                    break
            else:
                break
    return path, value


def _is_picklable(value: Any) -> bool:
    try:
        _pack(value)
    except Exception:  # see freeze
        return False
    return True


def _parts(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield f"a key of {path}", key
            yield f"{path}[{shown(key)}]", part
    elif isinstance(value, (list, tuple)):
        for index, part in enumerate(value):
            yield f"{path}[{index}]", part
    elif isinstance(value, (set, frozenset)):
        for part in value:
            yield f"a member of {path}", part
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield f"{path}.{field.name}", getattr(value, field.name)
    elif not isinstance(value, (type, Enum, FunctionType, ModuleType)):
        for name, part in getattr(value, "__dict__", {}).items():
            yield f"{path}.{name}", part
