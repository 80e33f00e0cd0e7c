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

__all__ = ["Backoff", "BackoffStrategy", "BackoffType", "Jitter", "retry_delay", "to_backoff"]

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


class Jitter(Word):
    """How much of a wait is left to chance, beyond what its type has anyway."""

    FULL = "full"


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
        jitter: ``"full"``: any wait between none and that delay is as likely, so that jobs that
            failed at the same moment don't come back at the same moment; not for ``"custom"``,
            whose strategy decides that by itself.

    >>> Backoff("exponential", "1s")
    Backoff(type='exponential', delay=1.0)
    >>> Backoff("exponential", "1s", jitter="full")
    Backoff(type='exponential', delay=1.0, jitter='full')
    """

    _called: ClassVar[str] = "backoff"

    type: BackoffType = option(partial(check_choice, BackoffType), BackoffType.FIXED)
    delay: float = option(to_seconds, 0.0)
    strategy: BackoffStrategy | None = option(_strategy, None)
    jitter: Jitter | None = option(partial(check_choice, Jitter), None)

    def __init__(
        self,
        type: BackoffType | Literal["fixed", "exponential", "custom"] = BackoffType.FIXED,
        delay: Duration = 0.0,
        strategy: BackoffStrategy | None = None,
        jitter: Jitter | Literal["full"] | None = None,
    ) -> None:
        self._take({"type": type, "delay": delay, "strategy": strategy, "jitter": jitter})
        if self.type is BackoffType.CUSTOM:
            _strategy(strategy, what="backoff strategy")
            if jitter is not None:
                raise ValueError(
                    f"backoff jitter={shown(jitter)} goes with type 'fixed' or 'exponential': "
                    "a custom strategy returns the wait as it is to be"
                )
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
        random: the source of the jitter; without it there is none, and the delay is that around
            which an exponential one varies, and the longest of a full one.

    >>> retry_delay(Backoff("exponential", "1s"), attempts_made=4)
    8.0
    """
    if backoff is None:
        return 0.0
    if backoff.strategy is not None:
        return to_seconds(backoff.strategy(attempts_made), what="the backoff strategy's result")
    delay = backoff.delay
    grows = backoff.type is BackoffType.EXPONENTIAL
    if grows:
        delay *= 2.0 ** min(attempts_made - 1, _ENOUGH_DOUBLINGS)
    if random is not None:
        if backoff.jitter is Jitter.FULL:
            return random.uniform(0.0, min(delay, MAX_BACKOFF) if grows else delay)
        if grows:
            delay *= 1 + random.uniform(-BACKOFF_JITTER, BACKOFF_JITTER)
    return min(delay, MAX_BACKOFF) if grows else delay
