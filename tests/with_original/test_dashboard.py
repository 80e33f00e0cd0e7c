"""Their dashboard over a database on which we work."""

from __future__ import annotations

from typing import Any

import pytest

from conveyor_nb import FlowJob, FlowProducer, Worker
from conveyor_nb.core.errors import JobFailedError
from tests.with_original.conftest import Shared, until

pytestmark = pytest.mark.asyncio


async def test_it_lists_and_shows_what_is_ours(shared: Shared) -> None:
    queue = shared.queue()

    def send(job: Any) -> Any:
        job.log("sending")
        if job.data == "fail":
            raise ValueError("no such address")
        return {1: ("a", 2)}

    async with Worker("emails", send, store=shared.ours):
        good = await queue.add("send", ("ada", 1), priority=2)
        await good.wait_until_finished(timeout=30)
        bad = await queue.add("send", "fail")
        with pytest.raises(JobFailedError):
            await bad.wait_until_finished(timeout=30)
    later = await queue.add("send", {"to": "eve"}, delay="1 hour")
    await FlowProducer(store=shared.ours).add(
        FlowJob("sum", "sums", children=[FlowJob("part", "parts", 1)])
    )
    api = shared.theirs.api
    listed = {one["name"]: one for one in (await api("GET", "/api/queues"))["data"]}
    assert set(listed) == {"emails", "sums", "parts"}
    counts = listed["emails"]["counts"]
    assert (counts["completed"], counts["failed"], counts["delayed"]) == (1, 1, 1)
    for state in ("completed", "failed", "delayed"):
        (one,) = (await api("GET", f"/api/queues/emails/jobs?state={state}"))["data"]
        shown = (await api("GET", f"/api/queues/emails/jobs/{one['id']}"))["data"]
        assert shown["state"] == state
        assert isinstance(shown["attemptLogs"], list)
    shown = (await api("GET", f"/api/queues/emails/jobs/{bad.id}"))["data"]
    assert "no such address" in shown["failedReason"]
    assert shown["attemptLogs"][0]["logs"] == ["sending"]
    assert "ValueError" in shown["stacktrace"][0]
    found = await api("GET", "/api/jobs/search?q=eve")
    assert later.id in str(found)
    await api("GET", "/api/flows")


async def test_its_buttons_work_on_ours(shared: Shared) -> None:
    queue, api = shared.queue(), shared.theirs.api
    await api("POST", "/api/queues/emails/pause", {})
    assert await queue.is_paused()
    later = await queue.add("send", 1, delay="1 hour")
    await api("POST", f"/api/queues/emails/jobs/{later.id}/promote", {})
    assert (await later.refresh()).state == "waiting"
    added = await api("POST", "/api/queues/emails/jobs", {"name": "send", "data": {"a": 1}})
    async with Worker("emails", lambda job: 1 / job.data["a"], store=shared.ours):
        await api("POST", "/api/queues/emails/resume", {})
        job = await queue.get_job(added["data"]["id"])
        assert job is not None
        assert await job.wait_until_finished(timeout=30) == 1
        with pytest.raises(JobFailedError):
            await later.wait_until_finished(timeout=30)
        await later.update_data({"a": 2})
        await api("POST", f"/api/queues/emails/jobs/{later.id}/retry", {})

        async def is_done() -> bool:
            return (await later.refresh()).state == "completed"

        await until(is_done)
    await api("DELETE", f"/api/queues/emails/jobs/{later.id}")
    assert await queue.get_job(later.id) is None


async def test_it_counts_what_we_have_run(shared: Shared) -> None:
    async with Worker("emails", lambda job: None, store=shared.ours):
        for _ in range(3):
            await (await shared.queue().add("send")).wait_until_finished(timeout=30)
    points = await shared.theirs.api("GET", "/api/queues/emails/metrics?granularity=minute")
    counted = dict[str, int]()
    for one in points["data"]:
        counted[one["jobName"]] = counted.get(one["jobName"], 0) + one["completedCount"]
    assert counted == {"send": 3, "__all__": 3}
