"""Each store against a reference queue, driven by whatever Hypothesis thinks of.

``HYPOTHESIS_PROFILE=deep`` takes 20,000 steps and more; ``--hypothesis-seed=N`` repeats a run,
whose seed is printed when it fails.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from datetime import timedelta
from typing import Any, ClassVar

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from msgspec.structs import replace

from conveyor_nb import (
    Deduplication,
    Group,
    InvalidJobStateError,
    JobState,
    Keep,
    LostLockError,
    RetryRefusedError,
    StoreEvent,
    VirtualClock,
)
from conveyor_nb.core import actions as do
from conveyor_nb.core.model import ALL_NAMES, JobData, Lock
from conveyor_nb.testing.events import StrictEventView
from conveyor_nb.testing.reference import ReferenceJob, ReferenceQueue
from conveyor_nb.testing.steps import LOCK_DURATION, QUEUE, fetch_options, new_job
from tests.stores import ALL_STORES, Steps, take_machine

NAMES = ("send", "log")
WORKERS = ("w1", "w2")
STARVING = ("delay", "deduplication")
KEYS = ("k1", "k2")
OUTCOMES: list[do.Action] = [do.Complete("late"), do.Fail("late"), do.Release()]
SECONDS = (1, 10, 30)
SETTLED = (JobState.COMPLETED, JobState.FAILED)
UNSETTLED = (JobState.WAITING, JobState.DELAYED, JobState.ACTIVE)
REPORTS = ("complete", "complete", "fail", "fail", "fail_for_good", "release", "put_off", "extend")
BY_HAND = ("cancel", "promote", "retry", "discard", "change_priority", "change_delay", "remove")
MAINTENANCE = [*3 * ["retry", "promote", "promote those due", "clean"], "drain", "obliterate"]
MAINTENANCE += ["obliterate by force"]
KEEPS: list[object] = [True, "10s", Keep(count=1), Keep(age=30, count=2)]

job_options = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(NAMES),
        "attempts": st.integers(1, 3),
        "backoff": st.sampled_from([1, 10]),
        "delay": st.sampled_from([0, 0, *SECONDS]),
        "priority": st.integers(-1, 1),
        "lifo": st.just(True),
        "group": st.sampled_from([Group("x"), Group("y")]),
        "deduplication": st.builds(
            Deduplication, key=st.sampled_from(KEYS), ttl=st.sampled_from([None, 10])
        ),
        "remove_on_complete": st.sampled_from(KEEPS),
        "remove_on_fail": st.sampled_from(KEEPS),
    },
)


class StoreMachine(RuleBasedStateMachine):
    kind: ClassVar[str]
    """Which of the ``ALL_STORES`` it is about."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = VirtualClock()
        self.faults: list[BaseException] = []
        self.store = ALL_STORES[self.kind](
            clock=self.clock,
            ids="sequential",
            seed=0,
            on_event_handler_error=self.faults.append,
        )
        self.run = Steps(self.store)
        self.queue = ReferenceQueue()
        self.old_locks: list[tuple[str, Lock]] = []
        self.usual: dict[str, Any] = {}
        self.view = StrictEventView()
        self.store.subscribe(QUEUE, self._raise)
        self.store.subscribe(QUEUE, self.view)

    def teardown(self) -> None:
        self.run.close()

    @staticmethod
    def _raise(event: StoreEvent) -> None:
        raise InterruptedError(event.type)

    # -- jobs in ------------------------------------------------------------------------------

    @initialize(usual=job_options, count=st.integers(1, 4))
    def begin(self, usual: dict[str, Any], count: int) -> None:
        """Give the jobs of a run something in common, so that it has a theme."""
        self.usual = {name: value for name, value in usual.items() if name not in STARVING}
        self.save([{} for _ in range(count)], None)

    @rule(batch=st.lists(job_options, min_size=1, max_size=4), taken=st.none() | st.randoms())
    def save(self, batch: list[dict[str, Any]], taken: random.Random | None) -> None:
        jobs = [new_job(**{**self.usual, **options}) for options in batch]
        if taken is not None and self.queue.jobs:
            jobs.append(new_job(taken.choice(list(self.queue.jobs)), name="other"))
        saved = self.run(self.store.save_bulk(jobs))
        assert len(saved) == len(jobs)
        for given, kept in zip(jobs, saved, strict=True):
            self._check_saved(given, kept)

    def _check_saved(self, given: JobData, kept: JobData) -> None:
        now = self.clock.now()
        if given.id:
            assert kept.id == given.id
        elif given.deduplication_key and (
            holders := self.queue.key_holders(given.deduplication_key, now)
        ):
            assert kept.id in holders
        else:
            assert kept.id not in self.queue.jobs
            self.queue.add(replace(given, id=kept.id), now)

    # -- work ---------------------------------------------------------------------------------

    @rule(
        worker=st.sampled_from(WORKERS),
        lifo=st.booleans(),
        cap=st.sampled_from([None, None, 2]),
        group_cap=st.sampled_from([None, 1, 2]),
        rounds=st.integers(1, 5),
    )
    def fetch(
        self, worker: str, lifo: bool, cap: int | None, group_cap: int | None, rounds: int
    ) -> None:
        options = fetch_options(lifo=lifo, max_global_concurrency=cap, group_concurrency=group_cap)
        self.run(self.store.promote_delayed_jobs(QUEUE))  # as a fetch does; a look changes nothing
        looked_at = [job.id for job in self.run(self.store.next_jobs(QUEUE, rounds, options))]
        found: list[str] = []
        for _ in range(rounds):
            taken = self.run(self.store.fetch_next_job(QUEUE, worker, LOCK_DURATION, options))
            found += [taken.id] if taken else []
            job = self.queue.fetch(self.clock.now(), lifo=lifo, cap=cap, group_cap=group_cap)
            assert (taken.id if taken else None) == (job.id if job else None)
            if job:
                self.queue.take(job, worker, self.clock.now() + timedelta(seconds=LOCK_DURATION))
            self.check()
        assert looked_at == found

    def _draw(self, data: st.DataObject, jobs: Iterable[ReferenceJob]) -> ReferenceJob:
        job_id = data.draw(st.sampled_from([job.id for job in jobs]), label="job")
        return self.queue.jobs[job_id]

    def _has_active(self) -> bool:
        return bool(self.queue.in_state(JobState.ACTIVE))

    @precondition(_has_active)
    @rule(data=st.data(), ends=st.lists(st.sampled_from(REPORTS), min_size=1, max_size=5))
    def report(self, data: st.DataObject, ends: list[str]) -> None:
        for end in ends:
            if self._has_active():
                getattr(self, f"_{end}")(data)
                self.check()

    def _report(self, data: st.DataObject, action: do.Action) -> ReferenceJob:
        job = self._draw(data, self.queue.in_state(JobState.ACTIVE))
        if data.draw(st.sampled_from([False, False, False, True]), label="cancel it first"):
            self._cancel_it(job)
        self.run(self.store.apply(QUEUE, job.id, action, lock=self._lock_of(job)))
        return job

    def _lock_of(self, job: ReferenceJob) -> Lock:
        assert job.worker is not None
        lock = Lock(job.worker, job.takes)
        self.old_locks.append((job.id, lock))
        return lock

    def _complete(self, data: st.DataObject) -> None:
        self.queue.complete(self._report(data, do.Complete("done")), self.clock.now())

    def _fail(self, data: st.DataObject, *, final: bool = False) -> None:
        job = self._report(data, do.Fail("boom", "Traceback", final))
        self.queue.fail(job, self.clock.now(), final=final)

    def _fail_for_good(self, data: st.DataObject) -> None:
        self._fail(data, final=True)

    def _release(self, data: st.DataObject) -> None:
        self.queue.put_back(self._report(data, do.Release()), self.clock.now())

    def _put_off(self, data: st.DataObject) -> None:
        delay = data.draw(st.sampled_from([0, *SECONDS]), label="delay")
        now = self.clock.now()
        job = self._report(data, do.MoveToDelayed(now + timedelta(seconds=delay)))
        self.queue.put_back(job, now, delay)

    def _extend(self, data: st.DataObject) -> None:
        job = self._report(data, do.ExtendLock(LOCK_DURATION))
        job.lock_until = self.clock.now() + timedelta(seconds=LOCK_DURATION)

    @precondition(_has_active)
    @rule(wait=st.booleans())
    def stall(self, wait: bool) -> None:
        """Everybody is said to have stalled; those whose lock has run out have."""
        active = self.queue.in_state(JobState.ACTIVE)
        if wait:
            first = min(job.lock_until for job in active if job.lock_until)
            self.advance(max((first - self.clock.now()).total_seconds(), 0))
        now = self.clock.now()
        stalled = [job for job in active if job.lock_until and job.lock_until <= now]
        found = self.run(self.store.get_stalled_jobs(QUEUE))
        assert {job.id for job in found} == {job.id for job in stalled}
        for job in active:
            self._lock_of(job)
            self.run(self.store.apply(QUEUE, job.id, do.Stall()))
            if job in stalled:
                self.queue.fail(job, now, final=False, stalled=True)

    def _late_locks(self) -> list[tuple[str, Lock]]:
        """The locks of attempts that are over; if there are some, of a worker that is back."""
        jobs = self.queue.jobs
        late = [
            (job_id, lock)
            for job_id, lock in self.old_locks
            if job_id in jobs and Lock(str(jobs[job_id].worker), jobs[job_id].takes) != lock
        ]
        return [old for old in late if jobs[old[0]].worker == old[1].worker_id] or late

    @precondition(lambda self: bool(self._late_locks()))
    @rule(data=st.data(), action=st.sampled_from(OUTCOMES))
    def report_too_late(self, data: st.DataObject, action: do.Action) -> None:
        job_id, lock = data.draw(st.sampled_from(self._late_locks()))
        with pytest.raises(LostLockError):
            self.run(self.store.apply(QUEUE, job_id, action, lock=lock))

    # -- by hand ------------------------------------------------------------------------------

    @precondition(lambda self: self.queue.jobs)
    @rule(data=st.data(), steps=st.lists(st.sampled_from(BY_HAND), min_size=1, max_size=3))
    def by_hand(self, data: st.DataObject, steps: list[str]) -> None:
        for step in steps:
            if self.queue.jobs:
                getattr(self, f"_{step}")(data)
                self.check()

    def _try(
        self,
        data: st.DataObject,
        action: do.Action,
        *legal: JobState,
        refused: Sequence[ReferenceJob] = (),
    ) -> ReferenceJob | None:
        """Apply an action to any job; ``None``: that was refused, as it had to be."""
        job = self._draw(data, self.queue.jobs.values())
        if job in refused:
            return None
        if job.state in legal:
            self.run(self.store.apply(QUEUE, job.id, action))
            return job
        with pytest.raises(InvalidJobStateError):
            self.run(self.store.apply(QUEUE, job.id, action))
        return None

    def _cancel(self, data: st.DataObject) -> None:
        self._cancel_it(self._draw(data, self.queue.jobs.values()))

    def _cancel_it(self, job: ReferenceJob) -> None:
        self.run(self.store.apply(QUEUE, job.id, do.Cancel()))
        self.queue.cancel(job, self.clock.now())

    def _promote(self, data: st.DataObject) -> None:
        if job := self._try(data, do.Promote(), JobState.DELAYED):
            self.queue.promote([job])

    def _retry(self, data: st.DataObject) -> None:
        now = self.clock.now()
        settled = self.queue.in_state(*SETTLED)
        refused = [job for job in settled if not self.queue.may_retry(job, now)]
        for one in refused:
            with pytest.raises(RetryRefusedError) as caught:
                self.run(self.store.apply(QUEUE, one.id, do.Retry()))
            assert one.key is not None
            assert [caught.value.holder_id] == self.queue.key_holders(one.key, now)
        if job := self._try(data, do.Retry(), *SETTLED, refused=refused):
            self.queue.retry([job], now)

    def _discard(self, data: st.DataObject) -> None:
        if job := self._try(data, do.Discard(), *UNSETTLED):
            job.discarded = True

    def _change_priority(self, data: st.DataObject) -> None:
        priority = data.draw(st.integers(-2, 2), label="priority")
        if job := self._try(data, do.ChangePriority(priority), *UNSETTLED):
            job.priority = priority

    def _change_delay(self, data: st.DataObject) -> None:
        delay = data.draw(st.sampled_from(SECONDS), label="delay")
        if job := self._try(data, do.ChangeDelay(delay), JobState.DELAYED):
            job.delay_until = self.clock.now() + timedelta(seconds=delay)

    def _remove(self, data: st.DataObject) -> None:
        job = self._draw(data, self.queue.jobs.values())
        assert self.run(self.store.remove_job(QUEUE, job.id)) is True
        self.queue.remove([job])

    # -- whole queues -------------------------------------------------------------------------

    @rule(name=st.sampled_from([*NAMES, ALL_NAMES]), pause=st.sampled_from([False, False, True]))
    def pause_or_resume(self, name: str, pause: bool) -> None:
        if pause:
            self.run(self.store.pause_job_name(QUEUE, name))
            self.queue.paused.add(name)
        else:
            self.run(self.store.resume_job_name(QUEUE, name))
            self.queue.paused.discard(name)

    @rule(seconds=st.sampled_from(SECONDS))
    def advance(self, seconds: float) -> None:
        self.run.on_loop(self.clock.advance(seconds))
        self.queue.expire(self.clock.now())

    @rule(
        what=st.sampled_from(MAINTENANCE),
        state=st.sampled_from([JobState.COMPLETED, JobState.FAILED]),
    )
    def maintain(self, what: str, state: JobState) -> None:
        now, jobs, active = self.clock.now(), self.queue.in_state, self._has_active()
        match what:
            case "retry":
                settled = sorted(jobs(state), key=lambda job: job.settled_turn)
                expected = self.queue.retry(settled, now)
                assert self.run(self.store.retry_jobs(QUEUE, state)) == expected
            case "promote":
                expected = self.queue.promote(jobs(JobState.DELAYED))
                assert self.run(self.store.promote_jobs(QUEUE)) == expected
            case "promote those due":
                due = (job for job in jobs(JobState.DELAYED) if job.is_due(now))
                expected = self.queue.promote(due)
                assert self.run(self.store.promote_delayed_jobs(QUEUE)) == expected
            case "clean":
                long_ago = now - timedelta(seconds=10)
                old = [job for job in jobs(state) if job.is_settled_since(long_ago)]
                assert self.run(self.store.clean(QUEUE, state, 10)) == self.queue.remove(old)
            case "drain":
                old = jobs(JobState.WAITING, JobState.DELAYED)
                assert self.run(self.store.drain(QUEUE)) == self.queue.remove(old)

            case "obliterate":
                with pytest.raises(InvalidJobStateError) if active else nullcontext():
                    assert self.run(self.store.obliterate(QUEUE)) == len(self.queue.jobs)
                    self._begin_again()
            case "obliterate by force":
                assert self.run(self.store.obliterate(QUEUE, force=True)) == len(self.queue.jobs)
                self._begin_again()

    def _begin_again(self) -> None:
        self.queue = ReferenceQueue()
        self.old_locks.clear()

    # -- what always holds --------------------------------------------------------------------

    def check(self) -> None:
        """Check it all between two parts of a step, too."""
        self.each_job_is_as_it_should_be()
        self.each_state_lists_its_jobs_in_order()
        self.counts_add_up()
        self.groups_are_counted()
        self.the_events_tell_the_whole_story()

    @invariant()
    def each_job_is_as_it_should_be(self) -> None:
        listed = self.run(self.store.list_jobs(QUEUE))
        assert [job.id for job in listed] == list(self.queue.jobs)
        for job in listed:
            model = self.queue.jobs[job.id]
            assert (job.state, job.attempts_made) == (model.state, model.attempts_made)
            assert (job.locked_by, job.lock_until) == (model.worker, model.lock_until)
            assert (job.delay_until, job.priority) == (model.delay_until, model.priority)
            assert (bool(job.cancelled_at), job.discarded) == (model.cancelled, model.discarded)
            assert (job.completed_at or job.failed_at) == model.settled_at
            assert len(job.attempt_logs) == model.takes
            assert job.attempts_made <= min(job.opts.attempts, len(job.attempt_logs))
            assert [one.ended_at is None for one in job.attempt_logs[:-1]].count(True) == 0
            if job.attempt_logs:
                assert (job.attempt_logs[-1].ended_at is None) == (job.state is JobState.ACTIVE)

    @invariant()
    def each_state_lists_its_jobs_in_order(self) -> None:
        for state in set(JobState) - {JobState.ACTIVE}:
            listed = [job.id for job in self.run(self.store.list_jobs(QUEUE, state))]
            assert listed == self.queue.listed(state), state

    @invariant()
    def counts_add_up(self) -> None:
        counts = self.run(self.store.get_job_counts(QUEUE))
        states = Counter(job.state for job in self.queue.jobs.values())
        assert counts == {state: states[state] for state in JobState}
        assert self.run(self.store.count_jobs(QUEUE)) == sum(counts.values())
        assert self.run(self.store.get_active_count(QUEUE)) == states[JobState.ACTIVE]

    @invariant()
    def groups_are_counted(self) -> None:
        counts = Counter((job.state, job.group) for job in self.queue.jobs.values())
        for group in (None, "x", "y"):
            waiting = self.run(self.store.get_waiting_group_count(QUEUE, group))
            active = self.run(self.store.get_group_active_count(QUEUE, group))
            assert waiting == counts[JobState.WAITING, group]
            assert active == counts[JobState.ACTIVE, group]

    @invariant()
    def the_events_tell_the_whole_story(self) -> None:
        assert self.view.states_in(QUEUE) == {job.id: job.state for job in self.queue.jobs.values()}
        paused = self.run(self.store.get_paused_job_names(QUEUE))
        assert self.view.paused.get(QUEUE, frozenset()) == paused == self.queue.paused

    @invariant()
    def only_the_subscriber_that_raises_was_reported(self) -> None:
        assert all(isinstance(fault, InterruptedError) for fault in self.faults), self.faults[-1]

    @invariant()
    def keys_are_held_by_unfinished_jobs(self) -> None:
        for key in KEYS:
            found = self.run(self.store.find_by_deduplication_key(QUEUE, key))
            holders = self.queue.key_holders(key, self.clock.now())
            assert ([found.id] if found else []) == holders

    @invariant()
    def the_next_due_instant_is_known(self) -> None:
        dues = [job.delay_until for job in self.queue.in_state(JobState.DELAYED) if job.delay_until]
        known = self.run(self.store.get_next_delayed_timestamp(QUEUE))
        assert known == min(dues, default=None)


@pytest.mark.parametrize("kind", ALL_STORES)
def test_the_store_does_what_the_reference_does(pytestconfig: pytest.Config, kind: str) -> None:
    take_machine(StoreMachine, kind, pytestconfig)
