"""What has to hold at every moment: told by the events, and seen by looking at the store."""

from __future__ import annotations

import contextlib
import itertools
import threading
import traceback
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from conveyor_nb import Job, JobState, MemoryStore, Queue, StoreEvent
from conveyor_nb.testing.events import StrictEventView
from tests.soak.plan import PLANS

__all__ = ["SETTLED", "Key", "Rules"]

Key = tuple[str, str]
"""A queue's name and a job's id."""

SETTLED = frozenset({JobState.COMPLETED, JobState.FAILED})
EVERYTHING = 1_000_000
LOOKS = 100
"""How often one looks before a difference is one: events of other threads may be on their way."""

CLOCKS = timedelta(milliseconds=1)
"""By how much instants may be rounded."""


class Rules:
    """Watches a store, and notes what should not be.

    Args:
        store: the store.
    """

    def __init__(self, store: MemoryStore) -> None:
        self.violations: list[str] = []
        self.events: Counter[str] = Counter()
        self.runs = 0
        self.held: dict[str, Counter[JobState]] = {plan.name: Counter() for plan in PLANS}
        self._store = store
        self._plans = {plan.name: plan for plan in PLANS}
        self._view = StrictEventView()
        self._families: dict[Key, tuple[Key, ...]] = {}
        self._starts: dict[str, deque[datetime]] = {
            plan.name: deque(maxlen=plan.worker["limiter"].max + 1)
            for plan in PLANS
            if "limiter" in plan.worker
        }
        self._running: set[Key] = set()
        self._gone: deque[Key] = deque(maxlen=10_000)
        self._guard = threading.Lock()
        store.subscribe(None, self.hear)

    def violate(self, what: str) -> None:
        """Note that something does not hold."""
        self.violations.append(what)

    def close(self) -> None:
        """Watch no longer."""
        self._store.unsubscribe(None, self.hear)

    # -- told by events -----------------------------------------------------------------------

    def hear(self, event: StoreEvent) -> None:
        """Take in an event, which has to fit all that is known."""
        self.events[event.type] += 1
        key = (event.queue_name, event.job_id or "")
        before = self._view.states.get(key)
        if event.type == "job:active":
            self._check_start(event)
        try:
            self._view(event)
        except (AssertionError, KeyError) as error:
            self.violate(f"{event.type} of {key}: {error!r}")
        after = self._view.states.get(key)
        if before is not after and event.job_id is not None:
            held = self.held[event.queue_name]
            held[before or JobState.WAITING] -= before is not None
            held[after or JobState.WAITING] += after is not None
            if after is None:
                self._gone.append(key)
                self._families.pop(key, None)

    def _check_start(self, event: StoreEvent) -> None:
        plan = self._plans[event.queue_name]
        paused = self._view.paused.get(plan.name, frozenset())
        if paused & {"__all__", event.data["name"]}:
            self.violate(f"{event.job_id} starts though {sorted(paused)} of {plan.name} is paused")
        for child in self._families.get((plan.name, event.job_id or ""), ()):
            state = self._view.states.get(child)
            if state is not None and state not in SETTLED:
                self.violate(f"{event.job_id} starts though its child {child} is {state}")
        most = plan.worker.get("max_global_concurrency")
        if most is not None and self.held[plan.name][JobState.ACTIVE] >= most:
            self.violate(f"{event.job_id} starts though {most} of {plan.name} are active")
        if (starts := self._starts.get(plan.name)) is not None:
            starts.append(event.timestamp)
            limiter = plan.worker["limiter"]
            soonest = starts[0] + timedelta(seconds=limiter.duration) - CLOCKS
            if len(starts) == starts.maxlen and event.timestamp < soonest:
                self.violate(f"more than {limiter} start in {plan.name}")

    # -- told by those who work with it -------------------------------------------------------

    def expect_family(self, parent: Key, children: Iterable[Key]) -> None:
        """Note the children of a parent that is going to be added."""
        self._families[parent] = tuple(children)

    def acknowledge(self, queue_name: str, job_id: str) -> None:
        """Note that ``add`` has returned a job, which so has to be there, or to have been."""
        key = (queue_name, job_id)
        if key not in self._view.states and key not in self._gone:
            self.violate(f"{key} was added, and is nowhere")

    @contextlib.contextmanager
    def running(self, job: Job) -> Iterator[None]:
        """A handler's run, on whatever thread."""
        key = (job.queue_name, job.id)
        with self._guard:
            self.runs += 1
            if key in self._running:
                self.violate(f"{key} runs twice at once")
            self._running.add(key)
        if job.attempts_made >= job.opts.attempts:
            self.violate(f"{key} runs after {job.attempts_made} of {job.opts.attempts} attempts")
        try:
            yield
        finally:
            with self._guard:
                self._running.discard(key)

    # -- seen in the store --------------------------------------------------------------------

    async def look(self, queues: Iterable[Queue]) -> None:
        """Compare what the store counts and lists with what the events have told."""
        for queue in queues:
            for attempt in itertools.count(1):
                wrong = await self._compare(queue)
                if wrong is None:
                    break
                if attempt == LOOKS:
                    self.violate(f"{queue.name}: {wrong}")
                    break
                await self._store.clock.sleep("2ms")

    async def _compare(self, queue: Queue) -> str | None:
        changes = self.events.total()
        counts = await queue.get_job_counts()
        listed = {state: await queue.get_jobs(state, 0, EVERYTHING) for state in JobState}
        told = self._view.states_in(queue.name)
        if changes != self.events.total():
            return "it never stands still"
        states = {job.id: state for state, jobs in listed.items() for job in jobs}
        if sum(map(len, listed.values())) != len(states):
            return "a job is in two states"
        if counts != {state: len(jobs) for state, jobs in listed.items()}:
            return f"{counts} are counted, and {Counter(states.values())} listed"
        if states != told:
            return f"events and store differ in {dict(told.items() ^ states.items())}"
        unsettled = [job for state, jobs in listed.items() if state not in SETTLED for job in jobs]
        keys = Counter(job.deduplication_key for job in unsettled if job.deduplication_key)
        if any(count > 1 for count in keys.values()):
            return f"unfinished jobs share a key: {keys}"
        jobs = itertools.chain.from_iterable(listed.values())
        if any(job.attempts_made > job.opts.attempts for job in jobs):
            return "a job had too many attempts"
        return None

    def unexpected(self, what: str, error: BaseException) -> None:
        """Note an error that nobody should get."""
        lines = "".join(traceback.format_exception(error))
        self.violate(f"{what}: {error!r}\n{lines}")
