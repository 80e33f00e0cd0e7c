"""What not every store can do: those that declare it do it, all others say so at the call."""

# ruff: noqa: D102 (the name of a test says what it shows)

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from conveyor_nb.clocks.virtual import VirtualClock
from conveyor_nb.core.actions import ChangePriority, Complete, UpdateData
from conveyor_nb.core.errors import PayloadError, UnsupportedError
from conveyor_nb.core.job_scheduler import JobScheduler
from conveyor_nb.core.model import JobState
from conveyor_nb.core.options.backoff import Backoff
from conveyor_nb.core.options.job_options import JobOptions
from conveyor_nb.core.options.repeat import Repeat
from conveyor_nb.stores.capabilities import Capability
from conveyor_nb.stores.interface import StoreInterface
from conveyor_nb.testing.conformance.base import StoreTests
from conveyor_nb.testing.events import capture_events
from conveyor_nb.testing.steps import (
    QUEUE,
    add,
    apply,
    complete,
    fail,
    get,
    new_job,
    served,
    take,
)

__all__ = ["CapabilityTests"]


@dataclasses.dataclass
class Table:
    """A mutable object that can be pickled, as a DataFrame can."""

    rows: list[list[Any]]


def table() -> dict[str, Any]:
    """A new payload with such an object in it."""
    return {"table": Table([[1, "two"], [3, None]])}


def scribble(payload: dict[str, Any]) -> None:
    """Change the object in a payload."""
    payload["table"].rows[0].append(4)


async def _save_flow(store: StoreInterface, **given: Any) -> None:
    parent, child = new_job("p", queue="reports"), new_job("a", **given)
    await store.save_flow(
        [
            replace(parent, children_ids=("a",), pending_children_count=1),
            replace(child, parent_id="p", parent_queue_name="reports"),
        ]
    )


async def _upsert(store: StoreInterface, data: Any = None, **options: Any) -> None:
    repeat = Repeat(every="1 hour")
    await store.upsert_job_scheduler(
        JobScheduler("s", QUEUE, repeat, "send", data, JobOptions(**options))
    )


WAYS_IN: dict[str, Callable[..., Awaitable[object]]] = {
    "save_job": lambda store, **given: add(store, "a", **given),
    "save_bulk": lambda store, **given: store.save_bulk([new_job("b"), new_job("a", **given)]),
    "save_flow": _save_flow,
    "upsert_job_scheduler": _upsert,
}
"""All ways in which a job comes into a store."""

ON_A_JOB: dict[str, Callable[[StoreInterface], Awaitable[object]]] = {
    "change its priority": lambda store: store.apply(QUEUE, "a", ChangePriority(0.5)),
    "update its priority": lambda store: store.update_job(QUEUE, "a", {"priority": 0.5}),
    "change its data": lambda store: store.apply(QUEUE, "a", UpdateData(table())),
    "update its data": lambda store: store.update_job(QUEUE, "a", {"data": table()}),
}

NEEDS: dict[Capability, dict[str, Any]] = {
    Capability.FRACTIONAL_PRIORITIES: {"priority": 0.5},
    Capability.CALLABLE_BACKOFFS: {"backoff": Backoff("custom", strategy=lambda attempts: 1)},
    Capability.PYTHON_OBJECTS: {"data": table()},
}
"""Options of a new job, by the capability that the store needs for them."""

REFUSALS = {
    Capability.FRACTIONAL_PRIORITIES: (UnsupportedError, r"0\.5.* no fractional priorities"),
    Capability.CALLABLE_BACKOFFS: (UnsupportedError, "backoff.* no backoffs by a callable"),
    Capability.PYTHON_OBJECTS: (PayloadError, r"data\b.*\['table'\] is a Table"),
}


class CapabilityTests(StoreTests):
    """What a store declares that it can do."""

    @pytest.fixture
    def need(self, store: StoreInterface) -> Callable[[Capability], None]:
        """Ends a test of something that the store does not declare."""

        def need(capability: Capability) -> None:
            if capability not in store.capabilities:
                pytest.skip(f"the store declares that it has no {capability}")

        return need

    @pytest.mark.parametrize("way", WAYS_IN)
    @pytest.mark.parametrize("capability", NEEDS)
    async def test_a_job_that_needs_it_comes_in_or_is_refused(
        self, store: StoreInterface, capability: Capability, way: str
    ) -> None:
        given = NEEDS[capability]
        if capability in store.capabilities:
            await WAYS_IN[way](store, **given)
            assert (await take(store)).name == "send"
            return
        error, told = REFUSALS[capability]
        async with capture_events(store, None) as events:
            with pytest.raises(error, match=told):
                await WAYS_IN[way](store, **given)
        assert events == []
        assert (await store.search_jobs()).total == 0
        assert await store.get_job_schedulers(QUEUE) == []

    @pytest.mark.parametrize("change", ON_A_JOB)
    async def test_a_change_that_needs_it_is_made_or_refused(
        self, store: StoreInterface, change: str
    ) -> None:
        priority = "priority" in change
        needed = Capability.FRACTIONAL_PRIORITIES if priority else Capability.PYTHON_OBJECTS
        before = await add(store, "a")
        if needed in store.capabilities:
            await ON_A_JOB[change](store)
            after = await get(store, "a")
            assert (after.priority, after.data) == ((0.5, None) if priority else (0, table()))
            return
        error, told = REFUSALS[needed]
        async with capture_events(store, None) as events:
            with pytest.raises(error, match=told):
                await ON_A_JOB[change](store)
        assert events == []
        assert await get(store, "a") == before

    async def test_what_is_no_connection_is_refused(self, store: StoreInterface) -> None:
        has_them = Capability.TRANSACTIONS in store.capabilities
        told = "not 'shop.db'" if has_them else "'shop.db'.* no transactions of the caller's own"
        with pytest.raises(TypeError if has_them else UnsupportedError, match=told):
            await store.within("shop.db").save_job(new_job("a"))
        assert (await store.search_jobs()).total == 0

    # -- priorities ---------------------------------------------------------------------------

    async def test_a_priority_may_lie_between_two_others(
        self, store: StoreInterface, need: Callable[[Capability], None]
    ) -> None:
        need(Capability.FRACTIONAL_PRIORITIES)
        for job_id, priority in {"a": 1, "b": 0.5, "c": 0, "d": -0.5, "e": 0.25}.items():
            await add(store, job_id, priority=priority)
        assert await served(store) == ["d", "c", "e", "b", "a"]

    # -- payloads -----------------------------------------------------------------------------

    async def test_an_object_comes_back_as_one_of_ones_own(
        self, store: StoreInterface, need: Callable[[Capability], None]
    ) -> None:
        need(Capability.PYTHON_OBJECTS)
        given, result = table(), table()
        saved = await add(store, "a", data=given)
        scribble(given)
        scribble(saved.data)
        job = await take(store)
        scribble(job.data)
        assert (await get(store, "a")).data == table()
        done = await complete(store, job, result)
        scribble(result)
        scribble(done.returnvalue)
        assert (await get(store, "a")).returnvalue == table()

    async def test_a_result_that_can_not_be_kept_is_refused(self, store: StoreInterface) -> None:
        await add(store, "a")
        job = await take(store)
        if Capability.PYTHON_OBJECTS in store.capabilities:
            bad, told = (
                table() | {"table": Table([[threading.Lock()]])},
                r"\.rows\[0\]\[0\] is a lock",
            )
        else:
            bad, told = table(), " is a Table"
        with pytest.raises(PayloadError, match=rf"result\['table'\]{told}"):
            await apply(store, job, Complete(bad))
        assert await get(store, "a") == job

    # -- backoffs -----------------------------------------------------------------------------

    async def test_a_backoff_of_ones_own_is_asked_each_time(
        self,
        store: StoreInterface,
        clock: VirtualClock,
        need: Callable[[Capability], None],
    ) -> None:
        need(Capability.CALLABLE_BACKOFFS)
        asked: list[int] = []

        def strategy(attempts_made: int) -> str:
            asked.append(attempts_made)
            return f"{attempts_made * 7}s"

        await add(store, "a", attempts=3, backoff=Backoff("custom", strategy=strategy))
        for seconds in (7, 14):
            failed = await fail(store, await take(store))
            assert failed.delay_until == clock.now() + timedelta(seconds=seconds)
            await clock.advance(seconds)
        await fail(store, await take(store))
        assert asked == [1, 2]

    async def test_a_backoff_that_raises_fails_the_job(
        self, store: StoreInterface, need: Callable[[Capability], None]
    ) -> None:
        need(Capability.CALLABLE_BACKOFFS)

        def strategy(attempts_made: int) -> float:
            raise RuntimeError("no idea")

        await add(store, "a", attempts=3, backoff=Backoff("custom", strategy=strategy))
        failed = await fail(store, await take(store))
        assert failed.state is JobState.FAILED
        assert failed.failed_reason is not None
        assert "boom" in failed.failed_reason
        assert "no idea" in failed.failed_reason
