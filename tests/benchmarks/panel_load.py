"""What runs in the kernel while a panel is measured: the jobs it holds, and those that flow.

``tests.benchmarks.panel`` has it done there, as cells.
"""

from __future__ import annotations

import asyncio
import time

from conveyor_nb import BulkJob, FlowJob, FlowProducer, Group, Job, MemoryStore, Queue, Worker
from conveyor_nb.notebook.panel.widget import Panel, dashboard, panel_of
from tests.benchmarks.engine import no_op
from tests.benchmarks.fairness import Watch
from tests.benchmarks.measuring import PAYLOAD, Stopwatch
from tests.benchmarks.peers import CONCURRENCY

__all__ = ["Load"]

_NAME = "benchmark"
_CHUNK = 5_000
_EVENTS_OF_A_JOB = 3
_TICK = 0.01
_MOMENT = 0.2
"""Seconds in which a page that has come or gone has settled."""


class Load:
    """A queue with its worker, a panel of it, and what happens there.

    Args:
        held: how many jobs there are besides those that flow.
    """

    def __init__(self, held: int) -> None:
        self.store = MemoryStore(metrics=True)
        self.queue = Queue(_NAME, store=self.store)
        self.held = held
        self.panel: Panel | None = None
        self.worker = Worker(_NAME, _work, store=self.store, name="a", concurrency=CONCURRENCY)

    async def prepare(self) -> None:
        """Hold a half of the jobs as failed, and of the others most waiting, some delayed."""
        await self.queue.pause("held")
        failing = self.held // 2
        for start in range(0, failing, _CHUNK):
            some = min(_CHUNK, failing - start)
            await self.queue.add_bulk([{"name": "bad", "data": PAYLOAD}] * some)
            await self.queue.join()
        others = self.held - failing
        for start in range(0, others, _CHUNK):
            await self.queue.add_bulk(map(_held, range(start, min(start + _CHUNK, others))))
        for number in range(5):
            await self.queue.every("1h", f"report-{number}", PAYLOAD)
        children = [FlowJob("held", _NAME, PAYLOAD) for _ in range(100)]
        await FlowProducer(store=self.store).add(FlowJob("book", _NAME, PAYLOAD, children=children))

    async def open(self, what: str) -> None:
        """Make a panel, for the page to come to; ``what`` says of what it is."""
        self.panel = dashboard(self.store) if what == "queues" else panel_of(self.queue)

    async def close(self) -> None:
        """Close the panel."""
        if self.panel is not None:
            self.panel.close()
            self.panel = None
        await asyncio.sleep(_MOMENT)

    async def flow(self, jobs: int) -> tuple[float, float]:
        """Let jobs flow as fast as they can; how long each took, by the wall and of processors."""
        await asyncio.sleep(_MOMENT)
        with Stopwatch() as watch:
            for start in range(0, jobs, _CHUNK):
                some = min(_CHUNK, jobs - start)
                added = await self.queue.add_bulk([{"name": "send", "data": PAYLOAD}] * some)
                await added[-1].wait_until_finished()
                await self.queue.clean("completed")
        return watch.sample.wall / jobs, watch.sample.cpu / jobs

    async def events(self, each_second: int, seconds: float) -> tuple[float, float]:
        """Let so many events happen a second; the longest wait, by the wall and of processors."""
        await asyncio.sleep(_MOMENT)
        added = 0
        async with Watch() as watch:
            began = time.perf_counter()
            while (passed := time.perf_counter() - began) < seconds:
                due = int(passed * each_second / _EVENTS_OF_A_JOB) - added
                await self.queue.add_bulk([{"name": "send", "data": PAYLOAD}] * due)
                added += due
                await asyncio.sleep(_TICK)
        last = await self.queue.add("send", PAYLOAD)
        await last.wait_until_finished()
        await self.queue.clean("completed")
        return watch.longest_wait, watch.longest_turn

    async def end(self) -> None:
        """Leave nothing behind."""
        await self.close()
        await self.worker.close()
        await self.store.disconnect()


async def _work(job: Job) -> int:
    if job.name == "bad":
        raise ValueError("no such mailbox")
    return await no_op(job)


def _held(number: int) -> BulkJob:
    if number % 4 == 0:
        return {"name": "later", "data": PAYLOAD, "delay": "1d"}
    group = Group(f"group-{number % 7}") if number % 10 == 0 else None
    return {"name": "held", "data": PAYLOAD, "group": group}
