"""Jobs and all that is known of them as pandas DataFrames.

Every frame has the same columns and dtypes however many rows it has, none included. Instants
are ``datetime64[us, UTC]``, durations ``timedelta64[us]``, states ordered categoricals.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import attrgetter, itemgetter
from typing import Any

import pandas as pd
from pandas import DataFrame

from conveyor_nb.core.finding import Finding, Severity
from conveyor_nb.core.freezing import Unreadable
from conveyor_nb.core.job_scheduler import JobScheduler
from conveyor_nb.core.metrics import MetricsPoint
from conveyor_nb.core.model import AttemptRecord, AttemptStatus, JobData, JobState, StoreEvent
from conveyor_nb.core.slicing import Step
from conveyor_nb.core.values.text import encodable
from conveyor_nb.core.worker_info import WorkerInfo, WorkerStatus
from conveyor_nb.job import Job
from conveyor_nb.notebook.cells import presentable, read_all
from conveyor_nb.notebook.columns import (
    COUNT,
    COUNT_OR_NONE,
    DURATION,
    FLAG,
    INSTANT,
    NUMBER,
    OBJECT,
    PAYLOAD,
    TEXT,
    Column,
    in_one_go,
    index_of,
    instants,
    made_of,
    objects,
    text_of,
    texts,
)
from conveyor_nb.worker import live_workers

__all__ = [
    "DataFrame",
    "attempts_frame",
    "building_jobs_frame",
    "events_frame",
    "findings_frame",
    "jobs_frame",
    "metrics_frame",
    "results_frame",
    "schedulers_frame",
    "workers_frame",
]

STATES = pd.CategoricalDtype([str(state) for state in JobState], ordered=True)
_ATTEMPT_STATUSES = pd.CategoricalDtype([str(status) for status in AttemptStatus])
_WORKER_STATUSES = pd.CategoricalDtype([str(status) for status in WorkerStatus])

_SEVERITIES = pd.CategoricalDtype([str(severity) for severity in Severity], ordered=True)

_reason_of = text_of("failed_reason")

_JOB_COLUMNS: tuple[Column, ...] = (
    Column("name", attrgetter("name"), TEXT),
    Column("queue_name", attrgetter("queue_name"), TEXT),
    Column("state", attrgetter("state"), STATES),
    Column("priority", attrgetter("priority"), NUMBER),
    Column("progress", attrgetter("progress"), NUMBER),
    Column("attempts_made", attrgetter("attempts_made"), COUNT),
    Column("attempts", attrgetter("opts.attempts"), COUNT),
    Column("created_at", attrgetter("created_at"), INSTANT),
    Column("delay_until", attrgetter("delay_until"), INSTANT),
    Column("processed_at", attrgetter("processed_at"), INSTANT),
    Column("completed_at", attrgetter("completed_at"), INSTANT),
    Column("failed_at", attrgetter("failed_at"), INSTANT),
    Column("failed_reason", text_of("failed_reason"), TEXT),
    Column("worker_id", attrgetter("locked_by"), TEXT),
    Column("group_id", attrgetter("group_id"), TEXT),
    Column("parent_id", attrgetter("parent_id"), TEXT),
    Column("data", attrgetter("data"), PAYLOAD),
    Column("returnvalue", attrgetter("returnvalue"), PAYLOAD),
)
_RESULT_COLUMNS: tuple[Column, ...] = (Column("state", attrgetter("state"), STATES),)
_ATTEMPT_COLUMNS: tuple[Column, ...] = (
    Column("attempt", attrgetter("attempt"), COUNT),
    Column("status", attrgetter("status"), _ATTEMPT_STATUSES),
    Column("worker_id", attrgetter("worker_id"), TEXT),
    Column("started_at", attrgetter("started_at"), INSTANT),
    Column("ended_at", attrgetter("ended_at"), INSTANT),
    Column("error", text_of("error"), TEXT),
    Column("stacktrace", text_of("stacktrace"), TEXT),
    Column("logs", attrgetter("logs"), PAYLOAD),
    Column("put_back", attrgetter("put_back"), FLAG),
)
_EVENT_COLUMNS: tuple[Column, ...] = (
    Column("timestamp", attrgetter("timestamp"), INSTANT),
    Column("type", attrgetter("type"), TEXT),
    Column("queue_name", attrgetter("queue_name"), TEXT),
    Column("data", attrgetter("data"), PAYLOAD),
)
_WORKER_COLUMNS: tuple[Column, ...] = (
    Column("name", attrgetter("name"), TEXT),
    Column("queue_name", attrgetter("queue_name"), TEXT),
    Column("status", attrgetter("status"), _WORKER_STATUSES),
    Column("concurrency", attrgetter("concurrency"), COUNT),
    Column("slots_in_use", lambda info: _of_worker(info, "slots_in_use"), COUNT_OR_NONE),
    Column("slots_held", lambda info: _of_worker(info, "slots_held"), COUNT_OR_NONE),
    Column("started_at", attrgetter("started_at"), INSTANT),
    Column("last_seen", attrgetter("last_seen"), INSTANT),
)

_FINDING_COLUMNS: tuple[Column, ...] = (
    Column("what", attrgetter("what"), TEXT),
    Column("severity", attrgetter("severity"), _SEVERITIES),
    Column("queue_name", attrgetter("queue_name"), TEXT),
    Column("job_id", attrgetter("job_id"), TEXT),
    Column("detail", attrgetter("detail"), TEXT),
    Column("advice", attrgetter("advice"), TEXT),
)

_METRICS_COLUMNS: tuple[Column, ...] = (
    Column("queue_name", attrgetter("queue_name"), TEXT),
    Column("end", attrgetter("end"), INSTANT),
    Column("completed", attrgetter("completed"), COUNT),
    Column("failed", attrgetter("failed"), COUNT),
    Column("processing_p50", attrgetter("processing_p50"), DURATION),
    Column("processing_p95", attrgetter("processing_p95"), DURATION),
    Column("waiting_p50", attrgetter("waiting_p50"), DURATION),
    Column("waiting_p95", attrgetter("waiting_p95"), DURATION),
)
_SCHEDULER_COLUMNS: tuple[Column, ...] = (
    Column("queue_name", attrgetter("queue_name"), TEXT),
    Column("name", attrgetter("name"), TEXT),
    Column("every", attrgetter("repeat.every"), DURATION),
    Column("cron", attrgetter("repeat.cron"), TEXT),
    Column("tz", attrgetter("repeat.tz"), TEXT),
    Column("limit", attrgetter("repeat.limit"), COUNT_OR_NONE),
    Column("start_date", attrgetter("repeat.start_date"), INSTANT),
    Column("end_date", attrgetter("repeat.end_date"), INSTANT),
    Column("runs", attrgetter("runs"), COUNT),
    Column("last_run", attrgetter("last_run"), INSTANT),
    Column("next_run", attrgetter("next_run"), INSTANT),
    Column("pending_job_id", attrgetter("pending_job_id"), TEXT),
    Column("paused", attrgetter("paused"), FLAG),
    Column("data", attrgetter("data"), PAYLOAD),
)


def jobs_frame(jobs: Iterable[JobData | Job]) -> DataFrame:
    """One row for each job; the index is the job's id.

    ``wait_time`` runs from when the job was added to when its latest attempt started,
    ``processing_time`` from there to when it settled; both are missing as long as they run.

    >>> frame = jobs_frame([JobData("emails-1", "send", "emails")])
    >>> frame.loc["emails-1", "state"]
    'waiting'
    """
    return in_one_go(building_jobs_frame(jobs))


def building_jobs_frame(jobs: Iterable[JobData | Job]) -> Step[DataFrame]:
    """Makes :func:`jobs_frame` in slices."""
    rows = list(jobs)
    frame = yield from made_of(
        rows, _JOB_COLUMNS, index=index_of(map(attrgetter("id"), rows), "id")
    )
    ended = frame["completed_at"].fillna(frame["failed_at"])
    place = frame.columns.get_loc("failed_at")
    assert isinstance(place, int), "no column has its name twice"
    frame.insert(place + 1, "wait_time", frame["processed_at"] - frame["created_at"])
    frame.insert(place + 2, "processing_time", ended - frame["processed_at"])
    return frame


def attempts_frame(jobs: Iterable[JobData | Job]) -> DataFrame:
    """One row for each time that a worker took one of the jobs; the index is the job's id."""
    rows: list[tuple[JobData | Job, AttemptRecord]] = [
        (job, attempt) for job in jobs for attempt in job.attempt_logs
    ]
    owners = [job for job, _ in rows]
    index = index_of(map(attrgetter("id"), owners), "id")
    frame = _frame(list(map(itemgetter(1), rows)), _ATTEMPT_COLUMNS, index=index)
    for place, name in enumerate(("name", "queue_name")):
        frame.insert(place, name, texts([getattr(job, name) for job in owners], index))
    place = list(frame.columns).index("ended_at")
    frame.insert(place + 1, "duration", frame["ended_at"] - frame["started_at"])
    return frame


def events_frame(events: Iterable[StoreEvent]) -> DataFrame:
    """One row for each event, in the order given; the index is the job's id, missing if none."""
    rows = list(events)
    return _frame(rows, _EVENT_COLUMNS, index=index_of(map(attrgetter("job_id"), rows), "id"))


def workers_frame(workers: Iterable[WorkerInfo]) -> DataFrame:
    """One row for each worker; the index is the worker's id.

    Slots are those of workers of this process. One that is held is so by a handler that did not
    stop when it was told to.
    """
    rows = list(workers)
    return _frame(rows, _WORKER_COLUMNS, index=index_of(map(attrgetter("id"), rows), "id"))


def _of_worker(info: WorkerInfo, name: str) -> int | None:
    found = [worker for worker in live_workers() if worker.id == info.id]
    return getattr(found[0], name) if found else None


def findings_frame(found: Iterable[Finding]) -> DataFrame:
    """One row for each thing that is odd in a store, of ``await store.findings()``."""
    rows = list(found)
    return _frame(rows, _FINDING_COLUMNS, index=pd.RangeIndex(len(rows)))


def metrics_frame(points: Iterable[MetricsPoint]) -> DataFrame:
    """One row for each period of ``store.get_metrics``; the index is when it begins."""
    rows = list(points)
    start = instants(map(attrgetter("start"), rows)).rename("start")
    return _frame(rows, _METRICS_COLUMNS, index=start)


def schedulers_frame(schedulers: Iterable[JobScheduler]) -> DataFrame:
    """One row for each job scheduler; the index is its id."""
    rows = list(schedulers)
    return _frame(rows, _SCHEDULER_COLUMNS, index=index_of(map(attrgetter("id"), rows), "id"))


def results_frame(jobs: Iterable[JobData | Job]) -> DataFrame:
    """What jobs gave, one row for each; the index is the job's id.

    After ``state`` and ``error`` come the results: a column for each key if they all are dicts,
    of the dtype that pandas finds for it, else one column ``returnvalue``. A key ``state`` or
    ``error`` becomes ``result_state`` or ``result_error``. What is not completed has none.

    >>> done = JobData("a", "f", "q", state=JobState.COMPLETED, returnvalue={"x": 1})
    >>> results_frame([done]).loc["a"].to_dict()
    {'state': 'completed', 'error': nan, 'x': 1}
    """
    rows = list(jobs)
    index = index_of(map(attrgetter("id"), rows), "id")
    results = read_all(rows, "returnvalue")
    frame = _frame(rows, _RESULT_COLUMNS, index=index)
    frame["error"] = texts(list(map(_error_of, rows, results)), index)
    is_given = [
        job.state is JobState.COMPLETED and not isinstance(value, Unreadable)
        for job, value in zip(rows, results, strict=True)
    ]
    values = [value if ok else {} for value, ok in zip(results, is_given, strict=True)]
    if not any(is_given) or not all(isinstance(value, dict) for value in values):
        frame["returnvalue"] = pd.Series(objects(presentable(results)), index=index)
        return frame
    return pd.concat([frame, _by_key(values, index, frame.columns)], axis="columns")


def _error_of(job: JobData | Job, result: object) -> str | None:
    """Why a job has no result: it failed, or what it returned can't be read."""
    return repr(result) if isinstance(result, Unreadable) else _reason_of(job)


def _by_key(values: list[dict[Any, Any]], index: pd.Index, taken: Iterable[str]) -> DataFrame:
    """A column for each key of some dicts."""
    results = DataFrame(values, index=index)
    for place in range(results.shape[1]):
        if results.dtypes.iloc[place] == OBJECT:
            cells = presentable(results.iloc[:, place].tolist())
            results.isetitem(place, objects(cells))
    names = [encodable(name) if isinstance(name, str) else name for name in results.columns]
    results.columns = [f"result_{name}" if name in taken else name for name in names]
    return results


def _frame(rows: Sequence[Any], columns: Iterable[Column], *, index: pd.Index) -> DataFrame:
    return in_one_go(made_of(rows, columns, index=index))
