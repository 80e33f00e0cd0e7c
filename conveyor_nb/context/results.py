"""What one who waited for a job gets: what its handler returned, or the error that says why not."""

from __future__ import annotations

from typing import Any

from conveyor_nb.context.recent_failures import failure_of
from conveyor_nb.core.errors import JobCancelledError, JobFailedError
from conveyor_nb.core.freezing import thaw_for
from conveyor_nb.core.lifecycle import CANCELLED
from conveyor_nb.core.model import COMPLETED, JobData
from conveyor_nb.stores.interface import StoreInterface

__all__ = ["result_of"]


def result_of(job: JobData, store: StoreInterface, cancelled: bool, *, known: bool = True) -> Any:
    """Return what a settled job returned, or raise what it failed of.

    Args:
        job: the job.
        store: where it is, or was.
        cancelled: whether it was cancelled.
        known: whether this is the record of its end, and not an older one.
    """
    if job.state is COMPLETED:
        # as job.returnvalue, which costs more
        return thaw_for(job.id, "returnvalue", job.kept_returnvalue)
    about: dict[str, Any] = {"queue_name": job.queue_name, "attempts": job.opts.attempts}
    last_run = job.attempt_logs[-1] if known and job.attempt_logs else None
    if last_run is not None:
        about["traceback"] = last_run.stacktrace
    if cancelled:
        if known:
            was_at_work = last_run is not None and last_run.error == CANCELLED
            about["attempt"] = job.attempts_made + was_at_work
        raise JobCancelledError(job.id, **about)
    failure = failure_of(store, job.queue_name, job.id, job.failed_reason)
    if known or failure is not None:
        about["attempt"] = job.attempts_made if known else failure and failure.attempt
    error = JobFailedError(job.id, job.failed_reason, **about)
    error.__cause__ = failure and failure.error
    raise error
