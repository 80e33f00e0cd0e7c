"""Calls that wait, taken together: one transaction, one working set, and a few statements for all.

Steps are taken one after the other over the same rows, so each sees what those before it did, and
whatever they have to know is asked for all of them at once. Those that serve jobs come last, as
they look at what there is to be served.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from conveyor_nb.clocks.clock import Clock
from conveyor_nb.core.errors import ConveyorError
from conveyor_nb.core.fetching import FetchOptions
from conveyor_nb.core.model import JobData, StoreEvent
from conveyor_nb.core.rows import Key, Rows
from conveyor_nb.core.steps.many import promote_due
from conveyor_nb.stores.sql.postgres.answers import ServerAnswers, ServerCounters
from conveyor_nb.stores.sql.postgres.calls import Call, Fetch, Publish, Step, Take
from conveyor_nb.stores.sql.postgres.driving import drive, fetching, outcome
from conveyor_nb.stores.sql.postgres.link import Link
from conveyor_nb.stores.sql.postgres.quick import NotQuickError, Quick, UnseenError
from conveyor_nb.stores.sql.wire.events import Counts, Notice
from conveyor_nb.stores.sql.writing import Writing
from conveyor_nb.stores.working_set.changes import Changes
from conveyor_nb.stores.working_set.loaded import enough
from conveyor_nb.stores.working_set.rows import WorkingSet

__all__ = ["Group", "NotTogetherError"]

_REFUSALS = (ConveyorError, ValueError, TypeError)
"""What a step raises before it has changed anything; all else is a fault of ours."""

_PAUSE = 3
_MOST_HEARD = 1_000
_MOST_APART = 2**20
"""How far from each other numbers begin that are given out by the same count, unseen."""

_EVERY_JOB: Collection[Key] = [("", "")]
"""To a step, only whether there are some makes a difference."""


class NotTogetherError(Exception):
    """One of the calls has failed in a way that leaves nothing good: each is to be taken alone."""


class Group:
    """Takes groups of calls, each within the transaction that is under way.

    Args:
        answers: answers what steps ask.
        clock: tells the instant.
        seed: fixes what chance has a say in.
        followed: the jobs that somebody follows by themselves.
        collects_metrics: whether settled jobs are counted.
    """

    def __init__(
        self,
        answers: ServerAnswers,
        clock: Clock,
        *,
        seed: int | None,
        followed: Collection[Key],
        collects_metrics: bool,
    ) -> None:
        self.answers = answers
        assert isinstance(answers.counters, ServerCounters)
        self.counters = answers.counters
        self._left: tuple[int, int] | None = None
        """What counts all transactions of stores of ours, and the number of the last job.

        As the last transaction that is heard of has left them, or before the one under way.
        """
        self._moved: int | None = None
        """The same count, if what is known holds for as long as nobody else counts."""
        self._paused: str | None = None
        """What was paused."""
        self._heard: dict[int, tuple[int, int]] = {}
        """What transactions of others have made of the count that they began with."""
        self._pause = 0
        """How many more groups are done in a transaction, as others write all the time."""
        self.used_number: int | None = None
        """The last number of the jobs' sequence that the transaction has used."""
        self.writing = Writing(answers)
        self.told: list[StoreEvent] = []
        """What the steps of the transaction have noted."""
        self.results: dict[Key, Any] = {}
        """What jobs returned that somebody follows by themselves."""
        self.lost_results: dict[Key, Any] = {}
        """What jobs returned that are gone: no record has it."""
        self.added = 0
        """How many jobs the transaction adds."""
        self.deferred: list[Call] = []
        """The calls that have to see what the others of their group have changed."""
        self._changed: set[Key] = set()
        self._clock = clock
        self._followed = followed
        self._options: Mapping[str, Any] = {
            "random": random.Random(seed),
            "followed": _EVERY_JOB,  # somebody may, in another process
            "collects_metrics": collects_metrics,
            "freeze": answers.codec.freeze,
        }

    async def begin(self, link: Link, *, is_fresh: bool) -> None:
        """Begin a transaction.

        Args:
            link: where it is under way.
            is_fresh: whether nobody but stores of ours can have changed what is known of queues.
        """
        ((moved, sequence, paused),) = await link.fetch(self.counters.begin_text, ())
        if paused != self._paused or not is_fresh:
            self.writing.forget()
        elif moved != self._moved:
            self._forget_all_but_rows()
        self._paused = paused
        self._begin(moved, sequence)
        self._pause = max(0, self._pause - 1)
        self.answers.lasting.is_guarded = False

    def begin_quick(self, calls: Sequence[Call]) -> bool:
        """Begin what is one statement, by what the last transaction has left; ``False``: not now.

        Where others write all the time they would mostly be there first, and whose turn it is
        among groups is found in a transaction: what is known of it is kept for that.
        """
        while self._left is not None and self._left[0] in self._heard:
            self._left = self._heard.pop(self._left[0])
            self._moved = None
        has_groups = self.answers.known.has_groups
        if (
            self._left is None
            or self._pause
            or any(has_groups.get(one) for one, _ in _by_line(calls))
        ):
            return False
        if self._moved is None:
            self._forget_all_but_rows()
        # another store may begin with the same count at the same time, and one of the two is late:
        # if a connection breaks, the number of a row is to tell whose it is
        self._begin(*self._left, apart=secrets.randbelow(_MOST_APART))
        self.answers.lasting.is_guarded = True
        return True

    def _begin(self, moved: int, sequence: int, *, apart: int = 0) -> None:
        self._moved = None
        self._left = (moved, sequence)
        self.counters.begin(moved + apart, sequence)
        self.told, self.results, self.lost_results = [], {}, {}
        self.deferred, self.added = [], 0
        self._changed.clear()

    def _forget_all_but_rows(self) -> None:
        """Another store has written: rows that are known are looked after by their versions."""
        self.answers.lasting.keeps_rows = True
        self.writing.forget()
        self.answers.lasting.keeps_rows = False

    def hear(self, notice: Notice) -> None:
        """Take note of what another store of ours has done."""
        if notice.counts is not None:
            if len(self._heard) == _MOST_HEARD:
                self._heard.clear()
            before, *after = notice.counts
            self._heard[before] = (after[0], after[1])
        for event in notice.events:
            self.answers.lasting.active.get(event.queue_name, {}).pop(event.job_id or "", None)

    @property
    def counts(self) -> Counts:
        """What counts all transactions, before this one and after, and the last job's number."""
        assert self._left is not None, "it has begun"
        moved, sequence = self.counters.known("moved"), self.counters.known("sequence")
        return (self._left[0], moved or 0, sequence or 0)

    def end(self, version: int | None) -> None:
        """Note that the transaction is committed: what is known holds if it was the last.

        Args:
            version: that of what it has written, if that is known.
        """
        _, moved, sequence = self.counts
        self._moved, self._left = moved, (moved, sequence)
        if version is None:
            self.answers.known.active.clear()
        else:
            self.answers.lasting.written(self._changed, version)

    def give_up(self, *, is_late: bool = False) -> None:
        """Note that what was taken has not been written.

        Args:
            is_late: whether it should have been one statement, and another store was there first.
        """
        self.writing.forget()
        self._moved = None
        if is_late:
            self._pause = _PAUSE

    async def write_quick(
        self, quick: Quick, channels: Sequence[str], payloads: Sequence[str]
    ) -> int | None:
        """Write all that was taken, and tell; see ``Quick.write``."""
        moved, last, _ = self.counts
        assert self._left is not None, "it has begun"
        used, sequence = self.used_number, self._left[1]
        return await quick.write(
            (last, moved),
            None if used is None else (used, sequence),
            self._paused,
            (self.counters.sequence, self.counters.use_text),
            (channels, payloads),
        )

    async def take(self, link: Link, calls: Sequence[Call]) -> None:
        """Do what is wanted, and keep with each call what came of it.

        Raises:
            NotTogetherError: it is to be done for one after the other.
        """
        for own, fetches in _by_line(calls).items():
            await link.ask(self.answers.learn_of(*own, _most_of(fetches)))
        steps = [call for call in calls if isinstance(call.wanted, Take)]
        if steps:
            try:
                await self._take_steps(link, steps)
            except UnseenError as error:
                raise NotQuickError from error
        self.told += [call.wanted.event for call in calls if isinstance(call.wanted, Publish)]
        wanted = [call for call in calls if call.after is None or call.after.error is None]
        for (queue_name, _), fetches in _by_line(wanted).items():
            try:
                await self._promote(link, queue_name)
                await self._take_fetches(link, fetches)
            except UnseenError:
                self.deferred += fetches
        self.used_number = self.counters.take_used()
        await link.ask(self.counters.next("moved"))  # so that others know that there was one
        await link.ask(self.writing.finish())

    async def _take_steps(self, link: Link, calls: Sequence[Call]) -> None:
        wanted = [call.wanted for call in calls if isinstance(call.wanted, Take)]
        about = [job for one in wanted for job in one.about]
        if not self.answers.sequential_ids:
            self.answers.at_once["new_ids"] = enough(len(wanted))
        await self._together(link, calls, [one.step for one in wanted], about)

    async def _take_fetches(self, link: Link, calls: Sequence[Call]) -> None:
        wanted = [call.wanted for call in calls if isinstance(call.wanted, Fetch)]
        self.answers.at_once["in_turn"] = enough(_most_of(calls))
        steps = [fetching(one) for one in wanted]
        await self._together(link, calls, steps, ())

    async def _promote(self, link: Link, queue_name: str) -> None:
        due = await link.ask(self.answers.next_due(queue_name))
        if due is not None and due <= self._clock.now():
            await self._run(link, lambda rows, now: promote_due(rows, queue_name, now), ())

    async def _together(
        self,
        link: Link,
        calls: Sequence[Call],
        steps: Sequence[Step],
        about: Sequence[JobData | Key],
    ) -> None:
        """Take steps over the same rows; keep what came of each."""

        def all_of_them(rows: Rows, now: datetime) -> list[tuple[Any, BaseException | None]]:
            return [outcome(step, rows, now) for step in steps]

        outcomes = await self._run(link, all_of_them, about)
        if self.answers.lasting.is_guarded and any(error for _, error in outcomes):
            raise NotQuickError  # nobody is refused by what may have changed
        for call, (result, error) in zip(calls, outcomes, strict=True):
            if error is not None and len(calls) > 1 and not isinstance(error, _REFUSALS):
                raise NotTogetherError
            call.result, call.error = result, error

    async def _run(self, link: Link, step: Step, about: Sequence[JobData | Key]) -> Any:
        rows = WorkingSet(about, **self._options)
        now = self._clock.now()

        async def commit(changes: Changes) -> None:
            try:
                await link.ask(self.writing.write(changes))
            except UnseenError as error:  # a part of it is written
                raise NotQuickError from error
            self._changed |= changes.jobs.keys()
            self.added += sum(one is None for one in changes.before.values())
            self.told += changes.events
            for key, result in changes.results.items():
                if key in self._followed:
                    self.results[key] = result
                if changes.jobs.get(key, self) is None:
                    self.lost_results[key] = result

        return await drive(link, self.answers, rows, lambda: step(rows, now), commit)


def _by_line(calls: Sequence[Call]) -> dict[tuple[str, FetchOptions], list[Call]]:
    """Those that fetch, by their queue and options."""
    lines: dict[tuple[str, FetchOptions], list[Call]] = {}
    for call in calls:
        if isinstance(call.wanted, Fetch):
            own = (call.wanted.queue_name, call.wanted.options)
            lines.setdefault(own, []).append(call)
    return lines


def _most_of(fetches: Sequence[Call]) -> int:
    return sum(call.wanted.limit for call in fetches if isinstance(call.wanted, Fetch))
