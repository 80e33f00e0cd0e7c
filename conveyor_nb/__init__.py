"""conveyor_nb: a job queue that lives inside a Jupyter kernel.

>>> import asyncio
>>> async def main():
...     async with MemoryStore() as store, Queue("emails", store=store) as queue:
...         async def send(job):
...             return f"sent to {job.data['to']}"
...         async with Worker("emails", send, store=store):
...             job = await queue.add("send", {"to": "ada@example.org"})
...             return await job.wait_until_finished()
>>> asyncio.run(main())
'sent to ada@example.org'
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from conveyor_nb.clocks.clock import ScaledClock, SystemClock
from conveyor_nb.clocks.virtual import VirtualClock
from conveyor_nb.core.errors import (
    ConveyorError,
    GroupFullError,
    HandlerReplacedWarning,
    InvalidJobStateError,
    JobCancelledError,
    JobFailedError,
    JobNotFoundError,
    LostLockError,
    MetricsDisabledError,
    PayloadError,
    QueueClosedError,
    ReadTimeoutError,
    Retry,
    RetryRefusedError,
    ScheduleReplacedWarning,
    SchemaError,
    StoreUnavailableError,
    UnreadablePayloadError,
    Unrecoverable,
    UnsupportedError,
    WorkerNotFoundError,
)
from conveyor_nb.core.flow_job import FlowJob
from conveyor_nb.core.job_scheduler import JobScheduler
from conveyor_nb.core.model import JobData, JobState, StoreEvent
from conveyor_nb.core.options.backoff import Backoff
from conveyor_nb.core.options.job_options import (
    BulkJob,
    Deduplication,
    Group,
    JobKeywords,
    JobOptions,
)
from conveyor_nb.core.options.keep import Keep
from conveyor_nb.core.options.repeat import Repeat
from conveyor_nb.core.options.worker_options import Batch, GroupLimits, Limiter, WorkerKeywords
from conveyor_nb.core.package_logger import bound_tracebacks
from conveyor_nb.core.worker_info import WorkerCommand
from conveyor_nb.flow import FlowNode, FlowProducer
from conveyor_nb.job import Job
from conveyor_nb.observable import JobObservable
from conveyor_nb.queue import Queue
from conveyor_nb.running.current_job import current_job
from conveyor_nb.stores import MemoryStore, StoreInterface, default_store, set_default_store
from conveyor_nb.stores.events import EventBus, EventStream
from conveyor_nb.stores.opening import open_store
from conveyor_nb.stores.tapes.tape import Tape
from conveyor_nb.worker import Worker

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from conveyor_nb.notebook.exploring import explore
    from conveyor_nb.notebook.panel.widget import dashboard
    from conveyor_nb.notebook.pictures.chart import chart
    from conveyor_nb.notebook.pictures.timeline_figure import timeline
    from conveyor_nb.notebook.progress import progress
    from conveyor_nb.stores.sql.postgres.store import PgStore
    from conveyor_nb.stores.sql.sqlite.store import SqliteStore

__version__ = "0.2.0"

__all__ = [
    "Backoff",
    "Batch",
    "BulkJob",
    "ConveyorError",
    "Deduplication",
    "EventBus",
    "EventStream",
    "FlowJob",
    "FlowNode",
    "FlowProducer",
    "Group",
    "GroupFullError",
    "GroupLimits",
    "HandlerReplacedWarning",
    "InvalidJobStateError",
    "Job",
    "JobCancelledError",
    "JobData",
    "JobFailedError",
    "JobKeywords",
    "JobNotFoundError",
    "JobObservable",
    "JobOptions",
    "JobScheduler",
    "JobState",
    "Keep",
    "Limiter",
    "LostLockError",
    "MemoryStore",
    "MetricsDisabledError",
    "PayloadError",
    "PgStore",
    "Queue",
    "QueueClosedError",
    "ReadTimeoutError",
    "Repeat",
    "Retry",
    "RetryRefusedError",
    "ScaledClock",
    "ScheduleReplacedWarning",
    "SchemaError",
    "SqliteStore",
    "StoreEvent",
    "StoreInterface",
    "StoreUnavailableError",
    "SystemClock",
    "Tape",
    "UnreadablePayloadError",
    "Unrecoverable",
    "UnsupportedError",
    "VirtualClock",
    "Worker",
    "WorkerCommand",
    "WorkerKeywords",
    "WorkerNotFoundError",
    "chart",
    "current_job",
    "dashboard",
    "default_store",
    "explore",
    "load_ipython_extension",
    "open_store",
    "progress",
    "set_default_store",
    "timeline",
    "unload_ipython_extension",
]


bound_tracebacks()


def __getattr__(name: str) -> Any:
    if name == "progress":  # only those who use it pay for the import of tqdm
        from conveyor_nb.notebook.progress import progress

        return progress
    if name == "dashboard":  # the same holds for anywidget
        from conveyor_nb.notebook.panel.widget import dashboard

        return dashboard
    if name == "SqliteStore":  # and for sqlite3
        from conveyor_nb.stores.sql.sqlite.store import SqliteStore

        return SqliteStore
    if name == "PgStore":
        from conveyor_nb.stores.sql.postgres.store import PgStore

        return PgStore
    if name == "explore":
        from conveyor_nb.notebook.exploring import explore

        return explore
    if name == "chart":
        from conveyor_nb.notebook.pictures.chart import chart

        return chart
    if name == "timeline":  # few need it
        from conveyor_nb.notebook.pictures.timeline_figure import timeline

        return timeline
    if name == "frames":  # the same holds for pandas
        return importlib.import_module("conveyor_nb.frames")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def load_ipython_extension(ipython: InteractiveShell) -> None:
    """What ``%load_ext conveyor_nb`` does."""
    from conveyor_nb.notebook.extension import load

    load(ipython)


def unload_ipython_extension(ipython: InteractiveShell) -> None:
    """What ``%unload_ext conveyor_nb`` does."""
    from conveyor_nb.notebook.extension import unload

    unload(ipython)
