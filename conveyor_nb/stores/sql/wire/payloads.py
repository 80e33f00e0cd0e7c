"""Payloads and results as columns: JSON that everybody reads, and beside it what JSON can't keep.

Beside JSON that stands in for more there are bytes: a digest of that JSON, then how the value is
written, and the value. If the JSON is no longer the one that the digest is of, somebody else has
written it since, and it is what counts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
import msgspec.json

from conveyor_nb.core import freezing
from conveyor_nb.core.errors import PayloadError
from conveyor_nb.core.values.text import shown
from conveyor_nb.stores.sql.wire import exact

__all__ = ["Packed", "from_json", "pack", "pack_or_pickle", "to_json"]

T = TypeVar("T")

_DIGEST = 12
_EXACT, _PICKLE = b"x", b"p"
_SCALARS = frozenset({type(None), bool, int, float, str})
_MOST_SHOWN = 200


class Packed(freezing.Encoded, frozen=True, gc=False, eq=False):
    """A payload as its columns hold it.

    Args:
        json: the JSON.
        beside: what JSON alone can't keep of it.
        unpickles: whether pickles are read; who does not gets what stands in for it.
    """

    json: str
    beside: bytes | None = None
    unpickles: bool = False

    def decode(self) -> Any:
        """A new copy of the payload."""
        plain = from_json(self.json)
        beside = self.beside
        if beside is None or beside[:_DIGEST] != _digest(plain):
            return plain
        how, written = beside[_DIGEST : _DIGEST + 1], beside[_DIGEST + 1 :]
        if how == _EXACT:
            return exact.decode(written)
        if how == _PICKLE and self.unpickles:
            return freezing.thaw(freezing.Frozen(written))
        return plain

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Packed):
            return NotImplemented
        if self.json == other.json and self.beside == other.beside:
            return True
        # a database may write the same JSON in another way
        return bool(self.decode() == other.decode())

    __hash__ = None  # type: ignore[assignment]  # as that of any payload that can be changed


def pack(value: Any, what: str) -> Any:
    """What rows hold of a payload: a plain value as it is, all else packed.

    Raises:
        PayloadError: a part of it is neither JSON nor of a plain type.

    >>> pack({"to": "ada"}, "data")
    Packed(json='{"to":"ada"}', beside=None, unpickles=False)
    """
    return _pack(value, what, _no_pickle)


def pack_or_pickle(value: Any, what: str) -> Any:
    """As :func:`pack`, but what has no other form is pickled.

    Raises:
        PayloadError: a part of it can't be pickled.
    """
    return _pack(value, what, _pickled)


def to_json(kept: Any) -> tuple[str, bytes | None]:
    """What stands in the two columns of a payload."""
    if type(kept) is Packed:
        return kept.json, kept.beside
    return _dumps(kept), None


def from_json(text: str) -> Any:
    """What JSON says.

    Raises:
        ValueError: it is none.
    """
    try:
        return msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return json.loads(text)  # which knows halves of characters, as JavaScript writes them


def _dumps(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _pack(value: Any, what: str, otherwise: Callable[[Any, str, PayloadError], Any]) -> Any:
    kind = type(value)
    if kind is Packed:
        return value
    if kind is freezing.Frozen:  # another store's
        value = freezing.thaw(value)
        kind = type(value)
    try:
        if exact.is_json(value):
            return value if kind in _SCALARS else Packed(_dumps(value))
    except RecursionError:
        pass
    try:
        written = exact.encode(value, what)
    except PayloadError as error:
        return otherwise(value, what, error)
    plain = exact.stand_in(value)
    return Packed(_dumps(plain), _digest(plain) + _EXACT + written.encode())


def _no_pickle(value: Any, what: str, error: PayloadError) -> Any:
    raise error


def _pickled(value: Any, what: str, error: PayloadError) -> Any:
    pickled = freezing.freeze(value, what)
    kind = type(value)
    text = exact.stand_in(shown(value, limit=_MOST_SHOWN))
    plain = {"python": f"{kind.__module__}.{kind.__qualname__}", "text": text}
    return Packed(_dumps(plain), _digest(plain) + _PICKLE + pickled.pickle, unpickles=True)


def _digest(plain: Any) -> bytes:
    """The same for all JSON that says the same, also when a database or JavaScript wrote it."""
    text = json.dumps(_alike(plain), sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=_DIGEST).digest()


def _alike(value: Any) -> Any:
    kind = type(value)
    if kind is dict:
        return {key: _alike(part) for key, part in value.items()}
    if kind is list:
        return [_alike(part) for part in value]
    if kind is int or kind is float:
        try:
            return float(value) + 0.0  # minus zero is zero
        except OverflowError:
            return value
    return value
