"""What a store that is opened read-only does, whatever it is a store of."""

from __future__ import annotations

import pytest

from conveyor_nb import JobData, Queue, StoreInterface, StoreUnavailableError
from conveyor_nb.testing.events import EventLog, all_told

__all__ = ["look_and_change_nothing"]


async def look_and_change_nothing(store: StoreInterface, view: StoreInterface) -> None:
    """See that a read-only ``view`` shows what is in ``store``, and refuses to change it."""
    await store.save_job(JobData("a", "send", "emails", {"to": "ada"}))
    events = EventLog()
    view.subscribe("emails", events.append)
    found = await view.get_job("emails", "a")
    assert found is not None
    assert found.data == {"to": "ada"}
    assert await view.list_queues() == ["emails"]
    queue = Queue("emails", store=view)
    for change in (
        queue.add("send"),
        queue.pause(),
        queue.drain(),
        view.fetch_next_job("emails", "w", 30),
        view.remove_job("emails", "a"),
    ):
        with pytest.raises(StoreUnavailableError, match="was opened read-only"):
            await change
    assert await store.count_jobs("emails", "waiting") == 1
    await store.save_job(JobData("b", "send", "emails"))
    await all_told(store)
    while "job:waiting b" not in events.story:
        await view.list_queues()
