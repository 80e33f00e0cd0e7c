"""What ``add`` and its relatives put into the store."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Any

import pytest

from conveyor_nb import (
    Backoff,
    BulkJob,
    Deduplication,
    Group,
    GroupFullError,
    Job,
    JobOptions,
    JobState,
    Keep,
    MemoryStore,
    PayloadError,
    Queue,
    QueueClosedError,
    Repeat,
    StoreEvent,
    VirtualClock,
    Worker,
)
from conveyor_nb.core.options.job_options import SharedKeywords

OPTIONS: dict[str, Any] = {
    "attempts": 5,
    "backoff": Backoff("exponential", "2s"),
    "delay": "1 minute",
    "priority": -1.5,
    "lifo": True,
    "timeout": "500ms",
    "job_id": "mine",
    "remove_on_complete": "1 hour",
    "remove_on_fail": Keep(count=3),
    "group": Group("customer-1"),
    "deduplication": Deduplication(key="daily"),
}
"""One value for each option, none of it the default."""


@pytest.mark.asyncio
async def test_every_option_reaches_the_job(queue: Queue) -> None:
    await queue.add("send", {"to": "ada"}, **OPTIONS)
    job = await queue.get_job("mine")

    assert job is not None
    assert (job.name, job.data, job.state) == ("send", {"to": "ada"}, JobState.DELAYED)
    assert job.opts == JobOptions(**OPTIONS)
    assert job.opts.timeout == 0.5
    assert job.opts.remove_on_complete == Keep(age=3600)
    assert (job.priority, job.group_id, job.deduplication_key) == (-1.5, "customer-1", "daily")
    assert job.delay_until == job.created_at + timedelta(minutes=1)


@pytest.mark.asyncio
async def test_a_number_of_seconds_is_a_fixed_backoff(queue: Queue) -> None:
    job = await queue.add("send", backoff=3)

    assert job.opts.backoff == Backoff("fixed", 3)


@pytest.mark.parametrize("options", [{"job_id": "a"}, {"repeat": Repeat(every=60)}], ids=str)
def test_what_is_for_one_job_is_no_default(options: Any, store: MemoryStore) -> None:
    for defaults in (options, JobOptions(**options)):
        with pytest.raises(ValueError, match="is for one job, and no default for all of a queue"):
            Queue("emails", store=store, default_job_options=defaults)


@pytest.mark.parametrize(
    "defaults",
    [{"attempts": 3, "priority": 2}, JobOptions(attempts=3, priority=2)],
    ids=["mapping", "JobOptions"],
)
@pytest.mark.asyncio
async def test_default_options_lie_under_those_of_the_job(
    defaults: JobOptions | SharedKeywords, store: MemoryStore
) -> None:
    queue = Queue("emails", store=store, default_job_options=defaults)

    plain = await queue.add("send")
    own = await queue.add("send", attempts=1, lifo=True)
    [bulk, with_opts] = await queue.add_bulk(
        [{"name": "send", "priority": 0}, {"name": "send", "opts": JobOptions(attempts=7)}]
    )

    assert (plain.opts.attempts, plain.opts.priority, plain.priority) == (3, 2, 2)
    assert (own.opts.attempts, own.opts.priority, own.opts.lifo) == (1, 2, True)
    assert (bulk.opts.attempts, bulk.opts.priority) == (3, 0)
    assert (with_opts.opts.attempts, with_opts.opts.priority) == (7, 2)


@pytest.mark.asyncio
async def test_changing_what_was_given_or_got_changes_nothing_stored(queue: Queue) -> None:
    mine = {"to": ["ada"]}
    job = await queue.add("send", mine)
    mine["to"].append("added later")
    job.data["to"].append("added to the job")
    [listed] = await queue.get_jobs()
    listed.data["to"].append("added to a listed job")

    fetched = await queue.get_job(job.id)
    assert fetched is not None
    assert fetched.data == {"to": ["ada"]}


@pytest.mark.asyncio
async def test_add_bulk_takes_options_as_keys_or_as_opts(queue: Queue) -> None:
    jobs = await queue.add_bulk(
        [
            {"name": "a", "data": 1, "priority": 3, "attempts": 2},
            {"name": "b", "opts": JobOptions(priority=2, delay=5)},
            {"name": "c", "opts": {"priority": 4}, "priority": 1},
            {"name": "d"},
        ]
    )

    assert [(job.name, job.data, job.priority) for job in jobs] == [
        ("a", 1, 3),
        ("b", None, 2),
        ("c", None, 1),
        ("d", None, 0),
    ]
    assert [job.state for job in jobs] == ["waiting", "delayed", "waiting", "waiting"]
    assert [job.id for job in await queue.get_jobs()] == [job.id for job in jobs]


@pytest.mark.parametrize(
    ("wrong", "error", "words"),
    [
        ({"name": "b", "attempts": 0}, ValueError, "attempts must be 1"),
        ({"name": "b", "attemps": 2}, TypeError, "did you mean 'attempts'"),
        ({"data": 1}, TypeError, "no 'name'"),
        ({"name": ""}, ValueError, "1 to 255"),
        ({"name": "b", "opts": 5}, TypeError, "JobOptions or a mapping"),
        ({"name": "b", "opts": {"attemps": 2}}, TypeError, "did you mean 'attempts'"),
        ("b", TypeError, "mapping"),
        ({"name": "b", "data": {"f": [lambda: 0]}}, PayloadError, r"data\['f'\]\[0\]"),
    ],
)
@pytest.mark.asyncio
async def test_add_bulk_adds_all_or_none_and_names_the_item(
    wrong: Any, error: type[Exception], words: str, queue: Queue, events: list[StoreEvent]
) -> None:
    with pytest.raises(error, match=rf"(?s)item 1\b.*{words}"):
        await queue.add_bulk([{"name": "a"}, wrong, {"name": "c"}])

    assert await queue.count() == 0
    assert events == []


@pytest.mark.asyncio
async def test_add_bulk_fills_no_group_above_its_size(
    queue: Queue, events: list[StoreEvent]
) -> None:
    item: BulkJob = {"name": "a", "group": Group("g", max_size=2)}
    with pytest.raises(GroupFullError, match="'g' is full"):
        await queue.add_bulk([item] * 3)
    assert events == []

    await queue.add_bulk([item] * 2)
    with pytest.raises(GroupFullError, match="'g' is full"):
        await queue.add_bulk([{"name": "b"}, item])
    assert await queue.count() == 2


@pytest.mark.asyncio
async def test_add_bulk_deduplicates_within_the_batch(queue: Queue) -> None:
    jobs = await queue.add_bulk(
        [
            {"name": "a", "deduplication": Deduplication(key="k")},
            {"name": "b", "deduplication": Deduplication(key="k")},
            {"name": "c", "job_id": "x"},
            {"name": "d", "job_id": "x"},
        ]
    )

    assert [job.name for job in jobs] == ["a", "a", "c", "c"]
    assert jobs[0].id == jobs[1].id
    assert await queue.count() == 2


@pytest.mark.asyncio
async def test_add_bulk_takes_any_iterable_and_nothing_at_all(queue: Queue) -> None:
    jobs = await queue.add_bulk({"name": "send", "data": number} for number in range(3))

    assert [job.data for job in jobs] == [0, 1, 2]
    assert await queue.add_bulk([]) == []


@pytest.mark.asyncio
async def test_generated_ids_never_meet_given_ones(queue: Queue) -> None:
    jobs = await queue.add_bulk([{"name": "a", "job_id": "emails-1"}, {"name": "b"}])
    third = await queue.add("c")

    assert len({job.id for job in (*jobs, third)}) == 3
    assert await queue.count() == await queue.count("waiting") == 3


@pytest.mark.parametrize(
    ("delay", "seconds"),
    [
        (90, 90),
        (timedelta(hours=1), 3600),
        ("10 minutes", 600),
        ("in 10 minutes", 600),
        ("  in  1.5h ", 5400),
        ("In 10 Minutes", 600),
        (0, 0),
    ],
)
@pytest.mark.asyncio
async def test_schedule_starts_a_job_after_a_delay(
    delay: Any, seconds: float, queue: Queue, clock: VirtualClock
) -> None:
    job = await queue.schedule(delay, "send", {"to": "ada"}, priority=2)

    assert (job.data, job.priority) == ({"to": "ada"}, 2)
    if seconds:
        assert job.state is JobState.DELAYED
        assert job.delay_until == clock.now() + timedelta(seconds=seconds)
    else:
        assert job.state is JobState.WAITING


@pytest.mark.asyncio
async def test_now_overrules_the_queues_default_delay(store: MemoryStore) -> None:
    queue = Queue("emails", store=store, default_job_options={"delay": 60, "attempts": 2})

    job = await queue.now("send", priority=1)

    assert (job.state, job.opts.attempts, job.priority) == (JobState.WAITING, 2, 1)
    assert (await queue.add("send")).state is JobState.DELAYED


@pytest.mark.asyncio
async def test_a_delayed_job_runs_when_its_time_comes_and_not_before(
    queue: Queue, clock: VirtualClock, start: Any
) -> None:
    ran: list[float] = []
    begin = clock.now()

    async def note(job: Job) -> None:
        ran.append((clock.now() - begin).total_seconds())

    start(note)
    await clock.settle()  # an idle worker has to hear of it
    await queue.add("late", delay=60)
    await clock.advance(59.999)
    assert ran == []
    await clock.advance(0.001)
    assert ran == [60]


@pytest.mark.asyncio
async def test_an_existing_id_gives_the_existing_job_unchanged(queue: Queue) -> None:
    first = await queue.add("send", {"to": "ada"}, job_id="x", priority=1)
    again = await queue.add("other", {"to": "grace"}, job_id="x", priority=2)

    assert again.id == first.id == "x"
    assert (again.name, again.data, again.priority) == ("send", {"to": "ada"}, 1)
    assert await queue.count() == 1


@pytest.mark.asyncio
async def test_a_key_holds_until_its_job_has_settled(queue: Queue, start: Any) -> None:
    rule = Deduplication(key="daily")
    first = await queue.add("send", 1, deduplication=rule)
    assert (await queue.add("send", 2, deduplication=rule)).id == first.id
    assert (await queue.add("send", 2, deduplication=Deduplication(key="other"))).id != first.id

    async def run_again(job: Job) -> Any:
        twin = await queue.add("send", 3, deduplication=rule) if job.data == 1 else None
        return twin and twin.id

    worker: Worker = start(run_again, auto_start=False)
    assert (done := await worker.run_once()) is not None
    assert done.returnvalue == first.id, "while it runs, it holds its key"
    assert (await queue.add("send", 4, deduplication=rule)).id != first.id


@pytest.mark.asyncio
async def test_a_key_with_a_ttl_holds_no_longer_than_that(
    queue: Queue, clock: VirtualClock
) -> None:
    rule = Deduplication(key="daily", ttl="1 minute")
    first = await queue.add("send", deduplication=rule)
    await clock.advance(59)
    assert (await queue.add("send", deduplication=rule)).id == first.id
    await clock.advance(1)
    second = await queue.add("send", deduplication=rule)

    assert second.id != first.id
    assert (await queue.add("send", deduplication=rule)).id == second.id


@pytest.mark.asyncio
async def test_a_hash_is_one_of_the_payload_whatever_the_order_of_its_keys(queue: Queue) -> None:
    rule = Deduplication(hash=True)
    first = await queue.add("send", {"a": 1, "b": [2, {"c": 3}]}, deduplication=rule)
    same = await queue.add("send", {"b": [2, {"c": 3}], "a": 1}, deduplication=rule)
    other = await queue.add("send", {"a": 1, "b": [2, {"c": 4}]}, deduplication=rule)

    assert same.id == first.id != other.id
    assert first.deduplication_key is not None
    assert first.deduplication_key == hashlib.sha256(b'{"a":1,"b":[2,{"c":3}]}').hexdigest()


@pytest.mark.asyncio
async def test_two_job_names_with_one_payload_are_no_duplicates(queue: Queue) -> None:
    rule = Deduplication(hash=True)
    mail = await queue.add("mail", {"user": 1}, deduplication=rule)
    sms, again = await queue.add_bulk(
        {"name": name, "data": {"user": 1}, "deduplication": rule} for name in ("sms", "mail")
    )

    assert (sms.name, again.id) == ("sms", mail.id)
    assert sms.deduplication_key == mail.deduplication_key


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({1, 2}, "the payload is not JSON: it is a set"),
        ({"a": [1, {"b": object()}]}, r"the payload\['a'\]\[1\]\['b'\] .* it is a object"),
        ({"a": float("nan")}, r"the payload\['a'\] is not JSON: it is nan"),
        ({(1, 2): 3}, "a key that is a tuple"),
    ],
)
@pytest.mark.asyncio
async def test_a_payload_that_has_no_hash_is_an_error(
    queue: Queue, data: Any, message: str
) -> None:
    with pytest.raises(TypeError, match=rf"{message}.*give Deduplication\(key=...\)"):
        await queue.add("send", data, deduplication=Deduplication(hash=True))
    assert await queue.count() == 0


@pytest.mark.asyncio
async def test_a_full_group_takes_no_more_until_one_of_its_jobs_runs(
    queue: Queue, start: Any
) -> None:
    group = Group("g", max_size=1)
    await queue.add("a", group=group)
    with pytest.raises(GroupFullError, match="'g' is full"):
        await queue.add("b", group=group)
    assert await queue.count() == 1

    async def fill(job: Job) -> None:
        if job.name == "a":
            await queue.add("b", group=group)

    await start(fill, auto_start=False).run_once()
    assert await queue.count("waiting") == 1


@pytest.mark.asyncio
async def test_a_closed_queue_takes_no_calls_and_keeps_its_jobs(
    queue: Queue, store: MemoryStore
) -> None:
    await queue.add("send")
    await queue.close()
    await queue.close()

    for call in (
        lambda: queue.add("send"),
        lambda: queue.add_bulk([{"name": "send"}]),
        lambda: queue.schedule(1, "send"),
        lambda: queue.now("send"),
        lambda: queue.pause(),
        lambda: queue.resume(),
        lambda: queue.is_paused(),
        lambda: queue.get_job("emails-1"),
        lambda: queue.get_jobs(),
        lambda: queue.count(),
        lambda: queue.get_job_counts(),
        lambda: queue.join(),
        lambda: queue.drain(),
        lambda: queue.clean("failed"),
        lambda: queue.retry_jobs(),
        lambda: queue.promote_jobs(),
        lambda: queue.obliterate(),
    ):
        with pytest.raises(QueueClosedError, match="queue 'emails' is closed"):
            await call()
    with pytest.raises(QueueClosedError, match="is closed"):
        queue.on("completed")
    with pytest.raises(QueueClosedError, match="is closed"):
        queue.worker()
    assert await store.count_jobs("emails") == 1
    assert repr(queue) == "<Queue emails: closed>"
