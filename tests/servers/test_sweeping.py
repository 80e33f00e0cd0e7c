"""What programs of Conveyor leave undone, and a worker of ours puts right as it looks around."""

from __future__ import annotations

import pytest

from conveyor_nb import (
    FlowJob,
    FlowProducer,
    JobData,
    JobOptions,
    JobState,
    PgStore,
)
from tests.servers.conveyor import Conveyor

pytestmark = pytest.mark.asyncio


async def swept(store: PgStore, queue_name: str, job_id: str) -> JobData | None:
    await store.get_stalled_jobs(queue_name)
    return await store.get_job(queue_name, job_id)


async def test_a_parent_starts_though_they_died_before_they_told_it(
    theirs: Conveyor, store: PgStore
) -> None:
    flow = FlowJob("sum", "sums", children=[FlowJob("send", "emails", job_id="a")])
    parent = (await FlowProducer(store=store).add(flow)).job
    family = {"parent_id": "p", "parent_queue_name": "sums"}
    for job_id in ("b", "c"):
        await theirs.add(job_id, **family)
    waiting = {"state": "waiting-children", "pending_children_count": 2}
    await theirs.add("p", queue_name="sums", children_ids='["b", "c"]', **waiting)
    for job_id in ("a", "b"):
        assert await theirs.take() == job_id
        await theirs.complete(job_id, 7)
    started = await swept(store, "sums", parent.id)
    assert started is not None
    assert (started.state, started.pending_children_count) == (JobState.WAITING, 0)
    assert await store.get_children_values("sums", parent.id) == {"a": 7}
    unfinished = await swept(store, "sums", "p")
    assert unfinished is not None
    assert unfinished.state is JobState.WAITING_CHILDREN  # for "c"
    assert await theirs.take() == "c"
    await theirs.complete("c", 8)
    finished = await swept(store, "sums", "p")
    assert finished is not None
    assert finished.state is JobState.WAITING


async def test_a_grandparent_hears_what_they_did_to_a_parent(
    theirs: Conveyor, store: PgStore
) -> None:
    inner = FlowJob("sum", "sums", children=[FlowJob("send", "emails")])
    top = (await FlowProducer(store=store).add(FlowJob("all", "tops", children=[inner]))).job
    await theirs.do(
        "UPDATE conveyor_jobs SET state = 'failed', failed_reason = 'Child failed: no',"
        " failed_at = now() WHERE queue_name = 'sums'"
    )
    failed = await swept(store, "tops", top.id)
    assert failed is not None
    assert failed.state is JobState.FAILED
    assert "Child failed: no" in (failed.failed_reason or "")


@pytest.mark.parametrize(
    ("policy", "state"), [("fail", JobState.FAILED), ("ignore", JobState.WAITING), ("remove", None)]
)
async def test_a_child_that_they_removed_without_a_word_counts_as_failed(
    theirs: Conveyor, store: PgStore, policy: str, state: JobState | None
) -> None:
    children = [FlowJob("send", "emails"), FlowJob("send", "emails", remove_on_complete=True)]
    options = JobOptions.of({"fail_parent_on_child_failure": policy})
    flow = FlowJob("sum", "sums", opts=options, children=children)
    node = await FlowProducer(store=store).add(flow)
    first, second = (child.job.id for child in node.children)
    assert await theirs.take() == first
    await theirs.complete(first, 1)
    await theirs.do("UPDATE conveyor_jobs SET pending_children_count = 1 WHERE name = 'sum'")
    await theirs.do("DELETE FROM conveyor_jobs WHERE id = $1", second)
    # of one of the two it was told: it may have been the one that is gone, done as it should be
    found = await swept(store, "sums", node.job.id)
    assert found is not None
    assert found.state is JobState.WAITING
    await theirs.do(
        "UPDATE conveyor_jobs SET state = 'waiting-children', pending_children_count = 2"
        " WHERE name = 'sum'"
    )
    found = await swept(store, "sums", node.job.id)
    assert (None if found is None else found.state) == state


async def test_a_parent_that_waits_for_a_retry_is_left_alone(store: PgStore) -> None:
    flow = FlowJob("sum", "sums", children=[FlowJob("send", "emails")])
    node = await FlowProducer(store=store).add(flow)
    await node.children[0].job.cancel()
    await node.job.retry()
    found = await swept(store, "sums", node.job.id)
    assert found is not None
    assert (found.state, found.pending_children_count) == (JobState.WAITING_CHILDREN, 1)
