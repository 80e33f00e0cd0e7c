"""The groups of a queue in its panel: what waits and runs of each, whose turn it is, the limits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, ClassVar

from conveyor_nb.core.fetching import FetchOptions
from conveyor_nb.core.model import ACTIVE, DELAYED, WAITING, JobData
from conveyor_nb.core.options.worker_options import GroupLimits
from conveyor_nb.core.values.durations import format_seconds
from conveyor_nb.notebook.panel.sizes import fitting, sendable
from conveyor_nb.notebook.panel.view import Glance, View
from conveyor_nb.worker import live_workers

__all__ = ["GroupsView"]

_MOST_COUNTED = 2_000
"""Among how many jobs of each state the groups are counted; the page is told if there are more."""

_MOST_GROUPS = 100
_ROOM = 20_000
_MOST_TURNS = 50
"""For how many of the next jobs it is told whose they are."""


class GroupsView(View):
    """The groups that have jobs which wait or run, in the order in which they will be served."""

    part: ClassVar[str] = "groups"

    async def read(self, glance: Glance) -> dict[str, Any]:
        store, name = self.queue.store, self.queue.name
        counts: dict[str, Counter[str | None]] = {}
        sizes: dict[str | None, int] = {}
        for state in (WAITING, ACTIVE, DELAYED):
            jobs = await store.list_jobs(name, state, 0, _MOST_COUNTED)
            counts[str(state)] = Counter(job.group_id for job in jobs)
            sizes |= _sizes(jobs)
        limits = self._limits()
        options = FetchOptions(group=limits[0]) if len(limits) == 1 else None
        turns = await store.next_jobs(name, _MOST_TURNS, options)
        turn_of = {job.group_id: place for place, job in reversed([*enumerate(turns, 1)])}
        groups = {group: None for state in counts.values() for group in state}
        rows = [
            {
                "id": group,
                "turn": turn_of.get(group),
                **{state: count[group] for state, count in counts.items()},
                "max_size": sizes.get(group),
            }
            for group in sorted(
                groups, key=lambda one: (turn_of.get(one, _MOST_TURNS + 1), one or "")
            )
        ]
        has_any = any(row["id"] is not None for row in rows)
        shown = fitting(sendable(rows[:_MOST_GROUPS]), _ROOM) if has_any else []
        return {
            "rows": shown,
            "more": len(rows) - len(shown) if has_any else 0,
            "counted": _MOST_COUNTED if self._is_cut(glance) else None,
            "turns": [job.group_id for job in turns[:12]] if has_any else [],
            "limits": [text for limit in limits for text in _in_words(limit)],
        }

    def _limits(self) -> list[GroupLimits]:
        """The limits of the workers here that serve the queue, each once."""
        queue = self.queue
        workers = (one for one in live_workers() if one.store is queue.store)
        found = (one.options.group for one in workers if one.queue_name == queue.name)
        return list(dict.fromkeys(limits for limits in found if limits is not None))

    def _is_cut(self, glance: Glance) -> bool:
        return any(glance.counts[state] > _MOST_COUNTED for state in (WAITING, ACTIVE, DELAYED))


def _sizes(jobs: Iterable[JobData]) -> dict[str | None, int]:
    """How many jobs of a group may wait, as its newest job says."""
    groups = (job.opts.group for job in jobs)
    return {one.id: one.max_size for one in groups if one is not None and one.max_size is not None}


def _in_words(limits: GroupLimits) -> list[str]:
    """The limits of each group.

    >>> from conveyor_nb import Limiter
    >>> _in_words(GroupLimits(concurrency=2, limiter=Limiter(10, "1m")))
    ['2 at once', '10 started in any 1m']
    """
    limiter = limits.limiter
    return [
        *([f"{limits.concurrency} at once"] if limits.concurrency is not None else []),
        *([f"{limiter.max} started in any {format_seconds(limiter.duration)}"] if limiter else []),
    ]
