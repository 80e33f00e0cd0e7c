"""Limits under load: several workers, many groups, batches, and all kinds of limits together."""

from __future__ import annotations

import bisect
import random
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from conveyor_nb import (
    Batch,
    Group,
    GroupLimits,
    Job,
    JobState,
    Limiter,
    Queue,
    VirtualClock,
    Worker,
)

Start = Callable[..., Worker]


class Load:
    """A handler that takes up to ``most`` seconds; keeps when each job started, and its group."""

    def __init__(self, clock: VirtualClock, most: float = 0, seed: int = 7) -> None:
        self.starts: list[tuple[float, str | None]] = []
        self.ends: list[tuple[float, str | None]] = []
        self._clock = clock
        self._zero = clock.now()
        self._most = most
        self._luck = random.Random(seed)

    def _now(self) -> float:
        return (self._clock.now() - self._zero) / timedelta(seconds=1)

    async def __call__(self, job: Job) -> None:
        self.starts.append((self._now(), job.group_id))
        if self._most:
            await job.sleep(round(self._luck.uniform(0, self._most), 3))
        self.ends.append((self._now(), job.group_id))

    async def batch(self, jobs: list[Job]) -> list[None]:
        self.starts += [(self._now(), job.group_id) for job in jobs]
        await jobs[0].sleep(self._most)
        self.ends += [(self._now(), job.group_id) for job in jobs]
        return [None] * len(jobs)

    def times(self, group: str | None = None) -> list[float]:
        return [when for when, one in self.starts if group in (None, one)]

    def most_at_once(self, group: str | None = None) -> int:
        """How many were running at once; what ends at an instant makes room in it."""
        changes = [(when, +1) for when, one in self.starts if group in (None, one)]
        changes += [(when, -1) for when, one in self.ends if group in (None, one)]
        running = most = 0
        for _, change in sorted(changes):
            running += change
            most = max(most, running)
        return most


def count_in(times: list[float], begin: float, width: float) -> int:
    """How many of the sorted times lie in ``[begin, begin + width)``, to a thousandth."""
    first = bisect.bisect_left(times, begin - 0.0005)
    return bisect.bisect_left(times, begin + width - 0.0005) - first


# -- rates ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("trickle", [0, 0.07, 0.1])
@pytest.mark.asyncio
async def test_four_workers_start_exactly_ten_jobs_in_any_second(
    queue: Queue, clock: VirtualClock, start: Start, trickle: float
) -> None:
    load = Load(clock, most=0.4)
    for _ in range(4):
        start(load, concurrency=5, limiter=Limiter(10, "1s"))
    for _ in range(10 if trickle else 0):
        await queue.add("send")
        await clock.advance(trickle)
    await queue.add_bulk([{"name": "send"}] * 200)
    await clock.advance(15)

    times = load.times()
    assert times == sorted(times)
    for tenth in range(130):
        assert count_in(times, tenth / 10, 1) == 10
    for begin in times:
        assert count_in(times, begin, 1) <= 10


@pytest.mark.asyncio
async def test_a_rate_is_kept_while_workers_come_and_go(
    queue: Queue, clock: VirtualClock, start: Start
) -> None:
    load = Load(clock, most=0.4)
    await queue.add_bulk([{"name": "send"}] * 100)
    limits = {"concurrency": 10, "limiter": Limiter(10, "1s")}
    for _ in range(8):
        worker = start(load, **limits)
        await clock.advance(0.5)
        other = start(load, **limits)
        await clock.advance(0.3)
        worker.retire()
        other.pause()
    start(load, **limits)
    await clock.advance(10)

    times = load.times()
    assert len(times) == 100
    assert max(count_in(times, begin, 1) for begin in times) == 10
    assert times[-1] < 10.4, "little of the room is wasted"


@pytest.mark.asyncio
async def test_a_batch_is_no_way_around_a_rate(
    queue: Queue, clock: VirtualClock, start: Start
) -> None:
    load = Load(clock, most=0.25)
    for _ in range(2):
        start(load.batch, batch=Batch(7), limiter=Limiter(10, "1s"))
    await queue.add_bulk([{"name": "send"}] * 50)
    await clock.advance(10)

    times = load.times()
    assert len(times) == 50
    assert [count_in(times, second, 1) for second in range(5)] == [10] * 5


# -- groups ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.asyncio
async def test_a_hundred_groups_are_served_in_turn_whatever_their_size(
    queue: Queue, clock: VirtualClock, start: Start, workers: int
) -> None:
    load = Load(clock, most=1)
    await queue.add_bulk([{"name": "send", "group": Group("big")}] * 10_000)
    await queue.add_bulk(
        [{"name": "send", "group": Group(f"g{n}")} for n in range(99) for _ in range(10)]
    )
    for _ in range(workers):
        start(load, concurrency=4)
    await clock.advance(700 / workers)

    served = [group for _, group in load.starts]
    assert len(served) > 1_100
    for first in range(0, 1_000, 100):
        assert len(set(served[first : first + 100])) == 100, "each group once in a round"
    assert set(served[1_000:]) == {"big"}

    begun = len(served)
    await queue.add_bulk([{"name": "send", "group": Group(f"late-{n}")} for n in range(5)])
    await clock.advance(10)
    late = [group for _, group in load.starts[begun:]]
    assert late[:5] == [f"late-{n}" for n in range(5)]
    assert set(late[5:]) == {"big"}


@pytest.mark.asyncio
async def test_a_group_that_is_held_back_holds_back_no_other(
    queue: Queue, clock: VirtualClock, start: Start
) -> None:
    load = Load(clock, most=1)
    await queue.add_bulk([{"name": "send", "group": Group("big")}] * 200)
    await queue.add_bulk([{"name": "send", "group": Group(f"g{n % 10}")} for n in range(50)])
    limits = GroupLimits(concurrency=2, limiter=Limiter(3, "10s"))
    for _ in range(4):
        start(load, concurrency=5, group=limits)
    await clock.advance(35)

    for group in ["big", *(f"g{n}" for n in range(10))]:
        times = load.times(group)
        assert max(count_in(times, begin, 10) for begin in times) <= 3
        assert load.most_at_once(group) <= 2
    assert len([group for _, group in load.starts if group != "big"]) == 50
    assert len(load.times("big")) == 12, "three in each ten seconds"


# -- jobs at once ---------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_all_limits_hold_together_and_all_work_is_done(
    queue: Queue, clock: VirtualClock, start: Start
) -> None:
    load = Load(clock, most=2)
    groups = [None, *(Group(name) for name in "abcd")]
    await queue.add_bulk([{"name": "send", "group": groups[n % 5]} for n in range(300)])
    for _ in range(4):
        start(
            load,
            concurrency=4,
            max_global_concurrency=7,
            limiter=Limiter(20, "3s"),
            group=GroupLimits(concurrency=1, limiter=Limiter(3, "4s")),
        )
    await clock.advance("3 minutes")

    assert await queue.count("completed") == 300
    assert load.most_at_once() == 7
    times = load.times()
    assert max(count_in(times, begin, 3) for begin in times) <= 20
    for group in "abcd":
        own = load.times(group)
        assert len(own) == 60
        assert max(count_in(own, begin, 4) for begin in own) == 3
        assert load.most_at_once(group) == 1


@pytest.mark.parametrize(
    ("limits", "at_once"),
    [
        ({"max_global_concurrency": 5}, {None: 5}),
        ({"group": GroupLimits(concurrency=2)}, {None: 4, "a": 2, "b": 2}),
    ],
)
@pytest.mark.asyncio
async def test_each_job_of_a_batch_counts(
    queue: Queue,
    clock: VirtualClock,
    start: Start,
    limits: dict[str, Any],
    at_once: dict[str | None, int],
) -> None:
    load = Load(clock, most=1)
    await queue.add_bulk([{"name": "send", "group": Group("ab"[n % 2])} for n in range(40)])
    for _ in range(3):
        start(load.batch, batch=Batch(4), **limits)
    await clock.advance("1 minute")

    assert await queue.count("completed") == 40
    assert {group: load.most_at_once(group) for group in at_once} == at_once


# -- batches --------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_each_job_of_a_batch_has_attempts_of_its_own(
    queue: Queue, clock: VirtualClock, start: Start
) -> None:
    tries: Counter[int] = Counter()

    async def third_time_lucky(jobs: list[Job]) -> list[Any]:
        tries.update(job.data for job in jobs)
        return [ValueError("not yet") if tries[job.data] <= job.data else job.data for job in jobs]

    jobs = await queue.add_bulk(
        [{"name": "send", "data": n, "attempts": 3, "backoff": 1 + n} for n in range(6)]
    )
    start(third_time_lucky, batch=Batch(4))
    await clock.advance("1 minute")

    assert tries == {0: 1, 1: 2, 2: 3, 3: 3, 4: 3, 5: 3}
    for number, job in enumerate(jobs):
        await job.refresh()
        assert job.state == (JobState.COMPLETED if number < 3 else JobState.FAILED)
        assert job.attempts_made == min(number, 3)
        assert len(job.attempt_logs) == tries[number]


@pytest.mark.asyncio
async def test_a_batch_whose_locks_run_out_is_given_to_another_worker(
    queue: Queue, clock: VirtualClock, start: Start
) -> None:
    store = queue.store
    jobs = await queue.add_bulk([{"name": "send", "attempts": 2}, {"name": "send"}])
    for _ in jobs:  # a worker that takes them and vanishes
        assert await store.fetch_next_job(queue.name, "gone", 30) is not None
    load = Load(clock)
    start(load.batch, batch=Batch(5), stalled_interval=10)
    await clock.advance(29)
    assert load.starts == []
    await clock.advance(12)

    assert [(await job.refresh()).state for job in jobs] == [JobState.COMPLETED, JobState.FAILED]
    assert "stalled" in (jobs[1].failed_reason or "")
    assert jobs[0].attempt_logs[0].worker_id == "gone"
