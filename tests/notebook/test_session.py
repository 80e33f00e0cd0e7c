"""What a kernel's session does between cells, under interrupts, and at its end."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .conftest import Kernel, NewKernel

TASKS = "{task.get_coro().__qualname__ for task in __import__('asyncio').all_tasks()}"
CLOSED = "from conveyor_nb.notebook import session\nawait asyncio.gather(*session._closing)"
"""Lets a cell wait until all that is being closed has closed."""


@pytest.fixture
def kernel(kernel: Kernel) -> Kernel:
    """The module's kernel in real time."""
    kernel.do("%conveyor reset --ids sequential\nimport asyncio\nfrom conveyor_nb import *")
    return kernel


@pytest.mark.skipif(sys.platform == "win32", reason="there are no named pipes on Windows")
def test_jobs_go_on_between_cells(kernel: Kernel, tmp_path: Path) -> None:
    os.mkfifo(pipe := tmp_path / "pipe")
    kernel.do(
        "%%worker emails\n"
        "from pathlib import Path\n"
        "await job.sleep('1ms')\n"
        "await asyncio.to_thread(Path(job.data).write_text, 'no cell runs')\n"
        "return 'done'"
    )
    kernel.do(f"path = {str(pipe)!r}\njob = %conveyor add emails send $path")

    assert pipe.read_text() == "no cell runs"

    assert kernel.value("await job.wait_until_finished()") == "done"


def test_a_cell_that_blocks_for_longer_than_the_lock_makes_no_job_run_twice(
    kernel: Kernel,
) -> None:
    kernel.do("runs = []\ngo_on = asyncio.Event()")
    handler = "runs.append(job.id)\nawait go_on.wait()"
    kernel.do(f"%%worker emails --name a --lock-duration 50ms\n{handler}")
    kernel.do(f"%%worker emails --name b --lock-duration 50ms\n{handler}")
    kernel.do("job = %conveyor add emails send\nimport time\ntime.sleep(0.5)\ngo_on.set()")
    kernel.do("%conveyor wait emails")
    assert kernel.value("runs") == ["emails-1"]
    assert kernel.value("len((await job.refresh()).attempt_logs)") == 1


def test_interrupting_a_cell_stops_no_job(kernel: Kernel) -> None:
    kernel.do("go_on = asyncio.Event()")
    kernel.do("%%worker emails --concurrency 20\nawait go_on.wait()\nreturn 'done'")
    kernel.do(
        "queue = Queue('emails')\n"
        "jobs = await queue.add_bulk([{'name': 'send'}] * 20)\n"
        "await asyncio.sleep(0)"
    )

    for waiting in ("%conveyor wait emails", "await jobs[0].wait_until_finished()"):
        cell = kernel.start(f"print('waiting')\n{waiting}")
        cell.wait_for("waiting")
        kernel.manager.interrupt_kernel()
        error = cell.end().error
        assert error is not None
        assert error[0] in ("KeyboardInterrupt", "CancelledError")
        assert "20 active" in kernel.do("%conveyor watch emails").text

    kernel.do("go_on.set()\n%conveyor wait emails")
    assert kernel.do("%conveyor watch emails").text == "<Queue emails: 20 completed>"


def test_an_interrupt_is_felt_by_a_loop_that_has_nothing_else_to_do(kernel: Kernel) -> None:
    for _ in range(3):
        cell = kernel.start("print('waiting')\nawait asyncio.Event().wait()")
        cell.wait_for("waiting")
        kernel.manager.interrupt_kernel()
        assert cell.end().error is not None
    cell = kernel.start("import time\nprint('computing')\ntime.sleep(1_000)")
    cell.wait_for("computing")
    kernel.manager.interrupt_kernel()
    error = cell.end().error
    assert error is not None
    assert error[0] == "KeyboardInterrupt"


def test_interrupting_a_cell_that_stops_a_worker(kernel: Kernel) -> None:
    kernel.do("go_on = asyncio.Event()")
    kernel.do("%%worker emails\nawait go_on.wait()\nreturn 'done'")
    kernel.do("job = %conveyor add emails send")
    cell = kernel.start("print('waiting')\n%conveyor stop emails --timeout 1h")
    cell.wait_for("waiting")
    kernel.manager.interrupt_kernel()
    assert cell.end().error is not None
    assert "stopping" in kernel.do("%conveyor status").out
    kernel.do("go_on.set()")
    assert kernel.value("await job.wait_until_finished()") == "done"


def test_the_decorator_swaps_the_handler_too(kernel: Kernel) -> None:
    kernel.do(
        "emails = Queue('emails', default_job_options={'attempts': 2})\n"
        "@emails.worker()\nasync def old(job): return 'old'"
    )
    kernel.do("%%worker emails\nreturn 'new'")
    kernel.do("job = %conveyor add emails send")
    assert kernel.value("await job.wait_until_finished()") == "new"
    assert kernel.value("job.opts.attempts") == 2, "the notebook's own queue was used"
    kernel.do("workers = %conveyor workers")
    assert kernel.value("list(workers.name)") == ["emails"]


def test_the_session_follows_another_default_store(kernel: Kernel) -> None:
    kernel.do("mine = MemoryStore()\nset_default_store(mine)\nqueue = Queue('mine')")
    assert "mine" in kernel.do("%conveyor status").out
    kernel.do("%conveyor add mine send\nevents = %conveyor events")
    assert kernel.value("[str(kind) for kind in events.type]") == ["job:waiting"]
    assert kernel.value("await mine.count_jobs('mine')") == 1


def test_unloading_closes_everything_and_loading_again_works(kernel: Kernel) -> None:
    kernel.do("%unload_ext conveyor_nb")
    kernel.do(CLOSED)
    before = kernel.value(TASKS)
    assert "not found" in kernel.run("%conveyor status").err, "the magic is gone"

    for _ in range(2):
        kernel.do("%load_ext conveyor_nb")
        kernel.do("ended = []")
        kernel.do(
            "%%worker emails --concurrency 5\n"
            "try:\n    await asyncio.Event().wait()\nfinally:\n    ended.append(job.id)"
        )
        kernel.do("emails = Queue('emails')\nawait emails.add_bulk([{'name': 'send'}] * 9)")
        assert "5 active" in kernel.do("%conveyor watch emails").text

        kernel.do("%unload_ext conveyor_nb")
        kernel.do(CLOSED)

        assert kernel.value("len(ended)") == 5
        assert kernel.value(TASKS) == before
    kernel.do("%load_ext conveyor_nb")


def test_reloading_closes_what_was_started_and_nothing_that_is_new(kernel: Kernel) -> None:
    kernel.do("tasks = []")
    for number in range(10):
        kernel.do(f"%%worker emails\nawait asyncio.Event().wait()\nreturn {number}")
        kernel.do("%conveyor add emails send")
        kernel.do("%reload_ext conveyor_nb\n%conveyor reset --ids sequential")
        kernel.do(f"{CLOSED}\ntasks.append(len(asyncio.all_tasks()))")
    assert kernel.value("len(set(tasks))") == 1
    kernel.do(
        "%reload_ext conveyor_nb\n"
        "emails = Queue('emails')\n"
        "@emails.worker()\nasync def new(job): return 'new'\n"
        f"{CLOSED}\n"
        "job = await emails.add('send')"
    )
    assert kernel.value("await job.wait_until_finished()") == "new"


def test_modules_that_are_loaded_again_change_nothing(kernel: Kernel) -> None:
    kernel.do("%%worker emails\nreturn 'done'")
    kernel.do("import importlib, conveyor_nb\nimportlib.reload(conveyor_nb)")
    kernel.do("%load_ext autoreload\n%autoreload 2")
    kernel.do("job = %conveyor add emails send")
    assert kernel.value("await job.wait_until_finished()") == "done"
    kernel.do("%autoreload 0\n%unload_ext autoreload")


def test_a_store_of_ones_own_is_left_as_it_is(kernel: Kernel) -> None:
    kernel.do("mine = MemoryStore()\nset_default_store(mine)")
    kernel.do("%conveyor add emails send\n%reload_ext conveyor_nb")
    kernel.do(CLOSED)
    assert kernel.value("await mine.count_jobs('emails')") == 1
    assert "emails" in kernel.do("%conveyor status").out


@pytest.mark.parametrize("last", ["pass", "%unload_ext conveyor_nb", "%reload_ext conveyor_nb"])
def test_a_kernel_that_ends_leaves_nothing_pending(
    new_kernel: NewKernel, kernel_log: Path, last: str
) -> None:
    with new_kernel() as kernel:
        kernel.do("%load_ext conveyor_nb\nimport asyncio")
        kernel.do("%%worker emails --concurrency 5\nawait asyncio.Event().wait()")
        kernel.do("for i in range(9):\n    %conveyor add emails send $i")
        kernel.do("%conveyor watch emails")
        kernel.do(last)
    log = kernel_log.read_text()
    assert "pending" not in log
    assert "Traceback" not in log
    assert "never awaited" not in log
