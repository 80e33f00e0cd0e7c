"""The numbers that a store gives out: each is used once, in one transaction after the other."""

from __future__ import annotations

from conveyor_nb.stores.sql.asking import Asking, Many

__all__ = ["Counters"]

_READ = "SELECT value FROM conveyor_nb_counters WHERE name = ?"
_WRITE = (
    "INSERT INTO conveyor_nb_counters (name, value) VALUES (?, ?)"
    " ON CONFLICT (name) DO UPDATE SET value = excluded.value"
)


class Counters:
    """Counters of one transaction: read once, written at its end.

    ``sequence`` counts the jobs that were added, ``moved`` whatever else comes in order: changes
    of state, turns of groups, children of a parent.
    """

    write_text = _WRITE
    """What :meth:`write` says, for each counter."""

    def __init__(self) -> None:
        self._values: dict[str, int] = {}
        self._used: set[str] = set()

    def forget(self) -> None:
        """Know nothing: another one may have written."""
        self._values.clear()
        self._used.clear()

    def last(self, name: str) -> Asking[int]:
        """The number that was given last."""
        value = self._values.get(name)
        if value is None:
            rows = yield _READ, (name,)
            value = self._values[name] = rows[0][0] if rows else 0
        return value

    def next(self, name: str) -> Asking[int]:
        """The next number, which is used up so."""
        value = (yield from self.last(name)) + 1
        self.use(name, value)
        return value

    def next_known(self, name: str) -> int:
        """What :meth:`next` gives, of a counter that was asked for in this transaction."""
        value = self._values[name] = self._values[name] + 1
        self._used.add(name)
        return value

    def known(self, name: str) -> int | None:
        """The number that was given last, if it is known."""
        return self._values.get(name)

    def use(self, name: str, value: int) -> None:
        """Use up all numbers up to this one."""
        self._values[name] = max(value, self._values.get(name, 0))
        self._used.add(name)

    def write(self) -> Asking[None]:
        """Keep what was used up."""
        if self._used:
            rows = [(name, self._values[name]) for name in sorted(self._used)]
            self._used.clear()
            yield Many(_WRITE, rows)
