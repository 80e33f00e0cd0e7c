"""A file that several processes work on: a job goes through all hands and ends once."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from conveyor_nb import (
    Job,
    JobCancelledError,
    JobFailedError,
    JobState,
    Queue,
    SqliteStore,
    StoreEvent,
    Worker,
)
from conveyor_nb.core.actions import Complete
from conveyor_nb.core.model import Lock
from conveyor_nb.testing.events import StrictEventView, all_told

HANDLERS = """
import asyncio, os

async def work(job):
    if job.name == "fail":
        raise ValueError("no such address")
    if job.name == "hang":
        await asyncio.Event().wait()
    await asyncio.sleep(0.01)
    return [job.data, os.getpid()]
"""

PATIENCE = 60


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "handlers.py").write_text(HANDLERS)
    return tmp_path / "queue.db"


@contextlib.contextmanager
def workers(path: Path, count: int, *options: str) -> Iterator[None]:
    """So many processes that are at work on a file."""
    command = [sys.executable, "-m", "conveyor_nb", "worker", "emails=handlers:work"]
    command += ["--store", f"sqlite:///{path}", "--concurrency", "5", *options]
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with contextlib.ExitStack() as running:
        for _ in range(count):
            one = subprocess.Popen(command, cwd=path.parent, **quiet)
            running.enter_context(one)
            running.callback(one.kill)
        yield


@pytest.mark.asyncio
async def test_jobs_are_shared_out_and_their_results_come_back(path: Path) -> None:
    async with SqliteStore(path) as store:
        queue = Queue("emails", store=store)
        with workers(path, 2):
            while len(await store.list_workers()) < 2:
                await all_told(store)
            jobs = [await queue.add("send", number) for number in range(100)]
            ends = [job.wait_until_finished(timeout=PATIENCE) for job in jobs]
            results = await asyncio.gather(*ends)
        assert [number for number, _ in results] == list(range(100))
        assert len({process for _, process in results}) == 2
        attempts = [len((await job.refresh()).attempt_logs) for job in jobs]
        assert attempts == [1] * 100


@pytest.mark.asyncio
async def test_what_others_do_is_told_as_it_happens(path: Path) -> None:
    async with SqliteStore(path) as store:
        view = StrictEventView()
        faults: list[str] = []
        store.subscribe("emails", view)
        store._subscriptions._on_error = lambda error: faults.append(str(error))
        queue = Queue("emails", store=store)
        with workers(path, 2):
            jobs = [await queue.add("send", number) for number in range(30)]
            bad = await queue.add("fail", attempts=2)
            with pytest.raises(JobFailedError, match="no such address"):
                await bad.wait_until_finished(timeout=PATIENCE)
            for job in jobs:
                await job.wait_until_finished(timeout=PATIENCE)
        await all_told(store)
        assert faults == []
        held = {job.id: job.state for job in await store.list_jobs("emails")}
        assert view.states_in("emails") == held


@pytest.mark.asyncio
async def test_a_job_of_another_process_is_cancelled(path: Path) -> None:
    async with SqliteStore(path) as store:
        queue = Queue("emails", store=store)
        with workers(path, 1):
            job = await queue.add("hang")
            while (await job.refresh()).state is not JobState.ACTIVE:
                await all_told(store)
            await job.cancel()
            with pytest.raises(JobCancelledError):
                await job.wait_until_finished(timeout=PATIENCE)


@pytest.mark.asyncio
async def test_a_pause_and_a_limit_hold_in_other_processes(path: Path) -> None:
    async with SqliteStore(path) as store:
        queue = Queue("emails", store=store)
        await queue.pause("later")
        with workers(path, 2, "--limiter", "5/1h"):
            paused = await queue.add("later")
            jobs = [await queue.add("send", number) for number in range(10)]
            while await queue.count("completed") < 5:
                await all_told(store)
            for _ in range(20):
                await all_told(store)
            assert await queue.count("completed") == 5
            assert (await paused.refresh()).state is JobState.WAITING
        assert (await jobs[0].refresh()).state is JobState.COMPLETED
        fetched = await store.fetch_jobs("emails", "w", 30)
        assert fetched.jobs, "who knows of no limit is not held back"


@pytest.mark.asyncio
async def test_what_a_killed_process_had_runs_elsewhere(path: Path) -> None:
    lock = ("--lock-duration", "1s", "--stalled-interval", "0.2s")
    async with SqliteStore(path) as store:
        queue = Queue("emails", store=store)
        with workers(path, 1, *lock):
            job = await queue.add("hang", attempts=2)
            while (await job.refresh()).state is not JobState.ACTIVE:
                await all_told(store)
        worker = Worker("emails", lambda job: "here", store=store, stalled_interval=0.2)
        async with worker:
            assert await job.wait_until_finished(timeout=PATIENCE) == "here"
        first, second = (await job.refresh()).attempt_logs
        assert "stalled" in (first.error or "")
        assert second.attempt == 2


# -- who stood still --------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_who_stood_still_for_long_looks_what_it_has_missed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("conveyor_nb.stores.sql.sqlite.writer._KEPT", timedelta(0))
    monkeypatch.setattr("conveyor_nb.stores.sql.sqlite.writer._TIDIED_EVERY", timedelta(0))
    async with SqliteStore(path) as store, SqliteStore(path) as other:
        queue = Queue("emails", store=store)
        job = await queue.add("send")
        started: list[str] = []

        def note(job: Job) -> None:
            started.append(job.name)

        async with Worker("emails", note, store=store) as worker:
            await job.wait_until_finished(timeout=PATIENCE)
            worker.pause()
            waited_for = await queue.add("send")
            waiting = asyncio.create_task(waited_for.wait_until_finished(timeout=PATIENCE))
            missed: list[StoreEvent] = []
            store.subscribe("emails", missed.append, kinds=["stream:missed"])
            await all_told(store)
            monkeypatch.setattr(store._writer, "look_around", lambda: None)  # it stands still
            taken = await other.fetch_next_job("emails", "w", 30)
            assert taken is not None
            lock = Lock("w", taken.attempt_logs[-1].attempt)
            await other.apply("emails", taken.id, Complete("done"), lock=lock)
            await Queue("emails", store=other).add("next")
            monkeypatch.undo()
            assert await waiting == "done"
            worker.resume()
            while started[-1] != "next":
                await all_told(store)
        assert missed[0].data["missed"] > 0


# -- programs of Conveyor --------------------------------------------------------------------


@pytest.mark.parametrize("group", [None, "customer-1"])
@pytest.mark.asyncio
async def test_jobs_that_another_program_adds_are_run(path: Path, group: str | None) -> None:
    async with SqliteStore(path) as store:
        await store.connect()
        told: list[StoreEvent] = []
        store.subscribe(None, told.append)
        async with Worker("emails", lambda job: f"sent to {job.data['to']}", store=store):
            with contextlib.closing(sqlite3.connect(path)) as other, other:
                other.execute(
                    "INSERT INTO conveyor_jobs (id, queue_name, name, data, seq, group_id)"
                    " VALUES ('theirs', 'emails', 'send', '{\"to\":\"ada\"}', 1, ?)",
                    (group,),
                )
            while (found := await store.get_job("emails", "theirs")) is None or (
                found.state is not JobState.COMPLETED
            ):
                await all_told(store)
        assert found.returnvalue == "sent to ada"
        assert await store.list_queues() == ["emails"]
        missed = [event for event in told if event.type == "stream:missed"]
        assert len(missed) <= 1, "it is told once"


@pytest.mark.parametrize(
    ("before", "deed"),
    [
        ("delayed", "UPDATE conveyor_jobs SET state = 'waiting', delay_until = NULL"),
        ("completed", "UPDATE conveyor_jobs SET state = 'waiting', completed_at = NULL"),
        ("paused", "DELETE FROM conveyor_paused_names"),
    ],
)
@pytest.mark.asyncio
async def test_what_another_program_does_without_a_word_wakes_an_idle_worker(
    path: Path, before: str, deed: str
) -> None:
    """It promotes, retries and resumes."""
    runs: list[str] = []
    async with (
        SqliteStore(path) as store,
        Queue("emails", store=store) as queue,
        Worker("emails", lambda job: runs.append(job.id), store=store),
    ):
        if before == "paused":
            await queue.pause()
        job = await queue.add("send", delay="1 hour" if before == "delayed" else 0)
        if before == "completed":
            await job.wait_until_finished()
            runs.clear()
        with contextlib.closing(sqlite3.connect(path)) as other, other:
            other.execute(deed)
        while not runs:
            await all_told(store)
    assert runs == [job.id]


@pytest.mark.asyncio
async def test_who_waits_for_a_job_sees_its_end_of_which_nobody_told(path: Path) -> None:
    async with SqliteStore(path) as store, Queue("emails", store=store) as queue:
        job = await queue.add("send")
        waiting = asyncio.create_task(job.wait_until_finished())
        await all_told(store)
        with contextlib.closing(sqlite3.connect(path)) as other, other:
            other.execute(
                "UPDATE conveyor_jobs SET state = 'completed', returnvalue = '1', completed_at = ?",
                (1,),
            )
        assert await waiting == 1


# -- who is idle ------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_who_only_looks_for_work_never_keeps_others_from_writing(path: Path) -> None:
    async with SqliteStore(path) as store, SqliteStore(path) as other:
        statements: list[str] = []
        store._writer._session.connection.set_trace_callback(statements.append)
        for _ in range(5):
            assert (await store.fetch_jobs("emails", "w", 30)).jobs == ()
            await all_told(other)
        await other.pause_job_name("emails", "send")
        await Queue("emails", store=other).add("send")
        assert (await store.fetch_jobs("emails", "w", 30)).jobs == ()
        assert "BEGIN IMMEDIATE" not in statements
        assert "BEGIN" in statements
        await other.resume_job_name("emails", "send")
        assert len((await store.fetch_jobs("emails", "w", 30)).jobs) == 1
        assert "BEGIN IMMEDIATE" in statements
