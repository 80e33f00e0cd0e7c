"""EventBus: handlers by local name, plain and async, and their faults."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from datetime import UTC, datetime
from typing import Any

import pytest

from conveyor_nb import EventBus, StoreEvent
from conveyor_nb.core.model import EventType
from conveyor_nb.stores.events import local_name

NOW = datetime(2027, 1, 1, tzinfo=UTC)
DONE = StoreEvent("job:completed", "emails", "a", {"returnvalue": 1}, NOW)
WAITING = StoreEvent("job:waiting", "emails", "a", {}, NOW)


@pytest.fixture
def bus() -> EventBus:
    return EventBus([EventType.COMPLETED, EventType.WAITING])


async def turn() -> None:
    """Let the tasks that are ready run."""
    for _ in range(3):
        await asyncio.sleep(0)


@pytest.mark.parametrize("kind", EventType)
def test_a_local_name_is_what_follows_the_prefix(kind: EventType) -> None:
    assert f"{kind.partition(':')[0]}:{local_name(kind)}" == kind


def test_a_handler_gets_the_events_of_its_name(bus: EventBus) -> None:
    seen: list[StoreEvent] = []
    bus.on("completed", seen.append)
    bus.emit(WAITING)
    bus.emit(DONE)
    assert seen == [DONE]


def test_handlers_are_called_in_the_order_they_were_added(bus: EventBus) -> None:
    called: list[str] = []
    bus.on("completed", lambda _: called.append("first"))
    bus.on("completed", lambda _: called.append("second"))
    bus.emit(DONE)
    assert called == ["first", "second"]


def test_a_decorated_handler_is_itself(bus: EventBus) -> None:
    seen: list[StoreEvent] = []

    def handler(event: StoreEvent) -> None:
        seen.append(event)

    assert bus.on("completed")(handler) is handler
    assert bus.on("waiting", handler) is handler
    bus.emit(DONE)
    assert seen == [DONE]


def test_a_handler_that_is_taken_off_is_called_no_more(bus: EventBus) -> None:
    first: list[StoreEvent] = []
    second: list[StoreEvent] = []
    handler = first.append
    bus.on("completed", handler)
    bus.on("completed", second.append)
    assert len(bus) == 2
    bus.off("completed", handler)
    assert len(bus) == 1
    bus.emit(DONE)
    assert (first, second) == ([], [DONE])


def test_all_handlers_of_a_name_can_be_taken_off(bus: EventBus) -> None:
    seen: list[StoreEvent] = []
    bus.on("completed", seen.append)
    bus.on("waiting", seen.append)
    bus.off("completed")
    bus.emit(DONE)
    bus.emit(WAITING)
    assert seen == [WAITING]


def test_what_was_never_on_can_be_taken_off(bus: EventBus) -> None:
    bus.off("completed", print)
    bus.off("completed")
    assert len(bus) == 0


@pytest.mark.parametrize("name", ["job:completed", "failed", "", "Completed"])
def test_an_unknown_name_is_shown_with_those_that_are_known(bus: EventBus, name: str) -> None:
    for call in (bus.on, bus.off):
        with pytest.raises(ValueError, match="known are: completed, error, waiting") as caught:
            call(name, print)
        assert repr(name) in str(caught.value)


def test_what_can_not_be_called_is_refused(bus: EventBus) -> None:
    handler: Any = "print"
    with pytest.raises(TypeError, match="'print'"):
        bus.on("completed", handler)


def test_a_handler_may_take_itself_off(bus: EventBus) -> None:
    seen: list[str] = []

    def once(event: StoreEvent) -> None:
        seen.append("once")
        bus.off("completed", once)

    bus.on("completed", once)
    bus.on("completed", lambda _: seen.append("always"))
    bus.emit(DONE)
    bus.emit(DONE)
    assert seen == ["once", "always", "always"]


# -- faults -----------------------------------------------------------------------------------


def raise_it(event: StoreEvent) -> None:
    raise RuntimeError(f"no {event.type}")


def test_a_fault_is_told_on_error_and_stops_nobody(bus: EventBus) -> None:
    faults: list[StoreEvent] = []
    seen: list[StoreEvent] = []
    bus.on("completed", raise_it)
    bus.on("completed", seen.append)
    bus.on("error", faults.append)
    bus.emit(DONE)
    assert seen == [DONE]
    [fault] = faults
    assert (fault.queue_name, fault.job_id) == ("emails", "a")
    assert str(fault.data["error"]) == "no job:completed"
    assert fault.data["event"] == DONE
    assert "RuntimeError" in fault.data["reason"]


def test_a_fault_that_nobody_listens_for_is_logged(
    bus: EventBus, caplog: pytest.LogCaptureFixture
) -> None:
    bus.on("completed", raise_it)
    bus.emit(DONE)
    assert [(one.levelname, one.name) for one in caplog.records] == [("WARNING", "conveyor_nb")]


def test_a_fault_of_the_error_handler_is_logged_and_goes_no_further(
    bus: EventBus, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[StoreEvent] = []
    bus.on("completed", raise_it)
    bus.on("error", raise_it)
    bus.on("error", seen.append)
    bus.emit(DONE)
    assert len(seen) == 1
    assert len(caplog.records) == 1


def test_faults_go_to_the_logger_that_was_given(caplog: pytest.LogCaptureFixture) -> None:
    bus = EventBus([EventType.COMPLETED], logging.getLogger("mine"))
    bus.on("completed", raise_it)
    bus.emit(DONE)
    assert [one.name for one in caplog.records] == ["mine"]


# -- async ------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_a_handler_may_be_async(bus: EventBus) -> None:
    seen: list[StoreEvent] = []

    @bus.on("completed")
    async def handler(event: StoreEvent) -> None:
        await asyncio.sleep(0)
        seen.append(event)

    bus.emit(DONE)
    assert seen == []
    await turn()
    assert seen == [DONE]


@pytest.mark.asyncio
async def test_a_handler_may_return_anything_that_can_be_awaited(bus: EventBus) -> None:
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def handler(event: StoreEvent) -> Awaitable[None]:
        return future

    faults: list[StoreEvent] = []
    bus.on("completed", handler)
    bus.on("error", faults.append)
    bus.emit(DONE)
    future.set_exception(RuntimeError("later"))
    await turn()
    assert [str(one.data["error"]) for one in faults] == ["later"]


@pytest.mark.asyncio
async def test_a_fault_of_an_async_handler_is_told_on_error(bus: EventBus) -> None:
    faults: list[StoreEvent] = []

    @bus.on("completed")
    async def handler(event: StoreEvent) -> None:
        raise RuntimeError("later")

    bus.on("error", faults.append)
    bus.emit(DONE)
    await turn()
    assert [str(one.data["error"]) for one in faults] == ["later"]


@pytest.mark.asyncio
async def test_a_fault_of_an_async_error_handler_is_logged(
    bus: EventBus, caplog: pytest.LogCaptureFixture
) -> None:
    @bus.on("error")
    async def handler(event: StoreEvent) -> None:
        raise RuntimeError("no end")

    bus.on("completed", raise_it)
    bus.emit(DONE)
    await turn()
    assert len(caplog.records) == 1


@pytest.mark.asyncio
async def test_closing_drops_handlers_and_stops_those_that_run(bus: EventBus) -> None:
    stopped: list[str] = []

    @bus.on("completed")
    async def handler(event: StoreEvent) -> None:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            stopped.append("it")
            raise

    bus.emit(DONE)
    await turn()
    bus.close()
    bus.emit(DONE)
    await turn()
    assert stopped == ["it"]
    assert len(bus) == 0


@pytest.mark.parametrize("heard", [True, False])
def test_the_fault_of_a_handler_notes_its_event(
    heard: bool, caplog: pytest.LogCaptureFixture
) -> None:
    bus, faults = EventBus([EventType.COMPLETED]), []
    fault = ValueError("mine")

    def broken(event: StoreEvent) -> None:
        raise fault

    bus.on("completed", broken)
    if heard:
        bus.on("error", lambda event: faults.append(event.data["error"]))
    for job_id in ("a", "b"):
        now = datetime(2027, 1, 1, tzinfo=UTC)
        bus.emit(StoreEvent("job:completed", "emails", job_id, {}, now))
    [note] = fault.__notes__
    assert "job:completed of job 'b' in queue 'emails'" in note
    assert faults == ([fault, fault] if heard else [])
    assert ("job:completed of job 'b'" in caplog.text) is not heard
