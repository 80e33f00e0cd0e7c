"""Which jobs may start now, found by statements: paused names, groups and their limits, lines."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from functools import cache
from itertools import islice
from operator import itemgetter
from typing import Any

from conveyor_nb.core import turns
from conveyor_nb.core.fetching import FetchOptions
from conveyor_nb.core.model import ACTIVE, ALL_NAMES, JobData, JobState
from conveyor_nb.core.options.worker_options import GroupLimits, Limiter
from conveyor_nb.core.turns import GroupTurn
from conveyor_nb.stores.sql.asking import Asking
from conveyor_nb.stores.sql.counters import Counters
from conveyor_nb.stores.sql.groups import NO_GROUP, Groups
from conveyor_nb.stores.sql.known import AHEAD, Known
from conveyor_nb.stores.sql.limits import Limits
from conveyor_nb.stores.sql.metrics import SqlMetrics
from conveyor_nb.stores.sql.wire.codec import Codec

__all__ = ["Line", "Serving"]

_GROUPS_AT_ONCE = 32
"""How many groups are read at a time, in the order of their turns."""

_LATE = (1 << 63) - 1
"""Since when a group waits of which that is not known: it comes after those with the same turn."""

_UNPAUSED = "name NOT IN (SELECT job_name FROM conveyor_paused_names WHERE queue_name = ?)"


class Serving:
    """Answers what a step asks that serves jobs.

    Args:
        codec: how rows are written.
        counters: where its numbers are from.
        is_sure: whether the store can tell that nobody else has written, see ``Known``.
    """

    def __init__(
        self, codec: Codec, counters: Counters | None = None, *, is_sure: bool = False
    ) -> None:
        self.codec = codec
        self.known = Known(is_sure=is_sure)
        self.counters = counters or Counters()
        self.groups = Groups(self.counters, codec.instant)
        self.limits = Limits(codec.instant, codec.datetime, codec.flag)
        self.metrics = SqlMetrics(codec.instant, codec.datetime)
        self.select = _selector("conveyor_jobs", codec.job_columns)
        self.select_child = _selector("conveyor_nb_children", codec.child_columns)
        self.select_scheduler = _selector("conveyor_nb_schedulers", codec.scheduler_columns)
        self.select_worker = _selector(
            "conveyor_nb_workers LEFT JOIN conveyor_nb_commands ON worker_id = id",
            (*codec.worker_columns, *codec.command_columns[1:]),
        )

    def forget(self) -> None:
        """Know nothing of what the database holds."""
        self.known.forget()
        self.counters.forget()
        self.groups.forget()
        self.limits.forget()
        self.metrics.forget()

    # -- the questions ------------------------------------------------------------------------

    def paused_names(self, queue_name: str) -> Asking[list[str]]:
        names = self.known.paused.get(queue_name)
        if names is None:
            text = "SELECT job_name FROM conveyor_paused_names WHERE queue_name = ?"
            rows = yield text, (queue_name,)
            names = [row[0] for row in rows]
            if self.known.is_sure:
                self.known.paused[queue_name] = names
        return names

    def has_waiting(self, queue_name: str) -> Asking[bool]:
        where = "queue_name = ? AND state = 'waiting'"
        return bool((yield f"SELECT 1 FROM conveyor_jobs WHERE {where} LIMIT 1", (queue_name,)))

    def active_count(self, queue_name: str) -> Asking[int]:
        where = "queue_name = ? AND state = 'active'"
        rows = yield f"SELECT count(*) FROM conveyor_jobs WHERE {where}", (queue_name,)
        count: int = rows[0][0]
        return count

    def starts(self, queue_name: str, limiter: Limiter) -> Asking[list[datetime]]:
        return self.limits.starts(queue_name, limiter)

    def in_turn(
        self, queue_name: str, options: FetchOptions, now: datetime, most: int
    ) -> Asking[list[JobData]]:
        paused = yield from self.paused_names(queue_name)
        if ALL_NAMES in paused or not most:
            return []
        if not (yield from self._has_groups(queue_name)):
            return (yield from self._only_line(queue_name, paused, options, most))
        waiting: list[JobData] = []
        ready: dict[str | None, GroupTurn] = {}
        yield from self._begin_turns()
        after, are_all = (-1, -1), False
        while len(ready) < most and not are_all:
            rows, are_all = yield from self._some_turns(queue_name, after)
            for name, came, served in rows:
                turn = yield from self._turn(queue_name, name, came, served, options.group)
                room = _room(name or None, turn, options.group, now)
                line: list[JobData] = []
                if room:
                    wanted = Line(queue_name, paused, options, name)
                    line = yield from self._line(wanted, min(room, most))
                if line:
                    waiting += line
                    ready[name or None] = turn
                    if len(ready) == most:
                        break
            if not are_all:
                after = (rows[-1][2], rows[-1][1])
        return list(islice(turns.in_turn(waiting, ready, paused, options, now), most))

    def next_opening(
        self, queue_name: str, options: FetchOptions, now: datetime
    ) -> Asking[datetime | None]:
        if options.group is None or options.group.limiter is None:
            return None
        paused = yield from self.paused_names(queue_name)
        if ALL_NAMES in paused:
            return None
        first: list[JobData] = []
        all_turns: dict[str | None, GroupTurn] = {}
        yield from self._begin_turns()
        strange = yield from self._strange_groups(queue_name)
        for name, came, served in (yield from self._all_turns(queue_name, strange)):
            turn = yield from self._turn(queue_name, name, came, served, options.group)
            all_turns[name or None] = turn
            first += yield from self._line(Line(queue_name, paused, options, name), 1)
        return turns.next_opening(first, all_turns, paused, options, now)

    def count_in_group(self, queue_name: str, group_id: str | None, state: JobState) -> Asking[int]:
        """How many jobs of a group are in a state."""
        of_group = "group_id IS NULL" if group_id is None else "group_id = ?"
        text = f"queue_name = ? AND state = '{state}' AND {of_group}"
        values = (queue_name,) if group_id is None else (queue_name, group_id)
        rows = yield f"SELECT count(*) FROM conveyor_jobs WHERE {text}", values
        count: int = rows[0][0]
        return count

    # -- within -------------------------------------------------------------------------------

    def _has_groups(self, queue_name: str) -> Asking[bool]:
        known = self.known.has_groups.get(queue_name)
        if known is None:
            known = bool((yield _IN_A_GROUP, (queue_name,)))
            if self.known.is_sure:
                self.known.has_groups[queue_name] = known
        return known

    def _only_line(
        self, queue_name: str, paused: Collection[str], options: FetchOptions, most: int
    ) -> Asking[list[JobData]]:
        """The first jobs of a queue without groups."""
        line = Line(queue_name, paused, options)
        if line.lifo or not self.known.is_sure:
            return (yield from self._line(line, most))
        found = self.known.line(queue_name, most)
        if found is None:
            asked = max(most, AHEAD)
            ahead = yield from self._line(line, asked)
            self.known.keep_line(queue_name, ahead, asked)
            found = ahead[:most]
        return found

    def _begin_turns(self) -> Asking[None]:
        """See to it that the turns of groups can be read."""
        yield from self.groups.write()

    def _some_turns(
        self, queue_name: str, after: tuple[int, int]
    ) -> Asking[tuple[list[Any], bool]]:
        """Groups in the order of their turns, after that of one; and whether there are no more."""
        if strange := (yield from self._strange_groups(queue_name)):
            return (yield from self._all_turns(queue_name, strange)), True
        rows = yield _NEXT_TURNS, (queue_name, *after, _GROUPS_AT_ONCE)
        return rows, len(rows) < _GROUPS_AT_ONCE

    def _all_turns(self, queue_name: str, strange: Mapping[str, int]) -> Asking[list[Any]]:
        """All groups in the order of their turns, with strange ones."""
        rows = yield _TURNS, (queue_name,)
        if strange:
            known = {row[0] for row in rows}
            for one, at in strange.items():
                if one not in known:
                    rows.append((one, _LATE, max(at, self.groups.served(queue_name, one))))
            rows.sort(key=itemgetter(2, 1))
        return rows

    def _turn(
        self, queue_name: str, name: str, came: int, served: int, limits: GroupLimits | None
    ) -> Asking[GroupTurn]:
        """The turn of a group, with what its limits ask for."""
        active, starts = 0, tuple[datetime, ...]()
        if name != NO_GROUP and limits is not None:
            if limits.concurrency is not None:
                active = yield from self.count_in_group(queue_name, name, ACTIVE)
            if limits.limiter is not None:
                found = yield from self.limits.group_starts(queue_name, name, limits.limiter)
                starts = tuple(found)
        return GroupTurn(came, served, active, starts)

    def _strange_groups(self, queue_name: str) -> Asking[Mapping[str, int]]:
        """Groups of which jobs wait that others have added, and the turn that each had last."""
        yield from ()
        return {}

    def _line(self, line: Line, most: int) -> Asking[list[JobData]]:
        """The first jobs of a line."""
        if line.lifo:
            return (yield from self._newest_first(line, most))
        text = self.select(f"{line.where} ORDER BY priority, seq LIMIT ?")
        rows = yield text, (*line.values, most)
        return list(map(self.codec.job, rows))

    def _newest_first(self, line: Line, most: int) -> Asking[list[JobData]]:
        """The newest of the best priority, be they ``lifo`` or not, and those of the next."""
        found: list[JobData] = []
        above = float("-inf")
        while len(found) < most:
            better = f"{line.where} AND priority > ? ORDER BY priority LIMIT 1"
            rows = yield f"SELECT priority FROM conveyor_jobs WHERE {better}", (*line.values, above)
            if not rows:
                break
            above = rows[0][0]
            left, alike = most - len(found), f"{line.where} AND priority = ?"
            newest: list[JobData] = []
            # a lifo job's place in line is the negative of its number
            for own in ("seq < 0 ORDER BY seq", "seq >= 0 ORDER BY seq DESC"):
                text = self.select(f"{alike} AND {own} LIMIT ?")
                rows = yield text, (*line.values, above, left)
                newest += map(self.codec.job, rows)
            newest.sort(key=lambda job: -job.sequence)
            found += newest[:left]
        return found


_IN_A_GROUP = (
    "SELECT 1 FROM conveyor_jobs WHERE queue_name = ? AND state = 'waiting'"
    " AND group_id IS NOT NULL ORDER BY group_id, priority, seq LIMIT 1"
)
"""In an order that only the index of those that wait has, however many are in another state."""

_TURNS = (
    "SELECT group_id, came, served FROM conveyor_nb_groups"
    " WHERE queue_name = ? AND came > 0 ORDER BY served, came"
)
_NEXT_TURNS = (
    "SELECT group_id, came, served FROM conveyor_nb_groups"
    " WHERE queue_name = ? AND came > 0 AND (served, came) > (?, ?) ORDER BY served, came LIMIT ?"
)


class Line:
    """The waiting jobs of a queue, or of one of its groups, that are not paused."""

    __slots__ = ("lifo", "values", "where")

    def __init__(
        self,
        queue_name: str,
        paused: Collection[str],
        options: FetchOptions,
        group_id: str | None = None,
    ) -> None:
        self.lifo = options.lifo
        self.where, self.values = "queue_name = ? AND state = 'waiting'", [queue_name]
        if group_id:
            self.where += " AND group_id = ?"
            self.values.append(group_id)
        elif group_id is not None:
            self.where += " AND group_id IS NULL"
        if paused:
            self.where += f" AND {_UNPAUSED}"
            self.values.append(queue_name)


def _room(group_id: str | None, turn: GroupTurn, limits: GroupLimits | None, now: datetime) -> int:
    """How many jobs of a group may start now, as far as its limits say."""
    room = 1 << 30
    if group_id is not None and limits is not None:
        if limits.concurrency is not None:
            room = max(limits.concurrency - turn.active, 0)
        if limits.limiter is not None:
            room = min(room, turns.room(turn.starts, limits.limiter, now))
    return room


def _selector(table: str, columns: Collection[str]) -> Any:
    """Makes the texts that read rows of a table; each is made once."""
    head = f"SELECT {', '.join(columns)} FROM {table} WHERE "

    @cache
    def select(where: str) -> str:
        return head + where

    return select
