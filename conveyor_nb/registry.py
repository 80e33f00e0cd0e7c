"""The workers that are known by name, so that a cell that runs again takes over from itself."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Callable
from typing import Any, ParamSpec, Protocol, TypeVar, Unpack

from conveyor_nb.intake import check_store
from conveyor_nb.model import WorkerStatus
from conveyor_nb.stores import StoreInterface
from conveyor_nb.text import shown
from conveyor_nb.worker import Handler, Worker
from conveyor_nb.worker_options import StartKeywords

__all__ = [
    "HandlerFunction",
    "close_named_workers",
    "install_handler",
    "install_worker",
    "named_workers",
    "restart_worker",
    "take_named_workers",
]

_named: dict[StoreInterface, dict[str, Worker]] = {}
_giving_way: dict[StoreInterface, set[Worker]] = {}
"""Workers that were replaced, while they still run their last jobs."""


P = ParamSpec("P")
R = TypeVar("R", covariant=True)


class HandlerFunction(Protocol[P, R]):
    """A function as ``@queue.worker`` gives it back: as it was, with its worker at hand."""

    worker: Worker
    """The worker whose handler it is: of several, the one that was made last."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function itself."""


def named_workers(store: StoreInterface | None = None) -> dict[str, Worker]:
    """The named workers of a store by name, also those that are closed and may start again."""
    return dict(_named.get(check_store(store), {}))


def install_worker(
    queue_name: str,
    handler: Handler,
    *,
    store: StoreInterface | None = None,
    version: int | None = None,
    **options: Unpack[StartKeywords],
) -> Worker:
    """Start a worker under its name; one that has the name already gives way.

    The old worker takes no more jobs; those it runs finish with the old handler. If the new one
    can't be made, the old one stays as it is.

    Args:
        queue_name, handler, store, options: see ``Worker``.
        version: what its ``version`` is to be; if not given, one more than that of the old one.
    """
    worker = Worker(queue_name, handler, store=store, **options)
    before = named_workers(worker.store).get(worker.name)
    worker.version = version or ((before and before.version) or 0) + 1
    return _install(worker)


def install_handler(
    queue_name: str,
    handler: Callable[P, R],
    *,
    store: StoreInterface,
    **options: Unpack[StartKeywords],
) -> HandlerFunction[P, R]:
    """What ``@queue.worker`` does: :meth:`install_worker`, and give the function back.

    Args:
        queue_name, handler, store, options: see ``Worker``.

    Returns:
        The handler itself, as an attribute is all that it needs; if it can't have that, a
        ``functools.partial`` of it.
    """
    worker = install_worker(queue_name, handler, store=store, **options)
    given: Any = handler
    if isinstance(getattr(given, "worker", worker), Worker):  # else it is an attribute of its own
        with contextlib.suppress(AttributeError, TypeError):  # such as of a method
            given.worker = worker
    if getattr(given, "worker", None) is not worker:
        given = functools.partial(handler)
        given.worker = worker
    function: HandlerFunction[P, R] = given
    return function


def restart_worker(name: str, *, store: StoreInterface | None = None) -> Worker:
    """Let the named worker take jobs again; for one that was closed, a new one like it.

    Raises:
        ValueError: there is no worker of this name.
    """
    known = named_workers(store)
    if name not in known:
        names = ", ".join(map(repr, sorted(known))) or "none"
        raise ValueError(f"no worker {shown(name)}; the named workers are: {names}")
    worker = known[name]
    if worker.status in (WorkerStatus.CLOSING, WorkerStatus.CLOSED):
        successor = worker.successor()
        successor.version = worker.version
        return _install(successor)
    worker.start()
    return worker


def take_named_workers(store: StoreInterface | None = None) -> list[Worker]:
    """Forget the named workers of a store, or of every store, and hand them over to be closed.

    Those that gave way and still run their last jobs are among them.
    """
    stores = {*_named, *_giving_way} if store is None else {store}
    return [
        worker
        for one in stores
        for worker in (*_named.pop(one, {}).values(), *_giving_way.pop(one, ()))
    ]


async def close_named_workers(store: StoreInterface | None = None) -> None:
    """Close the named workers of a store, or of every store, at once, and forget them."""
    await asyncio.gather(*(worker.close(timeout=0) for worker in take_named_workers(store)))


def _install(worker: Worker) -> Worker:
    workers = _named.setdefault(worker.store, {})
    before = workers.get(worker.name)
    workers[worker.name] = worker
    if before is not None:
        giving_way = _giving_way.setdefault(worker.store, set())
        giving_way.add(before)
        before.retire().add_done_callback(lambda _: giving_way.discard(before))
    return worker
