"""Flows of which some jobs are run by one and some by the other."""

from __future__ import annotations

from typing import Any

import pytest

from conveyor_nb import FlowJob, FlowProducer, JobOptions, Worker
from conveyor_nb.core.errors import JobFailedError, JobNotFoundError
from tests.with_original.conftest import Shared

pytestmark = pytest.mark.asyncio


def family(policy: str | None = None) -> dict[str, Any]:
    options = {} if policy is None else {"failParentOnChildFailure": policy}
    children = [
        {"name": "part", "queueName": "parts", "data": number, "opts": {"jobId": f"part-{number}"}}
        for number in (1, 2, 3)
    ]
    return {
        "name": "sum",
        "queueName": "sums",
        "data": {},
        "opts": options,
        "children": children,
    }


async def sum_up(job: Any) -> int:
    return sum((await job.get_children_values()).values())


async def test_a_flow_of_theirs_with_children_that_we_run(shared: Shared) -> None:
    await shared.theirs.ask("work", queue="sums", deed="sum")
    parent = await shared.theirs.ask("flow", flow=family())
    async with Worker("parts", lambda job: job.data * 10, store=shared.ours):
        job = await shared.queue("sums").get_job(parent["id"])
        assert job is not None
        assert await job.wait_until_finished(timeout=30) == 60
    assert await shared.ours.get_children_values("sums", parent["id"]) == {
        f"part-{number}": number * 10 for number in (1, 2, 3)
    }


async def test_a_flow_of_theirs_whose_parent_we_run(shared: Shared) -> None:
    async with Worker("sums", sum_up, store=shared.ours):
        parent = await shared.theirs.ask("flow", flow=family())
        await shared.theirs.ask("work", queue="parts", deed="echo")
        job = await shared.queue("sums").get_job(parent["id"])
        assert job is not None
        assert await job.wait_until_finished(timeout=30) == 6


async def test_flows_of_ours(shared: Shared) -> None:
    children = [FlowJob("part", "parts", number) for number in (1, 2, 3)]
    await shared.theirs.ask("work", queue="parts", deed="echo")
    async with Worker("sums", sum_up, store=shared.ours):
        node = await FlowProducer(store=shared.ours).add(FlowJob("sum", "sums", children=children))
        assert await node.job.wait_until_finished(timeout=30) == 6
    await shared.theirs.ask("work", queue="more sums", deed="sum")
    node = await FlowProducer(store=shared.ours).add(
        FlowJob("sum", "more sums", children=[FlowJob("part", "ours", 1), FlowJob("x", "parts", 2)])
    )
    async with Worker("ours", lambda job: job.data, store=shared.ours):
        assert await node.job.wait_until_finished(timeout=30) == 3
    answer = await shared.theirs.api("GET", "/api/flows?state=completed")
    assert node.job.id in {one["id"] for one in answer["data"]}


@pytest.mark.parametrize("policy", ["fail", "ignore", "remove"])
async def test_a_child_that_they_fail(shared: Shared, policy: str) -> None:
    producer = FlowProducer(store=shared.ours)
    options = JobOptions.of({"fail_parent_on_child_failure": policy})
    async with Worker("sums", sum_up, store=shared.ours):
        node = await producer.add(
            FlowJob(
                "sum",
                "sums",
                opts=options,
                children=[FlowJob("a", "parts", 1), FlowJob("b", "failing", 2)],
            )
        )
        await shared.theirs.ask("work", queue="parts", deed="echo")
        await shared.theirs.ask("work", queue="failing", deed="fail")
        if policy == "fail":
            with pytest.raises(JobFailedError, match="as it was told"):
                await node.job.wait_until_finished(timeout=30)
        elif policy == "remove":
            with pytest.raises(JobNotFoundError):
                await node.job.wait_until_finished(timeout=30)
        else:
            assert await node.job.wait_until_finished(timeout=30) == 1


@pytest.mark.parametrize("policy", ["fail", "ignore", "remove"])
async def test_a_child_that_we_fail(shared: Shared, policy: str) -> None:
    def fail(job: Any) -> int:
        if job.data == 2:
            raise ValueError("no two")
        return int(job.data)

    async with Worker("parts", fail, store=shared.ours):
        parent = await shared.theirs.ask("flow", flow=family(policy))
        await shared.theirs.ask("work", queue="sums", deed="sum")
        job = await shared.queue("sums").get_job(parent["id"])
        assert policy == "remove" or job is not None
        if job is None:
            return
        if policy == "fail":
            with pytest.raises(JobFailedError, match="no two"):
                await job.wait_until_finished(timeout=30)
        elif policy == "remove":
            with pytest.raises(JobNotFoundError):
                await job.wait_until_finished(timeout=30)
        else:
            assert await job.wait_until_finished(timeout=30) == 4


async def test_a_grandparent_of_ours_fails_when_they_fail_a_child(shared: Shared) -> None:
    tree = FlowJob(
        "top", "tops", children=[FlowJob("middle", "sums", children=[FlowJob("b", "failing", 2)])]
    )
    node = await FlowProducer(store=shared.ours).add(tree)
    async with Worker("tops", sum_up, store=shared.ours, stalled_interval=0.2):
        await shared.theirs.ask("work", queue="failing", deed="fail")
        with pytest.raises(JobFailedError):
            await node.job.wait_until_finished(timeout=30)
