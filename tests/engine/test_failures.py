"""What a failed job tells those who wait for it, and what a handler says by what it raises."""

from __future__ import annotations

import asyncio
import gc
import pickle
import traceback
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from conveyor_nb import (
    Batch,
    FlowJob,
    FlowProducer,
    Job,
    JobCancelledError,
    JobFailedError,
    JobState,
    MemoryStore,
    Queue,
    Retry,
    Unrecoverable,
    VirtualClock,
    Worker,
)
from conveyor_nb.context.recent_failures import KEPT

Start = Callable[..., Worker]


class ApiError(Exception):
    """Is made of other arguments than those it keeps, as many are."""

    def __init__(self, status: int, body: str) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status
        self.body = body


def connect() -> None:
    raise ConnectionError("refused")


async def fail(job: Job) -> None:
    match job.name:
        case "api":
            raise ApiError(404, "no such address")
        case "group":
            raise ExceptionGroup("both", [ApiError(404, "a"), KeyError("b")])
        case "context":
            try:
                connect()
            except ConnectionError as error:
                raise ApiError(503, "down") from error
        case "unicode":
            b"\xff".decode()
    raise ValueError("bad address")


async def failure(job: Job) -> JobFailedError:
    with pytest.raises(JobFailedError) as caught:
        await job.wait_until_finished()
    return caught.value


def printed(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


# -- what is told of a failure --------------------------------------------------------------


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.asyncio
async def test_an_error_says_which_attempt_of_which_job_failed_and_where(
    late: bool, queue: Queue, start: Start, clock: VirtualClock
) -> None:
    start(fail)
    job = await queue.add("send", attempts=2)
    if late:
        await clock.settle()
    error = await failure(job)

    told = (error.job_id, error.queue_name, error.attempt, error.attempts, error.reason)
    assert told == ("emails-1", "emails", 2, 2, "ValueError: bad address")
    assert error.traceback == job.stacktrace[-1]
    text = printed(error)
    assert "in queue 'emails', attempt 2 of 2:\nTraceback" in text
    assert text.endswith('    raise ValueError("bad address")\nValueError: bad address\n')
    assert isinstance(error.__cause__, ValueError)


@pytest.mark.asyncio
async def test_an_error_can_be_pickled_with_what_it_tells(queue: Queue, start: Start) -> None:
    start(fail)
    error = await failure(await queue.add("send"))
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), vars(copy)) == (str(error), vars(error))
    assert copy.__notes__ == error.__notes__


@pytest.mark.parametrize("when", ["before it began", "while it ran", "on its retry"])
@pytest.mark.asyncio
async def test_a_cancelled_job_is_told_of_alike(
    when: str, queue: Queue, start: Start, clock: VirtualClock
) -> None:
    async def handler(job: Job) -> None:
        if when == "on its retry" and job.attempts_made == 0:
            raise ValueError("once more")
        await job.sleep(60)

    job = await queue.add("send", attempts=3)
    if when != "before it began":
        start(handler)
        await clock.settle()
    await job.cancel()
    error = await failure(job)
    assert isinstance(error, JobCancelledError)
    assert (error.reason, error.queue_name, error.attempts) == ("cancelled", "emails", 3)
    attempt = {"before it began": 0, "while it ran": 1, "on its retry": 2}[when]
    assert error.attempt == attempt
    told = f"attempt {attempt} of 3" if attempt else "before it began"
    assert f"in queue 'emails', {told}" in printed(error)
    assert error.__cause__ is None
    assert pickle.loads(pickle.dumps(error)).attempt == attempt


@pytest.mark.asyncio
async def test_a_job_that_is_removed_with_its_failure_tells_all_the_same(
    queue: Queue, start: Start, clock: VirtualClock
) -> None:
    job = await queue.add("api", attempts=2, remove_on_fail=True)
    waiting = asyncio.ensure_future(failure(job))
    await clock.settle()
    start(fail)
    error = await waiting
    assert await queue.get_job(job.id) is None
    assert (error.attempt, error.attempts) == (2, 2)
    assert isinstance(error.__cause__, ApiError)


@pytest.mark.asyncio
async def test_a_parent_that_failed_by_its_child_never_began(store: MemoryStore) -> None:
    flow = await FlowProducer(store=store).add(FlowJob("p", "q", children=[FlowJob("c", "q")]))
    async with Worker("q", fail, store=store):
        error = await failure(flow.job)
    assert (error.attempt, error.traceback, error.__cause__) == (0, None, None)
    assert "in queue 'q', before it began" in printed(error)


@pytest.mark.asyncio
async def test_a_long_traceback_is_shown_by_its_begin_and_end(queue: Queue, start: Start) -> None:
    async def handler(job: Job) -> None:
        raise ValueError("row\n" * 50_000)

    start(handler)
    error = await failure(await queue.add("send"))
    (note,) = error.__notes__
    assert len(note) < 10_000
    assert "more characters …" in note
    assert "in handler" in note


# -- the cause ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kind", "state"),
    [
        ("send", ValueError, {}),
        ("api", ApiError, {"status": 404, "body": "no such address"}),
        ("context", ApiError, {"status": 503}),
        ("unicode", UnicodeDecodeError, {"start": 0, "object": b"\xff"}),
        ("group", ExceptionGroup, {}),
    ],
)
@pytest.mark.asyncio
async def test_the_cause_is_what_the_handler_raised(
    name: str, kind: type[BaseException], state: dict[str, Any], queue: Queue, start: Start
) -> None:
    start(fail)
    error = await failure(await queue.add(name))
    assert type(error.__cause__) is kind
    assert {key: getattr(error.__cause__, key) for key in state} == state
    assert str(error.__cause__) in error.reason  # type: ignore[operator]
    if isinstance(error.__cause__, ExceptionGroup):
        assert [str(one) for one in error.__cause__.exceptions] == ["HTTP 404", "'b'"]


@pytest.mark.asyncio
async def test_each_who_waits_has_a_cause_of_his_own(queue: Queue, start: Start) -> None:
    start(fail)
    job = await queue.add("api")
    first, second = [(await failure(job)).__cause__ for _ in range(2)]
    assert first is not second
    assert first is not None
    first.add_note("mine")
    assert not hasattr((await failure(job)).__cause__, "__notes__")


class Frame:
    """A variable of a handler, which nobody is to hold on to when it has ended."""


@pytest.mark.asyncio
async def test_what_is_kept_of_a_failure_holds_no_variable_of_its_handler(
    queue: Queue, start: Start
) -> None:
    seen: list[weakref.ref[Frame]] = []

    async def handler(job: Job) -> None:
        table = Frame()
        seen.append(weakref.ref(table))
        try:
            connect()
        except ConnectionError as error:
            wrapped = ApiError(503, "down")
            wrapped.original = error  # type: ignore[attr-defined]
            if job.name == "argument":
                raise ValueError("wrapped", error) from error
            if job.name == "group":
                raise ExceptionGroup("all", [wrapped]) from error
            raise wrapped from error

    start(handler)
    for name in ("send", "argument", "group"):
        error = await failure(await queue.add(name))
        gc.collect()
        assert error.__cause__ is not None
        assert seen.pop()() is None


@pytest.mark.asyncio
async def test_so_many_causes_are_kept_and_go_with_their_store(
    queue: Queue, start: Start, clock: VirtualClock
) -> None:
    start(fail)
    jobs = await queue.add_bulk({"name": "send"} for _ in range(KEPT + 1))
    await clock.settle()
    causes = [(await failure(job)).__cause__ for job in jobs]
    assert causes[0] is None
    assert all(isinstance(one, ValueError) for one in causes[1:])

    async with MemoryStore() as other, Worker("q", fail, store=other):
        await failure(await Queue("q", store=other).add("send"))
        kept = weakref.ref(other)
    del other
    gc.collect()
    assert kept() is None


@pytest.mark.asyncio
async def test_the_failure_of_an_earlier_attempt_is_no_cause(
    queue: Queue, store: MemoryStore
) -> None:
    async def handler(job: Job) -> None:
        if job.attempts_made:
            await job.move_to_failed("given up")
        raise ValueError("bad address")

    async with Worker("emails", handler, store=store):
        error = await failure(await queue.add("send", attempts=2))
    assert error.reason == "given up"
    assert error.__cause__ is None


# -- what a handler says by what it raises --------------------------------------------------


async def outcome(
    queue: Queue, clock: VirtualClock, error: BaseException, **options: Any
) -> tuple[str, int, str | None, float]:
    """State, attempts, reason and the time until the next attempt of a job whose handler raises."""

    async def handler(job: Job) -> None:
        raise error

    retry_on = options.pop("retry_on", None)
    worker = Worker("emails", handler, store=queue.store, retry_on=retry_on, auto_start=False)
    await queue.add("send", **{"attempts": 3, **options})
    job = await worker.run_once()
    await worker.close()
    assert job is not None
    delay = (job.delay_until - clock.now()).total_seconds() if job.delay_until else 0.0
    return str(job.state), job.attempts_made, job.failed_reason, delay


@pytest.mark.parametrize(
    ("delay", "backoff", "state", "seconds"),
    [
        (None, None, "waiting", 0),
        (None, 7, "delayed", 7),
        ("5s", 7, "delayed", 5),
        (0, 7, "waiting", 0),
        (0.5, None, "delayed", 0.5),
    ],
)
@pytest.mark.asyncio
async def test_retry_tries_again_and_says_when(
    delay: Any, backoff: Any, state: str, seconds: float, queue: Queue, clock: VirtualClock
) -> None:
    got = await outcome(queue, clock, Retry("busy", delay=delay), backoff=backoff)
    assert got == (state, 1, "Retry: busy", seconds)


@pytest.mark.asyncio
async def test_retry_spends_an_attempt_and_says_if_none_is_left(
    queue: Queue, clock: VirtualClock
) -> None:
    got = await outcome(queue, clock, Retry("busy", delay="5s"), attempts=1)
    told = "Retry: busy (no attempt is left: it was added with attempts=1)"
    assert got == ("failed", 1, told, 0)


@pytest.mark.asyncio
async def test_retry_of_a_job_that_was_discarded(queue: Queue, start: Start) -> None:
    async def handler(job: Job) -> None:
        await job.discard()
        raise Retry

    start(handler)
    error = await failure(await queue.add("send", attempts=3))
    assert error.reason is not None
    assert error.reason.endswith("(no attempt is left: it was discarded)")


@pytest.mark.parametrize("wrong", ["-1s", float("nan"), "soon"])
def test_a_retry_checks_its_delay(wrong: Any) -> None:
    with pytest.raises(ValueError, match="delay"):
        Retry(delay=wrong)


@pytest.mark.parametrize("delay", [5, 0.5, "5s", None])
def test_a_delay_in_the_place_of_the_reason_is_refused(delay: Any) -> None:
    if delay is None:
        assert Retry(delay).delay is None
    else:
        with pytest.raises(
            TypeError, match=rf"is not a reason; for a delay: Retry\(delay={delay!r}\)"
        ):
            Retry(delay)


@pytest.mark.parametrize("error", [Unrecoverable("no such address"), Unrecoverable()])
@pytest.mark.asyncio
async def test_unrecoverable_fails_for_good(
    error: Unrecoverable, queue: Queue, clock: VirtualClock
) -> None:
    state, attempts, reason, _ = await outcome(queue, clock, error, backoff=5)
    assert (state, attempts) == ("failed", 1)
    assert reason is not None
    assert reason.startswith("Unrecoverable")


@pytest.mark.parametrize(
    ("error", "retry_on", "state"),
    [
        (ConnectionError("a"), (ConnectionError,), "waiting"),
        (ConnectionError("a"), ConnectionError, "waiting"),
        (ConnectionResetError("a"), [OSError], "waiting"),
        (ValueError("a"), (ConnectionError, TimeoutError), "failed"),
        (ValueError("a"), (), "failed"),
        (ValueError("a"), None, "waiting"),
        (Retry("a"), (ConnectionError,), "waiting"),
        (Unrecoverable("a"), (Unrecoverable,), "failed"),
        (ExceptionGroup("a", [OSError(), ValueError()]), (OSError,), "failed"),
        (ExceptionGroup("a", [OSError(), OSError()]), (OSError,), "waiting"),
        (ExceptionGroup("a", [OSError(), Unrecoverable()]), None, "failed"),
        (ExceptionGroup("a", [OSError(), Retry(delay=5)]), None, "delayed"),
        (ExceptionGroup("a", [KeyError(), Retry(delay=5)]), (OSError,), "failed"),
    ],
)
@pytest.mark.asyncio
async def test_only_what_is_in_retry_on_is_retried(
    error: BaseException, retry_on: Any, state: str, queue: Queue, clock: VirtualClock
) -> None:
    assert (await outcome(queue, clock, error, retry_on=retry_on))[0] == state


@pytest.mark.parametrize(
    ("retry_on", "state"), [((ValueError,), "failed"), ((TimeoutError,), "waiting")]
)
@pytest.mark.asyncio
async def test_a_timeout_counts_as_a_timeout_error(
    retry_on: Any, state: str, queue: Queue, clock: VirtualClock, start: Start
) -> None:
    async def handler(job: Job) -> None:
        await job.sleep(60)

    worker = Worker("emails", handler, store=queue.store, retry_on=retry_on, auto_start=False)
    job = await queue.add("send", attempts=2, timeout=5)
    step = asyncio.ensure_future(worker.run_once())
    await clock.advance(5)
    await step
    assert (await job.refresh()).state == state
    await worker.close()


@pytest.mark.asyncio
async def test_a_result_that_cant_be_kept_is_an_exception_like_others(
    queue: Queue, clock: VirtualClock, start: Start
) -> None:
    start(lambda job: (one for one in [1]), retry_on=(OSError,))
    job = await queue.add("send", attempts=3)
    error = await failure(job)
    assert (error.attempt, type(error.__cause__).__name__) == (1, "PayloadError")


@pytest.mark.asyncio
async def test_each_job_of_a_batch_has_its_own_say(
    queue: Queue, clock: VirtualClock, start: Start
) -> None:
    async def handler(jobs: list[Job]) -> Sequence[BaseException]:
        return [Retry(delay=5), Unrecoverable("no"), ValueError("a"), ConnectionError("b")]

    jobs = await queue.add_bulk({"name": "send", "attempts": 2} for _ in range(4))
    start(handler, batch=Batch(4), retry_on=(ConnectionError,))
    await clock.settle()
    states = [(await job.refresh()).state for job in jobs]
    assert states == ["delayed", "failed", "failed", "failed"], "the last one in its second attempt"
    assert [job.attempts_made for job in jobs] == [1, 1, 1, 2]


@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.asyncio
async def test_a_handler_in_a_process_has_the_same_say(batch: bool, queue: Queue) -> None:
    def handler(jobs: Any) -> Any:
        errors = {
            "again": Retry(delay="1 hour"),
            "never": Unrecoverable("no such address"),
            "other": ValueError("not in retry_on"),
        }
        if isinstance(jobs, list):
            return [errors[job.name] for job in jobs]
        raise errors[jobs.name]

    options: dict[str, Any] = {"batch": Batch(3)} if batch else {}
    jobs = await queue.add_bulk(
        {"name": name, "attempts": 2} for name in ("again", "never", "other")
    )
    async with Worker(
        "emails", handler, store=queue.store, executor="process", retry_on=(OSError,), **options
    ):
        for job in jobs[1:]:
            await failure(job)
    for job in jobs:
        await job.refresh()
    assert [job.state for job in jobs] == [JobState.DELAYED, JobState.FAILED, JobState.FAILED]
    assert {job.attempts_made for job in jobs} == {1}


@pytest.mark.parametrize("retry_on", ["ConnectionError", [5], (ConnectionError(),), (Job,), 5])
@pytest.mark.asyncio
async def test_retry_on_takes_exception_classes(retry_on: Any, store: MemoryStore) -> None:
    with pytest.raises(TypeError, match=r"such as \(ConnectionError, TimeoutError\), not"):
        Worker("emails", fail, store=store, retry_on=retry_on)
