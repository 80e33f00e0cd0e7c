"""Workers made with ``Worker(...)``: seen, stopped and started by name as all others are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .conftest import Kernel


@pytest.fixture
def kernel(kernel: Kernel) -> Kernel:
    """The module's kernel in real time, with a worker made by hand."""
    kernel.do("%conveyor reset --ids sequential\nimport asyncio\nfrom conveyor_nb import *")
    kernel.do("emails = Queue('emails')\nworker = Worker('emails', lambda job: job.data)")
    return kernel


def status(kernel: Kernel) -> list[list[str]]:
    """The lines of ``%conveyor status`` about workers, in words."""
    told = kernel.do("%conveyor status").out.partition("worker  ")[2] or "\n"
    return [line.split() for line in told.splitlines()[1:] if line]


def test_its_name_is_enough_to_see_stop_and_start_it(kernel: Kernel) -> None:
    assert status(kernel) == [["emails", "emails", "running", "0", "of", "1"]]
    assert kernel.do("%conveyor pause-worker emails").out == "worker emails is paused\n"
    assert kernel.value("str(worker.status)") == "paused"
    assert status(kernel)[0][2] == "paused"
    kernel.do("%conveyor resume-worker emails")
    assert kernel.value("str(worker.status)") == "running"
    assert kernel.do("%conveyor concurrency emails 3").out == "worker emails runs 3 at a time\n"
    assert kernel.value("worker.concurrency") == 3
    assert "1 job at once or more" in kernel.run("%conveyor concurrency emails 0").err
    kernel.do("%conveyor concurrency emails 1")

    assert kernel.do("%conveyor stop emails").out == (
        "worker emails is stopped; start it: %conveyor start emails\n"
    )
    assert kernel.value("str(worker.status)") == "closed"
    assert status(kernel) == [["emails", "emails", "stopped"]]
    assert kernel.do("%conveyor stop emails").out == "worker emails is stopped already\n"

    assert kernel.do("%conveyor start emails").out == "worker emails takes jobs of emails\n"
    assert status(kernel) == [["emails", "emails", "running", "0", "of", "1"]]
    assert kernel.value("await (await emails.add('send', 5)).wait_until_finished()") == 5
    assert kernel.complete("%conveyor stop em") == ["%conveyor stop emails"]


def test_two_of_one_name_are_told_apart_by_id(kernel: Kernel) -> None:
    kernel.run("other = Worker('emails', print)")  # which brings a warning
    ran = kernel.run("%conveyor stop emails")
    assert ran.err == (
        "%conveyor stop: 2 workers are called 'emails'; say which, by its id: emails-worker-1, "
        "emails-worker-2\n"
    )
    assert [row[0] for row in status(kernel)] == ["emails-worker-1", "emails-worker-2"]
    assert kernel.do("%conveyor stop emails-worker-1").out == "worker emails is stopped\n"
    assert kernel.value("str(worker.status), str(other.status)") == ("closed", "running")
    assert [row[0] for row in status(kernel)] == ["emails"], "it was one too many"
    kernel.do("%conveyor stop emails")
    assert [row[2] for row in status(kernel)] == ["stopped"]


def test_one_by_hand_beside_a_named_one(kernel: Kernel) -> None:
    told = kernel.do("%%worker emails\nreturn 1").out
    assert (
        "so does emails-worker-1 (to have this one alone: %conveyor stop emails-worker-1)" in told
    )
    assert "say which" in kernel.run("%conveyor pause-worker emails").err
    kernel.do("%conveyor stop emails-worker-1")
    assert kernel.value("str(worker.status)") == "closed"
    kernel.do("%conveyor pause-worker emails")


def test_a_panel_has_buttons_for_it(kernel: Kernel) -> None:
    kernel.do("from conveyor_nb.notebook.panel.workers_panel import act_on_worker, worker_rows")
    keys = "[(row['key'], row['status'], row['can']) for row in rows]"
    rows = f"rows = await worker_rows(default_store(), 'emails')\n{keys}"
    act = "await act_on_worker(default_store(), 'emails', 'emails', '{}')"
    assert kernel.value(rows) == [("emails", "running", ["pause", "stop"])]
    kernel.do(act.format("pause"))
    assert kernel.value(rows) == [("emails", "paused", ["resume", "stop"])]
    kernel.do(act.format("stop"))
    assert kernel.value(rows) == [("emails", "stopped", ["start"])]
    kernel.do(act.format("start"))
    assert kernel.value(rows) == [("emails", "running", ["pause", "stop"])]


def test_starting_over_closes_it_and_unloading_leaves_it(kernel: Kernel) -> None:
    kernel.do("%reload_ext conveyor_nb")
    assert kernel.value("str(worker.status)") == "running", "it is the person's own"
    assert status(kernel)[0][2] == "running"
    kernel.do("%conveyor reset")
    assert kernel.value("str(worker.status)") == "closed"
    assert status(kernel) == []


def test_one_of_another_store_is_not_meant(kernel: Kernel) -> None:
    kernel.do("other = Worker('reports', print, store=MemoryStore())")
    assert [row[0] for row in status(kernel)] == ["emails"]
    assert "there is no worker 'reports'" in kernel.run("%conveyor stop reports").err
    kernel.do("await other.close()")


def test_what_is_stopped_is_kept_for_a_while_and_not_for_ever(kernel: Kernel) -> None:
    kernel.do("for number in range(20):\n    Worker('emails', print, name=f'n{number:02}')")
    for number in range(20):
        kernel.do(f"%conveyor stop n{number:02}")
    names = [row[0] for row in status(kernel)]
    assert names == ["emails", *(f"n{number:02}" for number in range(4, 20))]


def test_a_reset_in_the_cell_that_loads_the_extension_comes_first(kernel: Kernel) -> None:
    kernel.do("%unload_ext conveyor_nb")
    kernel.do(
        "%load_ext conveyor_nb\n"
        "%conveyor reset --ids sequential\n"
        "emails = Queue('emails')\n"
        "worker = Worker('emails', lambda job: job.data)"
    )
    assert kernel.value("emails.store is default_store(), str(worker.status)") == (True, "running")


@pytest.mark.parametrize("made", ["@emails.worker({})", "Worker('emails', print, {})"])
def test_a_worker_that_a_fault_has_stopped_says_so_and_starts_again(
    kernel: Kernel, made: str
) -> None:
    kernel.do("await worker.close()\n%conveyor reset --ids sequential\nemails = Queue('emails')")
    kernel.do(
        "refused = [True]\n"
        "async def lifespan():\n"
        "    if refused: raise ConnectionError('refused')\n"
        "    yield 'opened'"
    )
    made = made.format("lifespan=lifespan")
    kernel.run(f"{made}\nasync def send(job): ..." if made[0] == "@" else f"worker = {made}")
    kernel.run("await asyncio.sleep(0)\nawait emails.add('send')")
    fault = "its lifespan raised ConnectionError: refused"
    told = kernel.do("%conveyor status").out
    assert f"{fault}; try again: %conveyor start emails" in told
    assert f"stopped: {fault}" in kernel.do("%conveyor workers").text
    kernel.do("refused.clear()\n%conveyor start emails\nawait emails.join()")
    assert status(kernel) == [["emails", "emails", "running", "0", "of", "1"]]
