"""Payloads and results that can't be read or shown: each hides itself and nothing else."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from conveyor_nb import (
    FlowJob,
    FlowProducer,
    Job,
    MemoryStore,
    Queue,
    Repeat,
    UnreadablePayloadError,
    VirtualClock,
    Worker,
)
from conveyor_nb.frames import Unreadable, Unshown, jobs_frame, results_frame, schedulers_frame
from conveyor_nb.notebook.listings import jobs_listing
from conveyor_nb.notebook.panel.queue_view import QueueView

pytestmark = pytest.mark.asyncio

HERE = sys.modules[__name__]


class Edited:
    """Stands for the class of a cell that is edited and run again."""

    def __init__(self) -> None:
        self.size = 1


class Raises:
    """Comes back only as long as it is asked to."""

    error: BaseException | None = None

    def __setstate__(self, state: object) -> None:
        if Raises.error is not None:
            raise Raises.error

    def __getstate__(self) -> object:
        return {"a": 1}


class NoRepr:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


class NoAttributes:
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise RuntimeError(name)


class Strange:
    def __eq__(self, other: object) -> bool:
        raise RuntimeError("not to be compared")

    def __bool__(self) -> bool:
        raise RuntimeError("not to be asked")

    __hash__ = None  # type: ignore[assignment]


UNSHOWN: list[Callable[[], object]] = [
    NoRepr,
    Strange,
    NoAttributes,
    lambda: [NoRepr()],
    lambda: {"a": NoRepr()},
    lambda: 10**30_000,
    lambda: {"a": [10**30_000]},
    lambda: "half a \ud83d smile",
    lambda: ["half a \ud83d smile"],
]


@pytest_asyncio.fixture
async def store() -> AsyncIterator[MemoryStore]:
    async with MemoryStore(clock=VirtualClock(), ids="sequential") as store:
        yield store


@pytest.fixture(params=["its class is gone", "it raises", "it exits"])
def spoil(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> tuple[object, Callable[[], None]]:
    """An object, and what makes it come back no more."""
    if request.param == "its class is gone":
        return Edited(), lambda: monkeypatch.delattr(HERE, "Edited")
    error = ValueError("no more") if request.param == "it raises" else SystemExit(3)
    return Raises(), lambda: monkeypatch.setattr(Raises, "error", error)


async def test_one_that_can_not_be_read_names_itself_and_hides_no_other(
    store: MemoryStore, spoil: tuple[object, Callable[[], None]]
) -> None:
    made, spoil_now = spoil

    async def handler(job: Job) -> Any:
        return made if job.name == "bad" else {"x": 1}

    queue = Queue("q", store=store)
    flow = await FlowProducer(store=store).add(FlowJob("p", "p", children=[FlowJob("bad", "q")]))
    bad = await queue.add("bad", made)
    await queue.add("good", {"to": "ada"})
    await queue.upsert_job_scheduler("s", Repeat(every="1h", start_date=None), "good", made)
    async with Worker("q", handler, store=store) as worker:
        await worker.run_until_idle()
    spoil_now()
    await bad.refresh()

    for name in ("data", "returnvalue"):
        with pytest.raises(UnreadablePayloadError, match=f"the {name} of job '{bad.id}' can't be"):
            getattr(bad, name)
    with pytest.raises(UnreadablePayloadError, match=bad.id):
        await bad.wait_until_finished()
    with pytest.raises(UnreadablePayloadError, match="'q-1'"):
        await flow.job.get_children_values()

    jobs = await queue.get_jobs()
    (found,) = (await store.search_by_payload("q", {"to": "ada"})).jobs
    assert found.name == "good"
    assert [job.name for job in await queue.search("ada")] == ["good"]
    frame = queue.to_frame()
    assert sum(isinstance(value, Unreadable) for value in frame["returnvalue"]) == 2
    assert {"x": 1} in list(frame["returnvalue"])
    assert list(results_frame(store.snapshot("q"))["x"].dropna()) == [1.0, 1.0]
    assert results_frame(jobs)["error"].str.startswith("can't be read: ").sum() == 2
    assert len(schedulers_frame(await queue.get_job_schedulers())) == 1
    assert "can't be read: " in frame.to_html()
    for shown in (queue, store, *jobs, jobs):
        assert shown._repr_mimebundle_()["text/plain"]
    for shown in (bad, queue, jobs):
        assert "can&#x27;t be read: " in shown._repr_mimebundle_()["text/html"]
    assert "can't be read: " in repr(jobs_listing(jobs))
    assert "can't be read: " in repr(await store.get_job("q", bad.id))
    view = QueueView(queue)
    await view.do("open", id=bad.id)
    parts = await view.read()
    assert sum("can't be read: " in row["text"] for row in parts["jobs"]["rows"]) == 2
    assert sum("can't be read: " in text for _, text in parts["detail"]["texts"]) == 2


@pytest.mark.parametrize("make", UNSHOWN, ids=range(len(UNSHOWN)))
async def test_one_that_can_not_be_shown_hides_no_other(
    store: MemoryStore, make: Callable[[], object]
) -> None:
    queue = Queue("q", store=store)

    async def handler(job: Job) -> Any:
        return make() if job.name == "odd" else {"x": 1}

    async with Worker("q", handler, store=store) as worker:
        await queue.add("odd", make())
        await queue.add("even")
        await worker.run_until_idle()
    jobs = await queue.get_jobs()
    for frame in (queue.to_frame(), jobs_frame(jobs), results_frame(jobs)):
        assert len(frame) == 2
        frame.to_html().encode()
        repr(frame).encode()
    for shown in (queue, store, *jobs, jobs):
        for text in shown._repr_mimebundle_().values():
            text.encode()
    cell = queue.to_frame().loc["q-1", "returnvalue"]
    assert type(cell.value if isinstance(cell, Unshown) else cell) is type(make())
    assert not (await store.search_by_payload("q", {"x": 1})).jobs
    view = QueueView(queue)
    await view.do("open", id="q-1")
    assert len((await view.read())["jobs"]["rows"]) == 2
