"""How a notebook's jobs fared: the notebook's kernel makes the tally, the demo reads it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import NamedTuple

__all__ = ["EXPRESSION", "QueueTally", "read_tallies", "write_tallies"]

EXPRESSION = f"__import__({__name__!r}, fromlist=['tally']).write_tallies(globals())"
"""What the kernel is asked to evaluate."""


class QueueTally(NamedTuple):
    """The jobs of one queue: how many are in each state, and how often they were taken."""

    store: int
    queue: str
    states: dict[str, int]
    attempts: int


def write_tallies(namespace: Mapping[str, object]) -> str:
    """Count the jobs of every in-memory store that a namespace knows, as JSON."""
    from conveyor_nb import MemoryStore, Queue, Worker, default_store

    stores = [default_store()]
    for value in namespace.values():
        store = value.store if isinstance(value, (Queue, Worker)) else value
        if isinstance(store, MemoryStore) and not any(store is known for known in stores):
            stores.append(store)
    return json.dumps(
        [
            QueueTally(
                store=id(store),
                queue=queue,
                states={str(state): count for state, count in store.counts(queue).items() if count},
                attempts=sum(
                    job.attempt_logs[-1].attempt
                    for job in store.snapshot(queue)
                    if job.attempt_logs
                ),
            )
            for store in stores
            if isinstance(store, MemoryStore)
            for queue in store.queue_names()
        ]
    )


def read_tallies(text: str) -> list[QueueTally]:
    """What :func:`write_tallies` wrote.

    >>> read_tallies('[[1, "emails", {"completed": 2}, 3]]')
    [QueueTally(store=1, queue='emails', states={'completed': 2}, attempts=3)]
    """
    return [QueueTally(*tally) for tally in json.loads(text)]
