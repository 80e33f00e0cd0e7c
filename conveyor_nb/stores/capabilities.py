"""What not every store can do: declared by a store, and refused in one way where it is missing."""

from __future__ import annotations

from collections.abc import Collection

from conveyor_nb.core.errors import UnsupportedError
from conveyor_nb.core.options.job_options import JobOptions
from conveyor_nb.core.values.text import Word

__all__ = [
    "ALL_CAPABILITIES",
    "USUAL_CAPABILITIES",
    "Capability",
    "refuse_options",
    "refuse_priority",
]


class Capability(Word):
    """Something that a store may be unable to do; see ``StoreInterface.capabilities``."""

    FRACTIONAL_PRIORITIES = "fractional priorities"
    """Priorities such as 0.5."""
    CALLABLE_BACKOFFS = "backoffs by a callable"
    """``Backoff("custom", strategy=...)``."""
    PYTHON_OBJECTS = "Python objects in payloads"
    """Payloads and results of any picklable type. A store without it takes JSON-like values and
    Python's plain types, and raises ``PayloadError`` for all others."""
    TRANSACTIONS = "transactions of the caller's own"
    """Jobs that are added as a part of one: ``queue.add(..., connection=connection)``."""


ALL_CAPABILITIES = frozenset(Capability)

USUAL_CAPABILITIES = ALL_CAPABILITIES - {Capability.TRANSACTIONS}
"""What a store can do that says nothing else; transactions are a matter of databases."""


def refuse_options(capabilities: Collection[Capability], opts: JobOptions) -> None:
    """Raise ``UnsupportedError`` if the options of a new job need what a store can't do.

    >>> refuse_options(ALL_CAPABILITIES, JobOptions(priority=0.5))
    >>> refuse_options([], JobOptions(priority=0.5))
    Traceback (most recent call last):
    ...
    conveyor_nb.core.errors.UnsupportedError: priority 0.5: this store has no fractional priorities
    """
    refuse_priority(capabilities, opts.priority)
    if opts.backoff is not None and opts.backoff.strategy is not None:
        _refuse(capabilities, Capability.CALLABLE_BACKOFFS, "backoff", opts.backoff.strategy)


def refuse_priority(capabilities: Collection[Capability], priority: float) -> None:
    """Raise ``UnsupportedError`` if a priority is one that a store can't keep."""
    if priority % 1:
        _refuse(capabilities, Capability.FRACTIONAL_PRIORITIES, "priority", priority)


def _refuse(
    capabilities: Collection[Capability], needed: Capability, what: str, value: object
) -> None:
    if needed not in capabilities:
        raise UnsupportedError(what, value, needed)
