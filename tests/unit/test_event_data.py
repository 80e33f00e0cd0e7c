"""The table of what events hold; that they do is checked of every event of every test."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, get_type_hints

import pytest
from msgspec import convert

from conveyor_nb import EventBus, JobState, MemoryStore, Queue, StoreEvent
from conveyor_nb.core import event_data
from conveyor_nb.core.event_data import EVENT_DATA, HandlerErrorData, keys_of
from conveyor_nb.core.model import EventType
from conveyor_nb.testing.events import fault_of_data

NOW = datetime(2027, 1, 1, tzinfo=UTC)
MOVED = {"name": "send", "previous": JobState.WAITING}


def event(kind: str, data: Mapping[str, Any]) -> StoreEvent:
    return StoreEvent(kind, "emails", "a", data, NOW)


def test_every_type_of_event_is_in_the_table() -> None:
    assert EVENT_DATA.keys() == set(EventType)
    for kind in EventType:
        assert get_type_hints(EVENT_DATA[kind]).keys() == keys_of(kind)


def test_every_class_of_the_table_says_what_happened() -> None:
    for kind in (*EVENT_DATA.values(), HandlerErrorData):
        assert kind.__doc__, kind
        assert inspect.getmodule(kind) is event_data


@pytest.mark.parametrize(
    ("kind", "data", "fault"),
    [
        ("job:active", MOVED | {"worker_id": "w", "attempt": 1}, None),
        ("job:active", {"worker_id": "w", "attempt": 1, "name": "send"}, "previous"),
        ("job:active", MOVED | {"worker_id": "w", "attempt": "1"}, "attempt"),
        ("job:active", MOVED | {"worker_id": "w", "attempt": 1, "tries": 1}, "tries"),
        ("job:waiting", {"name": "send", "previous": None}, None),
        ("job:waiting", {"name": "send", "previous": "sleeping"}, "previous"),
        ("job:waiting", MOVED | {"reason": None}, "reason"),
        ("job:delayed", MOVED | {"delay_until": 5}, "delay_until"),
        ("job:progress", {"name": "send", "worker_id": None, "progress": 5}, None),
        ("queue:drained", {}, None),
        ("queue:drained", {"count": 3}, "count"),
        ("queue:error", {"error": ValueError()}, "error"),
        ("job:walked", {}, "no such type"),
    ],
)
def test_data_that_is_not_as_the_table_says_is_told(
    kind: str, data: Mapping[str, Any], fault: str | None
) -> None:
    told = fault_of_data(event(kind, data))
    assert (told is None) is (fault is None), told
    assert fault is None or fault in str(told)


def test_an_error_of_a_handler_is_as_the_table_says() -> None:
    def fail(_: StoreEvent) -> None:
        raise ValueError("no")

    bus, told = EventBus([EventType.COMPLETED]), list[StoreEvent]()
    bus.on("error", told.append)
    bus.on("completed", fail)
    bus.emit(event("job:completed", MOVED | {"worker_id": "w"}))
    assert told[0].data.keys() == HandlerErrorData.__annotations__.keys()
    convert(told[0].data, HandlerErrorData)


@pytest.mark.asyncio
async def test_what_a_stream_and_a_store_tell_by_themselves_is_as_the_table_says() -> None:
    store, told = MemoryStore(), list[StoreEvent]()
    async with Queue("emails", store=store) as queue, queue.events(size=1) as events:
        for _ in range(3):
            await queue.add("send")
        missed = await anext(events)
        assert missed.type == "stream:missed"
        assert fault_of_data(missed) is None
    store.subscribe(None, told.append)
    await store.disconnect()
    assert [(one.type, fault_of_data(one)) for one in told] == [("store:disconnected", None)]
