"""A step sees its own changes: what a working set says is what the store says once it has them."""

from __future__ import annotations

import asyncio
import copy
import json
import random
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from conveyor_nb import Group, JobData, JobState, Keep, Repeat, VirtualClock
from conveyor_nb.core.actions import Complete
from conveyor_nb.core.fetching import FetchOptions
from conveyor_nb.core.job_scheduler import JobScheduler
from conveyor_nb.core.model import Lock
from conveyor_nb.core.options.job_options import JobOptions
from conveyor_nb.core.rows import PENDING, ChildRow, Rows, key_of
from conveyor_nb.core.steps import changing, saving, schedulers, serving
from conveyor_nb.stores.working_set.changes import Changes
from conveyor_nb.stores.working_set.loop import tries
from conveyor_nb.stores.working_set.questions import Question, RowMissing
from conveyor_nb.stores.working_set.rows import WorkingSet
from conveyor_nb.testing.steps import QUEUE, new_job
from tests.bytes_store import BytesRows, BytesStore

NOW = datetime.fromisoformat("2027-01-01T00:00:00+00:00")
PARENT = ("parents", "p")
IDS = tuple("abcdefgh")

READS: dict[str, Callable[[Rows], Any]] = {
    "job": lambda rows: [rows.job(QUEUE, one) for one in IDS],
    "holders": lambda rows: {job.id for job in rows.holders(QUEUE, "k")},
    "is_idle": lambda rows: rows.is_idle(QUEUE),
    "listed": lambda rows: {job.id for job in rows.listed(QUEUE)},
    "listed completed": lambda rows: [job.id for job in rows.listed(QUEUE, JobState.COMPLETED)],
    "surplus": lambda rows: [
        [job.id for job in rows.surplus(QUEUE, JobState.COMPLETED, most)] for most in range(4)
    ],
    "active_count": lambda rows: rows.active_count(QUEUE),
    "waiting_in_group": lambda rows: rows.waiting_in_group(QUEUE, "g"),
    "failed_children": lambda rows: rows.failed_children(PARENT),
    "awaited_children": lambda rows: [rows.awaited_children(PARENT, most) for most in range(4)],
    "children": lambda rows: dict(rows.children(PARENT)),
    "paused_names": lambda rows: set(rows.paused_names(QUEUE)),
    "due": lambda rows: {job.id for job in rows.due(QUEUE, NOW)},
}


def answered(database: BytesRows, rows: WorkingSet, read: Callable[[WorkingSet], Any]) -> Any:
    """What a read gives when all that it asks for is loaded."""
    while True:
        try:
            return read(rows)
        except RowMissing as missing:
            questions = rows.alike(missing.question)
            rows.learn(questions, [database.answer(one) for one in questions])


def begin(rows: Rows) -> None:
    """Let there be a parent with its children."""
    if rows.job(*PARENT) is None:
        rows.add(replace(new_job("p", queue="parents"), children_ids=("1", "2", "3")), {})
        for child_id in "123":
            rows.put_child(PARENT, ("children", child_id), PENDING)


def change_something(pick: random.Random, rows: WorkingSet) -> None:
    """Make one of the changes that steps make; none brings a job back that it has removed."""
    job_id = pick.choice(IDS)
    job = rows.job(QUEUE, job_id)
    what = pick.choice(["job", "job", "job", "child", "pause"])
    if what == "pause":
        (rows.pause if pick.random() < 0.5 else rows.resume)(QUEUE, pick.choice(["x", "y"]))
    elif what == "child":
        child = ("children", pick.choice("123"))
        rows.child(PARENT, child)
        failed = ChildRow(True, "boom")
        rows.put_child(PARENT, child, pick.choice([PENDING, failed, replace(failed, awaited=True)]))
    elif job is None and (QUEUE, job_id) in rows.changes.before:
        return
    elif job is None:
        options: dict[str, Any] = {"remove_on_complete": pick.choice([False, Keep(count=1)])}
        new = replace(
            new_job(job_id, group=pick.choice([None, Group("g")]), **options),
            deduplication_key=pick.choice([None, "k"]),
            created_at=NOW,
        )
        rows.add(new, {})
    elif pick.random() < 0.2:
        rows.remove(job)
    else:
        state = pick.choice([one for one in JobState if one is not JobState.WAITING_CHILDREN])
        rows.change(
            job,
            {
                "state": state,
                "processed_at": NOW,
                "completed_at": NOW if state is JobState.COMPLETED else None,
                "failed_at": NOW if state is JobState.FAILED else None,
                "delay_until": NOW + timedelta(seconds=pick.choice([-1, 1])),
            },
        )


@pytest.mark.parametrize("seed", range(60))
def test_what_a_step_reads_is_what_it_has_written(seed: int) -> None:
    pick = random.Random(seed)
    database = BytesRows(sequential_ids=True, metrics=False)
    for _ in range(8):  # of these steps each begins with what the others left
        rows = WorkingSet()
        answered(database, rows, begin)
        for _ in range(pick.randrange(1, 8)):
            seen = pick.getstate()

            def change(rows: WorkingSet, seen: Any = seen) -> None:
                pick.setstate(seen)
                change_something(pick, rows)

            answered(database, rows, change)
            written = copy.deepcopy(database)
            written.write(copy.deepcopy(rows.changes))
            for name, read in READS.items():
                expected = answered(written, WorkingSet(), read)
                assert answered(database, rows, read) == expected, name
        database.write(rows.changes)


def test_a_step_is_taken_a_few_times_and_not_once_for_each_row() -> None:
    jobs = [new_job(f"job-{number}") for number in range(100)]
    asked: list[list[Question]] = []

    def look(rows: Rows) -> list[JobData | None]:
        return [rows.job(*key_of(job)) for job in jobs]

    plan = tries(look, WorkingSet(jobs))
    request = next(plan)
    while isinstance(request, list):
        asked.append(request)
        request = plan.send([None] * len(request))
    assert [len(questions) for questions in asked] == [100]


@pytest.mark.parametrize("kind", [list, tuple])
def test_rows_of_a_longer_answer_are_not_asked_for_again(kind: type) -> None:
    jobs = [new_job(f"job-{number}") for number in range(3)]
    rows = WorkingSet()
    rows.learn([Question("listed", (QUEUE, None, None))], [kind(jobs)])
    assert [rows.job(*key_of(job)) for job in jobs] == jobs


def test_who_writes_on_what_has_changed_is_asked_anew() -> None:
    """Also a refusal is: it may rest on what does not hold any more."""
    said = iter([1, 2, 3])

    def refuse_odd(rows: WorkingSet) -> int:
        count = rows.active_count(QUEUE)
        if count % 2:
            raise ValueError(f"{count} is odd")
        return count

    plan = tries(refuse_odd, WorkingSet())
    assert next(plan) == [Question("active_count", (QUEUE,))]
    assert not plan.send([next(said)])  # it refused, and changes nothing
    assert plan.send(False) == [Question("active_count", (QUEUE,))]
    assert not plan.send([next(said)])
    with pytest.raises(StopIteration) as end:
        plan.send(True)
    assert end.value.value == 2


@pytest.mark.parametrize("given", ["one", "bulk", "flow", "scheduler", "result", "change"])
def test_a_payload_is_frozen_once_by_the_store_however_often_a_step_is_taken(given: str) -> None:
    frozen: list[object] = []

    def freeze(value: object, _: str) -> str:
        frozen.append(value)
        return json.dumps(value)

    database = BytesRows(sequential_ids=True, metrics=False)
    begin: list[Callable[[Rows], Any]] = [
        lambda rows: saving.save(rows, new_job("kept"), NOW),
        lambda rows: serving.fetch(rows, QUEUE, "w", 30, FetchOptions(), 1, NOW),
    ]
    for step in begin:
        before = WorkingSet()
        answered(database, before, step)
        database.write(before.changes)
    payload = {"to": ["ada"]}
    job = JobData("", "send", QUEUE, payload)
    child = JobData("child", "send", QUEUE, payload)
    daily = JobScheduler("daily", QUEUE, Repeat(every=60), "send", payload, JobOptions())
    complete = Complete(payload)
    steps: dict[str, Callable[[Rows], Any]] = {
        "one": lambda rows: saving.save(rows, job, NOW),
        "bulk": lambda rows: saving.save_bulk(rows, [job, job], NOW),
        "flow": lambda rows: saving.save_flow(rows, [child], NOW),
        "scheduler": lambda rows: schedulers.save_scheduler(rows, daily, NOW),
        "result": lambda rows: changing.apply(rows, QUEUE, "kept", complete, Lock("w", 1), NOW),
        "change": lambda rows: changing.update(rows, QUEUE, "kept", {"data": payload}, None, NOW),
    }
    rows = WorkingSet(freeze=freeze)
    plan = tries(steps[given], rows)
    request, times = next(plan), 1
    has_failed = False
    while not has_failed or not isinstance(request, Changes):
        times += 1
        if isinstance(request, Changes):
            request, has_failed = plan.send(False), True
        else:
            request = plan.send(request and [database.answer(one) for one in request])
    assert times > 2
    assert frozen == [payload]
    held = {(job.kept_data, job.kept_returnvalue) for job in request.jobs.values() if job}
    text = json.dumps(payload)
    assert held == {(None, text) if given == "result" else (text, None)}
    assert all(one and one.data == text for one in request.schedulers.values())


@pytest.mark.asyncio
async def test_steps_that_meet_lose_nothing() -> None:
    """Each gives way between its read and its write, so that all but one are taken again."""
    async with BytesStore(clock=VirtualClock(), ids="sequential") as store:
        await asyncio.gather(*(store.save_job(new_job()) for _ in range(20)))
        jobs = await store.list_jobs(QUEUE)
        assert [job.id for job in jobs] == [f"emails-{number}" for number in range(1, 21)]
        assert [job.sequence for job in jobs] == list(range(1, 21))
        taken = await asyncio.gather(*(store.fetch_next_job(QUEUE, "w", 30) for _ in range(20)))
        assert sorted(job.id for job in taken if job) == sorted(job.id for job in jobs)
