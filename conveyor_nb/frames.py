"""Jobs and all that is known of them as pandas DataFrames, from records at hand.

``queue.to_frame()`` and its like give the jobs of a queue or store; these functions take what any
store, event stream or search has given:

- ``jobs_frame``: a row for each job
- ``attempts_frame``: a row for each time that a worker took one of the jobs
- ``results_frame``: what the jobs gave, a column for each key of their results
- ``events_frame``: the events of ``queue.events()`` or of a subscription
- ``workers_frame``: what ``store.list_workers()`` gives
- ``findings_frame``: what ``await store.findings()`` gives
- ``metrics_frame``: what ``store.get_metrics(...)`` gives
- ``schedulers_frame``: what ``queue.get_job_schedulers()`` gives

A value that can't be read or shown has an ``Unreadable`` or ``Unshown`` in its cell.

Importing this module imports pandas; importing ``conveyor_nb`` does not.

>>> import asyncio
>>> from conveyor_nb import MemoryStore, Queue
>>> from conveyor_nb.frames import jobs_frame
>>> async def main():
...     queue = Queue("emails", store=MemoryStore(ids="sequential"))
...     await queue.add("send", {"to": "ada@example.org"})
...     return jobs_frame(await queue.get_jobs("waiting"))
>>> asyncio.run(main()).loc["emails-1", "data"]
{'to': 'ada@example.org'}
"""

from __future__ import annotations

from conveyor_nb.core.freezing import Unreadable
from conveyor_nb.notebook.cells import Unshown
from conveyor_nb.notebook.frames import (
    attempts_frame,
    events_frame,
    findings_frame,
    jobs_frame,
    metrics_frame,
    results_frame,
    schedulers_frame,
    workers_frame,
)

__all__ = [
    "Unreadable",
    "Unshown",
    "attempts_frame",
    "events_frame",
    "findings_frame",
    "jobs_frame",
    "metrics_frame",
    "results_frame",
    "schedulers_frame",
    "workers_frame",
]
