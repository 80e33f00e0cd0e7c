"""What a handler can do with its job, awaited in a task or plainly called in a thread."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from conveyor_nb import (
    InvalidJobStateError,
    Job,
    JobNotFoundError,
    JobState,
    Queue,
    StoreEvent,
    VirtualClock,
    Worker,
)

Start = Callable[..., Worker]
Steps = Callable[[Any], Any]
"""A handler as a generator that yields the calls it makes, so that both kinds can be made of it."""


def in_a_task(steps: Steps) -> Callable[[Job], Any]:
    async def handler(job: Job) -> Any:
        todo = steps(job)
        given = None
        while True:
            try:
                given = await todo.send(given)
            except StopIteration as end:
                return end.value

    return handler


def in_a_thread(steps: Steps) -> Callable[[Any], Any]:
    def handler(job: Any) -> Any:
        todo = steps(job)
        given = None
        while True:
            try:
                given = todo.send(given)
            except StopIteration as end:
                return end.value
            assert not inspect.isawaitable(given), "a call in a thread just works"

    return handler


both = pytest.mark.parametrize("kind", [in_a_task, in_a_thread])
Kind = Callable[[Steps], Callable[[Any], Any]]


@both
@pytest.mark.asyncio
async def test_progress_and_log(
    kind: Kind, queue: Queue, clock: VirtualClock, start: Start, events: list[StoreEvent]
) -> None:
    def steps(job: Any) -> Any:
        yield job.update_progress(25)
        yield job.log("a quarter")
        yield job.log(2)
        yield job.update_progress(62.5)
        return job.progress, job.logs

    start(kind(steps))
    job = await queue.add("send")
    await clock.settle()

    await job.refresh()
    assert job.returnvalue == (62.5, ("a quarter", "2"))
    assert (job.progress, job.logs) == (62.5, ("a quarter", "2"))
    told = [event.data for event in events if event.type in ("job:progress", "job:log")]
    assert [one.get("progress", one.get("line")) for one in told] == [25, "a quarter", "2", 62.5]


@both
@pytest.mark.asyncio
async def test_clear_logs_leaves_the_records_of_the_attempts_alone(
    kind: Kind, queue: Queue, clock: VirtualClock, start: Start
) -> None:
    def steps(job: Any) -> Any:
        yield job.log(f"attempt {job.attempts_made + 1}")
        if not job.attempts_made:
            raise ValueError
        yield job.clear_logs()
        yield job.log("last words")

    start(kind(steps))
    job = await queue.add("send", attempts=2)
    await clock.settle()

    await job.refresh()
    assert job.logs == ("last words",)
    assert [record.logs for record in job.attempt_logs] == [
        ("attempt 1",),
        ("attempt 2", "last words"),
    ]


@pytest.mark.asyncio
async def test_the_newest_thousand_lines_are_kept(
    queue: Queue, clock: VirtualClock, start: Start
) -> None:
    async def chatter(job: Job) -> None:
        for number in range(1_005):
            await job.log(number)

    start(chatter)
    job = await queue.add("send")
    await clock.settle()

    logs = (await job.refresh()).logs
    assert (len(logs), logs[0]) == (1_001, "(5 earlier lines left out)")
    assert (logs[1], logs[-1]) == ("5", "1004")


@pytest.mark.asyncio
async def test_attempt_records(queue: Queue, clock: VirtualClock, start: Start) -> None:
    async def send(job: Job) -> str:
        await job.sleep(3)
        if not job.attempts_made:
            raise ValueError("once")
        return "sent"

    worker = start(send)
    begin = clock.now()
    job = await queue.add("send", attempts=2, backoff=10)
    await clock.advance(1)
    [running] = (await job.refresh()).attempt_logs
    assert (running.attempt, running.ended_at, running.status) == (1, None, None)
    await clock.advance("1 minute")

    first, second = (await job.refresh()).attempt_logs
    assert (first.attempt, second.attempt) == (1, 2)
    assert (first.status, second.status) == ("failed", "completed")
    assert (first.error, second.error) == ("ValueError: once", None)
    assert first.worker_id == second.worker_id == worker.id
    seconds = [
        (at - begin).total_seconds()
        for one in (first, second)
        for at in (one.started_at, one.ended_at)
        if at is not None
    ]
    assert seconds == [0, 3, 13, 16]
    assert job.processed_at == second.started_at
    assert job.completed_at == second.ended_at


@both
@pytest.mark.asyncio
async def test_update_data(kind: Kind, queue: Queue, clock: VirtualClock, start: Start) -> None:
    def steps(job: Any) -> Any:
        if not job.attempts_made:
            yield job.update_data({"step": 2})
            raise ValueError
        return job.data["step"]

    start(kind(steps))
    job = await queue.add("send", {"step": 1}, attempts=2)
    await clock.settle()

    assert (await job.refresh()).returnvalue == 2
    assert job.data == {"step": 2}


@both
@pytest.mark.asyncio
async def test_changing_ones_own_copy_of_the_payload_stays_in_the_attempt(
    kind: Kind, queue: Queue, clock: VirtualClock, start: Start
) -> None:
    def steps(job: Any) -> Any:
        job.data["seen"] = True
        yield job.log("a call does not undo it")
        assert job.data == {"seen": True}
        if not job.attempts_made:
            raise ValueError
        return None

    start(kind(steps))
    job = await queue.add("send", {}, attempts=2)
    await clock.settle()

    assert (await job.refresh()).state is JobState.COMPLETED
    assert job.data == {}


@both
@pytest.mark.asyncio
async def test_move_to_delayed_spends_no_attempt(
    kind: Kind, queue: Queue, clock: VirtualClock, start: Start
) -> None:
    def steps(job: Any) -> Any:
        if len(job.attempt_logs) == 1:
            yield job.move_to_delayed(clock.now() + timedelta(minutes=5))
            return "not looked at"
        return "sent"

    start(kind(steps))
    job = await queue.add("send", attempts=1)
    await clock.advance(299)
    await job.refresh()
    assert (job.state, job.attempts_made, job.returnvalue) == (JobState.DELAYED, 0, None)
    await clock.advance(1)

    assert (await job.refresh()).returnvalue == "sent"


@both
@pytest.mark.asyncio
async def test_move_to_failed_is_for_good(
    kind: Kind, queue: Queue, clock: VirtualClock, start: Start, events: list[StoreEvent]
) -> None:
    def steps(job: Any) -> Any:
        yield job.move_to_failed("no such address")
        raise ValueError("not looked at")

    start(kind(steps))
    job = await queue.add("send", attempts=5)
    await clock.settle()

    await job.refresh()
    assert (job.state, job.failed_reason) == (JobState.FAILED, "no such address")
    assert len(job.attempt_logs) == 1
    assert not {event.type for event in events} & {"queue:error", "job:retrying"}


@both
@pytest.mark.asyncio
async def test_sleep_follows_the_clock(
    kind: Kind, queue: Queue, clock: VirtualClock, start: Start
) -> None:
    def steps(job: Any) -> Any:
        begin = clock.now()
        yield job.sleep("1 hour")
        return (clock.now() - begin).total_seconds()

    start(kind(steps))
    job = await queue.add("send")
    await clock.advance("2 hours")

    assert (await job.refresh()).returnvalue == 3600


@both
@pytest.mark.asyncio
async def test_a_call_that_is_refused_raises_where_it_was_made(
    kind: Kind, queue: Queue, clock: VirtualClock, start: Start
) -> None:
    def steps(job: Any) -> Any:
        yield job.promote()

    start(kind(steps))
    job = await queue.add("send")
    await clock.settle()

    await job.refresh()
    assert "InvalidJobStateError" in (job.failed_reason or "")
    assert f'File "{__file__}"' in job.stacktrace[0].splitlines()[1]


@pytest.mark.asyncio
async def test_a_job_that_is_gone_and_one_in_the_wrong_state(queue: Queue) -> None:
    job = await queue.add("send")
    for call in (job.promote, job.retry, lambda: job.change_delay(5)):
        with pytest.raises(InvalidJobStateError, match="is 'waiting'; this needs it to be"):
            await call()
    await job.remove()

    calls: list[Callable[[], Any]] = [job.remove, job.refresh, job.cancel, job.discard]
    calls.append(functools.partial(job.log, "x"))
    for call in calls:
        with pytest.raises(JobNotFoundError, match="no job 'emails-1' in queue 'emails'"):
            await call()


@pytest.mark.asyncio
async def test_changing_a_job_from_outside(queue: Queue, clock: VirtualClock, start: Start) -> None:
    late, first, urgent = await queue.add_bulk(
        [{"name": "late", "delay": 600}, {"name": "first"}, {"name": "urgent"}]
    )
    await late.change_delay(60)
    await urgent.change_priority(-1)
    await first.update_data("new")
    order: list[tuple[str, Any]] = []

    async def note(job: Job) -> None:
        order.append((job.name, job.data))

    start(note)
    await clock.advance(59)
    assert order == [("urgent", None), ("first", "new")]
    await clock.advance(1)
    assert order[-1] == ("late", None)


@pytest.mark.asyncio
async def test_a_print_in_a_handler_does_not_need_a_job_in_a_context(
    queue: Queue, clock: VirtualClock, start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    async def talk(job: Job) -> str:
        await asyncio.sleep(0)
        print(f"{job.id} talks")
        return repr(job)

    start(talk)
    job = await queue.add("send")
    await clock.settle()

    assert capsys.readouterr().out == "emails-1 talks\n"
    assert (await job.refresh()).returnvalue == "<Job emails-1 'send': active>"
