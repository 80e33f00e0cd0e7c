"""Workers of other processes: found by name, told through the store, and waited for a moment."""

from __future__ import annotations

import asyncio

from conveyor_nb.clocks.clock import REAL_TIME, resolve
from conveyor_nb.clocks.loops import call_on
from conveyor_nb.core.model import EventType, StoreEvent
from conveyor_nb.core.values.text import shown
from conveyor_nb.core.worker_info import OBEYED_WITHIN, WorkerCommand, WorkerInfo, WorkerStatus
from conveyor_nb.notebook.commands.magic_output import Answer
from conveyor_nb.notebook.commands.store_context import StoreContext
from conveyor_nb.notebook.mistakes import Mistake, near

__all__ = ["far_worker", "tell_far_worker"]

_PATIENCE = 2.0
"""For how many real seconds one waits for a worker to do what it is told."""

_NEWS = (EventType.WORKER_STARTED, EventType.WORKER_PAUSED, EventType.WORKER_CLOSED)


async def far_worker(session: StoreContext, name: str) -> WorkerInfo | None:
    """A worker of another process, by its name or id; ``None``: it is of this one, or nobody's.

    Raises:
        Mistake: there are two of that name, or others and none of that name.
    """
    here = session.workers()
    if name in here or any(name in (one.name, one.id) for one in here.values()):
        return None
    ours = {one.id for one in here.values()}
    far = [one for one in await session.reads.list_workers() if one.id not in ours]
    found = [one for one in far if name in (one.name, one.id)]
    if len(found) == 1:
        return found[0]
    if found:
        ids = ", ".join(one.id for one in found)
        raise Mistake(f"{len(found)} workers are called {shown(name)}; say which, by its id: {ids}")
    if far:
        names = {*here, *(one.name for one in far)}
        raise Mistake(f"there is no worker {shown(name)}; {near(name, names)}")
    return None


async def tell_far_worker(
    session: StoreContext, worker: WorkerInfo, command: WorkerCommand
) -> Answer:
    """Tell a worker of another process what to do, and say whether it has done so."""
    store, loop = session.store, asyncio.get_running_loop()
    news = loop.create_future()

    def note(event: StoreEvent) -> None:
        if event.data.get("worker_id") == worker.id:
            call_on(loop, lambda: resolve(news, None))

    store.subscribe(worker.queue_name, note, kinds=_NEWS)
    try:
        await store.command_worker(worker.id, command)
        until = REAL_TIME.now().timestamp() + _PATIENCE
        while True:
            news = loop.create_future()
            listed = await store.list_workers(worker.queue_name)
            now = next((one for one in listed if one.id == worker.id), None)
            left = until - REAL_TIME.now().timestamp()
            if now is None or now.command is None or left <= 0:
                return Answer.saying(_outcome(worker, now, command))
            await REAL_TIME.wait(news, left)
    finally:
        store.unsubscribe(worker.queue_name, note)


def _outcome(worker: WorkerInfo, now: WorkerInfo | None, command: WorkerCommand) -> str:
    told = f"worker {worker.name}"
    if now is None:
        return f"{told} is stopped"
    if now.command is not None:
        return (
            f"{told} is told to {now.command}, and has not done so yet; the command holds for "
            f"{OBEYED_WITHIN:g} s"
        )
    if command.concurrency is not None:
        return f"{told} runs {now.concurrency} at a time"
    match now.status:
        case WorkerStatus.RUNNING:
            return f"{told} takes jobs of {now.queue_name}"
        case WorkerStatus.CLOSING:
            return f"{told} is stopping, as soon as its jobs are done"
    return f"{told} is {now.status.in_words}"
