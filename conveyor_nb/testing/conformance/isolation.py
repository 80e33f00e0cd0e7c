"""Isolation: nobody changes a store by changing what they gave it or got from it."""

# ruff: noqa: D102 (the name of a test says what it shows)

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from conveyor_nb.core.actions import Complete, Discard, UpdateData
from conveyor_nb.core.freezing import thaw
from conveyor_nb.core.model import JobData, JobState
from conveyor_nb.core.options.job_options import Deduplication
from conveyor_nb.stores.interface import StoreInterface
from conveyor_nb.testing.conformance.base import StoreTests
from conveyor_nb.testing.events import EventLog, all_told, capture_events
from conveyor_nb.testing.steps import (
    LOCK_DURATION,
    QUEUE,
    add,
    apply,
    complete,
    get,
    ids_in,
    lock_of,
    new_job,
    state_of,
    take,
)

__all__ = ["IsolationTests"]


class CarelessError(Exception):
    """An exception as people write them: it can be pickled, but not unpickled."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


def letter() -> dict[str, Any]:
    """A new payload with parts at several depths."""
    return {"to": ["ada"], "head": {"tags": [{"x": 1}]}}


def scribble(payload: dict[str, Any]) -> None:
    """Change a payload at every depth."""
    payload["to"].append("eve")
    payload["head"]["tags"][0]["x"] = 2
    payload["new"] = True


Read = Callable[[StoreInterface], Awaitable[JobData | None]]


async def _first_listed(store: StoreInterface) -> JobData:
    return (await store.list_jobs(QUEUE))[0]


READS: dict[str, Read] = {
    "get_job": lambda store: store.get_job(QUEUE, "a"),
    "find_job_by_id": lambda store: store.find_job_by_id("a"),
    "find_by_deduplication_key": lambda store: store.find_by_deduplication_key(QUEUE, "daily"),
    "list_jobs": _first_listed,
    "fetch_next_job": lambda store: store.fetch_next_job(QUEUE, "w1", LOCK_DURATION),
    "apply": lambda store: store.apply(QUEUE, "a", Discard()),
    "update_job": lambda store: store.update_job(QUEUE, "a", {"progress": 50}),
    "save_job, of a job that exists": lambda store: store.save_job(new_job("a")),
}

PAYLOADS = [
    None,
    True,
    0,
    1.5,
    "text",
    b"bytes",
    [1, [2, {"three": (4, None)}]],
    {"nested": {"deep": [[]]}, 5: "a key that is no text"},
    {1, 2},
    datetime(2027, 1, 1, tzinfo=UTC),
    date(2027, 1, 1),
    Decimal("0.1"),
]

NOT_COPYABLE = [
    (lambda: threading.Lock(), "{what}"),
    (lambda: {"send": threading.Lock()}, "{what}['send']"),
    (lambda: {"to": ["ada", {"by": threading.Lock()}]}, "{what}['to'][1]['by']"),
    (lambda: ("a", threading.Lock()), "{what}[1]"),
    (lambda: [(one for one in "ab")], "{what}[0]"),
    (lambda: {"error": CarelessError(404, "not found")}, "{what}['error']"),
]
"""Payloads made anew for each test, and the path that the error names."""


class IsolationTests(StoreTests):
    """Isolation, as every store does it."""

    async def test_changing_what_was_given_changes_nothing(self, store: StoreInterface) -> None:
        given = letter()
        job = new_job("a", data=given)
        await store.save_job(job)
        scribble(given)
        kept = await get(store, "a")
        assert kept.data == letter()
        assert (kept.state, kept.name) == (JobState.WAITING, "send")

    async def test_saving_leaves_what_was_given_as_it_is(self, store: StoreInterface) -> None:
        job = new_job(data=letter())
        before = repr(job)
        await store.save_job(job)
        assert repr(job) == before

    async def test_changing_what_save_returned_changes_nothing(self, store: StoreInterface) -> None:
        saved = await add(store, "a", data=letter())
        scribble(saved.data)
        assert (await get(store, "a")).data == letter()

    async def test_what_save_returns_does_not_share_with_what_it_was_given(
        self, store: StoreInterface
    ) -> None:
        given = letter()
        [saved] = await store.save_bulk([new_job("a", data=given)])
        scribble(given)
        assert saved.data == letter()

    @pytest.mark.parametrize("read", READS)
    async def test_changing_what_came_out_changes_nothing(
        self, store: StoreInterface, read: str
    ) -> None:
        await add(store, "a", data=letter(), deduplication=Deduplication(key="daily"))
        out = await READS[read](store)
        assert out is not None
        scribble(out.data)
        with pytest.raises(AttributeError):
            out.state = JobState.FAILED  # type: ignore[misc]
        assert (await get(store, "a")).data == letter()

    async def test_changing_a_result_that_was_given_changes_nothing(
        self, store: StoreInterface
    ) -> None:
        await add(store, "a")
        result = letter()
        await complete(store, await take(store), result)
        scribble(result)
        assert (await get(store, "a")).returnvalue == letter()

    async def test_changing_a_result_that_came_out_changes_nothing(
        self, store: StoreInterface
    ) -> None:
        await add(store, "a")
        done = await complete(store, await take(store), letter())
        scribble(done.returnvalue)
        scribble((await get(store, "a")).returnvalue)
        assert (await get(store, "a")).returnvalue == letter()

    async def test_the_result_in_an_event_is_a_copy(self, store: StoreInterface) -> None:
        await add(store, "a")
        job, result = await take(store), letter()
        events = EventLog()
        store.subscribe(QUEUE, events.append, job_id="a")
        await complete(store, job, result)
        await all_told(store)
        [told] = events.of_type("job:completed")
        scribble(result)
        assert thaw(told.data["returnvalue"]) == letter()
        scribble(thaw(told.data["returnvalue"]))
        assert (await get(store, "a")).returnvalue == letter()

    async def test_changing_new_data_that_was_given_changes_nothing(
        self, store: StoreInterface
    ) -> None:
        await add(store, "a")
        given = letter()
        changed = await store.apply(QUEUE, "a", UpdateData(given))
        scribble(given)
        scribble(changed.data)
        assert (await get(store, "a")).data == letter()

    async def test_changing_a_list_of_jobs_changes_nothing(self, store: StoreInterface) -> None:
        await add(store, "a")
        (await store.list_jobs(QUEUE)).clear()
        assert await ids_in(store) == ["a"]

    async def test_changing_counts_changes_nothing(self, store: StoreInterface) -> None:
        await add(store, "a")
        (await store.get_job_counts(QUEUE)).clear()
        assert (await store.get_job_counts(QUEUE))[JobState.WAITING] == 1

    @pytest.mark.parametrize("payload", PAYLOADS, ids=repr)
    async def test_a_payload_of_plain_types_comes_back_equal(
        self, store: StoreInterface, payload: Any
    ) -> None:
        await add(store, "a", data=payload)
        job = await take(store)
        assert job.data == payload
        assert type(job.data) is type(payload)
        assert (await complete(store, job, payload)).returnvalue == payload
        assert (await get(store, "a")).returnvalue == payload

    @pytest.mark.parametrize(("make", "path"), NOT_COPYABLE, ids=[p for _, p in NOT_COPYABLE])
    async def test_a_payload_that_can_not_be_copied_is_refused(
        self, store: StoreInterface, make: Callable[[], Any], path: str
    ) -> None:
        async with capture_events(store, QUEUE) as events:
            with pytest.raises(TypeError) as caught:
                await add(store, "a", data=make())
            await add(store, "b")
        assert f"{path.format(what='data')} is a" in str(caught.value)
        assert await store.get_job(QUEUE, "a") is None
        assert events.story == ["job:waiting b"]

    @pytest.mark.parametrize(("make", "path"), NOT_COPYABLE, ids=[p for _, p in NOT_COPYABLE])
    async def test_a_result_that_can_not_be_copied_is_refused(
        self, store: StoreInterface, make: Callable[[], Any], path: str
    ) -> None:
        await add(store, "a")
        job = await take(store)
        async with capture_events(store, QUEUE) as events:
            with pytest.raises(TypeError) as caught:
                await apply(store, job, Complete(make()))
        assert f"{path.format(what='result')} is a" in str(caught.value)
        assert events == []
        assert await get(store, "a") == job
        await store.apply(QUEUE, "a", Complete("another"), lock=lock_of(job))
        assert await state_of(store, "a") is JobState.COMPLETED

    async def test_new_data_that_can_not_be_copied_is_refused(self, store: StoreInterface) -> None:
        before = await add(store, "a", data={"to": "ada"})
        async with capture_events(store, QUEUE) as events:
            with pytest.raises(TypeError, match=r"data\['x'\]"):
                await store.apply(QUEUE, "a", UpdateData({"x": threading.Lock()}))
        assert await get(store, "a") == before
        assert events == []
