"""The flows of a queue in its panel: those it has a part in, and one of them as a tree."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from conveyor_nb.clocks.virtual import VirtualClock
from conveyor_nb.core.model import ACTIVE, COMPLETED, DELAYED, FAILED, WAITING_CHILDREN, JobData
from conveyor_nb.core.values.text import shorten_middle
from conveyor_nb.notebook.job_words import instant_of, outcome
from conveyor_nb.notebook.panel.belt_view import known_label
from conveyor_nb.notebook.panel.page_messages import Message
from conveyor_nb.notebook.panel.sizes import fitting, sendable, size_of
from conveyor_nb.notebook.panel.view import Action, Glance, View, plainly
from conveyor_nb.notebook.pictures.belt import belt_picture
from conveyor_nb.notebook.pictures.belt_plan import LIVE, LIVE_NARROW
from conveyor_nb.notebook.pictures.belt_state import BeltState
from conveyor_nb.notebook.pictures.flow_replay import read_way
from conveyor_nb.notebook.pictures.flow_state import read_flow
from conveyor_nb.notebook.pictures.ring import ring, tally
from conveyor_nb.notebook.pictures.words import flow_words
from conveyor_nb.queue import Queue

__all__ = ["FlowsView"]

Key = tuple[str, str]
"""A job by its queue and its id."""

_MOST_FLOWS = 20
_MOST_LOOKED_AT = 200
"""Among how many jobs of each kind flows are looked for; those that were found stay known."""

_MOST_ROWS = 150
_ROOM_OF_LIST, _ROOM_OF_TREE = 9_000, 15_000
_MOST_CHILDREN = 25
_MOST_COUNTED = 1_000
"""Past so many children a closed flow tells only how many have settled."""

_URGENT = frozenset({FAILED, ACTIVE})
_SHORT_ID = 20
_EACH_SECOND = 1.0


class FlowsView(View):
    """The flows that have a job in the queue, the newest first."""

    part: ClassVar[str] = "flows"
    apart: ClassVar[Mapping[str, str]] = {"belt": "flow_belt"}

    def __init__(self, queue: Queue, *, read_only: bool = False) -> None:
        super().__init__(queue, read_only=read_only)
        self._known: dict[Key, None] = {}
        self._open: Key | None = None
        self._was_closed = False
        self._folded: set[Key] = set()
        self._has_foreign = False
        self._plan = LIVE
        self._by = "name"
        self._belt: BeltState | None = None
        self._is_virtual = isinstance(queue.store.clock, VirtualClock)
        self._to_come: deque[BeltState] = deque()

    async def read(self, glance: Glance) -> dict[str, Any]:
        self._has_foreign = False
        roots = await self._roots()
        shown = roots[:_MOST_FLOWS]
        lines = fitting(sendable([await self._flow(root) for root in shown]), _ROOM_OF_LIST)
        shown = shown[: len(lines)]
        if self._open is None and shown and not self._was_closed:
            self._open = _key(shown[0])
        open_one = next((root for root in shown if _key(root) == self._open), None)
        return {
            "rows": lines,
            "more": len(roots) - len(shown),
            "open": _text_of(_key(open_one)) if open_one else None,
            "belt": await self._picture(open_one),
            "tree": await self._tree(open_one) if open_one else [],
        }

    @property
    def again(self) -> float | None:
        if self._to_come:
            return 0.0
        if self._has_foreign:
            return self.unheard  # the events of other queues come to no panel of this one
        if self._belt is None or self._is_virtual:
            return None
        return _EACH_SECOND if self._belt.counts[ACTIVE] or self._belt.counts[DELAYED] else None

    def asks(self) -> Mapping[str, Action]:
        return {
            "open_flow": plainly(self._turn_to),
            "fold": plainly(self._fold),
            "flow_belt": plainly(self._resize),
        }

    def renew(self) -> None:
        self._belt = None  # who comes sees what there is now, not the way there
        self._to_come.clear()

    def _resize(self, message: Message) -> None:
        """Lay its belt out for a page that is wide or narrow, or tell jobs apart otherwise."""
        self._plan = LIVE_NARROW if message.narrow else LIVE
        self._by = known_label(message.by) if message.by else self._by

    def _turn_to(self, message: Message) -> None:
        """Show the tree of another flow; of none if the id is empty."""
        self._open = (message.queue or self.queue.name, message.id) if message.id else None
        self._was_closed = not message.id
        self._folded.clear()
        self._belt = None
        self._to_come.clear()

    def _fold(self, message: Message) -> None:
        """Fold what is below a job, or unfold it."""
        self._folded ^= {(message.queue or self.queue.name, message.id)}

    # -- which flows there are ----------------------------------------------------------------

    async def _roots(self) -> list[JobData]:
        """The tops of the flows that are found, the newest first.

        They are looked for among jobs that wait for children, those that run or failed last, and
        the newest: a store is not asked for all its jobs several times a second.
        """
        store, name = self.queue.store, self.queue.name
        looks = [
            await store.list_jobs(name, state, 0, _MOST_LOOKED_AT, newest_first=True)
            for state in (None, WAITING_CHILDREN, ACTIVE, FAILED)
        ]
        seen: dict[Key, JobData | None] = {_key(job): job for jobs in looks for job in jobs}
        tops = dict(self._known)
        for job in list(seen.values()):
            if job is not None and (job.parent_id or job.children_ids):
                tops[await self._top(job, seen)] = None
        found = [await self._look_up(key, seen) for key in tops]
        roots = sorted(
            (job for job in found if job is not None),
            key=lambda job: (job.created_at, job.sequence),
            reverse=True,
        )
        self._known = {_key(root): None for root in roots[: 2 * _MOST_FLOWS]}
        return roots

    async def _top(self, job: JobData, seen: dict[Key, JobData | None]) -> Key:
        """The highest job above this one that is still there."""
        while job.parent_id is not None:
            parent = await self._look_up(
                (job.parent_queue_name or job.queue_name, job.parent_id), seen
            )
            if parent is None:
                break
            job = parent
        return _key(job)

    async def _look_up(self, key: Key, seen: dict[Key, JobData | None]) -> JobData | None:
        if key not in seen:
            seen[key] = await self.queue.store.get_job(*key)
        return seen[key]

    # -- what is told of them -----------------------------------------------------------------

    async def _flow(self, root: JobData) -> dict[str, Any]:
        """A flow as a line of the list."""
        count = len(root.children_ids)
        children: Iterable[JobData] = ()
        if 0 < count <= _MOST_COUNTED:
            children = await self.queue.store.get_children_jobs(root.queue_name, root.id)
        return self._row(root, 0, list(children))

    async def _tree(self, root: JobData) -> list[dict[str, Any]]:
        """The flow as rows, each with its depth: parents before their children."""
        rows: list[dict[str, Any]] = []
        room = _ROOM_OF_TREE
        todo: list[tuple[int, JobData | int]] = [(0, root)]
        while todo:
            depth, job = todo.pop()
            if isinstance(job, int) or len(rows) >= _MOST_ROWS or room < 0:
                left = job if isinstance(job, int) else _count_jobs(todo) + 1
                rows.append({"key": f"more {len(rows)}", "depth": depth, "more": left})
                if not isinstance(job, int):
                    break
                continue
            children = []
            if job.children_ids:
                children = await self.queue.store.get_children_jobs(job.queue_name, job.id)
            row = self._row(job, depth, children)
            rows.append(row)
            room -= size_of(sendable(row))
            if row["folded"]:
                continue
            shown = _most_telling(children)
            if len(shown) < len(children):
                todo.append((depth + 1, len(children) - len(shown)))
            todo += [(depth + 1, child) for child in reversed(shown)]
        return rows

    async def _picture(self, root: JobData | None) -> dict[str, Any] | None:
        """The flow on its belt; an advance of a virtual clock is played back."""
        if root is None:
            self._belt = None
            self._to_come.clear()
            return None
        if not self._to_come:
            store, before = self.queue.store, self._belt
            now = store.clock.now()
            if self._is_virtual and before is not None and before.now < now:
                self._to_come.extend(await read_way(store, root, now, before))
            else:
                self._to_come.append(await read_flow(store, root, now, before))
        self._belt = self._to_come.popleft()
        picture = belt_picture(self._belt, self._plan, self._by)
        return {"picture": picture, "told": flow_words(self._belt), "by": self._by}

    def _row(self, job: JobData, depth: int, children: list[JobData]) -> dict[str, Any]:
        key = _key(job)
        is_foreign = job.queue_name != self.queue.name
        self._has_foreign |= is_foreign or any(
            child.queue_name != self.queue.name for child in children
        )
        counts = tally(job, children)
        if len(job.children_ids) > _MOST_COUNTED and not children:
            settled = len(job.children_ids) - job.pending_children_count
            counts = dict.fromkeys(counts, 0) | {
                FAILED if job.state is FAILED else COMPLETED: settled,
                WAITING_CHILDREN: job.pending_children_count,
            }
        at, word = instant_of(job)
        return {
            "key": _text_of(key),
            "id": job.id,
            "short_id": shorten_middle(job.id, _SHORT_ID),
            "queue": job.queue_name,
            "foreign": is_foreign,
            "name": job.name,
            "state": str(job.state),
            "depth": depth,
            "more": 0,
            "children": len(job.children_ids),
            "done": counts[COMPLETED],
            "failed": counts[FAILED],
            "ring": ring(counts) if job.children_ids else None,
            "folded": bool(job.children_ids) and key in self._folded,
            "at": at.timestamp() if at else None,
            "at_word": word,
            "text": outcome(job),
        }


def _key(job: JobData) -> Key:
    return job.queue_name, job.id


def _text_of(key: Key) -> str:
    return f"{len(key[0])} {key[0]} {key[1]}"


def _count_jobs(todo: list[tuple[int, JobData | int]]) -> int:
    return sum(job if isinstance(job, int) else 1 for _, job in todo)


def _most_telling(children: list[JobData]) -> list[JobData]:
    """The children that are shown of very many: first those that failed or run, in their order."""
    if len(children) <= _MOST_CHILDREN:
        return children
    places = sorted(
        range(len(children)), key=lambda place: (children[place].state not in _URGENT, place)
    )
    return [children[place] for place in sorted(places[:_MOST_CHILDREN])]
