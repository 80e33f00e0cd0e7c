"""When all that has happened in a store was told, also where that takes a little while."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Protocol
from uuid import uuid4

from conveyor_nb.clocks.clock import REAL_TIME, Clock, resolve
from conveyor_nb.clocks.loops import call_on
from conveyor_nb.core.model import EventType, StoreEvent
from conveyor_nb.stores.events import EventSource

__all__ = ["MARKS", "PATIENCE", "Teller", "wait_until_told"]

MARKS = "conveyor_nb-marks"
"""The queue of the events that are published only to see that all before them have come."""

PATIENCE = 10.0
"""How many real seconds to wait for a mark, which comes in milliseconds."""


class Teller(EventSource, Protocol):
    """What tells of events, and publishes them: a store."""

    clock: Clock

    def publish(self, event: StoreEvent) -> Coroutine[Any, Any, None]:
        """Tell of an event."""


async def wait_until_told(store: Teller, to: EventSource | None = None) -> bool:
    """Wait until the events of every step that is over by now have come.

    Args:
        store: the store that took the steps.
        to: where they are to come; another store on the same database, if not the store itself.

    A store may call its subscribers a little after the step has returned. It does so in the order
    of the steps, so that a mark which is published now comes after all that there is to come.

    Returns:
        ``False``: the mark did not come in time, as the store was disconnected, for instance.
    """
    mark = f"mark {uuid4().hex}"  # other processes make theirs
    loop = asyncio.get_running_loop()
    come: asyncio.Future[bool] = loop.create_future()

    def look(event: StoreEvent) -> None:
        if event.job_id == mark or event.type == EventType.DISCONNECTED:
            call_on(loop, resolve, come, event.job_id == mark)

    listener = store if to is None else to
    listener.subscribe(MARKS, look)
    try:
        await store.publish(StoreEvent(EventType.DRAINED, MARKS, mark, {}, store.clock.now()))
        return await REAL_TIME.wait(come, PATIENCE) and come.result()
    finally:
        listener.unsubscribe(MARKS, look)
