"""Commands inside of functions, which can't wait: what needs no waiting is done all the same."""

from __future__ import annotations

import pytest

from conveyor_nb import MemoryStore, Queue
from conveyor_nb.core.slicing import SLICE
from conveyor_nb.notebook.commands.awaiting import finish
from conveyor_nb.notebook.mistakes import Mistake


@pytest.mark.asyncio
async def test_what_others_would_have_turns_in_is_done_at_once() -> None:
    async with MemoryStore() as store, Queue("emails", store=store) as queue:
        while not store.clock.overdue():
            pass
        job = finish(queue.add("send"))
        added = finish(queue.add_bulk({"name": "send"} for _ in range(3 * SLICE)))
        assert len(added) == 3 * SLICE
        assert finish(queue.drain()) == 3 * SLICE + 1
        assert await queue.get_job(job.id) is None


@pytest.mark.asyncio
async def test_what_has_to_wait_is_a_mistake() -> None:
    async with MemoryStore() as store, Queue("emails", store=store) as queue:
        job = await queue.add("send")
        with pytest.raises(Mistake, match="this has to wait"):
            finish(job.wait_until_finished())
