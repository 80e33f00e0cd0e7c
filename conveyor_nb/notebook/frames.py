"""Jobs and all that is known of them as pandas DataFrames, built column by column.

Every frame has the same columns and dtypes however many rows it has, none included. Instants
are ``datetime64[us, UTC]``, durations ``timedelta64[us]``, states ordered categoricals.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from operator import attrgetter, itemgetter
from typing import Any

import numpy as np
import pandas as pd
from pandas import DataFrame

from conveyor_nb.core.errors import ReadTimeoutError
from conveyor_nb.core.freezing import Unreadable
from conveyor_nb.core.model import (
    AttemptRecord,
    AttemptStatus,
    JobData,
    JobScheduler,
    JobState,
    MetricsPoint,
    StoreEvent,
    WorkerInfo,
    WorkerStatus,
    to_state,
)
from conveyor_nb.core.text import encodable, shown
from conveyor_nb.job import Job
from conveyor_nb.lists import JobList
from conveyor_nb.notebook.cells import payload_cells, presentable, read_all
from conveyor_nb.notebook.reads import jobs_of
from conveyor_nb.queue import Queue
from conveyor_nb.stores import StoreInterface
from conveyor_nb.stores.reads import read_now
from conveyor_nb.worker import Worker, live_workers

__all__ = [
    "DataFrame",
    "attempts_frame",
    "events_frame",
    "frame_of",
    "jobs_frame",
    "metrics_frame",
    "results_frame",
    "schedulers_frame",
    "workers_frame",
]

_STATES = pd.CategoricalDtype([str(state) for state in JobState], ordered=True)
_ATTEMPT_STATUSES = pd.CategoricalDtype([str(status) for status in AttemptStatus])
_WORKER_STATUSES = pd.CategoricalDtype([str(status) for status in WorkerStatus])
_TEXT = pd.StringDtype(na_value=np.nan)
_COUNT = np.dtype("int64")
_COUNT_OR_NONE = pd.Int64Dtype()
_NUMBER = np.dtype("float64")
_FLAG = np.dtype("bool")
_OBJECT = np.dtype("object")
_PAYLOAD = "payload"

_PATIENCE = 10.0
"""For how many seconds a plain ``to_frame()`` waits for a store."""

_INSTEAD = "use jobs_frame(await store.list_jobs(queue_name)), which waits and lets the loop go on"

Column = tuple[str, Callable[[Any], Any], Any]
"""A column's name, how to get its value from a record, and its dtype.

``"instant"`` stands for the dtype of datetimes, ``"seconds"`` for that of durations in seconds,
``"payload"`` for values of any kind, of which some may be such that they can't be read or shown.
"""


def _text_of(name: str) -> Callable[[Any], str | None]:
    """Gets a text of a record, such that it can be encoded: pyarrow, for one, does so at once."""
    get = attrgetter(name)

    def read(record: Any) -> str | None:
        text: str | None = get(record)
        return text if text is None or text.isascii() else encodable(text)

    return read


_reason_of = _text_of("failed_reason")


_JOB_COLUMNS: tuple[Column, ...] = (
    ("name", attrgetter("name"), _TEXT),
    ("queue_name", attrgetter("queue_name"), _TEXT),
    ("state", attrgetter("state"), _STATES),
    ("priority", attrgetter("priority"), _NUMBER),
    ("progress", attrgetter("progress"), _NUMBER),
    ("attempts_made", attrgetter("attempts_made"), _COUNT),
    ("attempts", attrgetter("opts.attempts"), _COUNT),
    ("created_at", attrgetter("created_at"), "instant"),
    ("delay_until", attrgetter("delay_until"), "instant"),
    ("processed_at", attrgetter("processed_at"), "instant"),
    ("completed_at", attrgetter("completed_at"), "instant"),
    ("failed_at", attrgetter("failed_at"), "instant"),
    ("failed_reason", _text_of("failed_reason"), _TEXT),
    ("worker_id", attrgetter("locked_by"), _TEXT),
    ("group_id", attrgetter("group_id"), _TEXT),
    ("parent_id", attrgetter("parent_id"), _TEXT),
    ("data", attrgetter("data"), _PAYLOAD),
    ("returnvalue", attrgetter("returnvalue"), _PAYLOAD),
)
_RESULT_COLUMNS: tuple[Column, ...] = (("state", attrgetter("state"), _STATES),)
_ATTEMPT_COLUMNS: tuple[Column, ...] = (
    ("attempt", attrgetter("attempt"), _COUNT),
    ("status", attrgetter("status"), _ATTEMPT_STATUSES),
    ("worker_id", attrgetter("worker_id"), _TEXT),
    ("started_at", attrgetter("started_at"), "instant"),
    ("ended_at", attrgetter("ended_at"), "instant"),
    ("error", _text_of("error"), _TEXT),
    ("stacktrace", _text_of("stacktrace"), _TEXT),
    ("logs", attrgetter("logs"), _PAYLOAD),
)
_EVENT_COLUMNS: tuple[Column, ...] = (
    ("timestamp", attrgetter("timestamp"), "instant"),
    ("type", attrgetter("type"), _TEXT),
    ("queue_name", attrgetter("queue_name"), _TEXT),
    ("data", attrgetter("data"), _PAYLOAD),
)
_WORKER_COLUMNS: tuple[Column, ...] = (
    ("name", attrgetter("name"), _TEXT),
    ("queue_name", attrgetter("queue_name"), _TEXT),
    ("status", attrgetter("status"), _WORKER_STATUSES),
    ("concurrency", attrgetter("concurrency"), _COUNT),
    ("slots_in_use", lambda info: _of_worker(info, "slots_in_use"), _COUNT_OR_NONE),
    ("slots_held", lambda info: _of_worker(info, "slots_held"), _COUNT_OR_NONE),
    ("started_at", attrgetter("started_at"), "instant"),
)

_METRICS_COLUMNS: tuple[Column, ...] = (
    ("queue_name", attrgetter("queue_name"), _TEXT),
    ("end", attrgetter("end"), "instant"),
    ("completed", attrgetter("completed"), _COUNT),
    ("failed", attrgetter("failed"), _COUNT),
    ("processing_p50", attrgetter("processing_p50"), "seconds"),
    ("processing_p95", attrgetter("processing_p95"), "seconds"),
    ("waiting_p50", attrgetter("waiting_p50"), "seconds"),
    ("waiting_p95", attrgetter("waiting_p95"), "seconds"),
)
_SCHEDULER_COLUMNS: tuple[Column, ...] = (
    ("queue_name", attrgetter("queue_name"), _TEXT),
    ("name", attrgetter("name"), _TEXT),
    ("every", attrgetter("repeat.every"), "seconds"),
    ("cron", attrgetter("repeat.cron"), _TEXT),
    ("tz", attrgetter("repeat.tz"), _TEXT),
    ("limit", attrgetter("repeat.limit"), _COUNT_OR_NONE),
    ("start_date", attrgetter("repeat.start_date"), "instant"),
    ("end_date", attrgetter("repeat.end_date"), "instant"),
    ("runs", attrgetter("runs"), _COUNT),
    ("last_run", attrgetter("last_run"), "instant"),
    ("next_run", attrgetter("next_run"), "instant"),
    ("pending_job_id", attrgetter("pending_job_id"), _TEXT),
    ("paused", attrgetter("paused"), _FLAG),
    ("data", attrgetter("data"), _PAYLOAD),
)


def jobs_frame(jobs: Iterable[JobData | Job]) -> DataFrame:
    """One row for each job; the index is the job's id.

    ``wait_time`` runs from when the job was added to when its latest attempt started,
    ``processing_time`` from there to when it settled; both are missing as long as they run.

    >>> frame = jobs_frame([JobData("emails-1", "send", "emails")])
    >>> frame.loc["emails-1", "state"]
    'waiting'
    """
    rows = list(jobs)
    frame = _frame(rows, _JOB_COLUMNS, index=_index(map(attrgetter("id"), rows), "id"))
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
    index = _index(map(attrgetter("id"), owners), "id")
    frame = _frame(list(map(itemgetter(1), rows)), _ATTEMPT_COLUMNS, index=index)
    for place, name in enumerate(("name", "queue_name")):
        frame.insert(place, name, _text([getattr(job, name) for job in owners], index))
    place = list(frame.columns).index("ended_at")
    frame.insert(place + 1, "duration", frame["ended_at"] - frame["started_at"])
    return frame


def events_frame(events: Iterable[StoreEvent]) -> DataFrame:
    """One row for each event, in the order given; the index is the job's id, missing if none."""
    rows = list(events)
    return _frame(rows, _EVENT_COLUMNS, index=_index(map(attrgetter("job_id"), rows), "id"))


def workers_frame(workers: Iterable[WorkerInfo]) -> DataFrame:
    """One row for each worker; the index is the worker's id.

    Slots are those of workers of this process. One that is held is so by a handler that did not
    stop when it was told to.
    """
    rows = list(workers)
    return _frame(rows, _WORKER_COLUMNS, index=_index(map(attrgetter("id"), rows), "id"))


def _of_worker(info: WorkerInfo, name: str) -> int | None:
    found = [worker for worker in live_workers() if worker.id == info.id]
    return getattr(found[0], name) if found else None


def metrics_frame(points: Iterable[MetricsPoint]) -> DataFrame:
    """One row for each period of ``store.get_metrics``; the index is when it begins."""
    rows = list(points)
    start = _instants(list(map(attrgetter("start"), rows))).rename("start")
    return _frame(rows, _METRICS_COLUMNS, index=start)


def schedulers_frame(schedulers: Iterable[JobScheduler]) -> DataFrame:
    """One row for each job scheduler; the index is its id."""
    rows = list(schedulers)
    return _frame(rows, _SCHEDULER_COLUMNS, index=_index(map(attrgetter("id"), rows), "id"))


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
    index = _index(map(attrgetter("id"), rows), "id")
    results = read_all(rows, "returnvalue")
    frame = _frame(rows, _RESULT_COLUMNS, index=index)
    frame["error"] = _text(list(map(_error_of, rows, results)), index)
    is_given = [
        job.state is JobState.COMPLETED and not isinstance(value, Unreadable)
        for job, value in zip(rows, results, strict=True)
    ]
    values = [value if ok else {} for value, ok in zip(results, is_given, strict=True)]
    if not any(is_given) or not all(isinstance(value, dict) for value in values):
        frame["returnvalue"] = pd.Series(_objects(presentable(results)), index=index)
        return frame
    return pd.concat([frame, _by_key(values, index, frame.columns)], axis="columns")


def _error_of(job: JobData | Job, result: object) -> str | None:
    """Why a job has no result: it failed, or what it returned can't be read."""
    return repr(result) if isinstance(result, Unreadable) else _reason_of(job)


def _by_key(values: list[dict[Any, Any]], index: pd.Index, taken: Iterable[str]) -> DataFrame:
    """A column for each key of some dicts."""
    results = DataFrame(values, index=index)
    for place in range(results.shape[1]):
        if results.dtypes.iloc[place] == _OBJECT:
            cells = presentable(results.iloc[:, place].tolist())
            results.isetitem(place, _objects(cells))
    names = [encodable(name) if isinstance(name, str) else name for name in results.columns]
    results.columns = [f"result_{name}" if name in taken else name for name in names]
    return results


def frame_of(subject: object, state: str | None = None) -> DataFrame:
    """The frame of a queue, store, worker or job: see ``Displayable.to_frame``."""
    if isinstance(subject, Job):
        if state is not None:
            raise TypeError(
                f"the frame of a job has its attempts, so state={shown(state)} has no use"
            )
        return attempts_frame([subject])
    return jobs_frame(_jobs_at_hand(subject, to_state(state)))


def _jobs_at_hand(subject: object, state: JobState | None) -> Iterable[JobData | Job]:
    match subject:
        case Queue() | StoreInterface():
            store = subject.store if isinstance(subject, Queue) else subject
            try:
                return read_now(store, lambda reads: jobs_of(reads, subject, state), _PATIENCE)
            except ReadTimeoutError as error:
                raise ReadTimeoutError(error.store_kind, error.limit, _INSTEAD) from None
        case JobList():
            return (job for job in subject if state in (None, job.state))
        case Worker() if state is None:
            return subject.running
        case Worker():
            raise TypeError(
                f"the jobs a worker runs are all active, so state={shown(state)} has no use"
            )
    raise TypeError(f"a {type(subject).__name__} has no jobs to show")


# -- building -------------------------------------------------------------------------------


def _frame(rows: Sequence[Any], columns: Iterable[Column], *, index: pd.Index) -> DataFrame:
    series = {
        name: pd.Series(_objects(payload_cells(rows, name)), index=index)
        if kind is _PAYLOAD
        else _column(list(map(get, rows)), kind, index)
        for name, get, kind in columns
    }
    return DataFrame(series, index=index, copy=False)


def _index(values: Iterable[str | None], name: str) -> pd.Index:
    return pd.Index(list(values), dtype=_TEXT, name=name)


def _column(values: list[Any], kind: Any, index: pd.Index) -> pd.Series:
    if kind == "instant":
        return pd.Series(_instants(values), index=index)
    if kind == "seconds":
        return pd.Series(_durations(values), index=index)
    if isinstance(kind, pd.CategoricalDtype):
        return pd.Series(_categorical(values, kind), index=index)
    if kind is _OBJECT:
        return pd.Series(_objects(values), index=index)
    if kind is _TEXT and values.count(None) == len(values):  # pandas would look at each of them
        return pd.Series(np.nan, index=index, dtype=kind)
    column: pd.Series = pd.Series(values, index=index, dtype=kind)
    return column


def _text(values: Sequence[str | None], index: pd.Index) -> pd.Series:
    return pd.Series(values, index=index, dtype=_TEXT)


def _objects(values: list[Any]) -> np.ndarray[Any, Any]:
    """Whatever the values are: pandas must neither unpack lists nor look into arrays."""
    return np.fromiter(values, dtype=_OBJECT, count=len(values))


def _instants(values: list[datetime | None]) -> pd.DatetimeIndex:
    seconds = [math.nan if value is None else value.timestamp() for value in values]
    return pd.DatetimeIndex(_microseconds(seconds).view("datetime64[us]")).tz_localize(UTC)


def _durations(values: list[float | None]) -> pd.TimedeltaIndex:
    seconds = [math.nan if value is None else value for value in values]
    return pd.TimedeltaIndex(_microseconds(seconds).view("timedelta64[us]"))


def _microseconds(seconds: list[float]) -> np.ndarray[Any, np.dtype[np.int64]]:
    """As whole numbers, ``NaT`` for NaN: ten times as fast as pandas takes ``datetime`` objects."""
    exact = np.rint(np.array(seconds, dtype=_NUMBER) * 1e6)  # below 2**53 till the year 2255
    missing = np.isnan(exact)
    whole = np.where(missing, 0, exact).astype(_COUNT)
    whole[missing] = np.iinfo(_COUNT).min
    return whole


def _categorical(values: list[str | None], dtype: pd.CategoricalDtype) -> pd.Categorical:
    codes = {name: code for code, name in enumerate(dtype.categories)}
    return pd.Categorical.from_codes([codes.get(v, -1) if v else -1 for v in values], dtype=dtype)
