"""What asks yes or no is awaited; used as a condition as it is, it raises and says so."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from typing import Any

import pytest

from conveyor_nb import Job, Queue, VirtualClock, Worker
from conveyor_nb.core.values.conditions import Condition

Start = Callable[..., Worker]


def conditions(queue: Queue, job: Job) -> dict[str, Callable[[], Condition]]:
    return {
        "job.is_completed()": job.is_completed,
        "job.is_failed()": job.is_failed,
        "job.is_active()": job.is_active,
        "queue.is_paused()": queue.is_paused,
    }


@pytest.mark.asyncio
async def test_a_condition_that_is_not_awaited_raises_and_says_what_to_write(queue: Queue) -> None:
    for called, ask in conditions(queue, await queue.add("send")).items():
        for use in (
            bool,
            lambda one: not one,
            lambda one: one and True,
            lambda one: 1 if one else 2,
        ):
            with pytest.raises(TypeError, match="has no answer before it is awaited") as error:
                use(ask())
            assert str(error.value).endswith(f"write: await {called}")
        assert repr(ask()) == f"<{called}, to be awaited>"
    gc.collect()  # a warning that something was never awaited would fail the test


@pytest.mark.asyncio
async def test_it_can_be_awaited_in_whatever_way_a_coroutine_can(
    queue: Queue, clock: VirtualClock
) -> None:
    job = await queue.add("send")
    await queue.pause("send")
    for called, ask in conditions(queue, job).items():
        assert asyncio.iscoroutine(ask())
        assert await ask() is False, called
        assert await asyncio.create_task(ask()) is False
        assert await asyncio.wait_for(ask(), 5) is False
        assert any(await asyncio.gather(ask(), ask())) is False
        assert await asyncio.to_thread(asyncio.run, ask()) is False
    assert await queue.is_paused("send") is True
    assert await queue.is_paused(job_name="send") is True


@pytest.mark.asyncio
async def test_it_can_be_cancelled_and_closed(queue: Queue) -> None:
    job = await queue.add("send")
    ask = job.is_active()
    ask.close()
    task = asyncio.create_task(job.is_active())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await job.remove()
    with pytest.raises(Exception, match="no job"):
        await job.is_failed()


@pytest.mark.asyncio
async def test_a_plain_handler_has_the_answer_at_once(queue: Queue, start: Start) -> None:
    def handler(job: Any) -> list[bool]:
        return [job.is_active(), job.is_failed(), job.is_completed()]

    start(handler)
    job = await queue.add("send")
    assert await job.wait_until_finished() == [True, False, False]
    assert await job.is_completed() is True
