"""The end of a session: %unload_ext, %reload_ext and the end of the kernel leave nothing behind."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .conftest import Kernel, NewKernel, Together

TASKS = "{task.get_coro().__qualname__ for task in __import__('asyncio').all_tasks()}"
CLOSED = "from conveyor_nb.notebook.shell import session\nawait asyncio.gather(*session._closing)"
"""Lets a cell wait until all that is being closed has closed."""

KERNELS_OWN = 1.5
"""Seconds that a kernel may take to end, besides what it waits for."""


@pytest.fixture
def kernel(kernel: Kernel) -> Kernel:
    """The module's kernel in real time."""
    kernel.do("%conveyor reset --ids sequential\nimport asyncio\nfrom conveyor_nb import *")
    return kernel


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


LEFT = """
import collections, gc, sys, threading
await asyncio.sleep(0)
for _ in range(3):
    gc.collect()
kinds = (f"{type(one).__module__}.{type(one).__name__}" for one in gc.get_objects())
ours = collections.Counter(kind for kind in kinds if kind.startswith("conveyor_nb"))
left = {
    "tasks": len(asyncio.all_tasks()),
    "threads": sorted(one.name for one in threading.enumerate() if "conveyor" in one.name),
    "objects": {kind: count for kind, count in ours.items() if kind[12:].startswith(LIVING)},
}
blocks = sys.getallocatedblocks()
"""
NAMES = "worker running job queue stores notebook.commands notebook.panel notebook.shell"
LIVING = tuple(f"{name}." for name in NAMES.split())
"""The modules and rooms whose objects are counted; IPython keeps what was displayed."""


def test_it_is_said_which_workers_are_closed_and_how_they_start_again(kernel: Kernel) -> None:
    assert kernel.do("%reload_ext conveyor_nb").out == "", "there are none"
    kernel.do("@Queue('emails').worker\nasync def send(job): return 'sent'")
    loaded = kernel.do("%load_ext conveyor_nb")
    assert "closed" not in loaded.out + loaded.err
    assert kernel.value("send.worker.status.value") == "running", "loading twice is harmless"

    assert kernel.do("%reload_ext conveyor_nb").out == (
        "worker emails is closed; to start again, run the cell with its handler again\n"
    )

    kernel.do("for name in ('emails', 'reports'): Queue(name).worker(send)")
    kernel.do("Queue('closed').worker(send)\nawait send.worker.close()")
    said = kernel.do("%unload_ext conveyor_nb").out
    assert said.startswith("workers emails, reports are closed; ")
    kernel.do(f"%load_ext conveyor_nb\n{CLOSED}")


def test_ten_reloads_leave_no_more_than_one(kernel: Kernel) -> None:
    kernel.do(f"LIVING = {LIVING!r}")
    found = []
    for _ in range(11):
        kernel.do(
            "emails, plain = Queue('emails'), Queue('plain')\n"
            "@emails.worker(concurrency=5)\n"
            "async def send(job):\n    print('begun')\n    await asyncio.Event().wait()\n"
            "@plain.worker(concurrency=2)\n"
            "def wait(job):\n    while not job.cancel_requested:\n        job.sleep('1ms')"
        )
        kernel.do(
            "for queue in (emails, plain):\n"
            "    await queue.add_bulk([{'name': 'send'}] * 9)\n"
            "await asyncio.sleep(0)"
        )
        kernel.do("emails")
        kernel.do("%reload_ext conveyor_nb")
        kernel.do(CLOSED)
        kernel.do("%conveyor reset --ids sequential")
        kernel.do("%reset -f out\ndel emails, plain, send, wait, queue")
        kernel.do(
            "import threading\n"
            "for thread in threading.enumerate():\n"
            "    if thread.name.startswith('conveyor_nb'):\n"
            "        await asyncio.to_thread(thread.join)"
        )
        kernel.do(LEFT)
        found.append((kernel.value("left"), kernel.value("blocks")))
    (first, _), (second, blocks_then), *_, (last, blocks_now) = found
    grown = {
        kind: (second["objects"].get(kind, 0), count)
        for kind, count in last["objects"].items()
        if count > second["objects"].get(kind, 0)
    }
    assert grown == {}
    assert first["tasks"] == second["tasks"] == last["tasks"]
    assert last["threads"] == []
    assert blocks_now < 1.02 * blocks_then


STUBBORN = """
async def stubborn(job):
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            pass
"""


@pytest.mark.parametrize("end", ["%unload_ext conveyor_nb", "%reload_ext conveyor_nb"])
def test_all_that_was_started_is_closed_in_two_seconds(kernel: Kernel, end: str) -> None:
    kernel.do("import threading\nstop = threading.Event()")
    kernel.do(STUBBORN)
    kernel.do(
        "queues = [Queue(name) for name in ('stubborn', 'blocked', 'emails')]\n"
        "queues[0].worker()(stubborn)\n"
        "queues[1].worker()(lambda job: stop.wait())\n"
        "@queues[2].worker(concurrency=5)\n"
        "async def send(job):\n    await asyncio.Event().wait()\n"
        "for queue in queues:\n    await queue.add_bulk([{'name': 'send'}] * 9)\n"
        "await asyncio.sleep(0)"
    )
    ran = kernel.run(f"import time\nbegun = time.monotonic()\n{end}\n{CLOSED}")
    assert ran.error is None
    assert ran.err.count("did not stop when cancelled") == 1, "the stubborn one is named"
    assert kernel.value("time.monotonic() - begun") < 2
    counts = "[(await queue.get_job_counts())['waiting'] for queue in queues]"
    back = kernel.value(counts)
    assert back == [8, 8, 9], "all are back, but for those whose handlers did not stop"
    kernel.do(
        "stop.set()\n"
        "while (await queues[1].get_job_counts())['active']:\n    await asyncio.sleep(0)"
    )
    assert kernel.value(counts) == [8, 9, 9], "the thread has returned"
    kernel.do("%load_ext conveyor_nb")


METHODS = (  # in a cell that can't await, IPython replaces methods for as long as it runs
    "await asyncio.sleep(0) or "
    "[(one, one.write) for one in (sys.stdout, sys.stderr)] + "
    "[getattr(get_ipython().display_pub, name) for name in ('publish', 'clear_output')] + "
    "[list(logging.root.handlers), warnings.showwarning] + "
    "[{name: list(calls) for name, calls in get_ipython().events.callbacks.items()}]"
)


def test_unloading_restores_streams_display_and_hooks(new_kernel: NewKernel) -> None:
    run = "job = await Queue('emails').add('send')\nawait job.wait_until_finished()"
    with new_kernel() as kernel:
        kernel.do(f"import asyncio, logging, sys, warnings\nbefore = {METHODS}")
        for _ in range(3):
            for begin in ("%load_ext conveyor_nb", "%reload_ext conveyor_nb"):
                kernel.do(f"{begin}\nfrom conveyor_nb import *")
                kernel.do("%%worker emails\nprint('of the job')")
                assert kernel.do(run).out == ""
                assert kernel.value("(await job.refresh()).logs") == ("of the job",)
            kernel.do("%unload_ext conveyor_nb")
            kernel.do(CLOSED)
            assert kernel.value(f"{METHODS} == before")
        kernel.do("worker = Worker('emails', lambda job: print('of the job'))")
        assert kernel.do(f"{run}\nprint('the cell')").out == "of the job\nthe cell\n"
        kernel.do("await worker.close()")


def test_jobs_that_unloading_stops_print_to_their_logs_to_the_end(kernel: Kernel) -> None:
    kernel.do(
        "%%worker emails\ntry:\n    await asyncio.Event().wait()\nfinally:\n    print('of the job')"
    )
    kernel.do("job = await Queue('emails').add('send')\nawait asyncio.sleep(0)")
    ran = kernel.do(f"%unload_ext conveyor_nb\n{CLOSED}\nprint('the cell')")
    assert ran.out.splitlines()[1:] == ["the cell"], "after the line that tells of the worker"
    assert kernel.value("(await job.refresh()).logs") == ("of the job",)
    kernel.do("%load_ext conveyor_nb")


LOOK_AT_THE_END = """
import asyncio, atexit, os
loop, kernels_own = asyncio.get_running_loop(), asyncio.all_tasks()
def look():
    names = {task.get_coro().__qualname__ for task in asyncio.all_tasks(loop) - kernels_own}
    os.write(2, f"left at the end: {names or 'nothing'}\\n".encode())
atexit.register(look)
"""
"""What is registered first is called last; warnings of lost tasks find no standard error then."""


@pytest.mark.parametrize("last", ["pass", "%unload_ext conveyor_nb", "%reload_ext conveyor_nb"])
def test_a_kernel_that_ends_leaves_nothing_pending(
    together: Together, new_kernel: NewKernel, last: str
) -> None:
    log = together(partial(end_a_kernel, new_kernel))
    assert "left at the end: nothing" in log
    assert "pending" not in log
    assert "Traceback" not in log
    assert "never awaited" not in log


def end_a_kernel(new_kernel: NewKernel, last: str, folder: Path) -> str:
    """End a kernel with jobs at work after a last cell; gives what it wrote to its terminal."""
    log = folder / "kernel.log"
    with new_kernel(log) as kernel:
        kernel.do(LOOK_AT_THE_END)
        kernel.do("%load_ext conveyor_nb\nfrom conveyor_nb import *")
        kernel.do("%%worker emails --concurrency 5\nprint('begun')\nawait asyncio.Event().wait()")
        kernel.do("for i in range(9):\n    %conveyor add emails send $i")
        kernel.do(
            "@Queue('plain').worker(concurrency=2)\n"
            "def wait(job):\n    threading.Event().wait()\n"
            "import threading\n"
            "by_hand = Worker('other', lambda job: threading.Event().wait())\n"
            "for name in ('plain', 'other'):\n"
            "    await Queue(name).add_bulk([{'name': 'send'}] * 3)"
        )
        kernel.do("%conveyor watch emails")
        kernel.do(last)
        begun = time.monotonic()
    assert time.monotonic() - begun < 2 + KERNELS_OWN
    return log.read_text()
