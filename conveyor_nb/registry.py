"""The workers that are known by name, so that a cell that runs again takes over from itself."""

from __future__ import annotations

from typing import Any

from conveyor_nb.queue import check_store
from conveyor_nb.stores import StoreInterface
from conveyor_nb.worker import Handler, Worker

__all__ = ["close_named_workers", "install_worker", "named_workers"]

_named: dict[StoreInterface, dict[str, Worker]] = {}


def named_workers(store: StoreInterface | None = None) -> dict[str, Worker]:
    """The named workers of a store by name, also those that are closed and may start again."""
    return dict(_named.get(check_store(store), {}))


def install_worker(
    queue_name: str, handler: Handler, *, store: StoreInterface | None = None, **options: Any
) -> Worker:
    """Start a worker under its name; one that has the name already gives way.

    The old worker takes no more jobs; those it runs finish with the old handler. If the new one
    can't be made, the old one stays as it is.
    """
    worker = Worker(queue_name, handler, store=store, **options)
    workers = _named.setdefault(worker.store, {})
    before = workers.get(worker.name)
    workers[worker.name] = worker
    if before is not None:
        before.retire()
    return worker


async def close_named_workers(store: StoreInterface | None = None) -> None:
    """Close the named workers of a store, or of every store, and forget them."""
    stores = list(_named) if store is None else [store]
    for one in stores:
        for worker in _named.pop(one, {}).values():
            await worker.close(timeout=0)
