"""Limits that hold over several workers: rates, jobs at once, and both for each group."""

from __future__ import annotations

import collections
from collections.abc import Callable
from typing import Any

import pytest

from conveyor_nb import Group, GroupLimits, Job, Limiter, Queue, VirtualClock, Worker

Start = Callable[..., Worker]


class Trace:
    """A handler that takes ``seconds`` and notes when which jobs started, and how many ran."""

    def __init__(self, clock: VirtualClock, seconds: float = 0) -> None:
        self.begun: list[tuple[float, str | None]] = []
        self.running: collections.Counter[str | None] = collections.Counter()
        self.most: collections.Counter[str | None] = collections.Counter()
        self.most_in_all = 0
        self._clock = clock
        self._zero = clock.now()
        self._seconds = seconds

    async def __call__(self, job: Job) -> None:
        group = job.group_id
        self.begun.append(((self._clock.now() - self._zero).total_seconds(), group))
        self.running[group] += 1
        self.most[group] = max(self.most[group], self.running[group])
        self.most_in_all = max(self.most_in_all, self.running.total())
        if self._seconds:
            await job.sleep(self._seconds)
        self.running[group] -= 1

    def times(self, group: str | None = None) -> list[float]:
        return [when for when, one in self.begun if one == group]


def most_in_a_window(times: list[float], width: float) -> int:
    """The largest number of starts in any window [t, t + width)."""
    return max(sum(begin <= one < begin + width for one in times) for begin in times)


@pytest.mark.asyncio
async def test_a_limiter_holds_over_two_workers(
    queue: Queue, clock: VirtualClock, start: Start
) -> None:
    trace = Trace(clock, seconds=0.3)
    await queue.add_bulk([{"name": "send"}] * 20)
    for _ in range(2):
        start(trace, concurrency=4, limiter=Limiter(3, "10s"))
    await clock.advance("2 minutes")

    times = trace.times()
    assert len(times) == 20
    assert most_in_a_window(times, 10) == 3, "never more, and the room is used"
    assert times[-1] == pytest.approx(60), "a window opens as soon as it can"


@pytest.mark.asyncio
async def test_a_limiter_slides(queue: Queue, clock: VirtualClock, start: Start) -> None:
    trace = Trace(clock)
    for _ in range(2):
        start(trace, limiter=Limiter(2, 10))
    for _ in range(8):
        await queue.add("send")
        await clock.advance(3)
    await clock.advance("1 minute")

    times = trace.times()
    assert len(times) == 8
    assert most_in_a_window(times, 10) == 2
    assert times[:4] == [0, 3, 10, 13], "a fixed window would let two start at 10"


@pytest.mark.asyncio
async def test_a_paused_queue_with_an_open_window_is_at_rest(
    queue: Queue, clock: VirtualClock, start: Start
) -> None:
    trace = Trace(clock)
    start(trace, limiter=Limiter(1, 1))
    await queue.add_bulk([{"name": "send"}] * 3)
    await clock.settle()
    await queue.pause()
    await clock.advance("1 hour")
    assert len(trace.begun) == 1
    await queue.resume()
    await clock.advance(1)
    assert trace.times() == [0, 3600, 3601]


@pytest.mark.asyncio
async def test_max_global_concurrency_holds_over_two_workers(
    queue: Queue, clock: VirtualClock, start: Start
) -> None:
    trace = Trace(clock, seconds=1)
    jobs = await queue.add_bulk([{"name": "send"}] * 10)
    for _ in range(2):
        start(trace, concurrency=3, max_global_concurrency=4)
    await clock.advance(10)

    assert trace.most_in_all == 4
    assert trace.times() == [0] * 4 + [1] * 4 + [2] * 2
    workers = {(await job.refresh()).attempt_logs[0].worker_id for job in jobs}
    assert len(workers) == 2


@pytest.mark.parametrize("limit", ["queue", "group"])
@pytest.mark.parametrize("end", ["complete", "fail", "retry", "cancel", "remove", "delay"])
@pytest.mark.asyncio
async def test_a_place_is_free_for_another_worker_however_a_job_ends(
    end: str, limit: str, queue: Queue, clock: VirtualClock, start: Start
) -> None:
    async def send(job: Job) -> None:
        if job.name == "second":
            return
        await job.sleep(1)
        match end:
            case "fail" | "retry":
                raise ValueError
            case "delay":
                await job.move_to_delayed(clock.now().replace(year=2030))
            case "cancel" | "remove":
                await job.sleep(1_000)

    options: dict[str, Any] = {"max_global_concurrency": 1}
    if limit == "group":
        options = {"group": GroupLimits(concurrency=1)}
    own: dict[str, Any] = {"attempts": 2, "backoff": 1_000} if end == "retry" else {}
    first = await queue.add("first", group=Group("g"), **own)
    second = await queue.add("second", group=Group("g"))
    workers = [start(send, **options) for _ in range(2)]
    await clock.settle()
    [busy] = [worker for worker in workers if worker.running]
    busy.pause()  # so that it is the other that has to hear of the place
    await clock.advance(1)
    if end == "cancel":
        await first.cancel()
    elif end == "remove":
        await first.remove()
    await clock.settle()

    assert await second.is_completed()


@pytest.mark.asyncio
async def test_group_concurrency_and_turns(queue: Queue, clock: VirtualClock, start: Start) -> None:
    trace = Trace(clock, seconds=1)
    await queue.add_bulk({"name": "send", "group": Group(group)} for group in "aaaabbc")
    await queue.add_bulk({"name": "send"} for _ in range(3))
    for _ in range(2):
        start(trace, concurrency=8, group=GroupLimits(concurrency=1))
    await clock.settle()
    assert trace.running == {"a": 1, "b": 1, "c": 1, None: 3}, "no cap for those without a group"
    await clock.advance(10)

    assert trace.times("a") == [0, 1, 2, 3]
    assert trace.times("b") == [0, 1]
    assert {trace.most[group] for group in "abc"} == {1}


@pytest.mark.asyncio
async def test_groups_are_served_in_turn(queue: Queue, clock: VirtualClock, start: Start) -> None:
    trace = Trace(clock)
    await queue.add_bulk([{"name": "send", "group": Group(group)} for group in "aaabbc"])
    await start(trace, auto_start=False).run_until_idle()

    assert "".join(str(group) for _, group in trace.begun) == "abcaba"


@pytest.mark.asyncio
async def test_a_group_limiter_holds_for_each_group_by_itself(
    queue: Queue, clock: VirtualClock, start: Start
) -> None:
    trace = Trace(clock)
    await queue.add_bulk([{"name": "send", "group": Group(group)} for group in "aaaab"])
    for _ in range(2):
        start(trace, group=GroupLimits(limiter=Limiter(2, 5)))
    await clock.advance(20)

    assert trace.times("a") == [0, 0, 5, 5]
    assert trace.times("b") == [0]
