"""What a kernel's session does between cells and under interrupts."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .conftest import Kernel, NewKernel

CLOSED = "from conveyor_nb.notebook.shell import session\nawait asyncio.gather(*session._closing)"
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
    kernel.do("job = %conveyor add emails send\nimport time\ntime.sleep(0.25)\ngo_on.set()")
    kernel.do("%conveyor wait emails")
    assert kernel.value("runs") == ["emails-1"]
    assert kernel.value("len((await job.refresh()).attempt_logs)") == 1


def test_a_cell_that_blocks_for_longer_than_many_locks_renews_each_once(kernel: Kernel) -> None:
    kernel.do(
        "class Watched(MemoryStore):\n"
        "    renewals = 0\n"
        "    async def renew_locks(self, *args):\n"
        "        self.renewals += len(args[2])\n"
        "        return await super().renew_locks(*args)\n"
        "set_default_store(Watched(ids='sequential'))\n"
        "events = []\n"
        "default_store().subscribe('emails', events.append)\n"
        "runs, go_on = [], asyncio.Event()"
    )
    handler = "runs.append(job.id)\nawait go_on.wait()"
    for name in "ab":
        options = f"--name {name} --concurrency 10 --lock-duration 100ms"
        kernel.do(f"%%worker emails {options}\n{handler}")
    kernel.do(
        "jobs = await Queue('emails').add_bulk([{'name': 'send'}] * 20)\nawait asyncio.sleep(0)"
    )
    assert kernel.value("len(runs)") == 20

    kernel.do("import time\nbefore = default_store().renewals\ntime.sleep(0.6)")
    kernel.do(
        "while default_store().renewals < before + 20:\n    await asyncio.sleep(0)\n"
        "await asyncio.sleep(0)\nrenewed = default_store().renewals - before"
    )

    assert kernel.value("renewed") == 20, "once for each, not for each tick"
    kernel.do("go_on.set()\n%conveyor wait emails")
    assert kernel.value("sorted(runs) == sorted(job.id for job in jobs)"), "none ran twice"
    assert kernel.value("[len((await job.refresh()).attempt_logs) for job in jobs]") == [1] * 20
    kinds = set(kernel.value("[str(event.type) for event in events]"))
    assert not kinds & {"job:stalled", "job:retrying", "job:failed", "queue:error"}


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


def test_cells_for_several_job_names_share_a_worker(kernel: Kernel) -> None:
    told = kernel.do("%%worker emails --job-name send --concurrency 2\nreturn 'sent'").out
    assert "worker emails takes jobs of emails, 2 at a time; it has a handler for jobs" in told
    told = kernel.do("%%worker emails --job-name bounce\nreturn 'bounced'").out
    assert told == "worker emails has a handler for jobs named 'bounce' too\n"
    kernel.do(
        "emails = Queue('emails')\n"
        "async def run(name): return await (await emails.add(name)).wait_until_finished()"
    )
    assert kernel.value("[await run(name) for name in ('send', 'bounce')]") == ["sent", "bounced"]
    error = kernel.run("await run('report')").error
    assert error is not None
    assert "no handler for jobs named 'report', only for 'bounce' and 'send'" in error[1]

    told = kernel.do("%%worker emails --job-name send\nreturn 'new'").out
    assert told == "worker emails goes on with this handler for jobs named 'send'\n"
    kernel.do("@emails.worker(job_name='*')\ndef others(job): return job.name")
    assert kernel.value("[await run(n) for n in ('send', 'bounce', 'x')]") == [
        "new",
        "bounced",
        "x",
    ]
    assert kernel.value("others.worker.concurrency") == 1
    assert "--job-name" in kernel.complete("%%worker emails --jo")[0]
    kernel.do("%conveyor stop emails")
    assert kernel.do("%conveyor start emails").out
    assert kernel.value("await run('bounce')") == "bounced"
    told = kernel.do("%%worker emails\nreturn 'all'\n").out
    assert told == "worker emails goes on with this handler\n"
    told = kernel.do("%%worker emails --job-name send\nreturn 'new'").out
    assert told == (
        "worker emails has a handler for jobs named 'send' alone now (a cell with --job-name * "
        "takes all others)\n"
    )


def worker_rows(kernel: Kernel) -> list[tuple[object, ...]]:
    """The workers of ``emails`` as a panel shows them."""
    kernel.do("from conveyor_nb.notebook.panel.workers_panel import worker_rows")
    rows = kernel.value("await worker_rows(default_store(), 'emails')")
    return [(row["name"], row["version"], row["status"], row["busy"]) for row in rows]


def test_the_panel_shows_which_version_of_a_handler_runs(kernel: Kernel) -> None:
    kernel.do("%conveyor reset --ids sequential\ngo_on = asyncio.Event()")
    kernel.do("%%worker emails --name mailer\nawait go_on.wait()")
    kernel.do("%conveyor add emails send\nawait asyncio.sleep(0)")
    assert worker_rows(kernel) == [("mailer", 1, "running", 1)]

    kernel.run("%%worker emails --name mailer\nreturn (")
    assert kernel.run("%%worker emails --name mailer --concurrency none\nreturn 1").err
    assert worker_rows(kernel) == [("mailer", 1, "running", 1)], "it is as it was"

    kernel.do("%%worker emails --name mailer\n1 / 0")
    assert worker_rows(kernel) == [("mailer", 2, "running", 0), ("mailer", 1, "stopping", 1)]
    kernel.do("go_on.set()\n%conveyor wait emails")
    assert worker_rows(kernel) == [("mailer", 2, "running", 0)]
    kernel.do("%conveyor stop mailer\n%conveyor start mailer")
    assert worker_rows(kernel) == [("mailer", 2, "running", 0)], "the handler is the same"
    kernel.do("job = %conveyor add emails send\n%conveyor wait emails")
    assert "version 2>" in kernel.value("(await job.refresh()).stacktrace[-1]")

    decorated = "@Queue('emails').worker(name='mailer')\nasync def send(job): pass"
    kernel.do(f"{decorated}\n{CLOSED}")
    assert worker_rows(kernel) == [("mailer", 3, "running", 0)]
    kernel.do("%%worker emails --name mailer\n1 / 0")
    assert worker_rows(kernel)[0] == ("mailer", 4, "running", 0)
    kernel.do("by_hand = Worker('emails', print, name='other')\nawait asyncio.sleep(0)")
    assert ("other", None, "running", 0) in worker_rows(kernel)
    kernel.do("await by_hand.close()")


# -- workers made by hand ---------------------------------------------------------------------

BY_HAND = "worker = Worker('emails', print)"


def test_a_cell_that_makes_a_worker_by_hand_again_is_warned_once(kernel: Kernel) -> None:
    assert kernel.do(BY_HAND).err == ""
    warning = kernel.run(BY_HAND).err
    assert warning.count("DuplicateWorkerWarning") == 1
    assert "emails-worker-1) still runs" in warning
    assert "%conveyor stop emails-worker-1" in warning
    assert kernel.do("%conveyor status").err == "", "once is enough"

    assert kernel.do("%conveyor stop emails-worker-1").out.startswith("worker emails is stopped")
    kernel.do("await worker.close()")
    assert kernel.do(BY_HAND).err == "", "no other runs"
    assert kernel.do(f"await worker.close()\n{BY_HAND}").err == ""
    kernel.do("await worker.close()")


@pytest.mark.parametrize(
    "cell",
    [
        "async with Worker('emails', print):\n    pass",
        "Worker('emails', print, auto_start=False)",
        "Worker('emails', print, store=MemoryStore())",
        "Worker('emails', print, name='other')",
        "@Queue('emails').worker(name='named')\ndef send(job): pass",
        "%%worker emails --name named\nreturn",
        "%%worker emails\nreturn",
    ],
)
def test_other_workers_bring_no_warning(kernel: Kernel, cell: str) -> None:
    kernel.do("%%worker emails --name named\nreturn")
    kernel.do(f"worker = {BY_HAND}")
    assert kernel.do(f"made = [None]\n{cell}" if cell[0] != "%" else cell).err == ""
    kernel.do(
        "from conveyor_nb.worker import live_workers\n"
        "await asyncio.gather(*(one.close() for one in live_workers()))"
    )


def test_a_worker_by_hand_beside_a_named_one(kernel: Kernel) -> None:
    kernel.do("%%worker emails\nreturn")
    assert "%conveyor stop emails-worker-1. " in kernel.run(BY_HAND).err, "its name is not enough"
    kernel.do("await worker.close()")


# -- faults of the engine ---------------------------------------------------------------------


def test_a_fault_of_the_engine_is_shown_once_and_it_goes_on(kernel: Kernel) -> None:
    kernel.do(
        "class Flaky(MemoryStore):\n"
        "    broken = False\n"
        "    async def fetch_jobs(self, *args, **options):\n"
        "        if self.broken:\n"
        "            raise OSError('disk full')\n"
        "        return await super().fetch_jobs(*args, **options)\n"
        "clock = VirtualClock()\n"
        "set_default_store(Flaky(ids='sequential', clock=clock))\n"
        "from conveyor_nb.notebook.panel.widget import panel_of\n"
        "panel = panel_of(Queue('emails'))\n"
        "panel.receive({'do': 'hello', 'view': 'page', 'n': 1})"
    )
    kernel.do("%%worker emails\nreturn 'done'")
    kernel.do("default_store().broken = True")
    ran = kernel.run("job = await Queue('emails').add('send')\nawait clock.advance(60)")
    assert ran.error is None
    assert ran.err.count("the store failed") == 1
    assert ran.err.count("OSError: disk full") == 1
    errors = "sum(event.type == 'queue:error' for event in events.itertuples())"
    assert kernel.value(f"events = %conveyor events emails --last 1000\n{errors}") == 1
    kernel.do(  # a page that has drawn the frame before is sent the next one
        "import asyncio\n"
        "panel.receive({'do': 'drawn', 'view': 'page', 'frame': panel.frame})\n"
        "while panel.notice is None: await asyncio.sleep(0)"
    )
    assert kernel.value("panel.notice['n'], panel.notice['text']") == (1, "OSError: disk full")

    kernel.do("default_store().broken = False\nawait clock.advance(2)")
    assert kernel.value("await job.wait_until_finished()") == "done"
    kernel.do("panel.close()")


def test_the_session_follows_another_default_store(kernel: Kernel) -> None:
    kernel.do("mine = MemoryStore()\nset_default_store(mine)\nqueue = Queue('mine')")
    assert "mine" in kernel.do("%conveyor status").out
    kernel.do("%conveyor add mine send\nevents = %conveyor events")
    assert kernel.value("[str(kind) for kind in events.type]") == ["job:waiting"]
    assert kernel.value("await mine.count_jobs('mine')") == 1


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


def test_jobs_print_to_their_logs_in_a_notebook_that_never_awaits(new_kernel: NewKernel) -> None:
    with new_kernel() as kernel:
        kernel.do("import asyncio\nready = asyncio.Event()")
        kernel.do("%load_ext conveyor_nb\nimport conveyor_nb")
        kernel.do("worker = conveyor_nb.Worker('emails', lambda job: print('of the job'))")
        cell = kernel.start(
            "async def add():\n"
            "    job = await conveyor_nb.Queue('emails').add('send')\n"
            "    await job.wait_until_finished()\n"
            "    print('logged:', *(await job.refresh()).logs)\n"
            "    ready.set()\n"
            "task = asyncio.ensure_future(add())"
        )
        told = cell.end().out + kernel.do("await ready.wait()").out
        assert told == "logged: of the job\n"
