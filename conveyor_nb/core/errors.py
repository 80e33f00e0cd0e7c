"""Every exception that conveyor_nb raises on purpose.

All of them derive from :class:`ConveyorError`, so one ``except`` clause catches the family.
Bad arguments raise plain ``ValueError`` or ``TypeError`` instead, at the call that brought them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from types import FunctionType
from typing import Any

from conveyor_nb.core.values.durations import Duration, to_seconds
from conveyor_nb.core.values.text import FAULTS, error_line, fit, many_lines, shown

__all__ = [
    "FAULTS",
    "ConveyorError",
    "GroupFullError",
    "HandlerReplacedWarning",
    "InvalidJobStateError",
    "JobCancelledError",
    "JobFailedError",
    "JobNotFoundError",
    "LostLockError",
    "MetricsDisabledError",
    "PayloadError",
    "QueueClosedError",
    "ReadTimeoutError",
    "Retry",
    "RetryRefusedError",
    "ScheduleReplacedWarning",
    "SchemaError",
    "StoreUnavailableError",
    "UnreadablePayloadError",
    "Unrecoverable",
    "UnsupportedError",
    "WorkerNotFoundError",
]

_MOST_REASON = 4_000
"""How many characters of a reason an error's message shows; the error itself has all of it."""

_MOST_TRACEBACK = 8_000
"""How many characters of a traceback are printed with an error."""


class ConveyorError(Exception):
    """The base of every error of this package."""

    def __reduce__(self) -> tuple[Any, ...]:
        # an error is made of other arguments than those it keeps, and must go between processes
        return _restore, (type(self), self.args), self.__dict__


def _restore(kind: type[ConveyorError], arguments: tuple[Any, ...]) -> ConveyorError:
    return kind.__new__(kind, *arguments)


class JobNotFoundError(ConveyorError):
    """No job with this id is in this queue (any more)."""

    def __init__(self, job_id: str, queue_name: str) -> None:
        super().__init__(
            f"no job {shown(job_id)} in queue {shown(queue_name)}; it may have been removed"
        )
        self.job_id = job_id
        self.queue_name = queue_name


class WorkerNotFoundError(ConveyorError):
    """No worker with this id is listed in the store (any more)."""

    def __init__(self, worker_id: str) -> None:
        super().__init__(f"there is no worker {shown(worker_id)} any more; it may have stopped")
        self.worker_id = worker_id


class InvalidJobStateError(ConveyorError):
    """The job is not in a state that allows what was asked; nothing was changed."""

    def __init__(self, job_id: str, current_state: str, expected_states: Iterable[str]) -> None:
        expected = tuple(expected_states)
        wanted = " or ".join(repr(str(state)) for state in expected)
        super().__init__(
            f"job {shown(job_id)} is {shown(str(current_state))}; this needs it to be {wanted}"
        )
        self.job_id = job_id
        self.current_state = current_state
        self.expected_states = expected


class RetryRefusedError(ConveyorError):
    """The job can't be run again as things are; nothing was changed.

    ``holder_id`` is the unfinished job that has its deduplication key, if that is why.
    """

    def __init__(self, job_id: str, why: str, holder_id: str | None = None) -> None:
        super().__init__(f"job {shown(job_id)} can't be retried: {why}")
        self.job_id = job_id
        self.holder_id = holder_id


class LostLockError(ConveyorError):
    """The job's lock is no longer held by this worker, so its report changed nothing."""

    def __init__(self, job_id: str, worker_id: str | None) -> None:
        super().__init__(
            f"worker {shown(worker_id)} no longer holds the lock of job {shown(job_id)}; "
            "what it reported was not applied"
        )
        self.job_id = job_id
        self.worker_id = worker_id


class MetricsDisabledError(ConveyorError):
    """Metrics were asked of a store that does not collect them."""

    def __init__(self) -> None:
        super().__init__("this store collects no metrics; create it with metrics=True")


class UnsupportedError(ConveyorError, ValueError):
    """The store can't do what was asked, as its ``capabilities`` say; nothing was changed."""

    def __init__(self, what: str, value: object, capability: str) -> None:
        super().__init__(f"{what} {shown(value)}: this store has no {capability}")
        self.capability = capability


class SchemaError(ConveyorError):
    """A database can't be used: it is too old, too new, or none of a queue; nothing was changed."""


class StoreUnavailableError(ConveyorError):
    """The file or the server of a store can't be reached, is locked, full or read-only."""


class QueueClosedError(ConveyorError):
    """The queue was closed and takes no more calls."""

    def __init__(self, queue_name: str) -> None:
        super().__init__(
            f"queue {shown(queue_name)} is closed; create a new Queue({shown(queue_name)}) to go on"
        )
        self.queue_name = queue_name


class GroupFullError(ConveyorError):
    """The group already holds as many waiting jobs as its ``max_size`` allows."""

    def __init__(self, group_id: str, max_size: int) -> None:
        held = f"{max_size} waiting job{'' if max_size == 1 else 's'}"
        super().__init__(f"group {shown(group_id)} is full: it already holds {held}")
        self.group_id = group_id
        self.max_size = max_size


class JobFailedError(ConveyorError):
    """A job that was waited for failed for good.

    Its ``__cause__`` is what the handler raised, as far as that is at hand: a copy without its
    frames, of one of the newest failures of this process.

    Args:
        job_id, queue_name: the job.
        reason: why it failed.
        attempt: the attempt that was the last, from 1; 0: it never began; ``None``: not known.
        attempts: how many it could have had.
        traceback: that of the last attempt; it is printed with the error.
    """

    def __init__(
        self,
        job_id: str,
        reason: str | None,
        *,
        queue_name: str | None = None,
        attempt: int | None = None,
        attempts: int | None = None,
        traceback: str | None = None,
    ) -> None:
        super().__init__(f"job {shown(job_id)} failed: {many_lines(reason, _MOST_REASON)}")
        self.job_id = job_id
        self.queue_name = queue_name
        self.reason = reason
        self.attempt = attempt
        self.attempts = attempts
        self.traceback = traceback
        if queue_name is not None:
            where = f"in queue {shown(queue_name)}"
            if attempt is not None:
                where += f", attempt {attempt} of {attempts}" if attempt else ", before it began"
            told = many_lines((traceback or "").rstrip(), _MOST_TRACEBACK, both_ends=True)
            self.add_note(f"{where}:\n{told}" if told else where)


class JobCancelledError(JobFailedError):
    """A job that was waited for was cancelled; in a handler: its job is to stop.

    In a handler its ``reason`` may be another one: that it timed out, say.
    """

    def __init__(
        self,
        job_id: str,
        reason: str = "cancelled",
        *,
        queue_name: str | None = None,
        attempt: int | None = None,
        attempts: int | None = None,
        traceback: str | None = None,
    ) -> None:
        super().__init__(
            job_id,
            reason,
            queue_name=queue_name,
            attempt=attempt,
            attempts=attempts,
            traceback=traceback,
        )


class Retry(ConveyorError):  # noqa: N818 -- it is a wish, and known by this name
    """For a handler to raise: try the job again, ``delay`` from now.

    The attempt has failed, as by any other exception, and counts: when none is left, the job
    fails for good. (``job.move_to_delayed`` puts a job off with no attempt spent.)

    Args:
        reason: what to note of the attempt.
        delay: a duration; ``None``: what the job's backoff says, and with none at once.

    >>> str(Retry("the service is busy", delay="5s"))
    'the service is busy'
    """

    def __init__(self, reason: str | None = None, *, delay: Duration | None = None) -> None:
        if reason is not None and (not isinstance(reason, str) or _is_duration(reason)):
            given = shown(reason)
            raise TypeError(f"Retry({given}) is not a reason; for a delay: Retry(delay={given})")
        super().__init__(reason or "the handler asked for another attempt")
        self.delay = None if delay is None else to_seconds(delay, what="delay")


def _is_duration(text: str) -> bool:
    try:
        to_seconds(text)
    except ValueError:
        return False
    return True


class Unrecoverable(ConveyorError):  # noqa: N818 -- as above
    """For a handler to raise: fail the job for good, whatever attempts are left.

    >>> raise Unrecoverable("no such address")
    Traceback (most recent call last):
    ...
    conveyor_nb.core.errors.Unrecoverable: no such address
    """


class ScheduleReplacedWarning(UserWarning):
    """A schedule was replaced by one of the same job name and payload, and another rule."""


class HandlerReplacedWarning(UserWarning):
    """A handler for the jobs of one name replaced the handler for the jobs of every name."""


class UnreadablePayloadError(ConveyorError):
    """A payload or a result can't be given back: its class was edited since, or is gone.

    The job and all else that is known of it stay as they are.
    """

    def __init__(self, what: str, job_id: str, cause: BaseException) -> None:
        super().__init__(
            f"the {what} of job {shown(job_id)} can't be read: {error_line(cause)}; "
            "an object comes back only where its class is as it was when the object went in"
        )
        self.what = what
        self.job_id = job_id


class ReadTimeoutError(ConveyorError, TimeoutError):
    """A plain call, which can't await a store, was not answered by it in time.

    The loop stands still during such a call. A store that needs that loop can't answer then.
    """

    def __init__(self, store_kind: str, limit: float, instead: str = "") -> None:
        advice = f"; {instead}" if instead else ""
        super().__init__(f"a {fit(store_kind)} did not answer within {limit:g} s{advice}")
        self.store_kind = store_kind
        self.limit = limit


class PayloadError(ConveyorError, TypeError):
    """A payload or a result can't be copied into the store; ``path`` says which part of it."""

    def __init__(
        self,
        path: str,
        type_name: str,
        cause: str,
        remedy: str = "use JSON-like values or picklable objects",
    ) -> None:
        super().__init__(
            f"{path} is a {type_name}, which can't be copied into the store ({cause}); {remedy}"
        )
        self.path = path

    @classmethod
    def of(cls, path: str, value: object, cause: BaseException) -> PayloadError:
        """Build the error for ``value``, which was found at ``path``."""
        type_name = fit(type(value).__qualname__)
        if (name := _outdated_name(value)) is None:
            return cls(path, type_name, error_line(cause))
        why = f"it is from before {fit(name)} was defined anew, by its cell or module run again"
        if path.startswith("data"):
            return cls(path, type_name, why, "make the object anew")
        return cls(path, type_name, why, "make it anew, or run the cell of its handler again")


def _outdated_name(value: object) -> str | None:
    """The name of the class of a value, or of what is one, if it stands for another by now."""
    made = value if isinstance(value, (type, FunctionType)) else type(value)
    found: object = sys.modules.get(made.__module__)
    for part in made.__qualname__.split("."):
        found = getattr(found, part, None)
    return None if found is None or found is made else made.__qualname__
