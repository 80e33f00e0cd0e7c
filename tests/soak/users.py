"""Those who use the queues of the soak: each does one random thing after the other."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable

from conveyor_nb import (
    FlowJob,
    FlowProducer,
    GroupFullError,
    InvalidJobStateError,
    Job,
    JobCancelledError,
    JobFailedError,
    JobNotFoundError,
    JobOptions,
    JobState,
    MemoryStore,
    Queue,
    Repeat,
    RetryRefusedError,
    Worker,
)
from tests.soak.handlers import make_handler
from tests.soak.plan import KEPT, PLANS, QueuePlan, random_job
from tests.soak.rules import SETTLED, Key, Rules

__all__ = ["Crew", "User"]

MOST_HELD = 250
"""No more is added to a queue in which as many jobs are unsettled."""

PACE = 0.01
"""Seconds from one thing that a user does to the next, on average."""

POLICIES = ("fail", "ignore", "remove")
REFUSALS = (
    GroupFullError,
    InvalidJobStateError,
    JobCancelledError,
    JobFailedError,
    JobNotFoundError,
    RetryRefusedError,
    TimeoutError,
)
"""What may come of an action: the job has moved on meanwhile, or there is no room."""


class Crew:
    """The queues and their workers.

    Args:
        store: where the jobs are.
        rules: told of each run.
        logger: told of handlers that don't stop, for instance.
    """

    def __init__(self, store: MemoryStore, rules: Rules, logger: logging.Logger) -> None:
        self.store = store
        self._logger = logger
        self.plans = PLANS
        self.queues = {
            plan.name: Queue(plan.name, store=store, default_job_options=KEPT, logger=logger)
            for plan in PLANS
        }
        self.workers: dict[str, Worker] = {}
        self._rules = rules
        for plan in PLANS:
            self.install(plan)

    def install(self, plan: QueuePlan) -> None:
        """Give a queue a new handler, which takes over from the old one."""
        queue = self.queues[plan.name]
        handler = make_handler(queue, self._rules, plain=plan.plain)
        function = queue.worker(**plan.worker, logger=self._logger)(handler)
        self.workers[plan.name] = function.worker

    async def close(self) -> None:
        """Close all of them."""
        await asyncio.gather(*(worker.close(timeout=5) for worker in self.workers.values()))
        for queue in self.queues.values():
            await queue.close()


class User:
    """Does random things, one after the other.

    Args:
        crew: what they are done to.
        rules: told of what was added, and of errors that nobody should get.
        rng: decides what is done.
        done: counts what was done, and what was refused.
    """

    def __init__(self, crew: Crew, rules: Rules, rng: random.Random, done: Counter[str]) -> None:
        self._crew = crew
        self._rules = rules
        self._rng = rng
        self._done = done
        self._flows = 0
        self._number = rng.randrange(10**9)
        self._actions: dict[Callable[[], Awaitable[None]], int] = {
            self.add: 40,
            self.add_bulk: 6,
            self.add_flow: 12,
            self.add_in_thread: 3,
            self.upsert_schedule: 3,
            self.remove_schedule: 1,
            self.pause: 2,
            self.pause_name: 2,
            self.pause_worker: 1,
            self.retry: 10,
            self.retry_all: 1,
            self.cancel: 8,
            self.promote: 4,
            self.promote_all: 1,
            self.remove: 3,
            self.change: 4,
            self.clean: 1,
            self.drain: 1,
            self.swap: 1,
            self.close_worker: 1,
            self.wait: 4,
            self.observe: 3,
        }

    async def go_on(self, over: asyncio.Event) -> None:
        """Do one thing after the other until it is over."""
        while not over.is_set():
            [act] = self._rng.choices(list(self._actions), list(self._actions.values()))
            name = act.__name__
            try:
                await act()
            except REFUSALS as error:
                self._done[f"{name}: {type(error).__name__}"] += 1
            except Exception as error:
                self._rules.unexpected(name, error)
            else:
                self._done[name] += 1
            await self._crew.store.clock.sleep(self._rng.expovariate(1 / PACE))

    # -- adding -------------------------------------------------------------------------------

    async def add(self) -> None:
        plan, queue = self._pick()
        if self._is_full(queue):
            return
        name, data, options = random_job(self._rng, plan)
        job = await queue.add(name, data, **options)
        self._rules.acknowledge(queue.name, job.id)

    async def add_bulk(self) -> None:
        plan, queue = self._pick()
        if self._is_full(queue):
            return
        jobs = [random_job(self._rng, plan) for _ in range(self._rng.randint(2, 30))]
        added = await queue.add_bulk(
            {"name": name, "data": data, "opts": JobOptions(**options)}
            for name, data, options in jobs
        )
        for job in added:
            self._rules.acknowledge(queue.name, job.id)

    async def add_flow(self) -> None:
        if any(map(self._is_full, self._crew.queues.values())):
            return
        self._flows += 1
        flow, (queue_name, job_id) = self._tree(
            f"flow-{self._number}-{self._flows}", self._rng.randint(1, 3)
        )
        await FlowProducer(store=self._crew.store).add(flow)
        self._rules.acknowledge(queue_name, job_id)

    def _tree(self, job_id: str, depth: int) -> tuple[FlowJob, Key]:
        plan, queue = self._pick()
        name, data, options = random_job(self._rng, plan)
        for option in ("deduplication", "remove_on_complete", "remove_on_fail", "group"):
            options.pop(option, None)
        options |= {"job_id": job_id, "fail_parent_on_child_failure": self._rng.choice(POLICIES)}
        count = self._rng.randint(1, 3) if depth else 0
        children = [self._tree(f"{job_id}.{number}", depth - 1) for number in range(count)]
        if children:
            options.pop("delay", None)
            self._rules.expect_family((queue.name, job_id), [key for _, key in children])
        flow = FlowJob(
            name,
            queue.name,
            data,
            JobOptions(**{**KEPT, **options}),
            [child for child, _ in children],
        )
        return flow, (queue.name, job_id)

    async def add_in_thread(self) -> None:
        """Add on a loop of its own, as a program's other thread does."""
        _, queue = self._pick()
        if self._is_full(queue):
            return

        async def add() -> list[Job]:
            return [await queue.add("naps", {"nap": 0.005}) for _ in range(3)]

        for job in await asyncio.to_thread(lambda: asyncio.run(add())):
            self._rules.acknowledge(queue.name, job.id)

    async def upsert_schedule(self) -> None:
        _, queue = self._pick()
        repeat = self._rng.choice(
            [Repeat(every=self._rng.uniform(0.1, 1)), Repeat(cron="* * * * * *")]
        )
        await queue.upsert_job_scheduler(
            f"schedule-{self._rng.randrange(3)}", repeat, "naps", {"nap": 0.01, "long": 0.2}
        )

    async def remove_schedule(self) -> None:
        _, queue = self._pick()
        await queue.remove_job_scheduler(f"schedule-{self._rng.randrange(3)}")

    # -- pausing ------------------------------------------------------------------------------

    async def pause(self) -> None:
        _, queue = self._pick()
        await queue.pause()
        await self._a_while()
        await queue.resume()

    async def pause_name(self) -> None:
        _, queue = self._pick()
        await queue.pause("naps")
        await self._a_while()
        await queue.resume("naps")

    async def pause_worker(self) -> None:
        worker = self._rng.choice([*self._crew.workers.values()])
        worker.pause()
        await self._a_while()
        if worker in self._crew.workers.values():  # unless another has taken over
            worker.resume()

    # -- one job ------------------------------------------------------------------------------

    async def retry(self) -> None:
        job = await self._some_job(SETTLED)
        if job is not None:
            await job.retry()

    async def cancel(self) -> None:
        if (job := await self._some_job(JobState)) is not None:
            await job.cancel()

    async def promote(self) -> None:
        if (job := await self._some_job([JobState.DELAYED])) is not None:
            await job.promote()

    async def remove(self) -> None:
        if (job := await self._some_job(JobState)) is not None:
            await job.remove()

    async def change(self) -> None:
        job = await self._some_job([JobState.DELAYED, JobState.WAITING])
        if job is None:
            return
        if job.state == JobState.DELAYED:
            await job.change_delay(self._rng.uniform(0, 0.2))
        await job.change_priority(self._rng.randint(-3, 3))
        await job.update_data({**job.data, "changed": True})

    async def wait(self) -> None:
        if (job := await self._some_job(JobState)) is not None:
            await job.wait_until_finished(timeout="300ms")

    async def observe(self) -> None:
        job = await self._some_job(JobState)
        if job is not None:
            job.observe().subscribe(
                on_completed=lambda job, result: None, on_failed=lambda job, reason: None
            )

    # -- a whole queue ------------------------------------------------------------------------

    async def retry_all(self) -> None:
        await self._pick()[1].retry_jobs(self._rng.choice(["failed", "completed"]))

    async def promote_all(self) -> None:
        await self._pick()[1].promote_jobs()

    async def clean(self) -> None:
        await self._pick()[1].clean(self._rng.choice(["completed", "failed", "delayed"]), "100ms")

    async def drain(self) -> None:
        await self._pick()[1].drain()

    async def swap(self) -> None:
        self._crew.install(self._pick()[0])

    async def close_worker(self) -> None:
        plan, _ = self._pick()
        worker = self._crew.workers.pop(plan.name, None)
        if worker is not None:  # unless somebody else does this
            await worker.close(timeout=self._rng.choice([0, 0.1]))
            self._crew.install(plan)

    # -- choosing -----------------------------------------------------------------------------

    def _pick(self) -> tuple[QueuePlan, Queue]:
        plan = self._rng.choice(self._crew.plans)
        return plan, self._crew.queues[plan.name]

    def _is_full(self, queue: Queue) -> bool:
        held = self._rules.held[queue.name]
        return held.total() - sum(held[state] for state in SETTLED) > MOST_HELD

    async def _some_job(self, states: Iterable[JobState]) -> Job | None:
        _, queue = self._pick()
        state = self._rng.choice(list(states))
        jobs = await queue.get_jobs(state, 0, 30)
        return self._rng.choice(jobs) if jobs else None

    async def _a_while(self) -> None:
        await self._crew.store.clock.sleep(self._rng.uniform(0.05, 0.5))
