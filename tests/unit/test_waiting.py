"""The index of waiting jobs against the plain rule, which sorts a list each time."""

from __future__ import annotations

import os
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import groupby

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.internal.conjecture import engine
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from conveyor_nb.core.fetching import FetchOptions
from conveyor_nb.core.model import ALL_NAMES, JobData
from conveyor_nb.core.options.job_options import JobOptions
from conveyor_nb.core.options.worker_options import GroupLimits, Limiter
from conveyor_nb.core.turns import GroupTurn, in_turn, next_opening, place_of
from conveyor_nb.stores.memory.waiting import WaitingIndex

NAMES = ("send", "log", "sort")
GROUPS = (None, "x", "y")
SECOND = timedelta(seconds=1)
OTHERS = st.sampled_from(
    [None, None, None, GroupLimits(), GroupLimits(2), GroupLimits(limiter=Limiter(1, 2))]
)
"""What a worker now and then asks with in place of the usual limits."""


class WaitingMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.index = WaitingIndex()
        self.now = datetime(2027, 1, 1, tzinfo=UTC)
        self.waiting: list[JobData] = []
        self.active: list[JobData] = []
        self.starts: list[tuple[str | None, datetime]] = []
        self.served: dict[str | None, int] = {}
        self.seen: list[str | None] = []
        self.paused: set[str] = set()
        self.places = 0

    @initialize(
        cap=st.sampled_from([None, None, 1, 2]),
        limiter=st.sampled_from([None, Limiter(2, 3), Limiter(3, 5)]),
    )
    def limit(self, cap: int | None, limiter: Limiter | None) -> None:
        self.limits = GroupLimits(cap, limiter)

    # -- the rule -----------------------------------------------------------------------------

    def _groups(self) -> dict[str | None, GroupTurn]:
        busy = Counter(job.group_id for job in self.active)
        return {
            group: GroupTurn(
                order=self.seen.index(group),
                served=self.served.get(group, 0),
                active=busy[group],
                starts=tuple(instant for one, instant in self.starts if one == group),
            )
            for group in self.seen
        }

    def _line(self, options: FetchOptions) -> list[str]:
        groups, paused = self._groups(), self.paused
        return [job.id for job in in_turn(self.waiting, groups, paused, options, self.now)]

    # -- steps --------------------------------------------------------------------------------

    @rule(
        lanes=st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(GROUPS)), max_size=6),
        priority=st.sampled_from([0, 0, 1, -0.5]),
        lifo=st.booleans(),
    )
    def add(self, lanes: list[tuple[str, str | None]], priority: float, lifo: bool) -> None:
        for name, group in lanes:
            self.places += 1
            job = JobData(
                f"job-{self.places}",
                name,
                "emails",
                opts=JobOptions(lifo=lifo),
                group_id=group,
                priority=priority,
                sequence=self.places,
            )
            self._wait(job)

    def _wait(self, job: JobData) -> None:
        self.index.add(job)
        self.waiting.append(job)
        if job.group_id not in self.seen:
            self.seen.append(job.group_id)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from(self.waiting))
        self.waiting.remove(job)
        self.index.remove(job)
        self._give_back(job.group_id)

    def _give_back(self, group: str | None) -> None:
        self.index.give_back(group)
        if group not in {job.group_id for job in (*self.waiting, *self.active)}:
            self.seen.remove(group)

    @rule(
        lifo=st.booleans(),
        rounds=st.integers(1, 6),
        take=st.sampled_from([True, True, False]),
        other=OTHERS,
    )
    def serve(self, lifo: bool, rounds: int, take: bool, other: GroupLimits | None) -> None:
        options = FetchOptions(lifo=lifo, group=other or self.limits)
        line = self._line(options)
        assert list(self.index.in_turn(options, self.now)) == line
        for _ in range(rounds):
            found = self.index.next_id(options, self.now)
            assert found == (line[0] if line else None)
            if found is None:
                self._check_next_opening(options)
            elif take:
                self._take(found)
                assert line.pop(0) == found

    def _take(self, job_id: str) -> None:
        [job] = [one for one in self.waiting if one.id == job_id]
        self.waiting.remove(job)
        self.active.append(job)
        self.starts.append((job.group_id, self.now))
        self.served[job.group_id] = len(self.starts)
        self.index.remove(job)
        if job.group_id is not None:  # starts are counted from when a limit is first asked about
            self.index._groups[job.group_id].window.opens_at(Limiter(3, 5))
        self.index.note_start(job.group_id, self.now)

    def _check_next_opening(self, options: FetchOptions) -> None:
        """A worker that was given nothing is told to look again, and not too late."""
        told = self.index.next_opening()
        opening = next_opening(self.waiting, self._groups(), self.paused, options, self.now)
        if opening is not None:
            assert told is not None
            assert self.now < told <= opening

    @precondition(lambda self: self.active)
    @rule(data=st.data(), again=st.booleans())
    def end(self, data: st.DataObject, again: bool) -> None:
        job = data.draw(st.sampled_from(self.active))
        self.active.remove(job)
        self.index.note_end(job.group_id)
        if again:
            self._wait(job)
        else:
            self._give_back(job.group_id)

    @rule(name=st.sampled_from([*NAMES, ALL_NAMES]), pause=st.booleans())
    def pause_or_resume(self, name: str, pause: bool) -> None:
        if pause:
            self.paused.add(name)
            self.index.pause(name)
        else:
            self.paused.discard(name)
            self.index.resume(name)

    @rule(seconds=st.integers(1, 4))
    def wait(self, seconds: int) -> None:
        self.now += seconds * SECOND

    # -- what always holds --------------------------------------------------------------------

    @invariant()
    def all_that_waits_is_listed_in_order(self) -> None:
        assert list(self.index) == [job.id for job in sorted(self.waiting, key=place_of)]
        assert len(self.index) == len(self.waiting)

    @invariant()
    def what_is_over_is_given_back(self) -> None:
        """But for the groups whose rate limit still counts their starts, and for stale entries."""
        alive = {job.group_id for job in (*self.waiting, *self.active)}
        kept = alive | {None} | {group.id for _, _, group in self.index._idle}
        kept |= {group.id for _, _, group in self.index._held}
        assert self.index._groups.keys() <= kept
        for group in self.index._groups.values():
            assert len(group.offered) <= 2 * len(group.heads) + 10
        for active, shelf in self.index._shelves.items():
            held = [entry for entry in shelf if entry[2].spot == (active, entry[0])]
            assert len(shelf) <= 2 * len(held) + 20

    @invariant()
    def groups_are_counted(self) -> None:
        waiting = Counter(job.group_id for job in self.waiting)
        active = Counter(job.group_id for job in self.active)
        for group in GROUPS:
            assert self.index.count_in_group(group) == waiting[group]
            assert self.index.active_in_group(group) == active[group]


# See tests/conformance/conftest.py.
engine.MAX_SHRINKING_SECONDS = 60

DEEP = os.environ.get("HYPOTHESIS_PROFILE") == "deep"

TestWaitingIndex = WaitingMachine.TestCase
TestWaitingIndex.settings = settings(
    max_examples=400 if DEEP else 100, stateful_step_count=60, deadline=None, print_blob=True
)


# -- groups that are over ---------------------------------------------------------------------

START = datetime(2027, 1, 1, tzinfo=UTC)
LIMITS = FetchOptions(group=GroupLimits(1, Limiter(1, 10)))


def job_of(group: str | None, sequence: int) -> JobData:
    return JobData(f"job-{sequence}", "send", "emails", group_id=group, sequence=sequence)


def serve(index: WaitingIndex, job: JobData, now: datetime = START) -> None:
    """Take a job, which must be the next one, and end it."""
    assert index.next_id(LIMITS, now) == job.id
    index.remove(job)
    index.note_start(job.group_id, now)
    index.note_end(job.group_id)
    index.give_back(job.group_id)


def test_groups_that_come_one_at_a_time_keep_nobody_waiting() -> None:
    index, options = WaitingIndex(), FetchOptions()
    patient = [job_of("patient", number) for number in range(1_000)]
    for job in patient:
        index.add(job)
    order: list[str | None] = []
    for number in range(1_000, 3_000):
        passing = job_of(f"passing-{number % 700}", number)
        index.add(passing)
        for _ in range(2):
            job_id = index.next_id(options, START)
            job = passing if job_id == passing.id else patient[0]
            if job is not passing:
                patient.pop(0)
            index.remove(job)
            index.note_start(job.group_id, START)
            index.note_end(job.group_id)
            index.give_back(job.group_id)
            order.append(job.group_id)
            if not patient:
                break
        if not patient:
            break
    longest = max(len(list(turns)) for group, turns in groupby(order) if group != "patient")
    assert longest <= 2


def test_the_rate_of_a_group_that_is_over_still_counts() -> None:
    index, now = WaitingIndex(), START
    serve(index, _added(index, job_of("x", 1)), now)
    later = _added(index, job_of("x", 2))
    assert index.next_id(LIMITS, now) is None
    assert index.next_opening() == now + 10 * SECOND
    serve(index, later, now + 10 * SECOND)
    assert index.next_id(LIMITS, now + 20 * SECOND) is None
    assert index._groups == {}


def test_without_other_groups_jobs_are_served_as_if_there_had_been_none() -> None:
    index = WaitingIndex()
    jobs = [_added(index, job_of(group, n)) for n, group in enumerate((None, "x", None, "y"))]
    assert index.has_groups
    for job in (jobs[0], jobs[1], jobs[3]):
        serve(index, job)
    assert index.next_id(LIMITS, START + 10 * SECOND) == jobs[2].id
    assert not index.has_groups
    assert len(index._groups) == 1
    assert index._shelves == {}


def _added(index: WaitingIndex, job: JobData) -> JobData:
    index.add(job)
    return job
