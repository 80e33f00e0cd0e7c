"""The steps of a store over rows alone: no clock, no loop, nobody who listens."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Generator
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from msgspec.structs import replace

from conveyor_nb import Deduplication, Group, JobData, JobOptions, Repeat
from conveyor_nb.core.actions import Action, Cancel, Complete, Fail, Promote, Retry, UpdateData
from conveyor_nb.core.fetching import FetchOptions
from conveyor_nb.core.job_scheduler import JobScheduler
from conveyor_nb.core.model import JobState, Lock
from conveyor_nb.core.steps import changing, many, saving, schedulers, serving, workers
from conveyor_nb.core.worker_info import WorkerInfo, WorkerStatus
from conveyor_nb.stores.memory.state import MemoryState
from conveyor_nb.testing.steps import new_job

NOW = datetime(2027, 1, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
UNCOPYABLE = threading.Lock()


def whole(step: Generator[None, None, Any]) -> Any:
    """Take a step on many jobs to its end; returns its result."""
    while True:
        try:
            next(step)
        except StopIteration as end:
            return end.value


def family(top: JobData, *children: JobData) -> list[JobData]:
    """A flow of a parent and its children, or its children's families, as a store takes it."""
    ids = tuple(child.id for child in children)
    parent = replace(top, children_ids=ids, pending_children_count=len(ids))
    own = {"parent_id": top.id, "parent_queue_name": top.queue_name}
    return [parent, *(replace(child, **own) for child in children)]


def take(rows: MemoryState, queue: str = "emails") -> Lock:
    """A worker takes the next job of a queue."""
    fetched = serving.fetch(rows, queue, "w", 30.0, FetchOptions(), 1, NOW)
    return Lock("w", fetched.jobs[0].attempt_logs[-1].attempt)


def scheduler(**template: Any) -> JobScheduler:
    options = JobOptions(**template)
    return JobScheduler("nightly", "emails", Repeat(every=60), "send", None, options)


@pytest.fixture
def rows() -> MemoryState:
    """A job ``done`` and one ``broken`` whose key ``taken`` has now; a flow whose child failed.

    Another parent does without its failed child, and waits for its turn.
    """
    rows = MemoryState(sequential_ids=True, seed=1, metrics=False)
    saving.save(rows, new_job("done"), NOW)
    changing.apply(rows, "emails", "done", Complete(None), take(rows), NOW)
    key = Deduplication("key")
    saving.save(rows, new_job("broken", deduplication=key), NOW)
    changing.apply(rows, "emails", "broken", Fail("boom"), take(rows), NOW)
    flow = family(new_job("up", queue="flows"), new_job("down", queue="flows"))
    whole(saving.save_flow(rows, flow, NOW))
    changing.apply(rows, "flows", "down", Fail("boom"), take(rows, "flows"), NOW)
    calm = new_job("calm", queue="flows", fail_parent_on_child_failure="ignore")
    whole(saving.save_flow(rows, family(calm, new_job("lost", queue="flows")), NOW))
    changing.apply(rows, "flows", "lost", Fail("boom"), take(rows, "flows"), NOW)
    saving.save(rows, new_job("active"), NOW)
    take(rows)
    saving.save(rows, new_job("taken", deduplication=key), NOW)
    saving.save(rows, new_job("grouped", group=Group("g", max_size=1)), NOW)
    rows.outbox.clear()
    return rows


def all_of(rows: MemoryState) -> object:
    """All that there is in the rows, and what was noted."""
    return (
        {name: rows.listed(name) for name in rows.queues},
        {name: list(rows.paused_names(name)) for name in rows.queues},
        {name: rows.schedulers(name) for name in rows.queues},
        dict(rows.children(("flows", "up"))),
        dict(rows.workers),
        list(rows.outbox),
    )


FULL: dict[str, Any] = {"group": Group("g", max_size=1)}
REFUSED: dict[str, tuple[str, Callable[[MemoryState], object]]] = {
    "a payload that can't be copied": (
        "can't be copied",
        lambda rows: saving.save(rows, new_job("new", data=UNCOPYABLE), NOW),
    ),
    "a full group": ("is full", lambda rows: saving.save(rows, new_job("new", **FULL), NOW)),
    "a parent that is not there": (
        "save_flow",
        lambda rows: saving.save(rows, family(new_job("p"), new_job("c"))[1], NOW),
    ),
    "a full group in a batch": (
        "is full",
        lambda rows: whole(saving.save_bulk(rows, [new_job("new"), new_job("newer", **FULL)], NOW)),
    ),
    "a payload in a batch": (
        "item 1",
        lambda rows: whole(saving.save_bulk(rows, [new_job("new"), new_job(data=UNCOPYABLE)], NOW)),
    ),
    "an id in a flow": (
        "is in queue",
        lambda rows: whole(saving.save_flow(rows, family(new_job("p"), new_job("done")), NOW)),
    ),
    "a flow that is not whole": (
        "not in the flow",
        lambda rows: whole(saving.save_flow(rows, family(new_job("p"), new_job("c"))[:1], NOW)),
    ),
    "a job that is not there": (
        "nobody",
        lambda rows: changing.apply(rows, "emails", "nobody", Promote(), None, NOW),
    ),
    "another state": (
        "done",
        lambda rows: changing.apply(rows, "emails", "done", Promote(), None, NOW),
    ),
    "a lost lock": (
        "lock",
        lambda rows: changing.apply(
            rows, "emails", "active", Complete(None), Lock("other", 1), NOW
        ),
    ),
    "a result": (
        "result",
        lambda rows: changing.apply(
            rows, "emails", "active", Complete(UNCOPYABLE), Lock("w", 1), NOW
        ),
    ),
    "a new payload": (
        "data",
        lambda rows: changing.apply(rows, "emails", "taken", UpdateData(UNCOPYABLE), None, NOW),
    ),
    "a key that another job has": (
        "deduplication key",
        lambda rows: changing.apply(rows, "emails", "broken", Retry(), None, NOW),
    ),
    "one of several updates": (
        "from 0 to 100",
        lambda rows: changing.update(
            rows, "emails", "taken", {"data": 1, "progress": 101}, None, NOW
        ),
    ),
    "an unknown update": (
        "not 'state'",
        lambda rows: changing.update(
            rows, "emails", "taken", {"data": 1, "state": "failed"}, None, NOW
        ),
    ),
    "an update in another state": (
        "taken",
        lambda rows: changing.update(rows, "emails", "taken", {"data": 1}, "delayed", NOW),
    ),
    "a child in another state": (
        "down",
        lambda rows: changing.tell_of_child(rows, "flows", "down", JobState.COMPLETED, NOW),
    ),
    "a family that has not settled": (
        "calm",
        lambda rows: whole(many.retry_family(rows, "flows", "calm", NOW)),
    ),
    "a queue that is at work": (
        "active",
        lambda rows: whole(many.obliterate(rows, "emails", force=False, now=NOW)),
    ),
    "active jobs": (
        "any state but active",
        lambda rows: whole(many.clean(rows, "emails", "active", 0, NOW)),
    ),
    "waiting jobs": (
        "retry_jobs takes",
        lambda rows: whole(many.retry_jobs(rows, "emails", "waiting", NOW)),
    ),
    "a schedule's payload": (
        "data",
        lambda rows: schedulers.save_scheduler(rows, replace(scheduler(), data=UNCOPYABLE), NOW),
    ),
    "a worker's status": (
        "worker status",
        lambda rows: workers.save_worker(
            rows,
            WorkerInfo("w", "w", "emails", 1, cast("WorkerStatus", "asleep"), NOW),
            NOW,
        ),
    ),
}


@pytest.mark.parametrize("refused", REFUSED)
def test_a_step_that_is_refused_has_written_nothing(rows: MemoryState, refused: str) -> None:
    before = all_of(rows)

    words, step = REFUSED[refused]
    with pytest.raises(Exception, match=words):
        step(rows)

    assert all_of(rows) == before


def test_a_family_is_retried_whole_or_not_at_all(rows: MemoryState) -> None:
    changing.remove_job(rows, "flows", "down", NOW)
    rows.outbox.clear()
    before = all_of(rows)

    with pytest.raises(Exception, match="would wait for that for ever"):
        whole(many.retry_family(rows, "flows", "up", NOW))

    assert all_of(rows) == before


def noted(rows: MemoryState) -> list[tuple[str, str | None]]:
    """What was noted, and of which job, since the last time."""
    events, rows.outbox = rows.outbox, []
    return [(str(event.type), event.job_id) for event in events]


def test_what_follows_from_a_run_that_settles_comes_in_order() -> None:
    rows = MemoryState(sequential_ids=True, seed=1, metrics=True)
    schedulers.save_scheduler(rows, scheduler(remove_on_complete=True), NOW)
    lock = take(rows)
    noted(rows)

    changing.apply(rows, "emails", "emails-1", Complete(None), lock, NOW + SECOND)

    assert noted(rows) == [
        ("job:completed", "emails-1"),
        ("job:delayed", "emails-2"),
        ("job:removed", "emails-1"),
        ("queue:drained", None),
    ]
    assert rows.metrics is not None
    assert rows.metrics.total("emails", None, None, NOW + 2 * SECOND).completed == 1


def test_what_follows_from_a_child_that_fails_comes_in_order(rows: MemoryState) -> None:
    top, middle = new_job("top", queue="tops"), new_job("middle", queue="middles")
    bottom = new_job("bottom", queue="bottoms", remove_on_fail=True)
    parent, child = family(top, middle)
    flow = [parent, *family(child, bottom)]
    whole(saving.save_flow(rows, flow, NOW))
    lock = take(rows, "bottoms")
    noted(rows)

    changing.apply(rows, "bottoms", "bottom", Fail("boom"), lock, NOW)

    assert noted(rows) == [
        ("job:failed", "bottom"),
        ("job:failed", "middle"),
        ("job:removed", "bottom"),
        ("queue:drained", None),
        ("job:failed", "top"),
        ("queue:drained", None),
        ("queue:drained", None),
    ]


def test_a_worker_that_has_stopped_is_kept_no_more(rows: MemoryState) -> None:
    worker = WorkerInfo("w-1", "w", "emails", 1, WorkerStatus.RUNNING, NOW)
    workers.save_worker(rows, worker, NOW)
    assert list(rows.workers) == ["w-1"]

    workers.save_worker(rows, dataclasses.replace(worker, status=WorkerStatus.STOPPED), NOW)

    assert rows.workers == {}
    assert noted(rows) == [("worker:started", None), ("worker:closed", None)]


@pytest.mark.parametrize(
    ("end", "slot", "following"),
    [
        (Complete(None), None, 1),
        (Complete(None), 1, 1),
        (Fail("boom"), 1, 1),
        # as a program of Conveyor leaves it, which adds none after such a run
        (Fail("boom"), None, 2),
    ],
    ids=["done", "done by ours", "failed by ours", "failed by theirs"],
)
def test_a_run_that_is_retried_makes_no_second_chain(
    end: Action, slot: int | None, following: int
) -> None:
    rows = MemoryState(sequential_ids=True, seed=1, metrics=False)
    run = new_job("run", repeat=Repeat(every=60))
    saving.save(rows, run, NOW)
    options = FetchOptions(slot=slot)
    for number in (1, 2):
        serving.fetch(rows, "emails", "w", 30.0, options, 1, NOW)
        changing.apply(rows, "emails", "run", end, Lock("w", number), NOW)
        assert len(rows.listed("emails", JobState.DELAYED)) == (1 if number == 1 else following)
        if number == 1:
            changing.apply(rows, "emails", "run", Retry(), None, NOW)


def test_a_run_that_is_retried_after_it_was_cancelled_goes_on_with_its_chain() -> None:
    rows = MemoryState(sequential_ids=True, seed=1, metrics=False)
    saving.save(rows, new_job("run", repeat=Repeat(every=60)), NOW)
    changing.apply(rows, "emails", "run", Cancel(), None, NOW)
    assert not rows.listed("emails", JobState.DELAYED)
    changing.apply(rows, "emails", "run", Retry(), None, NOW)
    changing.apply(rows, "emails", "run", Complete(None), take(rows), NOW)
    assert len(rows.listed("emails", JobState.DELAYED)) == 1
