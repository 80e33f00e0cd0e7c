"""Flows and schedulers in each store, driven by whatever Hypothesis thinks of.

``HYPOTHESIS_PROFILE=deep`` takes a long look; ``--hypothesis-seed=N`` repeats a run, whose seed is
printed when it fails.
"""

from __future__ import annotations

from contextlib import nullcontext
from datetime import datetime, timedelta
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

from conveyor_nb import (
    FlowJob,
    FlowProducer,
    JobState,
    Repeat,
    RetryRefusedError,
    StoreEvent,
)
from conveyor_nb.clocks.virtual import VirtualClock
from conveyor_nb.core import actions as do
from conveyor_nb.core.job_scheduler import JobScheduler
from conveyor_nb.core.lifecycle import SETTLED, TRANSITIONS
from conveyor_nb.core.model import JobData, Lock
from conveyor_nb.core.options.job_options import JobOptions
from conveyor_nb.testing.events import EventLog, EventView
from tests.stores import ALL_STORES, Steps, take_machine

Key = tuple[str, str]

QUEUES = ("a", "b", "c")
SCHEDULERS = ("x", "y")
SECONDS = (1, 10, 40, 200)
LOCK_DURATION = 30.0
START = datetime.fromisoformat("2027-01-01T00:00:00+00:00")
REPEATS = (
    Repeat(every=10),
    Repeat(every=60),
    Repeat(cron="* * * * *"),
    Repeat(every=10, limit=3),
    Repeat(cron="*/2 * * * *", end_date=START + timedelta(minutes=5)),
    Repeat(every=30, start_date=START + timedelta(minutes=2)),
)

queues = st.sampled_from(QUEUES)
job_options = st.fixed_dictionaries(
    {},
    optional={
        "attempts": st.just(2),
        "backoff": st.just(10),
        "remove_on_complete": st.just(True),
        "remove_on_fail": st.just(True),
        "fail_parent_on_child_failure": st.sampled_from(["ignore", "remove"]),
    },
)
leaves = st.builds(
    lambda queue, options, delay: FlowJob("leaf", queue, None, JobOptions(**options, delay=delay)),
    queues,
    job_options,
    st.sampled_from([0, 0, 10]),
)
trees = st.recursive(
    leaves,
    lambda children: st.builds(
        lambda queue, options, own: FlowJob("parent", queue, None, JobOptions(**options), own),
        queues,
        job_options,
        st.lists(children, min_size=1, max_size=3),
    ),
    max_leaves=6,
)


def key_of(job: JobData) -> Key:
    return (job.queue_name, job.id)


class Watcher(EventView):
    """Follows every job by its events, and objects to what must not happen."""

    def __init__(self) -> None:
        super().__init__()
        self.children: dict[Key, tuple[Key, ...]] = {}
        self.parents: dict[Key, Key] = {}
        self.policies: dict[Key, str] = {}
        """What each parent does about failed children."""
        self.lost: set[Key] = set()
        """Children that failed, or were removed before they completed, and did not run again."""
        self.awaited: set[Key] = set()
        """Those of them that a retried parent waits for."""
        self.late: set[Key] = set()
        """Those of them that were lost when their parent had begun: it goes on without them."""
        self.results: dict[Key, Any] = {}
        self.reported: Any = None
        """What the handler returned whose end is reported."""
        self.by_hand: set[Key] = set()
        """Jobs that were retried by hand, now or ever."""
        self.drained: set[str] = set()
        """Queues that are being drained."""

    def __call__(self, event: StoreEvent) -> None:
        before = self.states.get((event.queue_name, event.job_id or ""))
        if event.job_id is not None and "previous" in event.data:
            assert event.data["previous"] == before, f"{event} of a job that was {before}"
        super().__call__(event)
        if event.job_id is None:
            return
        key = (event.queue_name, event.job_id)
        after = self.states.get(key)
        if event.type == "job:removed":
            assert before is not JobState.ACTIVE or event.queue_name not in self.drained
        if event.type in ("job:completed", "job:removed", "job:failed"):
            if event.type == "job:completed":
                self.results[key] = self.reported
            elif before is not JobState.COMPLETED:
                self._lose(key)
        elif event.type == f"job:{after}" and before != after:
            self._check_move(key, before, after)

    def _lose(self, key: Key) -> None:
        known = key in self.lost and key not in self.awaited
        self.lost.add(key)
        self.awaited.discard(key)
        parent = self.parents.get(key)
        if parent is None or known:
            return
        if self.states.get(parent) is not JobState.WAITING_CHILDREN:
            self.late.add(key)

    def _check_move(self, key: Key, before: JobState | None, after: JobState | None) -> None:
        assert before is None or after in TRANSITIONS[before], f"{key}: {before} to {after}"
        if before in SETTLED:
            assert key in self.by_hand, f"{key} went back by itself"
            for book in (self.lost, self.awaited, self.late):
                book.discard(key)
            self.results.pop(key, None)
            if self.policies.get(key) == "fail":
                self.awaited |= self.lost.intersection(self.children[key])
                self.late -= self.awaited
        if after is JobState.ACTIVE:
            assert not self.to_wait_for(key), f"{key} did not wait for {self.to_wait_for(key)}"

    def to_wait_for(self, parent: Key) -> list[Key]:
        """The children that a parent has to wait for."""
        children = self.children.get(parent, ())
        return [one for one in children if one in self.awaited or self.unsettled(one)]

    def unsettled(self, key: Key) -> bool:
        return key in self.states and self.states[key] not in SETTLED

    def can_retry(self, key: Key) -> bool:
        """Whether nobody is gone that a settled job would wait for."""
        children = self.children.get(key, ()) if self.policies.get(key) == "fail" else ()
        return all(one in self.states for one in self.lost.intersection(children))

    def family(self, top: Key) -> list[Key]:
        """A job, its failed children that are there, and theirs."""
        found = [top]
        for key in found:
            found += [
                one for one in self.children.get(key, ()) if one in self.lost & set(self.states)
            ]
        return found


class FlowMachine(RuleBasedStateMachine):
    kind: ClassVar[str]
    """Which of the ``ALL_STORES`` it is about."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = VirtualClock(START)
        self.faults: list[BaseException] = []
        self.store = ALL_STORES[self.kind](
            clock=self.clock,
            ids="sequential",
            seed=0,
            on_event_handler_error=self.faults.append,
        )
        self.run = Steps(self.store)
        self.flows = FlowProducer(store=self.store)
        self.watcher = Watcher()
        self.left_alone: set[Key] = set()
        """Active runs of schedulers that were removed: nobody's run any more."""
        self.runs_before: dict[Key, int] = {}
        """How many runs a scheduler had when it was last changed, maybe to a lower limit."""
        self.store.subscribe(None, self.watcher)

    def teardown(self) -> None:
        self.run.close()

    def jobs(self, *states: JobState) -> list[JobData]:
        found = self.run(self.store.search_jobs(end=None)).jobs
        return [job for job in found if not states or job.state in states]

    def _pick(self, data: st.DataObject, *states: JobState) -> JobData:
        return data.draw(st.sampled_from(self.jobs(*states)), label="job")

    def _has_jobs(self) -> bool:
        return bool(self.watcher.states)

    def _has_active(self) -> bool:
        return JobState.ACTIVE in self.watcher.states.values()

    def _has_settled(self) -> bool:
        return not SETTLED.isdisjoint(self.watcher.states.values())

    # -- flows --------------------------------------------------------------------------------

    @initialize(tree=trees)
    def begin(self, tree: FlowJob) -> None:
        self.add_flow(tree)

    @rule(tree=trees)
    def add_flow(self, tree: FlowJob) -> None:
        todo = [self.run(self.flows.add(tree))]
        while todo:
            node = todo.pop()
            todo += node.children
            key = (node.job.queue_name, node.job.id)
            children = tuple((one.job.queue_name, one.job.id) for one in node.children)
            self.watcher.children[key] = children
            self.watcher.parents |= dict.fromkeys(children, key)
            self.watcher.policies[key] = str(node.job.opts.fail_parent_on_child_failure)

    # -- work ---------------------------------------------------------------------------------

    @rule(queue=queues)
    def fetch(self, queue: str) -> None:
        self.run(self.store.fetch_next_job(queue, "w", LOCK_DURATION))

    @rule(end=st.sampled_from([do.Complete("done"), do.Complete("done"), do.Fail("boom")]))
    def work_all_off(self, end: do.Action) -> None:
        for queue in QUEUES:
            while job := self.run(self.store.fetch_next_job(queue, "w", LOCK_DURATION)):
                self._report(job, end)

    @precondition(_has_active)
    @rule(
        data=st.data(),
        end=st.sampled_from([do.Complete(1), do.Fail("boom"), do.Fail("boom", None, True)]),
    )
    def report(self, data: st.DataObject, end: do.Action) -> None:
        self._report(self._pick(data, JobState.ACTIVE), end)

    @precondition(_has_active)
    @rule(data=st.data(), delay=st.sampled_from([None, 0, 10]))
    def put_back(self, data: st.DataObject, delay: int | None) -> None:
        later = self.clock.now() + timedelta(seconds=delay or 0)
        action = do.Release() if delay is None else do.MoveToDelayed(later)
        self._report(self._pick(data, JobState.ACTIVE), action)

    def _report(self, job: JobData, action: do.Action) -> None:
        lock = Lock("w", len(job.attempt_logs))
        self.watcher.reported = action.returnvalue if isinstance(action, do.Complete) else None
        self.run(self.store.apply(job.queue_name, job.id, action, lock=lock))

    @rule()
    def report_stalls(self) -> None:
        for queue in QUEUES:
            for job in self.run(self.store.get_stalled_jobs(queue)):
                self.run(self.store.apply(queue, job.id, do.Stall()))

    # -- by hand ------------------------------------------------------------------------------

    @precondition(_has_jobs)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        self.run(self.store.cancel_job(*key_of(self._pick(data))))

    @precondition(_has_jobs)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        assert self.run(self.store.remove_job(*key_of(self._pick(data))))

    @precondition(_has_settled)
    @rule(data=st.data())
    def retry(self, data: st.DataObject) -> None:
        job = self._pick(data, *SETTLED)
        key = key_of(job)
        self.watcher.by_hand.add(key)
        with nullcontext() if self.watcher.can_retry(key) else pytest.raises(RetryRefusedError):
            again = self.run(self.store.apply(*key, do.Retry()))
            waits = bool(self.watcher.to_wait_for(key))
            assert again.state == ("waiting-children" if waits else "waiting")
            assert ("waits for failed" in str(again.failed_reason)) == bool(
                self.watcher.awaited.intersection(self.watcher.children.get(key, ()))
            )
            assert (again.processed_at, again.stacktrace) == (None, ())
            assert len(again.attempt_logs) == len(job.attempt_logs)

    def _settled_children(self) -> list[Key]:
        """Those whose parent's turn is to come, or has come."""
        states = self.watcher.states
        begins = (JobState.WAITING, JobState.DELAYED, JobState.ACTIVE)
        return [
            child
            for child, parent in self.watcher.parents.items()
            if states.get(child) in SETTLED and states.get(parent) in begins
        ]

    @precondition(lambda self: bool(self._settled_children()))
    @rule(data=st.data(), fail_parent=st.booleans())
    def retry_a_child_of_a_parent_that_begins(self, data: st.DataObject, fail_parent: bool) -> None:
        key = data.draw(st.sampled_from(self._settled_children()))
        if not self.watcher.can_retry(key):
            return
        self.watcher.by_hand.add(key)
        self.run(self.store.apply(*key, do.Retry()))
        parent = self.run(self.store.get_job(*self.watcher.parents[key]))
        assert parent is not None
        if parent.state is JobState.ACTIVE and fail_parent:
            self._report(parent, do.Fail("boom"))
        else:
            assert parent.state in (JobState.ACTIVE, JobState.WAITING_CHILDREN)

    @precondition(lambda self: JobState.WAITING_CHILDREN in self.watcher.states.values())
    @rule(data=st.data(), begin=st.booleans())
    def let_a_parent_begin(self, data: st.DataObject, begin: bool) -> None:
        parent = self._pick(data, JobState.WAITING_CHILDREN)
        for key in self.watcher.to_wait_for(key_of(parent)):
            self.run(self.store.cancel_job(*key))
        while begin and (job := self.run(self.store.fetch_next_job(parent.queue_name, "w", 30))):
            if job.id == parent.id:
                break

    @precondition(_has_settled)
    @rule(data=st.data())
    def retry_with_children(self, data: st.DataObject) -> None:
        job = self._pick(data, *SETTLED)
        family = self.watcher.family(key_of(job))
        self.watcher.by_hand.update(family)
        before = self.jobs()
        if all(map(self.watcher.can_retry, family)):
            self.run(self.store.retry_family(job.queue_name, job.id))
            assert all(self.watcher.unsettled(key) for key in family)
        else:
            with pytest.raises(RetryRefusedError):
                self.run(self.store.retry_family(job.queue_name, job.id))
            assert self.jobs() == before

    @rule(queue=queues, state=st.sampled_from([JobState.FAILED, JobState.COMPLETED]))
    def retry_jobs(self, queue: str, state: JobState) -> None:
        settled = [key_of(job) for job in self.jobs(state) if job.queue_name == queue]
        self.watcher.by_hand.update(settled)
        refused = [key for key in settled if not self.watcher.can_retry(key)]
        events = EventLog()
        hear = events.append
        self.store.subscribe(queue, hear)
        assert self.run(self.store.retry_jobs(queue, state)) == len(settled) - len(refused)
        self.store.unsubscribe(queue, hear)
        errors = [event.job_id for event in events.of_type("queue:error")]
        assert sorted(map(str, errors)) == sorted(job_id for _, job_id in refused)

    @precondition(_has_settled)
    @rule(data=st.data())
    def tell_a_parent_again(self, data: st.DataObject) -> None:
        job = self._pick(data, *SETTLED)
        completed = job.state is JobState.COMPLETED
        store = self.store
        tell = store.notify_child_completed if completed else store.fail_parent_on_child_failure
        before = self.jobs()
        assert self.run(tell(*key_of(job))) is False
        assert self.jobs() == before

    @rule(seconds=st.sampled_from(SECONDS))
    def advance(self, seconds: int) -> None:
        self.run.on_loop(self.clock.advance(seconds))

    @rule(queue=queues)
    def drain(self, queue: str) -> None:
        self.watcher.drained.add(queue)
        self.run(self.store.drain(queue))
        self.watcher.drained.discard(queue)
        runs = [job for name in SCHEDULERS for job in self._runs(queue, name)]
        waiting = [job for job in self.jobs(*set(JobState) - SETTLED) if job.queue_name == queue]
        for job in waiting:
            assert job.state is JobState.ACTIVE or job in runs, f"{job.id} waits after a drain"

    @rule(queue=queues, state=st.sampled_from(sorted(set(JobState) - {JobState.ACTIVE})))
    def clean(self, queue: str, state: JobState) -> None:
        self.run(self.store.clean(queue, state))

    @rule(queue=queues)
    def promote_jobs(self, queue: str) -> None:
        self.run(self.store.promote_jobs(queue))

    @rule(queue=queues)
    def obliterate(self, queue: str) -> None:
        self.run(self.store.obliterate(queue, force=True))
        assert self.run(self.store.count_jobs(queue)) == 0

    # -- schedulers ---------------------------------------------------------------------------

    @rule(
        queue=queues,
        name=st.sampled_from(SCHEDULERS),
        repeat=st.sampled_from(REPEATS),
        options=job_options,
    )
    def upsert(self, queue: str, name: str, repeat: Repeat, options: dict[str, Any]) -> None:
        wanted = JobScheduler(name, queue, repeat, "run", None, JobOptions(**options))
        self.runs_before[queue, name] = self.run(self.store.upsert_job_scheduler(wanted)).runs

    @rule(queue=queues, name=st.sampled_from(SCHEDULERS))
    def pause(self, queue: str, name: str) -> None:
        self.run(self.store.pause_job_scheduler(queue, name))

    @rule(queue=queues, name=st.sampled_from(SCHEDULERS))
    def resume(self, queue: str, name: str) -> None:
        self.run(self.store.resume_job_scheduler(queue, name))

    @rule(queue=queues, name=st.sampled_from(SCHEDULERS))
    def remove_scheduler(self, queue: str, name: str) -> None:
        self.run(self.store.remove_job_scheduler(queue, name))
        self.left_alone |= {key_of(job) for job in self._runs(queue, name)}

    def _runs(self, queue: str, name: str) -> list[JobData]:
        """The unsettled runs that belong to the chain of a scheduler."""
        others = self.left_alone | self.watcher.by_hand
        return [
            job
            for job in self.jobs(*set(JobState) - SETTLED)
            if (job.queue_name, job.scheduler_id) == (queue, name) and key_of(job) not in others
        ]

    # -- what always holds --------------------------------------------------------------------

    @invariant()
    def events_tell_the_whole_story(self) -> None:
        assert not self.faults, self.faults[-1]
        assert self.watcher.states == {key_of(job): job.state for job in self.jobs()}

    @invariant()
    def parents_know_how_many_children_are_pending(self) -> None:
        for parent in self.jobs():
            key = key_of(parent)
            own = self.watcher.children.get(key, ())
            assert parent.children_ids == tuple(job_id for _, job_id in own)
            assert parent.pending_children_count == len(self.watcher.to_wait_for(key))
            listed = self.run(self.store.get_children_jobs(*key))
            assert [key_of(job) for job in listed] == [
                one for one in own if one in self.watcher.states
            ]
            values = self.run(self.store.get_children_values(*key))
            results = self.watcher.results
            assert values == {one[1]: results[one] for one in own if one in results}

    @invariant()
    def a_parent_waits_as_long_as_it_has_to_and_no_longer(self) -> None:
        for parent in self.jobs(JobState.WAITING, JobState.DELAYED, JobState.WAITING_CHILDREN):
            waits = parent.state is JobState.WAITING_CHILDREN
            assert bool(self.watcher.to_wait_for(key_of(parent))) == waits

    @invariant()
    def no_parent_waits_in_spite_of_a_failure(self) -> None:
        for parent in self.jobs(JobState.WAITING_CHILDREN):
            lost = self.watcher.lost.intersection(self.watcher.children[key_of(parent)])
            lost -= self.watcher.awaited | self.watcher.late
            policy = parent.opts.fail_parent_on_child_failure
            assert not lost or policy == "ignore", f"{parent.id} waits in spite of {lost}"

    @invariant()
    def each_chain_has_one_run_to_come(self) -> None:
        for queue in QUEUES:
            schedulers = self.run(self.store.get_job_schedulers(queue))
            assert len({one.id for one in schedulers}) == len(schedulers)
            for scheduler in schedulers:
                self._check_chain(scheduler, self._runs(queue, scheduler.id))

    def _check_chain(self, scheduler: JobScheduler, runs: list[JobData]) -> None:
        repeat = scheduler.repeat
        before = self.runs_before[scheduler.queue_name, scheduler.id]
        assert repeat.limit is None or scheduler.runs <= max(repeat.limit, before)
        pending = [scheduler.pending_job_id] if scheduler.pending_job_id else []
        assert [job.id for job in runs] == pending
        if scheduler.paused:
            return
        used_up = repeat.limit is not None and scheduler.runs >= repeat.limit
        over = False
        if repeat.end_date is not None:  # of a line that comes every two minutes
            latest = max(scheduler.last_run or START, self.clock.now())
            over = latest > repeat.end_date - timedelta(minutes=2)
        assert runs or used_up or over, f"{scheduler} has no run to come"
        for job in runs:
            assert job.planned_at == scheduler.next_run


@pytest.mark.parametrize("kind", ALL_STORES)
def test_flows_and_schedules_keep_their_promises(pytestconfig: pytest.Config, kind: str) -> None:
    take_machine(FlowMachine, kind, pytestconfig)
