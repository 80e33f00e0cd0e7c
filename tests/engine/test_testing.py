"""What there is for tests of one's own handlers and queues."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from conveyor_nb import Job, Queue, StoreInterface, SystemClock, Tape, Unrecoverable, Worker
from conveyor_nb.testing import assert_tape, run_job, until_settled, virtual_queue
from conveyor_nb.testing.nbval import SANITIZE


async def send(job: Job) -> str:
    await job.sleep("10s")
    if job.attempts_made < job.data:
        raise ValueError("busy")
    return f"after {job.attempts_made}"


async def taped(data: int) -> Tape:
    async with virtual_queue("emails") as queue, Worker("emails", send, store=queue.store):
        with queue.record() as tape:
            await queue.add("send", data, attempts=3, backoff="1m")
            await until_settled(queue)
    return tape


# -- jobs and queues --------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_a_job_is_run_to_its_end() -> None:
    job = await run_job(send, 2, attempts=5, backoff="1h")
    assert (job.state, job.returnvalue, len(job.attempt_logs)) == ("completed", "after 2", 3)

    def refuse(job: Job) -> None:
        raise Unrecoverable("no such address")

    failed = await run_job({"bounce": refuse}, name="bounce", attempts=5)
    assert (failed.state, failed.failed_reason) == ("failed", "Unrecoverable: no such address")


@pytest.mark.asyncio
async def test_the_record_of_a_job_is_kept_whatever_its_options_say() -> None:
    def divide(job: Job) -> float:
        return 1 / float(job.data)

    done = await run_job(divide, 2, remove_on_complete=True)
    assert (done.state, done.returnvalue) == ("completed", 0.5)
    failed = await run_job(divide, 0, remove_on_fail=True)
    assert (failed.state, failed.attempts_made) == ("failed", 1)


@pytest.mark.asyncio
async def test_a_job_may_run_in_real_time() -> None:
    async def at_once(job: Job) -> str:
        return job.store.clock.__class__.__name__

    job = await run_job(at_once, clock=SystemClock())
    assert job.returnvalue == "SystemClock"


@pytest.mark.asyncio
async def test_the_clock_goes_on_until_all_have_ended_and_no_further(store: StoreInterface) -> None:
    queue = Queue("emails", store=store)
    started = store.clock.now()
    async with Worker("emails", send, store=store, concurrency=2):
        await queue.add("send", 0, delay="1 day")
        await queue.add("send", 1, attempts=2, backoff="2h")
        await queue.every("1h", "tick", 0)
        await until_settled(store, within="2 days")
    assert (store.clock.now() - started).total_seconds() == 24 * 3_600 + 10
    counts = await queue.get_job_counts()
    assert counts["completed"] == 2 + 25
    assert counts["delayed"] == 1, "the next run of the schedule"


@pytest.mark.asyncio
async def test_a_run_of_a_schedule_that_rests_before_its_retry_has_not_ended(
    store: StoreInterface,
) -> None:
    queue = Queue("emails", store=store)
    async with Worker("emails", send, store=store):
        await queue.every("1 day", "tick", 1, attempts=2, backoff="1h")
        await until_settled(queue)
        counts = await queue.get_job_counts()
    assert (counts["completed"], counts["delayed"]) == (1, 1)


@pytest.mark.asyncio
async def test_what_is_left_is_told_with_what_may_be_missing() -> None:
    async with virtual_queue("emails") as queue:
        await queue.add("send")
        await queue.pause()
        with pytest.raises(
            AssertionError,
            match=r"^queue emails has 1 job left after 1h: emails-1 is waiting "
            r"\(no worker takes jobs; the queue is paused\)$",
        ):
            await until_settled(queue, within="1h")
    async with virtual_queue("emails", clock=SystemClock()) as queue:
        with pytest.raises(TypeError, match="moves a VirtualClock, and this store has"):
            await until_settled(queue)
    with pytest.raises(TypeError, match="takes a Queue or a store, not 'emails'"):
        await until_settled("emails")  # type: ignore[arg-type]


# -- tapes ------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_a_tape_is_compared_with_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "expected.jsonl"
    with pytest.raises(AssertionError, match=r"There is no .*expected\.jsonl yet\. run the test"):
        assert_tape(await taped(1), path)
    monkeypatch.setenv("CONVEYOR_NB_RENEW", "1")
    assert_tape(await taped(1), path)
    monkeypatch.setenv("CONVEYOR_NB_RENEW", "0")
    assert_tape(await taped(1), path)
    with pytest.raises(AssertionError) as caught:
        assert_tape(await taped(2), path)
    assert str(caught.value).splitlines()[1:-2] == [
        "The first event is different.",
        "  both: 00:00:00 job:waiting emails-1 send",
        "    payload: 2 in this tape, 1 in the other",
    ]
    assert "CONVEYOR_NB_RENEW=1" in str(caught.value)
    assert Tape.load(path) == await taped(1), "nothing was written"


@pytest.mark.asyncio
async def test_what_can_not_be_compared_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="takes a Tape, not"):
        assert_tape("run.jsonl", tmp_path / "run.jsonl")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"such as expected\.jsonl"):
        assert_tape(await taped(0), tmp_path / "run.txt")
    (tmp_path / "run.jsonl").write_text("nothing", encoding="utf-8")
    with pytest.raises(ValueError, match="is no tape"):
        assert_tape(await taped(0), tmp_path / "run.jsonl")
    async with virtual_queue() as queue:
        with queue.record() as tape, pytest.raises(ValueError, match="compare it after its block"):
            assert_tape(tape, tmp_path / "run.jsonl")


# -- notebooks and pytest ---------------------------------------------------------------------


def test_it_needs_no_pytest() -> None:
    program = "import sys, conveyor_nb.testing; assert 'pytest' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_outputs_of_real_time_are_alike_for_nbval(tmp_path: Path) -> None:
    code = (
        "from conveyor_nb import MemoryStore, Queue\n"
        "job = await Queue('emails', store=MemoryStore()).add('send')\n"
        "print(job.id, job.created_at.isoformat(), object(), 'in 12ms, 1,234/s')"
    )
    saved = (
        "7d0f9a52-93cc-4e52-b5fe-0bbd1f2e77aa 2026-05-01T10:00:00.123456+00:00 "
        "<object object at 0x7f0000000000> in 3ms, 99/s\n"
    )
    cell = {
        "cell_type": "code",
        "execution_count": 1,
        "id": "a",
        "metadata": {},
        "outputs": [{"name": "stdout", "output_type": "stream", "text": saved}],
        "source": code,
    }
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook = {
        "cells": [cell],
        "metadata": {"kernelspec": kernel},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    path = tmp_path / "real.ipynb"
    path.write_text(json.dumps(notebook), encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "--nbval", "--nbval-current-env", str(path)]
    where = subprocess.run(
        [sys.executable, "-m", "conveyor_nb.testing.nbval"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    assert where == str(SANITIZE)
    command += [f"--rootdir={tmp_path}", "-pno:cacheprovider", "-oaddopts="]
    command += ["--nbval-sanitize-with", where]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert ran.returncode == 0, ran.stdout
