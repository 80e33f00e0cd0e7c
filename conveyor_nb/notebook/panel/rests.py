"""Which parts of a panel stay as they were told for a moment, as their store takes long to tell."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

from conveyor_nb.clocks.clock import REAL_TIME

__all__ = ["Rests"]

_LONG = 0.004
"""Seconds: what takes longer than this rests..."""

_TIMES = 20
"""... for so many times as long, so that no more than a part in twenty goes into reading it..."""

_LONGEST = 1.0
"""... but for no more seconds than this."""


@dataclass(slots=True)
class _Rest:
    """What was told, until when it stays as it is, and whether it was asked for meanwhile."""

    parts: dict[str, Any]
    until: float
    is_owed: bool = False


class Rests:
    """What rests, by whatever it is known by."""

    def __init__(self) -> None:
        self._rests: dict[Hashable, _Rest] = {}

    def told(self, key: Hashable) -> dict[str, Any] | None:
        """What was told, if it is to stay so for now."""
        rest = self._rests.get(key)
        if rest is None or self.now() >= rest.until:
            return None
        rest.is_owed = True
        return rest.parts

    def keep(self, key: Hashable, parts: dict[str, Any], began: float) -> None:
        """Let what one began to read at an instant stay for a while, if it took long."""
        now = self.now()
        took = now - began
        if took > _LONG:
            self._rests[key] = _Rest(parts, now + min(_LONGEST, _TIMES * took))
        else:
            self._rests.pop(key, None)

    def again(self, key: Hashable, wish: float | None) -> float | None:
        """In how many seconds it is to be read again, given in how many it would be by itself."""
        rest = self._rests.get(key)
        if rest is None:
            return wish
        left = max(0.0, rest.until - self.now())
        if rest.is_owed:
            return left
        return None if wish is None else max(wish, left)

    def forget(self) -> None:
        """Let all be read anew: somebody wants to see what there is now."""
        self._rests.clear()

    def now(self) -> float:
        """The person's own time, in seconds."""
        return REAL_TIME.now().timestamp()
