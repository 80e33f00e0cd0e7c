"""What a panel shows of one queue: the parts of the tab that is open, and nothing more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from conveyor_nb.core.model import EventType, JobState, StoreEvent
from conveyor_nb.core.values.text import shown
from conveyor_nb.notebook.panel.belt_view import BeltView
from conveyor_nb.notebook.panel.event_log import EventsView
from conveyor_nb.notebook.panel.flows_view import FlowsView
from conveyor_nb.notebook.panel.groups_view import GroupsView
from conveyor_nb.notebook.panel.head_view import HeadView
from conveyor_nb.notebook.panel.hearing import Settled
from conveyor_nb.notebook.panel.job_table import JobsView
from conveyor_nb.notebook.panel.job_view import JobView
from conveyor_nb.notebook.panel.metrics_view import MetricsView
from conveyor_nb.notebook.panel.page_messages import Message
from conveyor_nb.notebook.panel.pulse import PulseView
from conveyor_nb.notebook.panel.rests import Rests
from conveyor_nb.notebook.panel.schedules_view import SchedulesView
from conveyor_nb.notebook.panel.sizes import sendable
from conveyor_nb.notebook.panel.timeline_view import TimelineView
from conveyor_nb.notebook.panel.view import Action, Glance, UnknownRequestError, View, plainly
from conveyor_nb.notebook.panel.worker_cards import WorkerCardsView
from conveyor_nb.notebook.panel.workers_panel import WorkersView
from conveyor_nb.queue import Queue
from conveyor_nb.stores.reads import SynchronousReads

__all__ = ["TABS", "QueueView"]

_ALWAYS: tuple[type[View], ...] = (HeadView, JobView)

TABS: Mapping[str, tuple[type[View], ...]] = {
    "jobs": (PulseView, BeltView, WorkersView, JobsView),
    "flows": (FlowsView,),
    "schedules": (SchedulesView,),
    "groups": (GroupsView,),
    "workers": (WorkerCardsView,),
    "timeline": (TimelineView,),
    "metrics": (MetricsView,),
    "events": (EventsView,),
}
"""The tabs of a queue, each with the parts that it shows beside those that are always there."""


_COUNTS = "counts"
"""What the counts are known by among the parts that rest: most views need them."""


class QueueView:
    """A queue as a panel shows it.

    Args:
        queue: what is shown.
        read_only: whether it is only to be looked at.
    """

    def __init__(self, queue: Queue, *, read_only: bool = False) -> None:
        self.queue = queue
        self.tab = next(iter(TABS))
        kinds = dict.fromkeys((*_ALWAYS, *(kind for tab in TABS.values() for kind in tab)))
        self._views = {kind: kind(queue, read_only=read_only) for kind in kinds}
        self._listening = [one for kind, one in self._views.items() if kind.note is not View.note]
        self._asks: dict[str, Action] = {"tab": plainly(self._turn_to)}
        self._acts: dict[str, Action] = {}
        for view in self._views.values():
            self._asks |= view.asks()
            self._acts |= view.acts()
        self.read_only = read_only
        self._rests = Rests()

    @property
    def table(self) -> JobsView:
        """The table of its jobs."""
        view = self._views[JobsView]
        assert isinstance(view, JobsView), "it is what was made of that kind"
        return view

    async def read(self) -> dict[str, Any]:
        """The parts of a frame, each as JSON-like values: ``head``, ``jobs`` and so on."""
        store, name = self.queue.store, self.queue.name
        paused = frozenset(await store.get_paused_job_names(name))
        glance = Glance(await self._counts(), paused)
        parts: dict[str, Any] = {"tab": self.tab}
        for kind in (*_ALWAYS, *TABS[self.tab]):
            parts |= await self._parts_of(kind, glance)
        return parts

    async def _counts(self) -> dict[JobState, int]:
        """How many jobs are in each state: now, or a moment ago where the store takes long."""
        store, name = self.queue.store, self.queue.name
        if isinstance(store, SynchronousReads):
            return await store.get_job_counts(name)
        told = self._rests.told(_COUNTS)
        if told is None:
            began = self._rests.now()
            counted = await store.get_job_counts(name)
            told = {str(state): count for state, count in counted.items()}
            self._rests.keep(_COUNTS, told, began)
        return {JobState(state): count for state, count in told.items()}

    async def _parts_of(self, kind: type[View], glance: Glance) -> dict[str, Any]:
        """What a view tells now, or what it told a moment ago where the store takes long."""
        may_rest = kind.may_rest and not isinstance(self.queue.store, SynchronousReads)
        if may_rest and (parts := self._rests.told(kind)) is not None:
            return parts
        began = self._rests.now()
        told = sendable(await self._views[kind].read(glance))
        parts = {name: told.pop(key) for key, name in kind.apart.items()} | {kind.part: told}
        if may_rest:
            self._rests.keep(kind, parts, began)
        return parts

    @property
    def again(self) -> float | None:
        """In how many seconds it is to be read again though nothing happened; ``None``: not."""
        shown = (*_ALWAYS, *TABS[self.tab])
        wishes = (self._rests.again(kind, self._views[kind].again) for kind in shown)
        found = (*wishes, self._rests.again(_COUNTS, None))
        return min((wish for wish in found if wish is not None), default=None)

    async def do(self, what: str, **more: Any) -> None:
        """Do what a page would ask for by a :class:`Message` of these values; see :meth:`take`."""
        await self.take(Message(what, **more))

    def changes(self, what: str) -> bool:
        """Whether what is called so changes the queue."""
        return what in self._acts

    async def take(self, message: Message) -> None:
        """Do what a page asks for.

        Raises:
            UnknownRequestError: no view does what ``message.do`` names.
            PermissionError: it would change a queue that is only to be looked at.
        """
        what = message.do
        if what in self._acts and self.read_only:
            raise PermissionError(
                f"queue {shown(self.queue.name)} is only shown here, and {what!r} would change it"
            )
        action = self._asks.get(what) or self._acts.get(what)
        if action is None:
            raise UnknownRequestError(what)
        try:
            await action(message)
        finally:
            self._rests.forget()

    def note(self, events: Sequence[StoreEvent]) -> None:
        """Take note of what happened in the queue."""
        for view in self._listening:
            view.note(events)

    @property
    def tells_of_all(self) -> bool:
        """Whether each event is needed for what is shown, however many there are."""
        return any(self._views[kind].tells_of_all for kind in TABS[self.tab])

    @property
    def favours(self) -> str:
        """Of which type of event is told, so that it is to be heard among very many others."""
        wishes = (self._views[kind].favours for kind in TABS[self.tab])
        return next(filter(None, wishes), "")

    def count(self, settled: Settled) -> None:
        """Count jobs that have settled, of which no event is noted."""
        for (_, kind), instants in settled.items():
            for view in self._views.values():
                view.count(instants, failed=kind == EventType.FAILED)

    def miss(self, since: datetime, until: datetime) -> None:
        """From an instant until another one more happened than is noted."""
        for view in self._listening:
            view.miss(since, until)

    def retell(self, events: Sequence[StoreEvent]) -> None:
        """Time was set back or on: these are the last events up to now, and no others."""
        for view in self._views.values():
            view.retell(events)

    def rest(self) -> None:
        """Nobody looks any more."""
        for view in self._views.values():
            view.rest()

    def renew(self) -> None:
        """A page has come, or is back, that has not seen what there is now."""
        self._rests.forget()
        for view in self._views.values():
            view.renew()

    def _turn_to(self, message: Message) -> None:
        if message.tab not in TABS:
            raise ValueError(f"a panel has no tab {shown(message.tab)}, but {', '.join(TABS)}")
        self.tab = message.tab
        for kind in TABS[self.tab]:
            self._views[kind].renew()
