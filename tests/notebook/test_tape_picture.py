"""The picture of a tape: as SVG, in characters, as a trace and as a frame; and ``%%record``."""

from __future__ import annotations

import asyncio
import json
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from conveyor_nb import FlowJob, FlowProducer, Job, MemoryStore, Queue, Tape, VirtualClock, Worker
from conveyor_nb.display import bundle_of
from conveyor_nb.notebook.pictures.swimlane import MOST_ROWS

from .drawn import picture_in

if TYPE_CHECKING:
    from .conftest import Kernel

SVG = "{http://www.w3.org/2000/svg}"


async def work(job: Job) -> None:
    await job.sleep(job.data)
    if job.data == 2 and job.attempts_made == 0:
        raise ValueError("no <mail>")
    if job.data == 5:
        raise RuntimeError("broken")


async def few(queue: Queue, clock: VirtualClock) -> None:
    """Five jobs: one that is retried, one that fails, one that waits for its time; and a pause."""
    for seconds in (3, 2, 1, 5):
        await queue.add("send", seconds, attempts=2 if seconds == 2 else 1, backoff="2s")
    await queue.add("later", 1, delay="6s")
    await clock.advance("2500ms")
    await queue.pause()
    await clock.advance("1s")
    await queue.resume()
    await clock.advance("20s")


async def many(queue: Queue, clock: VirtualClock) -> None:
    await queue.add_bulk([{"name": "send", "data": 1 + n % 2} for n in range(500)])
    await clock.advance("1h")


def recorded(program: Callable[[Queue, VirtualClock], Any], *, limit: int = 10_000) -> Tape:
    async def run() -> Tape:
        clock = VirtualClock()
        async with MemoryStore(clock=clock, ids="sequential", seed=1) as store:
            queue = Queue("emails", store=store)
            with queue.record(limit=limit) as tape:
                async with Worker("emails", work, store=store, concurrency=2, name="mailer"):
                    await program(queue, clock)
            return tape

    return asyncio.run(run())


def titles(tape: Tape) -> list[str]:
    """What is said of each part of the picture when somebody points at it."""
    root = ET.fromstring(tape.picture().svg)
    return [one.text or "" for one in root.iter(f"{SVG}title")]


def test_in_characters_it_is_read_in_a_terminal() -> None:
    assert bundle_of(recorded(few))["text/plain"] == (
        "Tape of queue emails: 5 jobs, 6 attempts, 4 completed, 2 failed, 1 retry, 2 slots,"
        " over 8.5s, at most 2 waiting\n"
        "mailer          1 =====================|  ===================================x\n"
        "                2 ==============x======|      ==============|======|\n"
        "\n"
        "   1 send         =====================|\n"
        "   2 send         ==============x~~~~~~~~~~~~~==============|\n"
        "   3 send         ..............=======|\n"
        "   4 send         ........................===================================x\n"
        "   5 later        ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~=======|\n"
        "\n"
        "                  00:00:00      00:00:02      00:00:04      00:00:06      00:00:08\n"
        "                  = runs  | completed  x failed  . waits  ~ waits for its time"
    )


def test_the_picture_tells_of_each_job_and_outlives_the_kernel() -> None:
    bundle = bundle_of(recorded(few))
    assert "<script" not in bundle["text/html"]
    assert picture_in(bundle["text/html"]) == bundle["image/svg+xml"]
    told = titles(recorded(few))
    assert "emails-2 send · failed in 2s · ValueError: no <mail>" in told
    assert "emails-2 send: runs 2s · waits for its time 2s · runs 2s · completed" in told
    assert "emails-5 later: waits for its time 6s · runs 1s · completed" in told
    assert told.count("the queue was paused") == 2  # in the legend, and where it was
    assert bundle["image/svg+xml"].count("cvp-link") == 1


def test_of_many_jobs_it_sums_up() -> None:
    tape = recorded(many)
    assert len(tape.jobs) > MOST_ROWS
    svg = tape.picture().svg
    assert len(svg) < 300_000
    told = titles(tape)
    assert "waits: at most 500" in told or "waits: at most 498" in told
    assert not any(one.startswith("emails-1 send: ") for one in told)
    lines = bundle_of(tape)["text/plain"].splitlines()
    assert len(lines) < 12
    assert lines[4].startswith("waiting")
    assert max(map(len, lines[1:])) < 100


def test_what_is_left_out_is_told_in_the_picture() -> None:
    tape = recorded(few, limit=12)
    assert "over 2s" in tape.picture().svg, "of what comes after its last event it knows nothing"
    assert "later events left out" in tape.picture().svg
    assert "later events left out" in bundle_of(tape)["text/plain"]


def test_nothing_is_a_picture_too() -> None:
    async def nothing(queue: Queue, clock: VirtualClock) -> None:
        await queue.pause()

    tape = recorded(nothing)
    assert "No attempt here yet." in tape.picture().svg
    assert bundle_of(tape)["text/plain"].startswith("Tape of queue emails: 0 jobs, 0 attempts")
    begun = Tape("emails", tape.began)
    assert bundle_of(begun)["text/plain"].endswith("\n(it is still being recorded)")


def test_a_flow_over_two_queues_is_one_picture(tmp_path: Path) -> None:
    async def run() -> Tape:
        clock = VirtualClock()
        async with MemoryStore(clock=clock, ids="sequential") as store:
            with store.record() as tape:
                async with (
                    Worker("pages", work, store=store, concurrency=2),
                    Worker("sums", work, store=store),
                ):
                    children = [FlowJob("fetch", "pages", n, {"attempts": 2}) for n in (1, 2, 3)]
                    flow = FlowJob("sum", "sums", 1, children=children)
                    await FlowProducer(store=store).add(flow)
                    await clock.advance("20s")
            return tape

    tape = asyncio.run(run())
    told = titles(tape)
    assert "sums-1 sum: waits for its children 4s · runs 1s · completed" in told
    trace = json.loads(tape.save(tmp_path / "run.json").read_text(encoding="utf-8"))
    assert trace == tape.to_chrome_trace()
    slices = [one for one in trace["traceEvents"] if one["ph"] == "X"]
    assert len(slices) == 5
    arrows = [one["ph"] for one in trace["traceEvents"] if one["name"] == "again"]
    assert arrows == ["s", "f"]
    assert tape.save(tmp_path / "run.svg").read_text(encoding="utf-8") == tape.picture().svg


def test_the_frame_has_a_row_for_each_event() -> None:
    frame = recorded(few).to_frame()
    assert len(frame) == len(recorded(few))
    assert list(frame.columns) == [
        *("timestamp", "type", "queue_name", "name", "state"),
        *("worker_id", "slot", "attempt", "told"),
    ]
    [row] = frame[frame["type"] == "job:retrying"].to_dict("records")
    assert (row["state"], row["slot"], row["attempt"]) == ("active", 2, 1)
    assert row["told"] == "in 2s · ValueError: no <mail>"
    empty = Tape("emails", VirtualClock().now()).to_frame()
    assert list(empty.dtypes) == list(frame.dtypes)


# -- %%record ---------------------------------------------------------------------------------


def test_a_cell_is_recorded(kernel: Kernel) -> None:
    kernel.do("from conveyor_nb import Queue, Tape\nemails = Queue('emails')")
    ran = kernel.do(
        "%%record emails\n"
        "job = await emails.add('send', 1)\n"
        "%conveyor add emails send 2\n"
        "print('''two\n  lines''')\n"
        "await emails.count()"
    )
    assert ran.out == "emails: job emails-2 is waiting\ntwo\n  lines\n"
    value, tape = ran.shown
    assert value["text/plain"] == "2"
    assert tape["text/plain"].startswith("Tape of queue emails: 2 jobs, 0 attempts")
    assert picture_in(tape["text/html"]) == tape["image/svg+xml"]
    assert kernel.value("tape.story") == ["job:waiting emails-1", "job:waiting emails-2"]

    kernel.do("%%record --as again\nawait job.remove()")
    assert kernel.value("again.story") == ["job:removed emails-1"]


def test_a_cell_that_raises_has_its_tape_too(kernel: Kernel) -> None:
    kernel.do("from conveyor_nb import Queue\nemails = Queue('emails')")
    ran = kernel.run("%%record emails\nawait emails.add('send')\n1 / 0")
    assert ran.error is not None
    assert ran.error[0] == "ZeroDivisionError"
    assert kernel.value("tape.story") == ["job:waiting emails-1"]
    ran = kernel.run("%%record emails\nfor")
    assert ran.error is not None
    assert ran.error[0] == "SyntaxError"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("emials", "%%record: there is no queue 'emials'; did you mean 'emails'?"),
        ("emails --as 1x", "%%record: --as takes the name of a variable, such as tape, not '1x'"),
        ("emails --limit 0", "%%record: limit must be 1 or more, not 0"),
    ],
)
def test_a_mistake_is_told_on_one_line(kernel: Kernel, line: str, told: str) -> None:
    kernel.do("from conveyor_nb import Queue\nemails = Queue('emails')")
    ran = kernel.run(f"%%record {line}\n1")
    assert ran.error is None
    assert ran.err.startswith(told)
    assert ran.err.count("\n") == 1


def test_tab_and_question_mark_know_it(kernel: Kernel) -> None:
    kernel.do("from conveyor_nb import Queue\nemails = Queue('emails')")
    assert "%%record emails" in kernel.complete("%%record em")
    assert kernel.complete("%%record emails --l") == ["%%record emails --limit"]
    assert "show what happened" in kernel.help("%%record")
