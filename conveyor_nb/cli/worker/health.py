"""What a worker process answers to those who ask how it is: /health, and /metrics."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from conveyor_nb.cli.errors import CommandError
from conveyor_nb.cli.worker.plan import Address
from conveyor_nb.core.errors import ConveyorError
from conveyor_nb.stores import StoreInterface
from conveyor_nb.worker import Worker

__all__ = ["Health", "serve_health"]

_PATIENCE = 2.0
"""Seconds that the event loop has to answer."""


class Health:
    """How the workers of a process are, in words and in figures.

    Args:
        workers: the workers.
        store: where their jobs are.
        loop: where they run.
    """

    def __init__(
        self, workers: Sequence[Worker], store: StoreInterface, loop: asyncio.AbstractEventLoop
    ) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self._workers = workers
        self._store = store
        self._loop = loop
        self.registry = registry = CollectorRegistry()
        queue = ("queue",)
        self._ended = Counter(
            "conveyor_attempts", "Attempts that ended", (*queue, "outcome"), registry=registry
        )
        self._seconds = Histogram(
            "conveyor_attempt_seconds", "How long attempts took", queue, registry=registry
        )
        self._slots = Gauge(
            "conveyor_slots", "How many jobs may run at once", queue, registry=registry
        )
        self._in_use = Gauge("conveyor_slots_in_use", "How many jobs run", queue, registry=registry)
        self._jobs = Gauge("conveyor_jobs", "Jobs held", (*queue, "state"), registry=registry)

    def count(self, queue_name: str, outcome: str, seconds: float | None) -> None:
        """Count an attempt that ended."""
        self._ended.labels(queue_name, outcome).inc()
        if seconds is not None:
            self._seconds.labels(queue_name).observe(seconds)

    def fault(self) -> str | None:
        """What is wrong with the process; ``None``: nothing."""
        answered = threading.Event()
        self._loop.call_soon_threadsafe(answered.set)
        if not answered.wait(_PATIENCE):
            return "its event loop does not answer: a handler keeps it"
        faults = (f"worker {one.name}: {one.fault}" for one in self._workers if one.fault)
        return next(faults, None)

    def look(self) -> None:
        """Bring the figures up to date, as far as the store answers in time."""
        for worker in self._workers:
            self._slots.labels(worker.queue_name).set(worker.concurrency)
            self._in_use.labels(worker.queue_name).set(worker.slots_in_use)
        for queue_name in dict.fromkeys(worker.queue_name for worker in self._workers):
            asked = asyncio.run_coroutine_threadsafe(
                self._store.get_job_counts(queue_name), self._loop
            )
            try:
                counts = asked.result(_PATIENCE)
            except (TimeoutError, ConveyorError):  # it is away, or busy: what it said last stays
                asked.cancel()
                continue
            for state, count in counts.items():
                self._jobs.labels(queue_name, str(state)).set(count)


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *_: Any) -> None:
        """Nobody wants a line for each look at the figures."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


@contextlib.contextmanager
def serve_health(address: Address, health: Health) -> Iterator[Address]:
    """Answer at an address, in a thread, for a block of code; gives where it answers.

    Raises:
        CommandError: one can't listen there.
    """
    try:
        server = make_server(
            address.host,
            address.port,
            _application(health),
            server_class=_Server,
            handler_class=_Quiet,
        )
    except OSError as error:
        raise CommandError(f"--health: can't listen on {address}: {error.strerror}") from error
    thread = threading.Thread(target=server.serve_forever, name="conveyor_nb health", daemon=True)
    thread.start()
    try:
        yield Address(address.host, server.server_port)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _application(health: Health) -> Callable[..., Iterable[bytes]]:
    from prometheus_client import make_wsgi_app

    metrics = make_wsgi_app(health.registry)

    def answer(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        match environ["PATH_INFO"]:
            case "/metrics":
                health.look()
                answered: Iterable[bytes] = metrics(environ, start)
                return answered
            case "/health":
                fault = health.fault()
                status, told = ("503 Service Unavailable", fault) if fault else ("200 OK", "ok")
            case _:
                status, told = "404 Not Found", "there is /health, and /metrics"
        start(status, [("Content-Type", "text/plain; charset=utf-8")])
        return [f"{told}\n".encode()]

    return answer
