"""A handler that does not stop when it is told to: what is shown of its job and worker says so."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from types import SimpleNamespace

import pytest
import pytest_asyncio

from conveyor_nb import Job, MemoryStore, Queue, VirtualClock, Worker
from conveyor_nb.notebook.commands.magic_output import status_text
from conveyor_nb.notebook.frames import attempts_frame, workers_frame
from conveyor_nb.notebook.job_words import job_facts
from conveyor_nb.notebook.panel.job_table import job_row
from conveyor_nb.notebook.panel.widget import panel_of
from conveyor_nb.notebook.panel.workers_panel import worker_rows
from conveyor_nb.notebook.reads import queue_lines

pytestmark = pytest.mark.asyncio

AT_WORK = "its handler is still at work"


@pytest_asyncio.fixture
async def held() -> AsyncIterator[SimpleNamespace]:
    """A failed job and an active one, of a worker whose handlers caught their timeouts."""
    clock, go_on = VirtualClock(), asyncio.Event()

    async def send(job: Job) -> None:
        while not go_on.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await go_on.wait()

    async with MemoryStore(clock=clock, ids="sequential") as store:
        queue = Queue("emails", store=store)
        async with Worker("emails", send, store=store, concurrency=3) as worker:
            failed = await queue.add("send", timeout=5)
            active = await queue.add("send", timeout=5, attempts=2)
            await clock.advance(10)
            yield SimpleNamespace(
                store=store,
                queue=queue,
                worker=worker,
                failed=await failed.refresh(),
                active=await active.refresh(),
                go_on=go_on,
                clock=clock,
            )
            go_on.set()


async def test_rows_and_facts_of_a_job(held: SimpleNamespace) -> None:
    for job in (held.failed, held.active):
        assert job_row(job)["text"] == f"timed out after 5s; {AT_WORK}"
        assert AT_WORK in str(dict(job_facts(job))["Held"])
        assert AT_WORK in repr(job)
        assert AT_WORK in job._repr_mimebundle_()["text/html"]
    assert list(attempts_frame([held.active])["error"]) == [f"timed out after 5s; {AT_WORK}"]
    held.go_on.set()
    await held.clock.settle()
    assert "Held" not in dict(job_facts(await held.failed.refresh()))
    assert AT_WORK not in repr(held.failed)


async def test_displays_of_the_worker(held: SimpleNamespace) -> None:
    text = "2 of 3 slots in use, 2 held by a handler that did not stop"
    assert text in repr(held.worker)
    assert text in held.worker._repr_mimebundle_()["text/html"]
    frame = workers_frame(await held.store.list_workers())
    assert frame[["slots_in_use", "slots_held"]].to_numpy().tolist() == [[2, 2]]
    assert frame["last_seen"].tolist() == [held.store.clock.now()]
    status = status_text(await queue_lines(held.store, ["emails"]), {"emails": held.worker})
    assert "2 of 3, 2 held" in status
    [row] = await worker_rows(held.store, "emails")
    assert (row["busy"], row["held"], row["concurrency"]) == (2, 2, 3)


async def test_a_panel_is_told_when_a_slot_is_held_and_when_it_is_free(
    held: SimpleNamespace,
) -> None:
    panel = panel_of(held.queue)
    frames: asyncio.Queue[int] = asyncio.Queue()
    panel.observe(lambda change: frames.put_nowait(change["new"]), "frame")
    panel.receive({"do": "hello", "view": "page", "n": 1})
    panel.receive({"do": "drawn", "view": "page", "frame": await frames.get()})
    assert [row["held"] for row in panel.workers] == [2]
    held.go_on.set()
    while panel.workers[0]["held"]:
        panel.receive({"do": "drawn", "view": "page", "frame": await frames.get()})
    panel.receive({"do": "tab", "view": "page", "n": 2, "tab": "events"})
    while panel.tab != "events":
        panel.receive({"do": "drawn", "view": "page", "frame": await frames.get()})
    assert {"job:freed", "job:retrying"} <= {row["type"] for row in panel.events["rows"]}
    panel.close()
