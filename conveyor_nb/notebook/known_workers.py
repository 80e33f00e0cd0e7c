"""The workers of a store that a person can name: those known by name, and those made by hand.

``Worker(...)`` stands in no register. As long as it is at work it is found here all the same, and
when it was stopped here, for as long as it may be wanted again.
"""

from __future__ import annotations

from collections import Counter
from weakref import WeakKeyDictionary

from conveyor_nb.core.values.durations import Duration
from conveyor_nb.core.values.text import shown
from conveyor_nb.notebook.mistakes import Mistake, near, quoted
from conveyor_nb.registry import named_workers, restart_worker
from conveyor_nb.stores import StoreInterface
from conveyor_nb.worker import Worker, live_workers

__all__ = [
    "called",
    "find_worker",
    "is_named",
    "known_workers",
    "others_at_work",
    "start_worker",
    "stop_line",
    "stop_worker",
    "take_workers_by_hand",
    "workers_by_hand",
]

_KEPT = 16

_stopped: WeakKeyDictionary[StoreInterface, dict[str, Worker]] = WeakKeyDictionary()
"""Workers made by hand that were stopped here, by name: the newest of each store."""


def is_named(worker: Worker) -> bool:
    """Whether a worker is known by its name, so that another of this name takes over."""
    return named_workers(worker.store).get(worker.name) is worker


def workers_by_hand(store: StoreInterface) -> list[Worker]:
    """Those of a store that are not known by name: at work, or stopped here or by a fault.

    One that was stopped while another of its name goes on is gone: it was one too many.
    """
    mine = [one for one in live_workers() if one.store is store]
    live = [one for one in mine if one.status.is_at_work or one.fault]
    others = {one.name for one in (*live, *named_workers(store).values())}
    stopped = [one for name, one in _stopped.get(store, {}).items() if name not in others]
    found = [one for one in (*live, *stopped) if not is_named(one)]
    return sorted(found, key=lambda one: (one.name, one.id))


def known_workers(store: StoreInterface) -> dict[str, Worker]:
    """All workers of a store, by what people type: the name, or the id where two have one name."""
    found = [*named_workers(store).values(), *workers_by_hand(store)]
    names = Counter(worker.name for worker in found)
    return {one.name if names[one.name] == 1 else one.id: one for one in found}


def find_worker(store: StoreInterface, name: str) -> Worker:
    """A worker of a store, by its name or id.

    Raises:
        Mistake: there is none of that name, or there are two.
    """
    known = known_workers(store)
    if name in known:
        return known[name]
    if (by_id := next((one for one in known.values() if one.id == name), None)) is not None:
        return by_id
    if not known:
        raise Mistake(
            f"there is no worker {shown(name)}, nor any other; write one: %%worker {quoted(name)}"
        )
    if same := [one.id for one in known.values() if one.name == name]:
        raise Mistake(
            f"{len(same)} workers are called {shown(name)}; say which, by its id: {', '.join(same)}"
        )
    raise Mistake(f"there is no worker {shown(name)}; {near(name, known)}")


def others_at_work(worker: Worker) -> list[Worker]:
    """The other workers that take jobs of the same queue."""
    found = known_workers(worker.store).values()
    return [
        one
        for one in found
        if one is not worker and one.queue_name == worker.queue_name and one.status.is_at_work
    ]


def called(worker: Worker) -> str:
    """What people type for a worker: its name, or its id if another has that name."""
    known = known_workers(worker.store)
    return worker.name if known.get(worker.name) is worker else worker.id


def stop_line(worker: Worker) -> str:
    """What people type to stop a worker."""
    return f"%conveyor stop {quoted(called(worker))}"


async def stop_worker(worker: Worker, timeout: Duration = 30) -> None:
    """Close a worker; one that was made by hand is remembered, so that it can start again."""
    if not is_named(worker) and called(worker) == worker.name:
        stopped = _stopped.setdefault(worker.store, {})
        stopped.pop(worker.name, None)
        stopped[worker.name] = worker
        if len(stopped) > _KEPT:
            del stopped[next(iter(stopped))]
    await worker.close(timeout)


def start_worker(worker: Worker) -> Worker:
    """Let a worker take jobs again; for one that was closed, a new one like it.

    Raises:
        Mistake: it can't start, and why.
    """
    try:
        if is_named(worker):
            return restart_worker(worker.name, store=worker.store)
        if worker.status.is_at_work or worker.fault:
            worker.start()
            return worker
        successor = worker.successor()
    except RuntimeError as error:  # for instance, because its loop is gone
        raise Mistake(str(error)) from error
    _stopped.get(worker.store, {}).pop(worker.name, None)
    return successor


def take_workers_by_hand(store: StoreInterface) -> list[Worker]:
    """Forget those of a store that were made by hand, and hand over those at work to be closed."""
    _stopped.pop(store, None)
    return workers_by_hand(store)
