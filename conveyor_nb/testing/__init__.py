"""Support for tests: of one's own handlers and queues, and of stores of one's own.

For handlers and queues: :func:`run_job` runs one job with a handler; :func:`virtual_queue` is a
queue whose time stands still, with ids that are the same each time; :func:`until_settled` moves its
clock until all jobs have ended; :func:`assert_tape` compares what happened with what is expected;
``nbval`` is for notebooks. ``VirtualClock`` and ``queue.record()`` are the parts of these.

>>> import asyncio
>>> async def main():
...     async with virtual_queue("emails") as queue:
...         @queue.worker(concurrency=2)
...         async def send(job):
...             await job.sleep("10s")
...             return f"sent to {job.data}"
...         with queue.record() as tape:
...             jobs = [await queue.add("send", name) for name in ("ada", "eve", "bob")]
...             await until_settled(queue)
...         await send.worker.close()
...     return tape
>>> tape = asyncio.run(main())
>>> [job.returnvalue for job in tape.jobs]
['sent to ada', 'sent to eve', 'sent to bob']
>>> tape.last_instant - tape.began
datetime.timedelta(seconds=20)

For a store: ``conformance`` is the suite that every store passes, and says how one of your own
runs it; ``events`` watches what a store tells, ``steps`` puts one to work in a line, and
``reference`` is a queue to compare it with. The suite needs pytest and pytest-asyncio, which
``conveyor_nb`` itself does not.

>>> from conveyor_nb import MemoryStore
>>> from conveyor_nb.testing.events import capture_events
>>> from conveyor_nb.testing.steps import add, complete, take
>>> async def main():
...     async with MemoryStore() as store:
...         async with capture_events(store, "emails") as events:
...             await add(store, "a", priority=1)
...             await complete(store, await take(store))
...         return events.story
>>> asyncio.run(main())
['job:waiting a', 'job:active a', 'job:completed a', 'queue:drained']
"""

from __future__ import annotations

import sys

from conveyor_nb.testing.events import all_told, capture_events
from conveyor_nb.testing.queues import run_job, until_settled, virtual_queue
from conveyor_nb.testing.tapes import assert_tape

__all__ = [
    "all_told",
    "assert_tape",
    "capture_events",
    "run_job",
    "until_settled",
    "virtual_queue",
]

if (_pytest := sys.modules.get("pytest")) is not None:
    # Their assertions explain themselves, as those of a test file do.
    _pytest.register_assert_rewrite("conveyor_nb.testing.conformance", "conveyor_nb.testing.steps")
