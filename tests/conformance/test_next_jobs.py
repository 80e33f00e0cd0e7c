"""What a look at the next jobs tells is what fetches then take, whatever is in the queue."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conveyor_nb import Group, Limiter, VirtualClock
from conveyor_nb.core.actions import Complete, Release
from conveyor_nb.core.model import ALL_NAMES, JobData
from conveyor_nb.testing.steps import LOCK_DURATION, QUEUE, fetch_options, lock_of, new_job
from tests.stores import ALL_STORES, Steps

NAMES = ("send", "log", "sort")
LIMITERS = st.sampled_from([None, None, Limiter(1, 5), Limiter(2, 5), Limiter(4, 30)])
OPTIONS = st.fixed_dictionaries(
    {
        "lifo": st.booleans(),
        "limiter": LIMITERS,
        "max_global_concurrency": st.sampled_from([None, None, None, 2, 6]),
        "group_concurrency": st.sampled_from([None, None, 1, 2]),
        "group_limiter": LIMITERS,
    }
)
JOBS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "name": st.sampled_from(NAMES),
        "priority": st.sampled_from([0, 0, 1, -1]),
        "lifo": st.sampled_from([False, False, True]),
        "delay": st.sampled_from([0, 0, 0, 3, 60]),
    },
    optional={"group": st.sampled_from([Group("x"), Group("y"), Group("z")])},
)
WAYS = st.sampled_from(["fetch", "fetch", "complete", "release", "pause", "resume", "wait", "save"])


@pytest.mark.parametrize("kind", ALL_STORES)
@settings(max_examples=200, deadline=None)
@given(
    jobs=st.lists(JOBS, min_size=1, max_size=30),
    history=st.lists(st.tuples(WAYS, st.integers(0, 5)), max_size=12),
    usual=OPTIONS,
    count=st.integers(0, 12),
)
def test_a_look_tells_what_fetches_take(
    kind: str,
    jobs: list[dict[str, Any]],
    history: list[tuple[str, int]],
    usual: dict[str, Any],
    count: int,
) -> None:
    clock = VirtualClock()
    store = ALL_STORES[kind](clock=clock, ids="sequential", seed=0)
    run, options = Steps(store), fetch_options(**usual)
    later = jobs[len(jobs) // 2 :]
    run(store.save_bulk([new_job(**job) for job in jobs[: len(jobs) // 2]]))
    active: list[JobData] = []
    for way, number in history:
        name = (*NAMES, ALL_NAMES)[number % 4]
        if way == "fetch":
            active += run(
                store.fetch_jobs(QUEUE, "w", LOCK_DURATION, options, limit=1 + number)
            ).jobs
        elif way == "save" and later:
            run(store.save_job(new_job(**later.pop())))
        elif way == "pause":
            run(store.pause_job_name(QUEUE, name))
        elif way == "resume":
            run(store.resume_job_name(QUEUE, name))
        elif way == "wait":
            run.on_loop(clock.advance(number))
        elif active and way in ("complete", "release"):
            job = active.pop(number % len(active))
            action = Complete() if way == "complete" else Release()
            run(store.apply(QUEUE, job.id, action, lock=lock_of(job)))
    run(store.save_bulk([new_job(**job) for job in later]))

    run(store.promote_delayed_jobs(QUEUE))  # as a fetch does; a look changes nothing
    looked_at = [job.id for job in run(store.next_jobs(QUEUE, count, options))]
    assert [job.id for job in run(store.next_jobs(QUEUE, count, options))] == looked_at
    everything = [job.id for job in run(store.next_jobs(QUEUE, len(jobs), options))]
    assert everything[:count] == looked_at
    for job_id in everything[: count // 2]:
        taken = run(store.fetch_next_job(QUEUE, "w", LOCK_DURATION, options))
        assert taken is not None
        assert taken.id == job_id
    rest = run(store.fetch_jobs(QUEUE, "w", LOCK_DURATION, options, limit=len(jobs)))
    assert [job.id for job in rest.jobs] == everything[count // 2 :]
    run.close()
