"""One worker with a handler for each job name: given as a mapping, or decorated one by one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from conveyor_nb import (
    Batch,
    HandlerReplacedWarning,
    Job,
    JobFailedError,
    MemoryStore,
    Queue,
    VirtualClock,
    Worker,
)
from conveyor_nb.registry import named_workers, restart_worker
from tests.named_workers import close_named_workers

Start = Callable[..., Worker]


@pytest_asyncio.fixture(autouse=True)
async def _no_named_workers_left(store: MemoryStore) -> AsyncIterator[None]:
    yield
    await close_named_workers(store)


async def send(job: Job) -> str:
    return f"sent {job.data}"


def bounce(job: Any) -> str:
    job.log("in a thread of its own")
    return f"bounced {job.data}, {threading.current_thread() is threading.main_thread()}"


async def rest(job: Job) -> str:
    return f"{job.name} is of the rest"


async def result(queue: Queue, name: str, **options: Any) -> Any:
    return await (await queue.add(name, 5, **options)).wait_until_finished()


# -- a mapping --------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_each_job_goes_to_the_handler_of_its_name(queue: Queue, start: Start) -> None:
    worker = start({"send": send, "bounce": bounce, "later": lambda job: send(job)})
    assert await result(queue, "send") == "sent 5"
    assert await result(queue, "bounce") == "bounced 5, False"
    assert await result(queue, "later") == "sent 5"
    assert dict(worker.handler)["send"] is send  # type: ignore[arg-type]
    assert repr(worker).endswith("for 'bounce', 'later' and 'send'>")


@pytest.mark.asyncio
async def test_a_job_whose_name_has_no_handler_fails_for_good_and_holds_up_nobody(
    queue: Queue, start: Start
) -> None:
    start({"send": send, "bounce": bounce})
    unknown = await queue.add("report", attempts=3, backoff="1 hour")
    assert await result(queue, "send") == "sent 5"
    told = "no handler for jobs named 'report', only for 'bounce' and 'send'"
    with pytest.raises(JobFailedError, match=told) as error:
        await unknown.wait_until_finished()
    assert "Traceback" not in error.value.__notes__[0], "its frames say nothing to a person"
    assert error.value.attempt == 1, "another attempt would end alike"
    await queue.join()


@pytest.mark.asyncio
async def test_a_star_takes_all_others(queue: Queue, start: Start) -> None:
    start({"send": send, "*": rest})
    assert await result(queue, "send") == "sent 5"
    assert await result(queue, "report") == "report is of the rest"
    assert await result(queue, "*") == "* is of the rest"


class Sender(list[Any]):
    """A handler that is empty, and so counts as false."""

    async def __call__(self, job: Job) -> str:
        return f"sent {job.name}"


@pytest.mark.asyncio
async def test_a_handler_may_be_an_object_that_counts_as_false(queue: Queue, start: Start) -> None:
    worker = start({"send": Sender(), "*": Sender()})
    job, other = await queue.add("send"), await queue.add("other")
    assert await job.wait_until_finished() == "sent send"
    assert await other.wait_until_finished() == "sent other"
    successor = worker.successor(replacement := Sender())
    assert successor.handler is replacement
    await successor.close()


@pytest.mark.asyncio
async def test_concurrency_is_of_the_worker_whatever_the_handlers_are(
    queue: Queue, start: Start, clock: VirtualClock
) -> None:
    at_work, most = 0, 0

    async def slow(job: Job) -> None:
        nonlocal at_work, most
        at_work += 1
        most = max(most, at_work)
        await job.sleep(1)
        at_work -= 1

    def slow_thread(job: Any) -> None:
        asyncio.run_coroutine_threadsafe(count(+1), loop).result()
        job.sleep(1)
        asyncio.run_coroutine_threadsafe(count(-1), loop).result()

    async def count(change: int) -> None:
        nonlocal at_work, most
        at_work += change
        most = max(most, at_work)

    loop = asyncio.get_running_loop()
    worker = start({"slow": slow, "thread": slow_thread}, concurrency=2)
    await queue.add_bulk({"name": name} for name in ("slow", "thread", "thread", "slow") * 2)
    await clock.advance(10)
    assert await queue.count("completed") == 8
    assert most == 2
    worker.concurrency = 3
    await queue.add_bulk({"name": "thread"} for _ in range(6))
    await clock.advance(10)
    assert most == 3


@pytest.mark.asyncio
async def test_handlers_by_name_in_processes(queue: Queue, store: MemoryStore) -> None:
    def double(job: Any) -> int:
        return int(job.data) * 2

    def half(job: Any) -> float:
        return float(job.data) / 2

    async with Worker("emails", {"double": double, "half": half}, store=store, executor="process"):
        assert [await result(queue, name) for name in ("double", "half")] == [10, 2.5]
        with pytest.raises(JobFailedError, match="no handler for jobs named 'other'") as error:
            await result(queue, "other", attempts=3)
    assert error.value.attempt == 1


@pytest.mark.parametrize(
    ("handlers", "options", "told"),
    [
        ({}, {}, "handlers by name must name at least one; for instance {'send': send}"),
        ({"send": 5}, {}, "for 'send': handler must be a function"),
        ({"send": send, "log": lambda: 0}, {}, "for 'log': handler <lambda> must take exactly one"),
        ({5: send}, {}, "job name must be text"),
        ({"": send}, {}, "job name must have 1 to 255 characters"),
        ({"send": send}, {"batch": Batch(2)}, "batch goes with one handler for all jobs"),
        ({"a": bounce, "b": send}, {"executor": "process"}, "write the handler with 'def'"),
    ],
)
@pytest.mark.asyncio
async def test_bad_handlers_by_name(
    handlers: Any, options: dict[str, Any], told: str, store: MemoryStore
) -> None:
    with pytest.raises((TypeError, ValueError), match=told):
        Worker("emails", handlers, store=store, **options)
    assert await store.list_workers() == []


@pytest.mark.asyncio
async def test_the_mapping_is_taken_as_it_is_now(queue: Queue, start: Start) -> None:
    handlers: dict[str, Any] = {"send": send}
    worker = start(handlers)
    handlers["report"] = rest
    with pytest.raises(JobFailedError):
        await result(queue, "report")
    with pytest.raises(TypeError):
        worker.handler["report"] = rest  # type: ignore[index]


# -- decorated one by one ---------------------------------------------------------------------


@pytest.mark.asyncio
async def test_functions_for_several_names_share_a_worker(queue: Queue, store: MemoryStore) -> None:
    @queue.worker(job_name="send", concurrency=3)
    async def send(job: Job) -> str:
        return "sent"

    @queue.worker(job_name="bounce")
    def bounce(job: Any) -> str:
        return "bounced"

    @queue.worker(job_name="*")
    async def others(job: Job) -> str:
        return "other"

    (worker,) = named_workers(store).values()
    assert send.worker is bounce.worker is others.worker is worker
    assert (worker.concurrency, worker.version) == (3, 3)
    assert [await result(queue, name) for name in ("send", "bounce", "x")] == [
        "sent",
        "bounced",
        "other",
    ]


@pytest.mark.asyncio
async def test_decorating_again_swaps_that_handler_alone(
    queue: Queue, store: MemoryStore, clock: VirtualClock
) -> None:
    def version(text: str) -> Callable[[Job], Any]:
        async def handler(job: Job) -> str:
            await job.sleep(1)
            return text

        return handler

    queue.worker(job_name="send", concurrency=4)(version("old"))
    queue.worker(job_name="bounce")(version("bounced"))
    jobs = await queue.add_bulk({"name": name} for name in ("send", "bounce"))
    await clock.settle()
    queue.worker(job_name="send", concurrency=2)(version("new"))
    jobs += await queue.add_bulk({"name": name} for name in ("send", "bounce"))
    await clock.advance(5)
    for job in jobs:
        await job.refresh()
    assert [job.returnvalue for job in jobs] == ["old", "bounced", "new", "bounced"]
    assert [len(job.attempt_logs) for job in jobs] == [1] * 4
    assert named_workers(store)["emails"].concurrency == 2, "of the newest that says so"


@pytest.mark.asyncio
async def test_an_option_that_is_given_no_more_is_forgotten(
    queue: Queue, store: MemoryStore
) -> None:
    queue.worker(job_name="send", concurrency=4, lifo=True)(send)
    queue.worker(job_name="bounce", concurrency=2)(bounce)
    queue.worker(job_name="*")(rest)
    assert named_workers(store)["emails"].concurrency == 2, "of those that say so, the newest"
    queue.worker(job_name="bounce")(bounce)
    assert named_workers(store)["emails"].concurrency == 4
    queue.worker(job_name="send")(send)
    options = named_workers(store)["emails"].options
    assert (options.concurrency, options.lifo) == (1, False)


@pytest.mark.asyncio
async def test_what_is_wrong_with_one_leaves_the_others_as_they_are(
    queue: Queue, store: MemoryStore
) -> None:
    queue.worker(job_name="send")(send)
    for job_name, options, handler in (
        ("", {}, send),
        (5, {}, send),
        ("log", {"concurrency": 0}, send),
        ("log", {}, lambda: 0),
        ("log", {"executor": "process"}, bounce),
    ):
        with pytest.raises((TypeError, ValueError)):
            queue.worker(job_name=job_name, **options)(handler)  # type: ignore[arg-type]
    assert await result(queue, "send") == "sent 5"


@pytest.mark.asyncio
async def test_one_handler_for_all_jobs_takes_over_from_those_for_some_and_the_other_way_round(
    queue: Queue, store: MemoryStore
) -> None:
    queue.worker(job_name="send")(send)
    queue.worker(job_name="bounce")(bounce)

    @queue.worker
    async def everything(job: Job) -> str:
        return "of everything"

    assert await result(queue, "send") == "of everything"
    with pytest.warns(HandlerReplacedWarning, match="jobs of other names fail") as warned:
        queue.worker(job_name="send")(send)
    [said] = warned
    assert 'job_name="*"' in str(said.message)
    assert said.filename == __file__, "it is the decorator's line that is shown"
    assert await result(queue, "send") == "sent 5"
    for name in ("bounce", "other"):
        with pytest.raises(JobFailedError, match="no handler"):
            await result(queue, name)


@pytest.mark.asyncio
async def test_a_handler_for_one_name_takes_over_without_a_warning_where_no_job_loses_its_own(
    queue: Queue, store: MemoryStore
) -> None:
    first = queue.worker(rest)
    queue.worker(job_name="*")(rest)  # which is for all names, too
    queue.worker(job_name="send")(send)
    assert await result(queue, "other") == "other is of the rest"
    queue.worker(name="mailer")(lambda job: None)
    await named_workers(store)["mailer"].close()
    queue.worker(job_name="send", name="mailer")(send)
    assert first.worker.name == queue.name


@pytest.mark.asyncio
async def test_jobs_that_came_before_their_handler_are_retried(queue: Queue) -> None:
    queue.worker(job_name="send")(send)
    early = await queue.add("report")
    await queue.join()
    queue.worker(job_name="report")(rest)
    assert await queue.retry_jobs() == 1
    assert await early.wait_until_finished() == "report is of the rest"


@pytest.mark.asyncio
async def test_workers_of_other_names_and_queues_are_others(
    queue: Queue, store: MemoryStore
) -> None:
    other = Queue("other", store=store)
    queue.worker(job_name="send")(send)
    other.worker(job_name="send", name="mailer")(send)
    queue.worker(job_name="bounce", name="mailer")(bounce)
    workers = named_workers(store)
    assert {name: list(one.handler) for name, one in workers.items()} == {  # type: ignore[arg-type]
        "emails": ["send"],
        "mailer": ["bounce"],
    }


@pytest.mark.asyncio
async def test_a_worker_that_starts_again_has_all_its_handlers(
    queue: Queue, store: MemoryStore
) -> None:
    decorated = queue.worker(job_name="send")(send)
    queue.worker(job_name="bounce")(bounce)
    await decorated.worker.close()
    again = restart_worker("emails", store=store)
    assert decorated.worker is again
    assert await result(queue, "bounce") == "bounced 5, False"
    queue.worker(job_name="*")(rest)
    assert await result(queue, "send") == "sent 5"
