"""One job, as a panel tells it to its page."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

import conveyor_nb
from conveyor_nb import FlowJob, FlowProducer, Job, MemoryStore, Queue, VirtualClock, Worker
from conveyor_nb.notebook.panel.job_code import code_of
from conveyor_nb.notebook.panel.queue_view import QueueView
from conveyor_nb.notebook.panel.traceback_view import traceback_parts
from conveyor_nb.notebook.panel.value_tree import copied, value_tree

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def store() -> AsyncIterator[MemoryStore]:
    async with MemoryStore(clock=VirtualClock(), ids="sequential", seed=1) as store:
        yield store


@pytest_asyncio.fixture
async def queue(store: MemoryStore) -> AsyncIterator[Queue]:
    async with Queue("emails", store=store) as queue:
        yield queue


async def advance(queue: Queue, duration: str) -> None:
    clock = queue.store.clock
    assert isinstance(clock, VirtualClock)
    await clock.advance(duration)


async def fail(job: Job) -> None:
    await job.log(f"attempt {job.attempts_made + 1}")
    await asyncio.sleep(0)
    raise ValueError("no mailbox")


async def opened(view: QueueView, job_id: str = "emails-1", **more: Any) -> dict[str, Any]:
    await view.do("open", id=job_id, **more)
    return await detail(view)


async def detail(view: QueueView) -> dict[str, Any]:
    told = (await view.read())["detail"]
    assert isinstance(told, dict)
    json.dumps(told)
    return told


def facts(told: dict[str, Any]) -> dict[str, Any]:
    return {label: value for label, value, _ in told["facts"]}


# -- payload, result, options -----------------------------------------------------------------


async def test_containers_are_trees_and_all_else_is_text(queue: Queue) -> None:
    async def send(job: Job) -> str:
        return "sent"

    data = {"to": ["ada", "eve"], "tries": 2, "draft": None, "at": ("x", 1.5)}
    await queue.add("send", data, attempts=3, backoff="2s")
    async with Worker("emails", send, store=queue.store):
        await advance(queue, "1s")
    told = await opened(QueueView(queue))
    payload, options = told["values"]
    parts = dict(payload["tree"]["parts"])
    assert payload["label"] == "Payload"
    assert [label for label, _ in parts["to"]["parts"]] == ["0", "1"]
    assert parts["tries"] == {"kind": "number", "text": "2"}
    assert parts["draft"] == {"kind": "word", "text": "None"}
    assert parts["at"]["kind"] == "tuple"
    assert not payload["whole"], "JSON has no tuple"
    assert "'at': ('x', 1.5)" in payload["copy"]
    assert json.loads(options["copy"]) == {"attempts": "3", "backoff": "fixed, delay 2s"}
    assert told["texts"] == [["Result", "sent"]]


async def test_what_is_copied_is_json_if_it_can_be() -> None:
    plain = {"to": ["ada", {"n": 1.5}], "draft": None, "é": True}
    text, whole = copied(plain)
    assert (json.loads(text), whole) == (plain, True)
    for other in ({"n": float("nan")}, {1: 2}, {"to": {1, 2}}, {"bidi": "a\u202eb"}):
        assert not copied(other)[1]
    assert not copied({"n": list(range(1_000_000))})[1]


class Bad:
    def __repr__(self) -> str:
        raise SystemExit


async def test_a_tree_is_bounded_whatever_it_is_of() -> None:
    endless: list[Any] = []
    endless.append(endless)
    wide = {str(n): ["x" * 100_000] * 1_000 for n in range(1_000)}
    for value in (endless, wide, {"bad": Bad()}, [10**50_000], {b"k" * 9_999: {Bad: 1}}):
        told = json.dumps(value_tree(value))
        assert len(told) < 25_000
        assert len(copied(value)[0]) < 13_000
    assert "whose repr raised SystemExit" in json.dumps(value_tree([Bad()]))
    assert value_tree(wide)["count"] == 1_000, "what is left out is counted"


# -- attempts -------------------------------------------------------------------------------


async def test_an_attempt_that_was_put_back_says_so(queue: Queue) -> None:
    async def wait(job: Job) -> None:
        await job.sleep("1h")

    await queue.add("send")
    async with Worker("emails", wait, store=queue.store) as worker:
        await advance(queue, "1s")
        await worker.close(timeout=0)
    told = await opened(QueueView(queue))
    assert [attempt["status"] for attempt in told["attempts"]] == ["put back"]
    assert [(one["kind"], one["text"]) for one in told["life"]][-1] == (
        "put back",
        "put back: the worker was closed",
    )
    assert "Failed" not in facts(told)


async def test_counts_agree_after_a_retry(queue: Queue) -> None:
    job = await queue.add("send", attempts=3, backoff="10s")
    async with Worker("emails", fail, store=queue.store):
        await advance(queue, "1 minute")
        view = QueueView(queue)
        told = await opened(view)
        assert facts(told)["Tries"] == "3 of 3"
        assert "Attempts" not in facts(told), "all of them are tries"
        await job.retry()
        await advance(queue, "5s")
    told = await detail(view)
    assert len(told["attempts"]) == 4
    assert facts(told)["Tries"] == "1 of 3"
    assert facts(told)["Attempts"].startswith("4; 3 don't count")
    assert facts(told)["First started"] == told["attempts"][0]["at"]
    assert facts(told)["Last started"] == told["attempts"][3]["at"]
    assert facts(told)["Waited"] == 0, "until it started for the first time"


async def test_of_many_attempts_only_those_that_are_open_are_told_whole(queue: Queue) -> None:
    await queue.add("send", attempts=20)
    async with Worker("emails", fail, store=queue.store):
        await advance(queue, "1s")
    view = QueueView(queue)
    told = await opened(view)
    assert [one["whole"] for one in told["attempts"]] == [False] * 19 + [True]
    assert told["attempts"][0]["traceback"] == []
    assert told["attempts"][0]["error"] == "ValueError: no mailbox"
    assert told["attempts"][19]["logs"] == "attempt 20"
    for attempt in (1, 2, 3, 4):
        await view.do("open_attempt", attempt=attempt)
    told = await detail(view)
    assert told["attempts"][3]["logs"] == "attempt 4"
    assert sum(one["whole"] for one in told["attempts"]) <= 4
    assert len(json.dumps(told)) < 30_000


async def test_a_traceback_tells_a_person_s_own_code_from_other(queue: Queue) -> None:
    text = (
        "Traceback (most recent call last):\n"
        '  File "/home/ada/send.py", line 7, in send\n    post(job)\n    ~~~~^^^^^\n'
        f'  File "{json.__file__}", line 9, in loads\n    raise ValueError\n'
        '  File "/opt/lib/site-packages/httpx/api.py", line 2, in get\n'
        f'  File "{conveyor_nb.__file__}", line 2, in <module>\n'
        "ValueError: no\nsecond line"
    )
    head, own, *others, error = traceback_parts(text)
    assert head == {"text": "Traceback (most recent call last):"}
    assert own["where"] == "/home/ada/send.py, line 7"
    assert own["code"] == "post(job)\n~~~~^^^^^"
    assert [one["own"] for one in (own, *others)] == [True, False, False, False]
    assert error == {"text": "ValueError: no\nsecond line"}
    assert traceback_parts("") == []


# -- its life, and its relatives --------------------------------------------------------------


async def test_its_life_is_told_from_the_beginning(queue: Queue) -> None:
    await queue.add("send", attempts=2, backoff="10s", delay="5s")
    view = QueueView(queue)
    told = await opened(view)
    assert [one["kind"] for one in told["life"]] == ["added", "due"]
    async with Worker("emails", fail, store=queue.store, name="mailer"):
        await advance(queue, "1 minute")
    life = (await detail(view))["life"]
    assert [one["kind"] for one in life] == ["added", *["active", "failed"] * 2]
    assert [one["at"] - life[0]["at"] for one in life] == [0, 5, 5, 15, 15]
    assert life[1]["text"].startswith("attempt 1 by mailer")
    assert life[2]["text"] == "ValueError: no mailbox"


async def test_a_long_life_is_told_in_short(queue: Queue) -> None:
    await queue.add("send", attempts=90)
    async with Worker("emails", fail, store=queue.store):
        await advance(queue, "1s")
    life = (await opened(QueueView(queue)))["life"]
    assert len(life) < 60
    assert "66 more attempts" in [one["text"] for one in life]


async def test_parents_and_children_are_told_and_opened(store: MemoryStore, queue: Queue) -> None:
    children = [FlowJob("resize", "images", n) for n in range(60)]
    flow = await FlowProducer(store=store).add(FlowJob("send", "emails", children=children))
    view = QueueView(queue)
    told = await opened(view, flow.job.id)
    assert told["relatives"]["children"] == 60
    assert len(told["relatives"]["jobs"]) == 50
    child = told["relatives"]["jobs"][0]
    assert (child["kind"], child["queue"], child["state"]) == ("child", "images", "waiting")
    assert view.again is not None, "no event of another queue comes here"

    told = await opened(view, child["id"], queue="images")
    assert (told["queue"], told["name"]) == ("images", "resize")
    [parent] = told["relatives"]["jobs"]
    assert (parent["kind"], parent["id"]) == ("parent", flow.job.id)
    await view.do("cancel_job", id=child["id"], queue="images")
    assert (await detail(view))["state"] == "failed"
    await view.do("open", id="")
    assert view.again is None


# -- as code --------------------------------------------------------------------------------


async def test_its_code_makes_it_again(store: MemoryStore, queue: Queue) -> None:
    options: dict[str, Any] = {
        "attempts": 3,
        "backoff": conveyor_nb.Backoff(type="exponential", delay=2),
        "delay": "1 minute",
        "priority": 4,
        "group": conveyor_nb.Group("ada"),
        "remove_on_complete": conveyor_nb.Keep(count=3),
    }
    first = await queue.add('it\'s "odd"', {"to": ["ada", ("x\n", b"y", {1})]}, **options)
    data = await store.get_job("emails", first.id)
    assert data is not None
    code = code_of(data).removeprefix("await ")
    again = await eval(code, {**vars(conveyor_nb), "queue": queue})
    assert again.id != first.id
    assert (again.name, again.data, again.opts) == (first.name, first.data, first.opts)


async def test_a_payload_that_can_not_be_written_down_is_left_open(
    store: MemoryStore, queue: Queue
) -> None:
    for payload in ({"at": asyncio.Queue}, [float("nan")], ["x" * 10_000]):
        job = await queue.add("send", payload)
        data = await store.get_job("emails", job.id)
        assert data is not None
        assert code_of(data).startswith("await queue.add('send', ...)  # the payload: ")
