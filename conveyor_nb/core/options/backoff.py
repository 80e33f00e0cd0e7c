"""How long a job waits for its next attempt: the option, and the delay that it gives."""

from __future__ import annotations

import random as random_module
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

from conveyor_nb.core.options.declaring import Options, option
from conveyor_nb.core.values.checks import check_choice
from conveyor_nb.core.values.durations import Duration, to_seconds
from conveyor_nb.core.values.text import Word, shown

__all__ = ["Backoff", "BackoffStrategy", "BackoffType", "retry_delay", "to_backoff"]

MAX_BACKOFF = 86_400.0
BACKOFF_JITTER = 0.25
_ENOUGH_DOUBLINGS = 64
"""They take any delay of a microsecond or more past ``MAX_BACKOFF``."""

BackoffStrategy = Callable[[int], Duration]
"""Given the number of attempts that failed so far (from 1), how long to wait for the next."""


class BackoffType(Word):
    """How the wait grows from retry to retry."""

    FIXED = "fixed"
    EXPONENTIAL = "exponential"
    CUSTOM = "custom"


def _strategy(value: object, *, what: str) -> BackoffStrategy:
    if not callable(value):
        raise TypeError(
            f"a custom backoff needs strategy=callable, not {shown(value)}; "
            "for instance Backoff('custom', strategy=lambda attempts: attempts * 2)"
        )
    return value


@dataclass(frozen=True, slots=True, init=False, repr=False)
class Backoff(Options):
    """How long to wait before the next attempt.

    Args:
        type: ``"fixed"``, ``"exponential"`` (delay x 2^(attempts made - 1), at most 24 hours,
            with a jitter of up to 25 % either way) or ``"custom"``.
        delay: the (first) delay; a duration, kept in seconds.
        strategy: for ``"custom"``: called with the number of failed attempts so far, from 1,
            it returns a duration.

    >>> Backoff("exponential", "1s")
    Backoff(type='exponential', delay=1.0)
    """

    _called: ClassVar[str] = "backoff"

    type: BackoffType = option(partial(check_choice, BackoffType), BackoffType.FIXED)
    delay: float = option(to_seconds, 0.0)
    strategy: BackoffStrategy | None = option(_strategy, None)

    def __init__(
        self,
        type: BackoffType | Literal["fixed", "exponential", "custom"] = BackoffType.FIXED,
        delay: Duration = 0.0,
        strategy: BackoffStrategy | None = None,
    ) -> None:
        self._take({"type": type, "delay": delay, "strategy": strategy})
        if self.type is BackoffType.CUSTOM:
            _strategy(strategy, what="backoff strategy")
        elif strategy is not None:
            raise ValueError(f"backoff strategy goes with type 'custom', not {str(type)!r}")


def to_backoff(value: Backoff | Duration, *, what: str) -> Backoff:
    """What is kept of a backoff: a bare duration is a fixed one."""
    if isinstance(value, Backoff):
        return value
    if isinstance(value, str) and value in list(BackoffType):
        raise ValueError(f"{what} {str(value)!r} needs a delay: Backoff({str(value)!r}, '1s')")
    return Backoff(delay=to_seconds(value, what=what))


def retry_delay(
    backoff: Backoff | None, attempts_made: int, random: random_module.Random | None = None
) -> float:
    """How many seconds to wait before the next attempt.

    Args:
        backoff: the job's backoff.
        attempts_made: how many attempts have failed, from 1.
        random: the source of the jitter of an exponential backoff.

    >>> retry_delay(Backoff("exponential", "1s"), attempts_made=4)
    8.0
    """
    if backoff is None:
        return 0.0
    if backoff.strategy is not None:
        return to_seconds(backoff.strategy(attempts_made), what="the backoff strategy's result")
    delay = backoff.delay
    if backoff.type is BackoffType.FIXED or delay == 0:
        return delay
    grown = delay * 2.0 ** min(attempts_made - 1, _ENOUGH_DOUBLINGS)
    jitter = random.uniform(-BACKOFF_JITTER, BACKOFF_JITTER) if random else 0.0
    return min(grown * (1 + jitter), MAX_BACKOFF)
