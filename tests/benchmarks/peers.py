"""Other queues that run in one process, each at the best of its honest settings.

Each is measured as the engine is: from enqueueing no-op jobs with a small payload, ten at a time,
to having every result in hand. None of them has states, retries that are recorded, events,
fencing or isolation of what is stored; that is theirs to be faster for.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib
import importlib.util
import logging
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tests.benchmarks.measuring import PAYLOAD, Sample, Stopwatch

__all__ = ["CONCURRENCY", "PEERS", "Peer", "huey_consumer", "installed"]

CONCURRENCY = 10
_POLL = 0.001


@dataclass(frozen=True, slots=True)
class Peer:
    """A queue to compare with.

    Args:
        name: what to call it.
        package: what has to be installed.
        flow: runs so many jobs, and measures from the first enqueueing to the last result.
        starts: seconds from enqueueing to the handler's first line, so many times, when idle.
        remark: how it is set up.
    """

    name: str
    package: str
    flow: Callable[[int], Sample]
    starts: Callable[[int], list[float]]
    remark: str


def installed(peer: Peer) -> bool:
    """Whether the peer can be measured here."""
    return importlib.util.find_spec(peer.package) is not None


# -- taskiq -------------------------------------------------------------------------------------


def _taskiq_flow(jobs: int) -> Sample:
    async def run() -> Sample:
        broker, task = _taskiq(_no_op_async)
        with Stopwatch() as watch:
            sent = [await task.kiq(PAYLOAD) for _ in range(jobs)]
            # its wait_result polls once in 0.2 s; this waits for the very tasks
            await broker.wait_all()
            results = [(await one.get_result()).return_value for one in sent]
        assert results == [1] * jobs
        await broker.shutdown()
        return watch.sample

    return asyncio.run(run())


def _taskiq_starts(count: int) -> list[float]:
    began: list[float] = []

    async def note(_: dict[str, Any]) -> int:
        began.append(time.perf_counter())
        return 1

    async def run() -> list[float]:
        broker, task = _taskiq(note)
        sent = []
        for _ in range(count):
            await asyncio.sleep(_POLL)
            sent.append(time.perf_counter())
            await task.kiq(PAYLOAD)
            await broker.wait_all()
        await broker.shutdown()
        return sent

    return _differences(asyncio.run(run()), began)


def _taskiq(handler: Callable[..., Any]) -> tuple[Any, Any]:
    taskiq = importlib.import_module("taskiq")
    broker = taskiq.InMemoryBroker(
        max_stored_results=-1, cast_types=False, max_async_tasks=CONCURRENCY
    )
    return broker, broker.register_task(handler, task_name="no-op")


# -- huey ---------------------------------------------------------------------------------------


def _huey_flow(threads: int, jobs: int) -> Sample:
    huey, task = _huey(_no_op)
    with huey_consumer(huey, threads), Stopwatch() as watch:
        sent = [task(PAYLOAD) for _ in range(jobs)]
        # its blocking get polls each result by itself; this waits for the last one
        while huey.storage.result_store_size() < jobs:
            time.sleep(_POLL)
        results = [one.get() for one in sent]
    assert results == [1] * jobs
    return watch.sample


def _huey_starts(threads: int, count: int) -> list[float]:
    began: list[float] = []

    def note(_: dict[str, Any]) -> int:
        began.append(time.perf_counter())
        return 1

    huey, task = _huey(note)
    sent = []
    with huey_consumer(huey, threads):
        for number in range(count):
            time.sleep(5 * _POLL)
            sent.append(time.perf_counter())
            task(PAYLOAD)
            while huey.storage.result_store_size() <= number:
                time.sleep(_POLL)
    return _differences(sent, began)


def _huey(handler: Callable[..., Any]) -> tuple[Any, Any]:
    huey = importlib.import_module("huey").MemoryHuey("benchmark", immediate=False)
    return huey, huey.task()(handler)


@contextlib.contextmanager
def huey_consumer(huey: Any, threads: int) -> Iterator[None]:
    """Let so many threads of huey work for a block of code."""
    logging.getLogger("huey").setLevel(logging.WARNING)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    consumer = huey.create_consumer(
        workers=threads,
        periodic=False,
        initial_delay=_POLL,
        max_delay=10 * _POLL,
        check_worker_health=False,
    )
    consumer.start()
    try:
        yield
    finally:
        consumer.stop(graceful=True)
        for number, handler in handlers.items():
            signal.signal(number, handler)


# -- dramatiq -----------------------------------------------------------------------------------


def _dramatiq_flow(jobs: int) -> Sample:
    with _dramatiq(_no_op) as (broker, actor), Stopwatch() as watch:
        sent = [actor.send(PAYLOAD) for _ in range(jobs)]
        broker.join(actor.queue_name)
        results = [one.get_result() for one in sent]
    assert results == [1] * jobs
    return watch.sample


def _dramatiq_starts(count: int) -> list[float]:
    began: list[float] = []

    def note(_: dict[str, Any]) -> int:
        began.append(time.perf_counter())
        return 1

    sent = []
    with _dramatiq(note) as (broker, actor):
        for _ in range(count):
            time.sleep(_POLL)
            sent.append(time.perf_counter())
            actor.send(PAYLOAD)
            broker.join(actor.queue_name)
    return _differences(sent, began)


@contextlib.contextmanager
def _dramatiq(handler: Callable[..., Any]) -> Iterator[tuple[Any, Any]]:
    dramatiq = importlib.import_module("dramatiq")
    brokers = importlib.import_module("dramatiq.brokers.stub")
    results = importlib.import_module("dramatiq.results")
    backends = importlib.import_module("dramatiq.results.backends")
    backend = backends.StubBackend()
    backend.results = {}  # the class has one for all
    broker = brokers.StubBroker(middleware=[results.Results(backend=backend, store_results=True)])
    dramatiq.set_broker(broker)  # where a message looks for its result
    actor = dramatiq.actor(handler, broker=broker)
    worker = dramatiq.Worker(broker, worker_timeout=100, worker_threads=CONCURRENCY)
    worker.start()
    try:
        yield broker, actor
    finally:
        worker.stop()
        broker.close()


# -- shared -------------------------------------------------------------------------------------


async def _no_op_async(_: dict[str, Any]) -> int:
    return 1


def _no_op(_: dict[str, Any]) -> int:
    return 1


def _differences(sent: list[float], began: list[float]) -> list[float]:
    return [start - at for at, start in zip(sent, began, strict=True)]


PEERS = (
    Peer(
        "taskiq",
        "taskiq",
        _taskiq_flow,
        _taskiq_starts,
        "InMemoryBroker, async, all results kept, no casting; its cap does not hold in memory",
    ),
    Peer(
        "huey, 10 threads",
        "huey",
        functools.partial(_huey_flow, CONCURRENCY),
        functools.partial(_huey_starts, CONCURRENCY),
        "MemoryHuey, idle threads look every 1 to 10 ms",
    ),
    Peer(
        "huey, 1 thread",
        "huey",
        functools.partial(_huey_flow, 1),
        functools.partial(_huey_starts, 1),
        "the same with one thread, which it does better with",
    ),
    Peer(
        "dramatiq",
        "dramatiq",
        _dramatiq_flow,
        _dramatiq_starts,
        "StubBroker with StubBackend, no middleware but results, 10 threads",
    ),
)
