"""The index of waiting jobs against a model that sorts a list each time."""

from __future__ import annotations

import os
from collections import Counter
from datetime import UTC, datetime, timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.internal.conjecture import engine
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from conveyor_nb.durations import to_seconds
from conveyor_nb.model import ALL_NAMES, FetchOptions, JobData
from conveyor_nb.options import JobOptions
from conveyor_nb.stores.waiting import WaitingIndex
from conveyor_nb.worker_options import GroupLimits, Limiter

NAMES = ("send", "log", "sort")
GROUPS = (None, "x", "y")
SECOND = timedelta(seconds=1)


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

    # -- the model ----------------------------------------------------------------------------

    def _opens_at(self, group: str | None) -> datetime:
        """When the rate limit lets one more job of a group start."""
        limiter = self.limits.limiter
        starts = [instant for one, instant in self.starts if one == group]
        if limiter is None or group is None or len(starts) < limiter.max:
            return self.now
        return starts[-limiter.max] + timedelta(seconds=to_seconds(limiter.duration))

    def _offered(self) -> list[JobData]:
        """The jobs that nothing but a rate limit holds back."""
        busy = Counter(job.group_id for job in self.active if job.group_id is not None)
        cap = self.limits.concurrency
        return [
            job
            for job in self.waiting
            if not {job.name, ALL_NAMES} & self.paused
            and (cap is None or job.group_id is None or busy[job.group_id] < cap)
        ]

    def _next(self, *, lifo: bool) -> str | None:
        offered = [job for job in self._offered() if self._opens_at(job.group_id) <= self.now]
        if not offered:
            return None
        groups = {job.group_id for job in offered}
        group = min(groups, key=lambda one: (self.served.get(one, 0), self.seen.index(one)))
        line = [job for job in offered if job.group_id == group]
        if lifo:
            best = min(job.priority for job in line)
            return max((one for one in line if one.priority == best), key=lambda o: o.sequence).id
        return min(line, key=_order).id

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

    @rule(lifo=st.booleans(), rounds=st.integers(1, 6), take=st.sampled_from([True, True, False]))
    def serve(self, lifo: bool, rounds: int, take: bool) -> None:
        for _ in range(rounds):
            found = self.index.next_id(FetchOptions(lifo=lifo, group=self.limits), self.now)
            assert found == self._next(lifo=lifo)
            if found is None:
                self._check_next_opening()
            elif take:
                self._take(found)

    def _take(self, job_id: str) -> None:
        [job] = [one for one in self.waiting if one.id == job_id]
        self.waiting.remove(job)
        self.active.append(job)
        self.starts.append((job.group_id, self.now))
        self.served[job.group_id] = len(self.starts)
        self.index.remove(job)
        self.index.note_start(job.group_id, self.now)

    def _check_next_opening(self) -> None:
        """A worker that was given nothing is told to look again, and not too late."""
        told = self.index.next_opening()
        openings = [self._opens_at(job.group_id) for job in self._offered()]
        if openings:
            assert told is not None
            assert self.now < told <= min(openings)

    @precondition(lambda self: self.active)
    @rule(data=st.data(), again=st.booleans())
    def end(self, data: st.DataObject, again: bool) -> None:
        job = data.draw(st.sampled_from(self.active))
        self.active.remove(job)
        self.index.note_end(job.group_id)
        if again:
            self._wait(job)

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
        assert list(self.index) == [job.id for job in sorted(self.waiting, key=_order)]
        assert len(self.index) == len(self.waiting)

    @invariant()
    def groups_are_counted(self) -> None:
        waiting = Counter(job.group_id for job in self.waiting)
        active = Counter(job.group_id for job in self.active)
        for group in GROUPS:
            assert self.index.count_in_group(group) == waiting[group]
            assert self.index.active_in_group(group) == active[group]


def _order(job: JobData) -> tuple[float, int]:
    return (job.priority, -job.sequence if job.opts.lifo else job.sequence)


# See tests/conformance/conftest.py.
engine.MAX_SHRINKING_SECONDS = 60

DEEP = os.environ.get("HYPOTHESIS_PROFILE") == "deep"

TestWaitingIndex = WaitingMachine.TestCase
TestWaitingIndex.settings = settings(
    max_examples=400 if DEEP else 100, stateful_step_count=60, deadline=None, print_blob=True
)
