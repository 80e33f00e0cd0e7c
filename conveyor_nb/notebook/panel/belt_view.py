"""The belt in a queue's panel: its picture, and the way from one to the next."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from msgspec.structs import replace

from conveyor_nb.clocks.virtual import VirtualClock
from conveyor_nb.core.model import JobState, StoreEvent
from conveyor_nb.core.values.text import shown
from conveyor_nb.notebook.panel.page_messages import Message
from conveyor_nb.notebook.panel.view import Action, Glance, View, plainly
from conveyor_nb.notebook.pictures.belt import belt_picture
from conveyor_nb.notebook.pictures.belt_plan import LIVE, LIVE_NARROW
from conveyor_nb.notebook.pictures.belt_replay import replay
from conveyor_nb.notebook.pictures.belt_state import BeltState, read_belt
from conveyor_nb.notebook.pictures.pieces import LABELS
from conveyor_nb.notebook.pictures.words import flow_words
from conveyor_nb.queue import Queue

__all__ = ["BeltView", "known_label"]

_MOST_EVENTS = 2_000
_MOST_PICTURES = 20
"""How many pictures are played back, ten a second; of several advances, those of the last ones."""

_TOLD = frozenset({"name", "previous", "worker_id", "delay_until", "progress"})
_EACH_SECOND = 1.0


class BeltView(View):
    """The jobs of a queue on their belt; an advance of a virtual clock is played back."""

    part: ClassVar[str] = "belt"

    def __init__(self, queue: Queue, *, read_only: bool = False) -> None:
        super().__init__(queue, read_only=read_only)
        self._is_virtual = isinstance(queue.store.clock, VirtualClock)
        self._plan = LIVE
        self._by = "name"
        self._last: BeltState | None = None
        self._events: deque[StoreEvent] = deque(maxlen=_MOST_EVENTS)
        self._to_come: deque[BeltState] = deque(maxlen=_MOST_PICTURES)
        self._is_playing = False

    async def read(self, glance: Glance) -> dict[str, Any]:
        if self._last is not None and self._events:
            if self._events[0].timestamp < self._events[-1].timestamp:
                before = self._to_come[-1] if self._to_come else self._last
                self._to_come.extend(replay(before, tuple(self._events), glance.counts))
            self._events.clear()
        self._is_playing = bool(self._to_come)
        if self._is_playing:
            state = self._to_come.popleft()
        else:
            store, name = self.queue.store, self.queue.name
            state = await read_belt(store, name, store.clock.now(), self._last)
        self._last = state
        picture = belt_picture(state, self._plan, self._by)
        return {"picture": picture, "told": flow_words(state), "by": self._by}

    @property
    def again(self) -> float | None:
        if self._is_playing:  # where all is now comes at the end
            return 0.0
        state = self._last
        if self._is_virtual or state is None:
            return None
        runs = state.counts[JobState.ACTIVE] or state.counts[JobState.DELAYED]
        return _EACH_SECOND if runs else None

    def asks(self) -> Mapping[str, Action]:
        return {"belt": plainly(self._resize)}

    @property
    def tells_of_all(self) -> bool:
        return self._is_virtual

    def note(self, events: Sequence[StoreEvent]) -> None:
        if self._is_virtual:
            for event in events[-_MOST_EVENTS:]:
                told = {key: value for key, value in event.data.items() if key in _TOLD}
                self._events.append(replace(event, data=told))

    def renew(self) -> None:
        self._events.clear()
        self._to_come.clear()
        self._is_playing = False

    def _resize(self, message: Message) -> None:
        """Lay it out for a page that is wide or narrow, or tell jobs apart by something else."""
        self._plan = LIVE_NARROW if message.narrow else LIVE
        self._by = known_label(message.by) if message.by else self._by


def known_label(by: str) -> str:
    """What jobs on a belt are told apart by.

    Raises:
        ValueError: they can't be told apart by that.
    """
    if by not in LABELS:
        raise ValueError(f"jobs are told apart by {', '.join(LABELS)}, not {shown(by)}")
    return by
