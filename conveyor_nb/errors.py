"""Every exception that conveyor_nb raises on purpose.

All of them derive from :class:`ConveyorError`, so one ``except`` clause catches the family.
Bad arguments raise plain ``ValueError`` or ``TypeError`` instead, at the call that brought them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from conveyor_nb.text import error_line, fit, many_lines, shown

__all__ = [
    "FAULTS",
    "ConveyorError",
    "GroupFullError",
    "InvalidJobStateError",
    "JobCancelledError",
    "JobFailedError",
    "JobNotFoundError",
    "LostLockError",
    "MetricsDisabledError",
    "PayloadError",
    "QueueClosedError",
    "RetryRefusedError",
    "ScheduleReplacedWarning",
    "UnreadablePayloadError",
]

_MOST_REASON = 4_000
"""So many characters of a reason are in the message of an error; the error itself has it whole."""

FAULTS = (Exception, SystemExit, KeyboardInterrupt)
"""What other people's code may raise. The last two would end the event loop, and a kernel with it,
where they leave a task or a callback; to be cancelled is no fault."""


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
        super().__init__(
            f"group {shown(group_id)} is full: it already holds {max_size} waiting jobs"
        )
        self.group_id = group_id
        self.max_size = max_size


class JobFailedError(ConveyorError):
    """A job that was waited for failed for good."""

    def __init__(self, job_id: str, reason: str | None) -> None:
        super().__init__(f"job {shown(job_id)} failed: {many_lines(reason, _MOST_REASON)}")
        self.job_id = job_id
        self.reason = reason


class JobCancelledError(JobFailedError):
    """A job that was waited for was cancelled."""

    def __init__(self, job_id: str) -> None:
        super().__init__(job_id, "cancelled")


class ScheduleReplacedWarning(UserWarning):
    """A schedule was replaced by one of the same job name and payload, and another rule."""


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


class PayloadError(ConveyorError, TypeError):
    """A payload or a result can't be copied into the store; ``path`` says which part of it."""

    def __init__(self, path: str, type_name: str, cause: str) -> None:
        super().__init__(
            f"{path} is a {type_name}, which can't be copied into the store ({cause}); "
            "use JSON-like values or picklable objects"
        )
        self.path = path

    @classmethod
    def of(cls, path: str, value: object, cause: BaseException) -> PayloadError:
        """Build the error for ``value``, which was found at ``path``."""
        return cls(path, fit(type(value).__qualname__), error_line(cause))
