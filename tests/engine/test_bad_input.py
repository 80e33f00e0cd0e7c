"""A mistake is one clear error at the call that made it, and nothing is stored."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from conveyor_nb import (
    Backoff,
    Batch,
    Deduplication,
    Group,
    GroupLimits,
    Job,
    Keep,
    Limiter,
    MemoryStore,
    PayloadError,
    Queue,
    QueueClosedError,
    Repeat,
    StoreEvent,
    VirtualClock,
    Worker,
)

NAN, INF = math.nan, math.inf
NAIVE = datetime(2027, 1, 1)


class Point:
    """Has a lock-like part that no copy can be made of."""

    def __init__(self) -> None:
        self.call = lambda: 0


BAD_OPTIONS: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"attemps": 3}, TypeError, "unknown .* 'attemps'; did you mean 'attempts'"),
    ({"zzz": 3}, TypeError, "unknown .* 'zzz'; known are: attempts, backoff"),
    ({"attempts": 0}, ValueError, "attempts must be 1 or more, not 0"),
    ({"attempts": -1}, ValueError, "attempts must be 1 or more"),
    ({"attempts": 1.5}, TypeError, "attempts must be a whole number"),
    ({"attempts": True}, TypeError, "attempts must be a whole number"),
    ({"attempts": "3"}, TypeError, "attempts must be a whole number.*'3'"),
    ({"attempts": None}, TypeError, "attempts must be a whole number"),
    ({"delay": -1}, ValueError, "delay must be zero or more.*-1"),
    ({"delay": "-5s"}, ValueError, "delay must be zero or more.*'-5s'"),
    ({"delay": timedelta(seconds=-1)}, ValueError, "delay must be zero or more"),
    ({"delay": NAN}, ValueError, "delay must be .*finite, not nan"),
    ({"delay": INF}, ValueError, "delay must be .*not inf"),
    ({"delay": 10**400}, ValueError, "delay must be"),
    ({"delay": "soon"}, ValueError, "delay 'soon' is not a duration.*'10 minutes'"),
    ({"delay": ""}, ValueError, "delay '' is not a duration"),
    ({"delay": None}, TypeError, "delay None is a NoneType, not a duration"),
    ({"delay": True}, TypeError, "delay True is a bool, not a duration"),
    ({"delay": [5]}, TypeError, r"delay \[5\] is a list, not a duration"),
    ({"timeout": 0}, ValueError, "timeout must be longer than zero"),
    ({"timeout": -2}, ValueError, "timeout must be zero or more.*-2"),
    ({"timeout": NAN}, ValueError, "timeout must be .*nan"),
    ({"timeout": "never"}, ValueError, "timeout 'never' is not a duration"),
    ({"backoff": -1}, ValueError, "backoff must be zero or more"),
    ({"backoff": "exponential"}, ValueError, "backoff 'exponential' needs a delay"),
    ({"backoff": {"type": "fixed"}}, TypeError, "backoff .* is a dict"),
    ({"priority": NAN}, ValueError, "priority must be a finite number, not nan"),
    ({"priority": INF}, ValueError, "priority must be a finite number, not inf"),
    ({"priority": "high"}, TypeError, "priority must be a number, not 'high'"),
    ({"priority": None}, TypeError, "priority must be a number"),
    ({"priority": True}, TypeError, "priority must be a number"),
    ({"priority": 1j}, TypeError, "priority must be a number"),
    ({"lifo": 1}, TypeError, "lifo must be True or False, not 1"),
    ({"job_id": 7}, TypeError, "job_id must be text, not 7"),
    ({"job_id": ""}, ValueError, "job_id must have 1 to 255 characters"),
    ({"job_id": "a\nb"}, ValueError, "job_id must have no control characters"),
    ({"deduplication": "daily"}, TypeError, r"deduplication must be a Deduplication.*key="),
    ({"group": "g"}, TypeError, r"group must be a Group.*Group\('customer-1'\)"),
    ({"repeat": "5m"}, TypeError, "repeat must be a Repeat"),
    ({"remove_on_complete": "1000"}, ValueError, r"Keep\(count=1000\) .*, or '1000s'"),
    ({"remove_on_fail": 1.5}, ValueError, "can't be the bare number 1.5: give '1.5s'"),
    ({"remove_on_complete": 1000}, ValueError, r"Keep\(count=1000\) .*, or '1000s'"),
    ({"remove_on_complete": -1}, ValueError, "can't be the bare number -1: give True"),
    ({"remove_on_complete": None}, TypeError, "remove_on_complete None is a NoneType"),
    ({"remove_on_fail": "later"}, ValueError, "remove_on_fail 'later' is not a duration"),
    ({"fail_parent_on_child_failure": "no"}, ValueError, "'fail', 'ignore', 'remove', not 'no'"),
]
KINDS = [str(options) for options, _, _ in BAD_OPTIONS]


@pytest.mark.parametrize(("options", "error", "words"), BAD_OPTIONS, ids=KINDS)
@pytest.mark.asyncio
async def test_a_bad_job_option(
    options: dict[str, Any],
    error: type[Exception],
    words: str,
    queue: Queue,
    store: MemoryStore,
    events: list[StoreEvent],
) -> None:
    with pytest.raises(error, match=words):
        await queue.add("send", None, **options)
    with pytest.raises(error, match=words):
        await queue.add_bulk([{"name": "send"}, {"name": "send", **options}])  # type: ignore[typeddict-item]
    with pytest.raises(error, match=words):
        Queue("emails", store=store, default_job_options=options)  # type: ignore[arg-type]

    assert await queue.count() == 0
    assert events == []


@pytest.mark.parametrize(
    ("build", "error", "words"),
    [
        (
            lambda: Backoff("linear", 1),  # type: ignore[arg-type]
            ValueError,
            "'fixed', 'exponential', 'custom', not 'linear'",
        ),
        (lambda: Backoff("fixed", -1), ValueError, "backoff delay must be zero or more"),
        (lambda: Backoff("custom"), TypeError, "custom backoff needs strategy=callable"),
        (lambda: Backoff("custom", strategy=5), TypeError, "needs strategy=callable, not 5"),  # type: ignore[arg-type]
        (lambda: Backoff("fixed", 1, lambda n: n), ValueError, "goes with type 'custom'"),
        (lambda: Deduplication(), ValueError, "either key='...' or hash=True"),
        (lambda: Deduplication("k", hash=True), ValueError, "either key='...' or hash=True"),
        (lambda: Deduplication("k", ttl=0), ValueError, "ttl must be longer than zero"),
        (lambda: Deduplication(""), ValueError, "deduplication key must have 1 to 255"),
        (lambda: Keep(), ValueError, "Keep needs age=, count= or both"),
        (lambda: Keep(count=-1), ValueError, "keep count must be 0 or more"),
        (lambda: Keep(age=NAN), ValueError, "keep age must be"),
        (lambda: Group(""), ValueError, "group id must have 1 to 255"),
        (lambda: Group("g", max_size=0), ValueError, "max_size must be 1 or more"),
        (lambda: Limiter(0, 1), ValueError, "limiter max must be 1 or more"),
        (lambda: Limiter(1, 0), ValueError, "limiter duration must be longer than zero"),
        (lambda: Batch(0), ValueError, "batch size must be 1 or more"),
        (lambda: GroupLimits(concurrency=0), ValueError, "group concurrency must be 1 or more"),
        (lambda: GroupLimits(limiter=5), TypeError, "group limiter must be a Limiter"),  # type: ignore[arg-type]
        (lambda: Repeat(), ValueError, "either every= or cron="),
        (lambda: Repeat(every=1, start_date=NAIVE), ValueError, "start_date .* has no time zone"),
        (lambda: Repeat(every=1, end_date="now"), TypeError, "end_date must be a timezone-aware"),  # type: ignore[arg-type]
        (lambda: VirtualClock(start=NAIVE), ValueError, "start .* has no time zone"),
        (lambda: MemoryStore(ids="uuid"), ValueError, "ids must be 'sequential' or None"),
        (lambda: MemoryStore(clock=5), TypeError, "clock must be a Clock"),  # type: ignore[arg-type]
    ],
)
def test_a_bad_part_of_the_options(
    build: Callable[[], object], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        build()


BAD_NAMES: list[tuple[Any, type[Exception], str]] = [
    ("", ValueError, "must have 1 to 255 characters, not 0"),
    ("x" * 256, ValueError, "must have 1 to 255 characters, not 256"),
    ("a\x00b", ValueError, r"must have no control characters: 'a\\x00b'"),
    ("line\n", ValueError, "must have no control characters"),
    ("a\x7f", ValueError, "must have no control characters"),
    ("a\x85", ValueError, "must have no control characters"),
    (None, TypeError, "must be text, not None"),
    (5, TypeError, "must be text, not 5"),
    (b"emails", TypeError, "must be text"),
]


@pytest.mark.parametrize(("name", "error", "words"), BAD_NAMES)
@pytest.mark.asyncio
async def test_a_bad_name(
    name: Any, error: type[Exception], words: str, queue: Queue, store: MemoryStore
) -> None:
    async def send(job: Job) -> None: ...

    with pytest.raises(error, match=f"queue name {words}"):
        Queue(name, store=store)
    with pytest.raises(error, match=f"queue name {words}"):
        Worker(name, send, store=store)
    with pytest.raises(error, match=f"job name {words}"):
        await queue.add(name)
    if name is not None:
        with pytest.raises(error, match=f"worker name {words}"):
            Worker("emails", send, store=store, name=name)
        with pytest.raises(error, match=f"job name {words}"):
            await queue.pause(name)

    assert await store.list_queues() == []


@pytest.mark.parametrize("name", ["x", "x" * 255, "e-mails: 你好 / a b", "<img onerror=x>", "été"])
@pytest.mark.asyncio
async def test_any_other_text_is_a_good_name(name: str, store: MemoryStore) -> None:
    async with Queue(name, store=store) as queue, Worker(name, lambda job: job.name, store=store):
        job = await queue.add(name)
        assert await job.wait_until_finished() == name


@pytest.mark.parametrize(
    ("data", "path"),
    [
        (lambda: 0, "data is a function"),
        ({"to": ["ada", lambda: 0]}, r"data\['to'\]\[1\] is a function"),
        ({"a": {"b": (1, {"c": open})}, "d": lambda: 0}, r"data\['d'\] is a function"),
        ({"gen": (n for n in [1])}, r"data\['gen'\] is a generator"),
        ([Point()], r"data\[0\].call is a function"),
    ],
)
@pytest.mark.asyncio
async def test_a_payload_that_cant_be_copied(
    data: Any, path: str, queue: Queue, events: list[StoreEvent]
) -> None:
    with pytest.raises(PayloadError, match=f"{path}, which can't be copied"):
        await queue.add("send", data)
    with pytest.raises(TypeError, match="can't be copied"):
        await queue.add("send", data)
    assert await queue.count() == 0

    job = await queue.add("send", 1)
    del events[:]
    with pytest.raises(PayloadError, match=path):
        await job.update_data(data)
    assert (await job.refresh()).data == 1
    assert events == []


@pytest.mark.asyncio
async def test_a_hash_of_a_payload_that_is_not_json(queue: Queue) -> None:
    with pytest.raises(TypeError, match=r"hash needs a JSON payload.*key="):
        await queue.add(
            "send", {"at": datetime(2027, 1, 1)}, deduplication=Deduplication(hash=True)
        )

    assert await queue.count() == 0


BAD_WORKERS: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"concurrency": 0}, ValueError, "concurrency must be 1 or more, not 0"),
    ({"concurrency": 2.0}, TypeError, "concurrency must be a whole number"),
    ({"concurrency": "2"}, TypeError, "concurrency must be a whole number"),
    ({"max_global_concurrency": 0}, ValueError, "max_global_concurrency must be 1 or more"),
    ({"limiter": (3, 1)}, TypeError, r"limiter must be a Limiter.*Limiter\(10, '1s'\)"),
    ({"lock_duration": 0}, ValueError, "lock_duration must be longer than zero"),
    ({"lock_duration": -1}, ValueError, "lock_duration must be zero or more"),
    ({"lock_duration": NAN}, ValueError, "lock_duration must be"),
    ({"lock_duration": None}, TypeError, "lock_duration None is a NoneType"),
    ({"stalled_interval": 0}, ValueError, "stalled_interval must be longer than zero"),
    ({"stalled_interval": "now"}, ValueError, "stalled_interval 'now' is not a duration"),
    ({"auto_start": 1}, TypeError, "auto_start must be True or False"),
    ({"lifo": "yes"}, TypeError, "lifo must be True or False"),
    ({"batch": 10}, TypeError, r"batch must be a Batch.*Batch\(10\)"),
    ({"group": 1}, TypeError, "group must be a GroupLimits"),
    ({"store": "memory"}, TypeError, r"store must be a store such as MemoryStore\(\)"),
    ({"concurency": 2}, TypeError, "concurency"),
]


@pytest.mark.parametrize(
    ("options", "error", "words"), BAD_WORKERS, ids=[str(options) for options, _, _ in BAD_WORKERS]
)
@pytest.mark.asyncio
async def test_a_bad_worker_option(
    options: dict[str, Any], error: type[Exception], words: str, queue: Queue, store: MemoryStore
) -> None:
    async def send(job: Job) -> None: ...

    await queue.add("send")
    with pytest.raises(error, match=words):
        Worker("emails", send, **{"store": store, **options})

    assert await queue.count("waiting") == 1
    assert await store.list_workers() == []


@pytest.mark.parametrize(
    ("handler", "words"),
    [
        (None, "handler must be a function that takes the job, not None"),
        ("send", "handler must be a function"),
        (lambda: 0, "<lambda> must take exactly one argument, the job"),
        (lambda job, more: 0, "must take exactly one argument"),
        (lambda *, job: 0, "must take exactly one argument"),
    ],
)
@pytest.mark.asyncio
async def test_a_bad_handler(handler: Any, words: str, queue: Queue, store: MemoryStore) -> None:
    with pytest.raises(TypeError, match=words):
        Worker("emails", handler, store=store)
    with pytest.raises(TypeError, match=words):
        queue.worker()(handler)

    assert await store.list_workers() == []


def test_a_worker_outside_of_a_loop() -> None:
    async def send(job: Job) -> None: ...

    with pytest.raises(RuntimeError, match="no running event loop; pass auto_start=False"):
        Worker("emails", send, store=MemoryStore())
    waits = Worker("emails", send, store=MemoryStore(), auto_start=False)
    with pytest.raises(RuntimeError, match="no running event loop"):
        waits.start()
    assert waits.status == "stopped"


@pytest.mark.asyncio
async def test_bad_arguments_of_a_queues_calls(queue: Queue) -> None:
    job = await queue.add("send", delay=60)

    looks: list[Any] = [queue.get_job, queue.is_paused, queue.remove_job_scheduler]
    for look in looks:
        with pytest.raises(TypeError, match=r"(job_id|job name|scheduler id) must be text, not 7"):
            await look(7)
    with pytest.raises(TypeError, match="job_id must be text, not 7"):
        queue.observe(7)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="changes must be a mapping, not 7"):
        await queue.store.update_job("emails", job.id, 7)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"state must be one of 'waiting', .* not 'done'"):
        await queue.get_jobs("done")
    with pytest.raises(ValueError, match=r"not 'complete'; did you mean 'completed'\?"):
        await queue.count("complete")
    with pytest.raises(ValueError, match="any state but active"):
        await queue.clean("active")
    with pytest.raises(ValueError, match="grace must be zero or more"):
        await queue.clean("delayed", -1)
    with pytest.raises(ValueError, match="'failed' or 'completed', not 'waiting'"):
        await queue.retry_jobs("waiting")
    with pytest.raises(ValueError, match="while' is not a duration"):
        await queue.schedule("in a while", "send")
    with pytest.raises(TypeError, match="job options must be a JobOptions or a mapping"):
        Queue("emails", default_job_options=5)  # type: ignore[arg-type]

    assert [one.id for one in await queue.get_jobs("delayed")] == [job.id]


@pytest.mark.asyncio
async def test_bad_arguments_of_a_jobs_calls(queue: Queue) -> None:
    job = await queue.add("send", delay=60)
    before = job.to_dict()

    for percent, error in (
        (101, ValueError),
        (-1, ValueError),
        (NAN, ValueError),
        ("5", TypeError),
    ):
        with pytest.raises(error, match="progress must be"):
            await job.update_progress(percent)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="has no time zone"):
        await job.move_to_delayed(NAIVE)
    with pytest.raises(TypeError, match="must be a timezone-aware datetime"):
        await job.move_to_delayed(5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="priority must be a finite number"):
        await job.change_priority(NAN)
    with pytest.raises(ValueError, match="delay must be zero or more"):
        await job.change_delay(-1)
    with pytest.raises(AttributeError, match=r"job.data is read-only.*update_data"):
        job.data = 5

    assert (await job.refresh()).to_dict() == before


@pytest.mark.parametrize("timeout", ["soon", -1, NAN, [1]])
@pytest.mark.asyncio
async def test_a_bad_timeout_is_an_error_even_if_there_is_nothing_to_wait_for(
    timeout: Any, queue: Queue, start: Any
) -> None:
    worker = start(lambda job: None)
    job = await queue.add("send")
    await job.wait_until_finished()

    for call in (job.wait_until_finished, queue.join, worker.close):
        with pytest.raises((TypeError, ValueError), match="timeout"):
            await call(timeout=timeout)
    assert worker.status == "running", "a close that was refused closes nothing"


@pytest.mark.asyncio
async def test_adding_to_a_closed_queue(queue: Queue, store: MemoryStore) -> None:
    await queue.close()

    with pytest.raises(QueueClosedError, match=r"queue 'emails' is closed; create a new Queue"):
        await queue.add("send")

    assert await store.count_jobs("emails") == 0


def test_every_method_of_a_queue_is_known_as_one(queue: Queue) -> None:
    # Python's own errors name a method by its class: "Queue.add() missing 1 required ..."
    methods = [
        found
        for name in dir(Queue)
        if inspect.isfunction(found := inspect.getattr_static(Queue, name))
        and found.__module__.startswith("conveyor_nb.queue")
    ]
    assert len(methods) > 30
    assert {method.__qualname__.partition(".")[0] for method in methods} == {"Queue"}
    add: Any = queue.add
    with pytest.raises(TypeError, match=r"^Queue\.add\(\) missing 1 required"):
        add()
