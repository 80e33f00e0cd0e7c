"""Watching a store: the events of a block, and a view that is built from events alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from msgspec import ValidationError, convert

from conveyor_nb.core.event_data import EVENT_DATA, keys_of
from conveyor_nb.core.lifecycle import TRANSITIONS
from conveyor_nb.core.model import EventType, JobState, StoreEvent
from conveyor_nb.stores.interface import StoreInterface
from conveyor_nb.stores.telling import MARKS, PATIENCE, wait_until_told

__all__ = [
    "EventLog",
    "EventView",
    "StrictEventView",
    "all_told",
    "capture_events",
    "fault_of_data",
]

_STATE_OF = {f"job:{state}": state for state in JobState}


async def all_told(store: StoreInterface, to: StoreInterface | None = None) -> None:
    """Wait until the events of every step that is over by now have come.

    Args:
        store: the store that took the steps.
        to: where they are to come; another store on the same database, if not the store itself.

    A store may call its subscribers a little after the step has returned. It does so in the order
    of the steps, so that a mark which is published now comes after all that there is to come.

    Raises:
        AssertionError: the mark did not come.
    """
    if not await wait_until_told(store, to):
        raise AssertionError(f"{to or store!r} did not tell of an event in {PATIENCE:g} s")


class EventLog(list[StoreEvent]):
    """The events that were seen, in order; a subscriber is its method ``append``."""

    def append(self, event: StoreEvent) -> None:
        """Take in an event, if it is none of the marks of :func:`all_told`."""
        if event.queue_name != MARKS:
            super().append(event)

    @property
    def types(self) -> list[str]:
        """The type of each event."""
        return [str(event.type) for event in self]

    @property
    def story(self) -> list[str]:
        """The type of each event, with the job that it is about: ``"job:active emails-1"``."""
        return [" ".join(filter(None, (event.type, event.job_id))) for event in self]

    def of_type(self, kind: str) -> list[StoreEvent]:
        """The events of one type."""
        return [event for event in self if event.type == kind]


def fault_of_data(event: StoreEvent) -> str | None:
    """What is wrong with the data of an event, by the table ``EVENT_DATA``, or ``None``.

    >>> from datetime import UTC, datetime
    >>> told = {"worker_id": "w1", "nam": "mailer"}
    >>> fault_of_data(StoreEvent("worker:started", "emails", None, told, datetime.now(UTC)))
    "worker:started: unknown keys ['nam']"
    """
    if event.type not in EVENT_DATA:
        return f"{event.type}: there is no such type"
    kind = EventType(event.type)
    if unknown := sorted(event.data.keys() - keys_of(kind)):
        return f"{kind}: unknown keys {unknown}"
    try:
        convert(event.data, EVENT_DATA[kind])
    except ValidationError as error:
        return f"{kind}: {error}"
    return None


@asynccontextmanager
async def capture_events(store: StoreInterface, queue_name: str | None) -> AsyncIterator[EventLog]:
    """Collect the events, of a queue (``None``: of all), of what is done in the block.

    They are all there after the block, and not before: see :func:`all_told`.

    >>> import asyncio
    >>> from conveyor_nb import JobData, MemoryStore
    >>> async def main():
    ...     async with MemoryStore() as store:
    ...         async with capture_events(store, "emails") as events:
    ...             await store.save_job(JobData("a", "send", "emails"))
    ...             await store.remove_job("emails", "a")
    ...         return events.story
    >>> asyncio.run(main())
    ['job:waiting a', 'job:removed a']
    """
    events = EventLog()
    callback = events.append
    await all_told(store)
    store.subscribe(queue_name, callback)
    try:
        yield events
        await all_told(store)
    finally:
        store.unsubscribe(queue_name, callback)


class EventView:
    """What a store holds, as its events alone tell it.

    Attributes:
        states: the state of each job, by queue name and job id.
        paused: the paused job names of each queue that has some.
    """

    def __init__(self) -> None:
        self.states: dict[tuple[str, str], JobState] = {}
        self.paused: dict[str, frozenset[str]] = {}

    def __call__(self, event: StoreEvent) -> None:
        """Take in an event; the view itself is a subscriber."""
        if event.job_id is not None:
            key = (event.queue_name, event.job_id)
            if (state := _STATE_OF.get(event.type)) is not None:
                self.states[key] = state
            elif event.type == EventType.REMOVED:
                del self.states[key]
            return
        paused = self.paused.get(event.queue_name, frozenset())
        if event.type == EventType.PAUSED:
            paused |= {event.data["job_name"]}
        elif event.type == EventType.RESUMED:
            paused -= {event.data["job_name"]}
        self.paused[event.queue_name] = paused
        if not paused:
            del self.paused[event.queue_name]

    def states_in(self, queue_name: str) -> dict[str, JobState]:
        """The state of each job of a queue, by job id."""
        return {key[1]: state for key, state in self.states.items() if key[0] == queue_name}


class StrictEventView(EventView):
    """A view that refuses an event which does not follow from those before."""

    def __call__(self, event: StoreEvent) -> None:
        """Take in an event; raises ``AssertionError`` if it does not fit what is known."""
        key = (event.queue_name, event.job_id or "")
        before = self.states.get(key)
        if event.job_id is not None and "previous" in event.data:
            assert event.data["previous"] == before, f"{event} of a job that was {before}"
        super().__call__(event)
        after = self.states.get(key)
        if before is not None and after is not None and after is not before:
            assert after in TRANSITIONS[before], f"{event} is no legal transition from {before}"
