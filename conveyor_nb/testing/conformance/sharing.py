"""Several stores on one database: to whoever uses one of them they are the same store."""

# ruff: noqa: D102 (the name of a test says what it shows)

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from conveyor_nb.clocks.clock import checkpoint
from conveyor_nb.clocks.virtual import VirtualClock
from conveyor_nb.core import actions as do
from conveyor_nb.core.errors import GroupFullError, LostLockError
from conveyor_nb.core.flow_job import FlowJob
from conveyor_nb.core.job_scheduler import JobScheduler
from conveyor_nb.core.model import ALL_NAMES, JobState, StoreEvent
from conveyor_nb.core.options.job_options import Deduplication, Group, JobOptions
from conveyor_nb.core.options.keep import Keep
from conveyor_nb.core.options.repeat import Repeat
from conveyor_nb.core.options.worker_options import Limiter
from conveyor_nb.core.worker_info import WorkerCommand, WorkerInfo, WorkerStatus
from conveyor_nb.flow import FlowProducer
from conveyor_nb.observable import JobObservable
from conveyor_nb.queue import Queue
from conveyor_nb.stores.events import EventStream
from conveyor_nb.stores.interface import StoreInterface
from conveyor_nb.testing.conformance.base import StoreTests
from conveyor_nb.testing.events import EventLog, StrictEventView, all_told
from conveyor_nb.testing.steps import (
    LOCK_DURATION,
    QUEUE,
    add,
    add_all,
    complete,
    fail,
    ids_in,
    new_job,
    next_id,
    served,
    state_of,
    take,
)
from conveyor_nb.worker import Worker

__all__ = ["SharingTests"]


class SharingTests(StoreTests):
    """What holds over all stores on one database; for stores that can share one."""

    def make_another(self, store: StoreInterface, clock: VirtualClock) -> StoreInterface:
        """Another store on the database of ``store``, with ids that are counted if its are."""
        raise TypeError(
            f"{type(self).__name__} needs a method make_another(self, store, clock) "
            "that returns a store on the same database"
        )

    @pytest_asyncio.fixture
    async def other(
        self, store: StoreInterface, clock: VirtualClock
    ) -> AsyncIterator[StoreInterface]:
        """A second store."""
        async with self.make_another(store, clock) as other:
            yield other

    @pytest_asyncio.fixture
    async def third(
        self, store: StoreInterface, clock: VirtualClock
    ) -> AsyncIterator[StoreInterface]:
        """A third store."""
        async with self.make_another(store, clock) as third:
            yield third

    # -- what there is ------------------------------------------------------------------------

    async def test_what_one_saves_all_have(
        self, store: StoreInterface, other: StoreInterface, third: StoreInterface
    ) -> None:
        saved = await add(store, "a", data={"to": ["ada", 1.5, None]}, priority=2)
        for each in (store, other, third):
            assert await each.get_job(QUEUE, "a") == saved
        assert await other.list_queues() == [QUEUE]
        assert await other.remove_job(QUEUE, "a") is True
        assert await store.remove_job(QUEUE, "a") is False

    async def test_it_outlasts_who_saved_it(
        self, store: StoreInterface, other: StoreInterface, clock: VirtualClock
    ) -> None:
        await add(other, "a", delay="1 minute")
        await other.pause_job_name(QUEUE, "report")
        await other.disconnect()
        assert await state_of(store, "a") is JobState.DELAYED
        assert await store.get_paused_job_names(QUEUE) == {"report"}
        await clock.advance("1 minute")
        assert await served(store) == ["a"]

    async def test_jobs_are_served_in_the_order_they_were_added_by_whomever(
        self, store: StoreInterface, other: StoreInterface
    ) -> None:
        await add(store, "a")
        await add(other, "b")
        await add(store, "c")
        await add(other, "d", lifo=True)
        assert await served(other) == ["d", "a", "b", "c"]

    async def test_ids_are_never_given_twice(
        self, store: StoreInterface, other: StoreInterface, third: StoreInterface
    ) -> None:
        stores = (store, other, third) * 20
        saved = await asyncio.gather(*(one.save_job(new_job()) for one in stores))
        assert len({job.id for job in saved}) == len({job.sequence for job in saved}) == 60

    async def test_of_one_id_or_key_there_is_one_job(
        self, store: StoreInterface, other: StoreInterface, third: StoreInterface
    ) -> None:
        for number in range(10):
            key = f"key-{number}"
            saved = await asyncio.gather(
                *(add(one, deduplication=Deduplication(key=key)) for one in (store, other, third)),
                *(add(one, key, name=f"by {n}") for n, one in enumerate((store, other, third))),
            )
            assert len({job.id for job in saved[:3]}) == 1
            assert len({job.name for job in saved[3:]}) == 1
        assert await store.count_jobs(QUEUE) == 20

    async def test_a_full_group_is_full_for_all(
        self, store: StoreInterface, other: StoreInterface
    ) -> None:
        small = Group("x", max_size=3)
        told = await asyncio.gather(
            *(add(one, group=small) for one in (store, other) * 5), return_exceptions=True
        )
        assert Counter(map(type, told))[GroupFullError] == 7

    # -- work ---------------------------------------------------------------------------------

    async def test_a_job_is_taken_once(
        self, store: StoreInterface, other: StoreInterface, third: StoreInterface
    ) -> None:
        await add_all(store, *map(str, range(30)))
        stores = (store, other, third) * 12
        taken = await asyncio.gather(*(next_id(one) for one in stores))
        assert sorted(filter(None, taken)) == sorted(map(str, range(30)))
        assert taken.count(None) == 6

    async def test_a_late_report_changes_nothing(
        self, store: StoreInterface, other: StoreInterface, clock: VirtualClock
    ) -> None:
        await add(store, "a", attempts=3)
        late = await take(store, "w1")
        await clock.advance(LOCK_DURATION)
        assert [job.id for job in await other.get_stalled_jobs(QUEUE)] == ["a"]
        await other.apply(QUEUE, "a", do.Stall())
        again = await take(other, "w1")
        with pytest.raises(LostLockError):
            await complete(store, late, "late")
        done = await complete(other, again, "in time")
        assert done.returnvalue == "in time"
        assert await store.get_job(QUEUE, "a") == done

    async def test_a_pause_holds_for_all(
        self, store: StoreInterface, other: StoreInterface
    ) -> None:
        await add_all(store, "a", "b")
        await add(store, "c", name="report")
        await other.pause_job_name(QUEUE, "send")
        assert await next_id(store) == "c"
        await store.pause_job_name(QUEUE, ALL_NAMES)
        await other.resume_job_name(QUEUE, "send")
        assert await next_id(other) is None
        await store.resume_job_name(QUEUE, ALL_NAMES)
        assert await served(other) == ["a", "b"]

    async def test_limits_hold_over_all(
        self, store: StoreInterface, other: StoreInterface, clock: VirtualClock
    ) -> None:
        await add_all(store, *"abcdefgh")
        limiter = Limiter(3, "10s")
        taken = [await next_id(one, limiter=limiter) for one in (store, other) * 2]
        assert taken == ["a", "b", "c", None]
        await clock.advance(10)
        assert await next_id(other, limiter=limiter) == "d"
        assert await next_id(store, max_global_concurrency=4) is None
        assert await next_id(other, max_global_concurrency=5) == "e"

    async def test_a_limit_counts_the_jobs_of_those_who_know_of_none(
        self, store: StoreInterface, other: StoreInterface
    ) -> None:
        limiter = Limiter(2, "10s")
        assert await next_id(store, limiter=limiter) is None  # it is known from now on
        await add_all(store, *"abc")
        assert [await next_id(other), await next_id(other)] == ["a", "b"]
        assert await next_id(store, limiter=limiter) is None

    async def test_groups_take_turns_over_all(
        self, store: StoreInterface, other: StoreInterface
    ) -> None:
        for group in "xyz":
            await add_all(store, *(f"{group}{n}" for n in range(3)), group=Group(group))
        taken = [await next_id(one) for one in (store, other, other) * 3]
        assert taken == [f"{group}{n}" for n in range(3) for group in "xyz"]

    async def test_groups_have_their_limits_over_all(
        self, store: StoreInterface, other: StoreInterface
    ) -> None:
        await add_all(store, *"abc", group=Group("x"))
        assert await next_id(store, group_concurrency=2) == "a"
        assert await next_id(other, group_concurrency=2) == "b"
        assert await next_id(store, group_concurrency=2) is None
        limiter = Limiter(1, "10s")
        await add_all(store, "d", "e", group=Group("y"))
        assert await next_id(other, group_limiter=limiter, group_concurrency=2) == "d"
        assert await next_id(store, group_limiter=limiter, group_concurrency=2) is None

    async def test_what_is_kept_by_count_is_counted_over_all(
        self, store: StoreInterface, other: StoreInterface
    ) -> None:
        for number, one in enumerate((store, other) * 3):
            await add(one, str(number), remove_on_complete=Keep(count=2))
            await complete(one, await take(one))
        assert await ids_in(store) == ["4", "5"]

    async def test_what_is_kept_by_age_goes_whoever_is_there(
        self, store: StoreInterface, other: StoreInterface, clock: VirtualClock
    ) -> None:
        await add(other, "a", remove_on_complete="10s")
        await complete(other, await take(other))
        await all_told(other, store)
        await other.disconnect()
        await store.count_jobs(QUEUE)
        await clock.advance(11)
        await all_told(store)
        assert await state_of(store, "a") is None

    # -- families and schedules ---------------------------------------------------------------

    async def test_a_parent_waits_for_children_of_all(
        self, store: StoreInterface, other: StoreInterface
    ) -> None:
        children = [FlowJob("part", QUEUE) for _ in range(6)]
        node = await FlowProducer(store=store).add(FlowJob("whole", "sums", children=children))
        jobs = [await take(one) for one in (store, other) * 3]
        pairs = zip((other, store) * 3, jobs, strict=True)
        await asyncio.gather(*(complete(one, job, job.id) for one, job in pairs))
        whole = await other.get_job("sums", node.job.id)
        assert whole is not None
        assert (whole.state, whole.pending_children_count) == (JobState.WAITING, 0)
        values = await store.get_children_values("sums", node.job.id)
        assert values == {job.id: job.id for job in jobs}

    async def test_a_schedule_is_one_for_all(
        self,
        store: StoreInterface,
        other: StoreInterface,
        third: StoreInterface,
        clock: VirtualClock,
    ) -> None:
        wanted = JobScheduler("nightly", QUEUE, Repeat(every=60), "report", None, JobOptions())
        await asyncio.gather(*(one.upsert_job_scheduler(wanted) for one in (store, other, third)))
        for run in range(1, 4):
            assert await store.count_jobs(QUEUE, JobState.WAITING) == 1
            job = await take((store, other, third)[run % 3])
            await complete((other, third, store)[run % 3], job)
            assert await other.count_jobs(QUEUE, JobState.COMPLETED) == run
            assert await third.count_jobs(QUEUE, JobState.DELAYED) == 1
            await clock.advance(60)
            moved = await asyncio.gather(
                *(one.promote_delayed_jobs(QUEUE) for one in (store, other, third))
            )
            assert sum(moved) <= 1, "a timer may have been first"
        assert (await store.get_job_schedulers(QUEUE))[0].runs == 4

    # -- events -------------------------------------------------------------------------------

    async def test_all_are_told_the_same_in_the_same_order(
        self, store: StoreInterface, other: StoreInterface, third: StoreInterface
    ) -> None:
        stores = (store, other, third)
        logs = [EventLog() for _ in stores]
        views = [StrictEventView() for _ in stores]
        faults: list[Exception] = []

        def watch(view: StrictEventView, event: StoreEvent) -> None:
            try:
                view(event)
            except AssertionError as error:
                faults.append(error)

        for one in stores:
            await all_told(one)
        for one, log, view in zip(stores, logs, views, strict=True):
            one.subscribe(QUEUE, log.append)
            one.subscribe(QUEUE, lambda event, view=view: watch(view, event))  # type: ignore[misc]

        async def live(one: StoreInterface) -> None:
            for _ in range(10):
                await add(one, attempts=2)
                if (job := await one.fetch_next_job(QUEUE, "w", LOCK_DURATION)) is not None:
                    await fail(one, job)
                if (job := await one.fetch_next_job(QUEUE, "w", LOCK_DURATION)) is not None:
                    await complete(one, job)
                await one.pause_job_name(QUEUE, "report")
                await one.resume_job_name(QUEUE, "report")

        await asyncio.gather(*map(live, stores))
        for one in stores:
            for to in stores:
                await all_told(one, to)
        assert faults == []
        assert len(logs[0]) > 100
        assert logs[0] == logs[1] == logs[2]
        held = {job.id: job.state for job in await store.list_jobs(QUEUE)}
        assert views[0].states_in(QUEUE) == views[2].states_in(QUEUE) == held

    async def test_a_job_is_followed_from_wherever(
        self, store: StoreInterface, other: StoreInterface
    ) -> None:
        job = await Queue(QUEUE, store=store).add("send", {"to": "ada"})
        told: list[object] = []
        elsewhere = await Queue(QUEUE, store=other).get_job(job.id)
        assert elsewhere is not None
        observable = JobObservable(other, QUEUE, job.id)
        observable.subscribe(
            on_active=lambda _: told.append("active"),
            on_completed=lambda _, result: told.append(result),
        )
        waiting = asyncio.create_task(elsewhere.wait_until_finished())
        async with Worker(QUEUE, lambda job: f"sent to {job.data['to']}", store=store):
            assert await waiting == "sent to ada"
        await all_told(store, other)
        await checkpoint()
        assert told[:1] == ["active"]

    async def test_a_result_is_told_though_its_job_goes(
        self, store: StoreInterface, other: StoreInterface
    ) -> None:
        job = await Queue(QUEUE, store=other).add("send", remove_on_complete=True)
        waiting = asyncio.create_task(job.wait_until_finished())
        await all_told(other)
        await complete(store, await take(store), {"sent": ["ada"]})
        assert await waiting == {"sent": ["ada"]}
        assert await state_of(other, job.id) is None

    async def test_workers_of_different_stores_are_told_apart(
        self, store: StoreInterface, other: StoreInterface, third: StoreInterface
    ) -> None:
        ids = [one.new_worker_id("mailer") for one in (store, other, third) for _ in range(2)]
        assert len({*ids}) == 6
        assert all(one.startswith("mailer-") for one in ids)

    async def test_a_worker_takes_what_another_store_was_given(
        self, store: StoreInterface, other: StoreInterface
    ) -> None:
        queue = Queue(QUEUE, store=other)
        async with Worker(QUEUE, lambda job: job.data, store=store, concurrency=2):
            for number in range(5):
                job = await queue.add("send", number)
                assert await job.wait_until_finished() == number

    async def test_a_job_is_cancelled_from_wherever(
        self, store: StoreInterface, other: StoreInterface
    ) -> None:
        begun = asyncio.Event()

        async def hang(_: object) -> None:
            begun.set()
            await asyncio.Event().wait()

        async with Worker(QUEUE, hang, store=store):
            job = await Queue(QUEUE, store=other).add("send")
            await begun.wait()
            await job.cancel()
            with pytest.raises(Exception, match="cancelled"):
                await job.wait_until_finished()

    async def test_workers_are_listed_for_all(
        self, store: StoreInterface, other: StoreInterface, clock: VirtualClock
    ) -> None:
        worker = WorkerInfo("w1", "w", QUEUE, 1, WorkerStatus.RUNNING, clock.now())
        await store.save_worker(worker)
        assert await other.list_workers(QUEUE) == [worker]
        await clock.advance(5)
        await store.renew_locks(QUEUE, "w1", {}, LOCK_DURATION)
        assert (await other.list_workers())[0].last_seen == clock.now()

    async def test_a_worker_obeys_what_it_is_told_through_another_store(
        self, store: StoreInterface, other: StoreInterface
    ) -> None:
        async with (
            Queue(QUEUE, store=other).events() as events,
            Worker(QUEUE, lambda job: job.data, store=store) as worker,
        ):
            await next_of(events, "worker:started")
            for command, wanted in (
                (WorkerCommand("paused", concurrency=3), "worker:paused"),
                (WorkerCommand("running"), "worker:started"),
                (WorkerCommand("closed"), "worker:closed"),
            ):
                await other.command_worker(worker.id, command)
                await next_of(events, wanted)
                assert all(one.command is None for one in await other.list_workers(QUEUE))
            assert worker.concurrency == 3
            assert await other.list_workers(QUEUE) == []


async def next_of(events: EventStream, kind: str) -> None:
    """Wait until something happens."""
    while (await anext(events)).type != kind:
        pass
