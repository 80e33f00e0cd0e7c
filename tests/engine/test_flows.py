"""Flows from the producer to the last worker: how they are added, run, fail and are mended."""

from __future__ import annotations

import dataclasses
import random
import re
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any, Unpack

import pytest
import pytest_asyncio

from conveyor_nb import (
    Deduplication,
    FlowJob,
    FlowProducer,
    Job,
    JobCancelledError,
    JobFailedError,
    JobKeywords,
    JobNotFoundError,
    JobOptions,
    JobState,
    MemoryStore,
    PayloadError,
    Queue,
    Repeat,
    StoreEvent,
    VirtualClock,
    Worker,
)
from conveyor_nb.flow import FlowNode

Work = Callable[..., Worker]


@pytest.fixture
def flows(store: MemoryStore) -> FlowProducer:
    return FlowProducer(store=store)


@pytest_asyncio.fixture
async def work(store: MemoryStore) -> AsyncIterator[Work]:
    """Starts workers of any queue; each is closed after the test."""
    workers: list[Worker] = []

    def work(queue_name: str, handler: Callable[..., Any], **options: Any) -> Worker:
        workers.append(Worker(queue_name, handler, store=store, **options))
        return workers[-1]

    yield work
    for worker in workers:
        await worker.close(timeout=0)


async def give_data(job: Job) -> Any:
    """Complete with the payload; a payload of ``None`` fails the attempt."""
    if job.data is None:
        raise ValueError("no number")
    return job.data


async def add_up(job: Job) -> int:
    return sum((await job.get_children_values()).values())


def number(data: Any, queue: str = "numbers", **opts: Unpack[JobKeywords]) -> FlowJob:
    return FlowJob("number", queue, data, opts)


def total(*children: FlowJob, queue: str = "sums", **opts: Unpack[JobKeywords]) -> FlowJob:
    return FlowJob("total", queue, None, opts, list(children))


# -- adding ---------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_a_flow_comes_back_as_the_tree_it_is(flows: FlowProducer) -> None:
    node = await flows.add(
        FlowJob(
            "report",
            "reports",
            {"year": 2027},
            JobOptions(attempts=3, job_id="root"),
            children=(total(number(1), number(2, delay=60)), number(3, "spares")),
        )
    )

    def outline(node: FlowNode) -> Any:
        return (node.job.id, str(node.job.state), [outline(child) for child in node.children])

    assert outline(node) == (
        "root",
        "waiting-children",
        [
            (
                "sums-1",
                "waiting-children",
                [("numbers-1", "waiting", []), ("numbers-2", "delayed", [])],
            ),
            ("spares-1", "waiting", []),
        ],
    )
    assert (node.job.data, node.job.opts.attempts) == ({"year": 2027}, 3)
    assert (node.job.pending_children_count, node.job.children_ids) == (2, ("sums-1", "spares-1"))


@pytest.mark.asyncio
async def test_relatives_find_each_other(flows: FlowProducer) -> None:
    root = await flows.add(total(total(number(1), queue="parts"), number(2)))
    part, leaf = root.children

    assert await root.job.get_parent() is None
    for node in root.children:
        parent = await node.job.get_parent()
        assert parent is not None
        assert parent.id == root.job.id
    assert [job.id for job in await root.job.get_dependencies()] == [part.job.id, leaf.job.id]
    assert await leaf.job.get_dependencies() == []
    await root.job.remove()
    assert await leaf.job.get_parent() is None


@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        (number(threading.Lock()), PayloadError, "number"),
        (number(1, repeat=Repeat(every=60)), ValueError, "flow job 'number': .*repeat"),
        (number(1, deduplication=Deduplication(key="a")), ValueError, "deduplication"),
        (total(number(1), delay=60), ValueError, "flow job 'total': .*delay"),
        (number(1, attempts=0), ValueError, "flow job 'number': attempts"),
        (number(1, atempts=2), TypeError, "flow job 'number': .*atempts"),  # type: ignore[call-arg]
        (FlowJob("number", "numbers", 1, opts=5), TypeError, "flow job 'number'"),  # type: ignore[arg-type]
        (FlowJob("", "numbers", 1), ValueError, "job name"),
        (number(1, queue=""), ValueError, "queue name"),
        (number(1, queue="a\nb"), ValueError, "queue name"),
        (number(1, job_id="taken"), ValueError, "'taken'"),
        (number(1, job_id="good"), ValueError, "'good'"),
        ({"name": "number"}, TypeError, "FlowJob"),
        (FlowJob("sum", "sums", children={"a": 1}), TypeError, "children must be a list"),  # type: ignore[arg-type]
        (None, TypeError, "FlowJob"),
    ],
)
@pytest.mark.asyncio
async def test_a_flow_with_one_bad_job_is_not_added(
    flows: FlowProducer,
    store: MemoryStore,
    events: list[StoreEvent],
    bad: Any,
    error: type[Exception],
    message: str,
) -> None:
    taken = await Queue("numbers", store=store).add("other", job_id="taken")
    events.clear()
    with pytest.raises(error, match=message):
        await flows.add(total(number(1, job_id="good"), total(bad, queue="parts")))
    assert events == []
    assert [job.id for job in (await store.search_jobs()).jobs] == [taken.id]


@pytest.mark.asyncio
async def test_children_in_two_queues_need_ids_of_their_own(flows: FlowProducer) -> None:
    with pytest.raises(ValueError, match="two children with the id 'a'"):
        await flows.add(total(number(1, job_id="a"), number(1, "spares", job_id="a")))


# -- running --------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_a_parent_runs_when_its_children_are_done(
    flows: FlowProducer, clock: VirtualClock, work: Work
) -> None:
    async def slowly(job: Job) -> Any:
        await job.sleep(job.data)
        return job.data

    work("numbers", slowly, concurrency=3)
    work("sums", add_up)
    root = await flows.add(total(number(3), number(1), number(2)))
    await clock.advance(2.9)
    assert (await root.job.refresh()).pending_children_count == 1
    await clock.advance(0.1)
    assert await root.job.wait_until_finished() == 6
    assert (clock.now() - root.job.created_at).total_seconds() == 3


@pytest.mark.asyncio
async def test_a_plain_handler_can_ask_for_the_values_too(flows: FlowProducer, work: Work) -> None:
    def in_a_thread(job: Any) -> list[Any]:
        values = job.get_children_values()
        return [sum(values.values()), [one.data for one in job.get_dependencies()]]

    work("numbers", give_data)
    work("sums", in_a_thread)
    root = await flows.add(total(number(3), number(4)))
    assert await root.job.wait_until_finished() == [7, [3, 4]]


async def _count_all(store: MemoryStore) -> int:
    return (await store.search_jobs(end=0)).total


@pytest.mark.asyncio
async def test_a_thousand_leaves_on_three_levels_over_five_queues(
    flows: FlowProducer,
    clock: VirtualClock,
    store: MemoryStore,
    work: Work,
    events: list[StoreEvent],
) -> None:
    luck = random.Random(7)

    async def nap(job: Job) -> int:
        await job.sleep(luck.random())
        return int(job.data)

    leaves = [f"leaves-{n}" for n in range(3)]
    for queue in leaves:
        work(queue, nap, concurrency=10)
    work("regions", add_up, concurrency=3)
    work("world", add_up)
    numbers = iter(range(1_000))
    regions = [
        total(*(number(next(numbers), luck.choice(leaves)) for _ in range(50)), queue="regions")
        for _ in range(20)
    ]
    root = await flows.add(total(*regions, queue="world"))
    await clock.advance("10 minutes")

    assert await root.job.wait_until_finished() == sum(range(1_000))
    completed = {
        queue: await store.count_jobs(queue, JobState.COMPLETED)
        for queue in await store.list_queues()
    }
    assert list(completed) == [*leaves, "regions", "world"]
    assert sum(completed.values()) == await _count_all(store) == 1_021
    done: set[str] = set()
    for event in events:
        if event.type == "job:completed":
            done.add(str(event.job_id))
        elif event.type == "job:active" and event.queue_name in ("regions", "world"):
            parent = await store.get_job(event.queue_name, str(event.job_id))
            assert parent is not None
            assert done.issuperset(parent.children_ids)


@pytest.mark.parametrize(("data", "outcome"), [(1, "completed"), (None, "failed")])
@pytest.mark.asyncio
async def test_a_flow_may_be_any_number_of_levels_deep(
    flows: FlowProducer,
    store: MemoryStore,
    clock: VirtualClock,
    work: Work,
    data: Any,
    outcome: str,
) -> None:
    levels = 2_000
    flow = number(data)
    for _ in range(levels):
        flow = total(flow)
    root = await flows.add(flow)
    work("numbers", give_data)
    work("sums", add_up)
    await clock.settle()
    assert (await root.job.refresh()).state == outcome
    assert await store.count_jobs("sums", JobState(outcome)) == levels


# -- failing --------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_a_leaf_that_fails_for_good_fails_the_root(
    flows: FlowProducer, clock: VirtualClock, work: Work, events: list[StoreEvent]
) -> None:
    work("numbers", give_data)
    work("sums", add_up)
    part = total(number(1), number(None, attempts=3, backoff=60))
    root = await flows.add(total(total(part), number(2)))
    await clock.advance(119)
    assert not await root.job.is_failed()
    await clock.advance(1)
    with pytest.raises(JobFailedError, match="child 'sums-2' failed"):
        await root.job.wait_until_finished()
    failed = [event.job_id for event in events if event.type == "job:failed"]
    assert failed == ["numbers-2", "sums-3", "sums-2", "sums-1"]
    assert not [
        event for event in events if event.type == "job:active" and event.queue_name == "sums"
    ]


@pytest.mark.asyncio
async def test_a_parent_may_do_without_failed_children(flows: FlowProducer, work: Work) -> None:
    work("numbers", give_data, concurrency=4)
    work("sums", add_up)
    data = [None if n % 3 == 0 else n for n in range(30)]
    root = await flows.add(total(*map(number, data), fail_parent_on_child_failure="ignore"))
    assert await root.job.wait_until_finished() == sum(filter(None, data))
    assert [job.data for job in await root.job.get_dependencies()] == data


@pytest.mark.asyncio
async def test_whoever_waits_for_a_parent_that_is_removed_is_told_why(
    flows: FlowProducer, work: Work
) -> None:
    work("numbers", give_data)
    root = await flows.add(total(number(None), number(2), fail_parent_on_child_failure="remove"))
    with pytest.raises(JobNotFoundError) as caught:
        await root.job.wait_until_finished()
    assert caught.value.__notes__ == [
        "It was removed: child 'numbers-1' failed: ValueError: no number"
    ]
    assert await root.children[1].job.wait_until_finished() == 2


@pytest.mark.parametrize("policy", ["fail", "remove"])
@pytest.mark.asyncio
async def test_a_failure_goes_up_any_number_of_levels(
    flows: FlowProducer, store: MemoryStore, clock: VirtualClock, work: Work, policy: Any
) -> None:
    levels = 2_000
    flow = number(None)
    for _ in range(levels):
        flow = total(flow, fail_parent_on_child_failure=policy)
    root = await flows.add(total(flow, queue="roots"))
    work("numbers", give_data)
    await clock.settle()
    assert await store.count_jobs("sums") == (levels if policy == "fail" else 0)
    reason = (await root.job.refresh()).failed_reason or ""
    assert reason.startswith("child 'sums-1' failed: child 'sums-2' failed: ")
    assert "characters left out" in reason
    assert reason.endswith("ValueError: no number")
    assert len(reason) < 2_000


@pytest.mark.parametrize("how", ["cancel", "remove"])
@pytest.mark.asyncio
async def test_stopping_a_running_child_fails_its_parent(
    flows: FlowProducer, clock: VirtualClock, work: Work, how: str
) -> None:
    stopped: list[str] = []

    async def hang(job: Job) -> None:
        try:
            await job.sleep("1 day")
        finally:
            stopped.append(job.id)

    work("numbers", hang)
    root = await flows.add(total(total(number(1))))
    await clock.settle()
    leaf = root.children[0].children[0].job
    await getattr(leaf, how)()
    await clock.settle()
    assert stopped == [leaf.id]
    assert await root.job.is_failed()


@pytest.mark.asyncio
async def test_cancelling_the_root_leaves_its_children_to_run(
    flows: FlowProducer, clock: VirtualClock, store: MemoryStore, work: Work
) -> None:
    root = await flows.add(total(number(1), number(2)))
    await root.job.cancel()
    with pytest.raises(JobCancelledError):
        await root.job.wait_until_finished()
    work("numbers", give_data)
    work("sums", add_up)
    await clock.settle()
    assert await store.count_jobs("numbers", JobState.COMPLETED) == 2
    assert await root.job.is_failed()


# -- again ----------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_a_flow_is_mended_by_retrying_the_leaf_and_then_the_root(
    flows: FlowProducer, clock: VirtualClock, work: Work
) -> None:
    work("numbers", give_data)
    work("sums", add_up)
    root = await flows.add(total(number(None), number(2)))
    await clock.settle()
    assert await root.job.is_failed()

    leaf = root.children[0].job
    await leaf.update_data(40)
    await leaf.retry()
    assert await leaf.wait_until_finished() == 40
    await root.job.retry()
    assert await root.job.wait_until_finished() == 42


@pytest.mark.asyncio
async def test_a_parent_that_still_waits_gets_what_the_second_run_gave(
    flows: FlowProducer, clock: VirtualClock, work: Work
) -> None:
    work("numbers", give_data)
    work("sums", add_up)
    root = await flows.add(
        total(number(None), number(2, delay=60), fail_parent_on_child_failure="ignore")
    )
    await clock.settle()
    leaf = root.children[0].job
    await leaf.update_data(40)
    await leaf.retry()
    await clock.advance(60)
    assert await root.job.wait_until_finished() == 42


@pytest.mark.parametrize("jobs", [1, 3_000])
@pytest.mark.asyncio
async def test_a_flow_is_mended_by_retrying_the_root_with_its_children(
    flows: FlowProducer, clock: VirtualClock, store: MemoryStore, work: Work, jobs: int
) -> None:
    broken = True

    async def give(job: Job) -> int:
        if broken and job.data != 0:
            raise ConnectionError("no answer")
        return int(job.data)

    work("numbers", give, concurrency=10)
    work("parts", add_up)
    work("sums", add_up)
    part = total(*(number(1) for _ in range(jobs)), queue="parts")
    root = await flows.add(total(part, number(0)))
    await clock.settle()
    assert (await root.job.refresh()).state == "failed"

    broken = False
    await root.job.retry(children=True)
    assert (root.job.state, root.job.pending_children_count) == ("waiting-children", 1)
    assert await root.job.wait_until_finished() == jobs
    assert len((await root.children[1].job.refresh()).attempt_logs) == 1, "only what failed"


@pytest.mark.asyncio
async def test_a_retried_parent_says_what_it_waits_for(
    flows: FlowProducer, clock: VirtualClock, work: Work
) -> None:
    work("numbers", give_data)
    root = await flows.add(total(*(number(None) for _ in range(7))))
    await clock.settle()
    await root.job.retry()
    said = (
        "waits for failed children 'numbers-1', 'numbers-2', 'numbers-3', 'numbers-4', "
        "'numbers-5' and 2 more: retry them, or this job with retry(children=True)"
    )
    assert root.job.failed_reason == said
    assert repr(root.job) == f"<Job sums-1 'total': waiting-children, {said}>"


@pytest.mark.parametrize("children", [1, "yes", None])
@pytest.mark.asyncio
async def test_retry_takes_a_plain_yes_or_no(flows: FlowProducer, children: Any) -> None:
    root = await flows.add(number(1))
    with pytest.raises(TypeError, match="children must be True or False"):
        await root.job.retry(children=children)


def test_the_options_of_a_flows_job_are_keywords_too() -> None:
    job = FlowJob("sq", "f", 1, attempts=2, children=[FlowJob("x", "f")])
    assert job.opts == JobOptions(attempts=2)
    assert (job.data, len(job.children)) == (1, 1)
    assert dataclasses.replace(job, data=2).opts == job.opts
    for options, told in (
        ({"childern": []}, "unknown option of a FlowJob 'childern'; did you mean 'children'?"),
        ({"atempts": 2}, "did you mean 'attempts'?"),
        ({"attempts": 2, "opts": {"delay": 5}}, "by name or as opts, not both"),
        ({"attempts": 0}, "attempts must be 1 or more, not 0"),
    ):
        with pytest.raises((TypeError, ValueError), match=re.escape(told)):
            FlowJob("sq", "f", 1, **options)
