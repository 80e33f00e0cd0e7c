"""Following a job or a queue: the one way of all who wait; nothing is missed, nothing is left."""

from __future__ import annotations

import asyncio
import pickle
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Collection
from typing import Any

import pytest

from conveyor_nb import (
    Job,
    JobData,
    JobFailedError,
    JobState,
    MemoryStore,
    Queue,
    StoreEvent,
    VirtualClock,
    Worker,
)
from conveyor_nb.clocks.clock import checkpoint
from conveyor_nb.core import freezing
from conveyor_nb.notebook.progress import progress
from conveyor_nb.stores import EventCallback
from conveyor_nb.stores.following import JobFollower, QueueChanges

Start = Callable[..., Worker]


async def work(job: Job) -> Any:
    """Does what the job's name says."""
    if job.name == "fail":
        raise ValueError("bad address")
    return job.data


@pytest.mark.parametrize(
    ("name", "kind", "data"),
    [
        ("send", "job:completed", {"reason": None, "cancelled": False}),
        ("fail", "job:failed", {"reason": "ValueError: bad address", "cancelled": False}),
        ("cancel", "job:failed", {"reason": "cancelled", "cancelled": True}),
    ],
)
@pytest.mark.asyncio
async def test_an_end_that_was_missed_is_found_in_the_record(
    name: str, kind: str, data: dict[str, Any], queue: Queue, clock: VirtualClock, start: Start
) -> None:
    job = await queue.add(name, "value")
    if name == "cancel":
        await job.cancel()
    start(work)
    await clock.settle()
    with JobFollower(queue.store, queue.name, job.id) as follower:
        end = await follower.wait()

    assert end is not None
    assert end.record is not None
    assert (end.event.type, end.event.data, end.record.id) == (kind, data, job.id)


@pytest.mark.asyncio
async def test_a_job_that_is_gone_has_ended(queue: Queue) -> None:
    with JobFollower(queue.store, queue.name, "emails-9") as follower:
        assert await follower.look() is None
        end = await follower.end

    assert (end.event.type, end.record) == ("job:removed", None)


@pytest.mark.asyncio
async def test_what_happens_before_the_end_is_told_in_order_and_nothing_after_it(
    queue: Queue, clock: VirtualClock, start: Start
) -> None:
    async def count(job: Job) -> None:
        for percent in (10, 90):
            await job.update_progress(percent)

    told: list[str] = []
    job = await queue.add("send")
    follower = JobFollower(queue.store, queue.name, job.id, lambda event: told.append(event.type))
    start(count)
    await clock.settle()
    await job.retry()
    await clock.settle()

    assert told == ["job:active", "job:progress", "job:progress"]
    assert follower.end.result().event.type == "job:completed"


@pytest.mark.parametrize("way", ["end", "close", "disconnect", "lost loop"])
@pytest.mark.asyncio
async def test_who_follows_no_more_leaves_no_subscription(
    way: str, queue: Queue, store: MemoryStore, clock: VirtualClock, start: Start
) -> None:
    job = await queue.add("send")
    before = len(store._subscriptions)

    async def follow() -> JobFollower:
        return JobFollower(store, queue.name, job.id)

    if way == "lost loop":
        thread = threading.Thread(target=lambda: asyncio.run(follow()))
        thread.start()
        await asyncio.to_thread(thread.join)
    else:
        follower = await follow()
    assert len(store._subscriptions) == before + 1
    match way:
        case "close":
            await asyncio.to_thread(follower.close)
            await clock.settle()
            assert follower.end.cancelled()
        case "disconnect":
            await store.disconnect()
            await clock.settle()
            assert follower.end.result().event.type == "store:disconnected"
        case _:
            await job.cancel()

    assert len(store._subscriptions) == (0 if way == "disconnect" else before)


@pytest.mark.asyncio
async def test_changes_between_two_looks_are_one_and_none_is_missed(
    queue: Queue, clock: VirtualClock
) -> None:
    with QueueChanges(queue.store, queue.name, {"job:waiting"}) as changes:
        for name in ("one", "two"):
            await queue.add(name)
        change = await changes.next()
        assert change is not None
        assert change.data["name"] == "one"
        waiting = asyncio.ensure_future(changes.next(timeout=5))
        await queue.pause()
        await clock.advance(5)
        assert await waiting is None, "that is of another kind"
        await queue.add("three")
        assert await changes.next() is not None


@pytest.mark.asyncio
async def test_thousands_who_wait_hear_of_their_own_jobs_alone(
    queue: Queue, clock: VirtualClock, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: Counter[str | None] = Counter()
    hear = JobFollower._hear

    def count(self: JobFollower, event: StoreEvent) -> None:
        heard[event.job_id] += 1
        hear(self, event)

    monkeypatch.setattr(JobFollower, "_hear", count)
    jobs = await queue.add_bulk({"name": "send", "data": n} for n in range(2_000))
    waits = [asyncio.ensure_future(job.wait_until_finished()) for job in jobs]
    await clock.settle()
    start(work, concurrency=10)

    assert await asyncio.gather(*waits) == list(range(2_000))
    assert set(heard.values()) == {1}, "that it has completed"


@pytest.mark.parametrize("way", ["wait", "wait, gone", "wait late", "observe", "observe, gone"])
@pytest.mark.asyncio
async def test_a_result_is_copied_once_on_its_way_in_and_once_on_its_way_out(
    way: str, queue: Queue, clock: VirtualClock, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies: Counter[str] = Counter()

    class Counting:
        HIGHEST_PROTOCOL, STACK_GLOBAL = pickle.HIGHEST_PROTOCOL, pickle.STACK_GLOBAL

        @staticmethod
        def dumps(*arguments: Any) -> bytes:
            copies["in"] += 1
            return pickle.dumps(*arguments)

        @staticmethod
        def loads(packed: bytes) -> Any:
            copies["out"] += 1
            return pickle.loads(packed)

    async def send(job: Job) -> Any:
        return {"to": ["ada"]}

    job = await queue.add("send", remove_on_complete=way.endswith("gone"))
    monkeypatch.setattr(freezing, "pickle", Counting)
    results: list[Any] = []
    if way.startswith("observe"):
        job.observe().subscribe(on_completed=lambda job, result: results.append(result))
    elif way != "wait late":
        waiting = asyncio.ensure_future(job.wait_until_finished())
    await clock.settle()
    start(send)
    await clock.settle()
    if way == "wait late":
        results.append(await job.wait_until_finished())
    elif way.startswith("wait"):
        results.append(await waiting)

    assert results == [{"to": ["ada"]}]
    assert copies == {"in": 1, "out": 1}
    assert way.endswith("gone") or (await job.refresh()).state is JobState.COMPLETED


class LateStore(MemoryStore):
    """Tells who follows one job of it some turns of the loop after it has changed."""

    tells_at_once = False

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._late: dict[EventCallback, EventCallback] = {}
        self.next_read: Callable[[], Awaitable[object]] | None = None
        """What comes before the job is read next."""

    async def get_job(self, queue_name: str, job_id: str) -> JobData | None:
        come_before, self.next_read = self.next_read, None
        if come_before is not None:
            await come_before()
        return await super().get_job(queue_name, job_id)

    def subscribe(
        self,
        queue_name: str | None,
        callback: EventCallback,
        *,
        job_id: str | None = None,
        kinds: Collection[str] | None = None,
    ) -> None:
        async def tell(event: StoreEvent) -> None:
            for _ in range(20):
                await checkpoint()
            callback(event)

        def hear(event: StoreEvent) -> None:
            self._telling = asyncio.ensure_future(tell(event))

        if job_id is not None:
            self._late.setdefault(callback, hear)
            # the job comes to its end between this and the next look
            self.next_read = self.come_between
        late = self._late.get(callback, callback)
        super().subscribe(queue_name, late, job_id=job_id, kinds=kinds)

    def unsubscribe(
        self,
        queue_name: str | None,
        callback: EventCallback | None = None,
        *,
        job_id: str | None = None,
    ) -> None:
        known = self._late.get(callback, callback) if callback else None
        super().unsubscribe(queue_name, known, job_id=job_id)

    async def come_between(self) -> None:
        """Let the job run that was added."""
        worker = Worker("emails", work, store=self, auto_start=False)
        await worker.run_once()
        await worker.close()


@pytest.mark.parametrize("name", ["send", "fail"])
@pytest.mark.parametrize("way", ["wait", "progress", "observe"])
@pytest.mark.asyncio
async def test_a_result_is_had_that_is_told_after_the_job_is_gone(name: str, way: str) -> None:
    async with LateStore() as store:
        queue = Queue("emails", store=store)
        job = await queue.add(name, [1], remove_on_complete=True, remove_on_fail=True)
        if way == "observe":
            told: asyncio.Future[object] = asyncio.get_running_loop().create_future()
            job.observe().subscribe(
                on_completed=lambda _, result: told.set_result(result),
                on_failed=lambda _, reason: told.set_result(reason),
            )
            assert await told == ([1] if name == "send" else "ValueError: bad address")
        elif name == "fail":
            with pytest.raises(JobFailedError, match="bad address"):
                await (job.wait_until_finished() if way == "wait" else progress.gather([job]))
        elif way == "progress":
            assert await progress.gather([job]) == [[1]]
        else:
            assert await job.wait_until_finished() == [1]
        assert await queue.get_job(job.id) is None


class Overtaken(LateStore):
    """Tells who follows a job of its earlier end, after they have seen it start afresh."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._followers: list[EventCallback] = []

    async def come_between(self) -> None:
        """Nothing runs of itself."""

    def subscribe(
        self,
        queue_name: str | None,
        callback: EventCallback,
        *,
        job_id: str | None = None,
        kinds: Collection[str] | None = None,
    ) -> None:
        super().subscribe(queue_name, callback, job_id=job_id, kinds=kinds)
        if job_id is not None:
            self._followers.append(self._late[callback])

    def tell_of(self, event: StoreEvent) -> None:
        """Tell all that have followed a job."""
        for hear in self._followers:
            hear(event)


EARLIER = {"reason": "bad address", "cancelled": False, "name": "send"}


@pytest.mark.parametrize("keeps", [True, False], ids=["kept", "gone"])
@pytest.mark.parametrize("way", ["wait", "observe", "progress"])
@pytest.mark.asyncio
async def test_the_end_of_an_earlier_run_is_not_taken_for_that_of_this_one(
    way: str, keeps: bool, clock: VirtualClock
) -> None:
    results: list[Any] = []

    async def follow(job: Job) -> None:
        if way == "wait":
            results.append(await job.wait_until_finished())
        elif way == "progress":
            results.extend(await progress.gather([job], disable=True))
        else:
            done = asyncio.Event()

            def note(job: Job, result: Any) -> None:
                results.append(result)
                done.set()

            job.observe().subscribe(on_completed=note, on_failed=note)
            await done.wait()

    async with Overtaken(clock=clock) as store:
        queue = Queue("emails", store=store)
        job = await queue.add("send", [1], remove_on_complete=not keeps)
        following = asyncio.ensure_future(follow(job))
        await clock.settle()
        store.tell_of(StoreEvent("job:failed", "emails", job.id, EARLIER, store.clock.now()))
        await clock.settle()
        assert not following.done()
        async with Worker("emails", work, store=store):
            await following
        assert results == [[1]]
        await clock.settle()
        assert len(store._subscriptions) == 0


@pytest.mark.asyncio
async def test_the_last_end_that_was_told_counts_for_a_job_that_is_gone(
    clock: VirtualClock,
) -> None:
    async with Overtaken(clock=clock) as store:
        queue = Queue("emails", store=store)
        job = await queue.add("send", [1], remove_on_complete=True)
        waiting = asyncio.ensure_future(job.wait_until_finished())
        await clock.settle()
        store.tell_of(StoreEvent("job:failed", "emails", job.id, EARLIER, store.clock.now()))
        worker = Worker("emails", work, store=store, auto_start=False)
        await worker.run_once()
        assert await queue.get_job(job.id) is None
        assert not waiting.done()
        assert await waiting == [1]
        await worker.close()


@pytest.mark.asyncio
async def test_a_store_that_fails_at_the_end_of_a_job_holds_up_nobody(
    clock: VirtualClock,
) -> None:
    async with Overtaken(clock=clock) as store:
        queue = Queue("emails", store=store)
        job = await queue.add("send", [1])
        waiting = asyncio.ensure_future(job.wait_until_finished())
        await clock.settle()

        async def fail() -> None:
            store.next_read = fail
            raise ConnectionError("no answer")

        store.next_read = fail
        async with Worker("emails", work, store=store):
            with pytest.raises(ConnectionError, match="no answer"):
                await waiting
