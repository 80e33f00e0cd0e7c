"""Habits of a notebook within handlers: progress bars, ``with out:``, displays, figures, input."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .conftest import Kernel

PRELUDE = """
import asyncio, contextlib, sys, threading
from IPython.display import clear_output, display
from ipywidgets import HTML, Output
from conveyor_nb import *

emails = Queue("emails")
out = Output()
"""
BARS = """
from tqdm import {kind}
print("before")
for outer in {kind}.tqdm(range(3), desc="outer", mininterval=0):
    for inner in {kind}.tqdm(range(20), desc="inner", leave=False, mininterval=0):
        {pause}
print("after")
"""


@pytest.fixture
def kernel(kernel: Kernel) -> Kernel:
    """The module's kernel in real time, with a queue and a widget."""
    kernel.do("%conveyor reset --ids sequential")
    kernel.do(PRELUDE)
    return kernel


def log_of(kernel: Kernel, body: str, head: str = "async def send(job)", options: str = "") -> list:  # type: ignore[type-arg]
    """Run a job, whose cell shows nothing; what the job logged."""
    lines = "".join(f"    {line}\n" for line in body.strip().splitlines())
    kernel.do(f"@emails.worker({options})\n{head}:\n{lines}")
    ran = kernel.do(
        "job = await emails.add('send')\n"
        "with contextlib.suppress(JobFailedError):\n    await job.wait_until_finished()"
    )
    assert ran == ran._replace(out="", err="", shown=[])
    logs: list[str] = kernel.value("list((await job.refresh()).logs)")
    return logs


def outputs(kernel: Kernel) -> list[tuple[str, str]]:
    """What is in the widget, in short."""
    found: list[tuple[str, str]] = kernel.value(
        "[(one.get('name') or one['output_type'], "
        "one.get('text') or one.get('ename') or one['data']['text/plain']) for one in out.outputs]"
    )
    return found


# -- progress bars ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("head", "options", "pause"),
    [
        ("async def send(job)", "", "await asyncio.sleep(0)"),
        ("def send(job)", "", "threading.Event().wait(0.001)"),
        ("def send(job)", "executor='process'", "pass"),
    ],
)
@pytest.mark.parametrize("kind", ["std", "auto"])
def test_nested_bars_leave_their_last_state(
    kernel: Kernel, head: str, options: str, pause: str, kind: str
) -> None:
    log = log_of(kernel, BARS.format(kind=kind, pause=pause), head, options)
    [bar] = [line for line in log if "outer" in line]
    assert bar.startswith("outer: 100%")
    assert "3/3" in bar
    assert sorted(log) == sorted(["before", bar, "after"])
    if kind == "std" or options:
        assert log == ["before", bar, "after"]
    kernel.do("%conveyor reset")


def test_bars_of_rich_leave_their_last_state(kernel: Kernel) -> None:
    pytest.importorskip("rich")
    log = log_of(
        kernel,
        "from rich.console import Console\n"
        "from rich.progress import Progress, track\n"
        "for number in track(range(5), 'one'):\n"
        "    await asyncio.sleep(0)\n"
        "console = Console(file=sys.stdout, force_terminal=True, force_jupyter=False, width=80)\n"
        "with Progress(console=console, auto_refresh=False) as progress:\n"
        "    task = progress.add_task('two', total=50)\n"
        "    for number in range(50):\n"
        "        progress.update(task, advance=1, refresh=True)\n"
        "        await asyncio.sleep(0)\n",
    )
    bars = [line for line in log if line.strip()]
    assert [line.split()[0] for line in bars] == ["two", "one"]
    assert all("100%" in line for line in bars)


def test_a_virtual_clock_gives_the_same_lines_on_every_run(kernel: Kernel) -> None:
    kernel.do("%conveyor reset --ids sequential --clock virtual\nemails = Queue('emails')")
    kernel.do(
        "@emails.worker\n"
        "async def send(job):\n"
        "    print('0 %', end='')\n"
        "    await job.sleep('1s')\n"
        "    print('\\r100 %')\n"
        "    await job.sleep('1s')"
    )
    kernel.do("job = await emails.add('send')")
    for time, log in (("500ms", ()), ("1s", ("100 %",)), ("1s", ("100 %",))):
        kernel.do(f"%conveyor clock advance {time}")
        assert kernel.value("(await job.refresh()).logs") == log


# -- with out: --------------------------------------------------------------------------------


@pytest.mark.parametrize("head", ["async def send(job)", "def send(job)"])
@pytest.mark.parametrize("options", ["", "capture=False"])
def test_with_an_output_fills_that_output(kernel: Kernel, head: str, options: str) -> None:
    body = (
        "with out:\n"
        "    print('one')\n"
        "    print('two', file=sys.stderr)\n"
        "    display({'a': 1})\n"
        "    three = display(3, display_id=True)\n"
        "    three.update(4)\n"
        "    print('five', end=' ')\n"
        "    print('six')\n"
    )
    assert log_of(kernel, body, head, options) == []
    assert outputs(kernel) == [
        *(("stdout", "one\n"), ("stderr", "two\n"), ("display_data", "{'a': 1}")),
        *(("display_data", "4"), ("stdout", "five six\n")),
    ]
    assert kernel.value("out.msg_id") == "", "the page sends nothing of any cell there"
    log_of(kernel, "with out:\n    clear_output(wait=True)\n    print('new')", head, options)
    assert outputs(kernel) == [("stdout", "new\n")]
    log_of(kernel, "out.clear_output()", head, options)
    assert outputs(kernel) == []


def test_jobs_side_by_side_and_cells_keep_apart(kernel: Kernel) -> None:
    kernel.do("both = [out, Output()]\nready = asyncio.Barrier(2)")
    kernel.do(
        "@emails.worker(concurrency=2)\n"
        "async def send(job):\n"
        "    print('log of', job.data)\n"
        "    with both[job.data]:\n"
        "        await ready.wait()\n"
        "        print('output of', job.data)\n"
        "        with out:\n"
        "            await ready.wait()\n"
        "        await ready.wait()\n"
        "    print('log again')"
    )
    kernel.do("jobs = await emails.add_bulk({'name': 'send', 'data': n} for n in range(2))")
    ran = kernel.do("print('cell')\nfor job in jobs:\n    await job.wait_until_finished()")
    assert ran.out == "cell\n"
    assert kernel.value("[one.outputs[0]['text'] for one in both]") == [
        *("output of 0\n", "output of 1\n"),
    ]
    assert kernel.value("[(await job.refresh()).logs for job in jobs]") == [
        *(("log of 0", "log again"), ("log of 1", "log again")),
    ]
    cell = kernel.do("with out:\n    print('of the cell')\n    mine = out.msg_id\nout.msg_id")
    assert cell.out == "of the cell\n", "which the page sends on to the widget"
    assert kernel.value("mine != '', len(out.outputs)") == (True, 1)


def test_an_error_is_shown_there_and_fails_the_job(kernel: Kernel) -> None:
    log_of(kernel, "with out:\n    raise ValueError('no')")
    assert outputs(kernel) == [("error", "ValueError")]
    assert "ValueError: no" in kernel.value("job.failed_reason")


def test_to_be_cancelled_is_no_error_that_it_keeps(kernel: Kernel) -> None:
    kernel.do(
        "begun = asyncio.Event()\n"
        "@emails.worker\n"
        "async def send(job):\n"
        "    with out:\n        begun.set()\n        await asyncio.Event().wait()\n"
        "job = await emails.add('send')\nawait begun.wait()\nawait job.cancel()\n"
        "with contextlib.suppress(JobCancelledError):\n    await job.wait_until_finished()"
    )
    assert kernel.value("str((await job.refresh()).state)") == "failed"
    assert outputs(kernel) == []


def test_it_keeps_the_newest_only(kernel: Kernel) -> None:
    log_of(kernel, "with out:\n    for n in range(100_000):\n        print(n)", "def send(job)")
    [(_, text)] = outputs(kernel)
    assert len(text) == 100_000
    assert text.endswith("99999\n")
    log_of(kernel, "with out:\n    for n in range(1_000):\n        display(n)")
    assert kernel.value("len(out.outputs)") == 500


# -- displays ---------------------------------------------------------------------------------


def test_a_display_that_is_updated_is_logged_once_as_it_was_last(kernel: Kernel) -> None:
    body = (
        "bar = display('0 %', display_id=True)\n"
        "for percent in range(100):\n"
        "    bar.update(f'{percent} %')\n"
        "    await asyncio.sleep(0)\n"
        "print('done')"
    )
    assert log_of(kernel, body) == ["done", "'99 %'"]


def test_the_display_of_a_cell_can_be_updated(kernel: Kernel) -> None:
    kernel.do("mine = display('mine', display_id=True)")
    assert log_of(kernel, "mine.update('of the job')") == []


@pytest.mark.parametrize("head", ["async def send(job)", "def send(job)"])
def test_what_is_cleared_again_and_again_is_its_last(kernel: Kernel, head: str) -> None:
    body = "for number in range(60):\n    clear_output(wait=True)\n    print('frame', number)"
    assert log_of(kernel, body, head) == ["frame 59"]


def test_a_widget_is_logged_by_what_it_says_at_the_end(kernel: Kernel) -> None:
    body = (
        "from ipywidgets import Button, HBox\n"
        "text = HTML('<b>one</b>')\n"
        "display(HBox([text, Button()]))\n"
        "text.value = '<b>two</b> &lt;'\n"
        "shown = Output()\n"
        "display(shown)\n"
        "threading.Thread(target=lambda: fill(shown)).start()\n"
        "await asyncio.to_thread(filled.wait)\n"
    )
    kernel.do(
        "filled = threading.Event()\n"
        "def fill(shown):\n    with shown:\n        print('from a thread')\n    filled.set()"
    )
    assert log_of(kernel, body) == ["two <", "from a thread"]


def test_a_queue_shown_in_a_job_makes_no_panel(kernel: Kernel) -> None:
    kernel.do("from conveyor_nb.notebook.panel.known_panels import panels\nbefore = len(panels)")
    assert log_of(kernel, "display(emails)") == ["<Queue emails: 1 active>"]
    assert kernel.value("len(panels) - before") == 0


def test_figures_and_frames_are_named(kernel: Kernel) -> None:
    kernel.do("%matplotlib inline\nimport pandas, matplotlib.pyplot as plt")
    body = "plt.plot([1, 2])\nplt.show()\ndisplay(pandas.DataFrame({'a': [1]}))"
    log = log_of(kernel, body)
    assert log[0].startswith("<Figure size")
    assert log[1:] == ["   a", "0  1"]


@pytest.mark.parametrize("head", ["async def send(job)", "def send(job)"])
@pytest.mark.parametrize("call", ["input('name? ')", "__import__('getpass').getpass()"])
def test_a_job_has_nobody_to_ask(kernel: Kernel, head: str, call: str) -> None:
    log_of(kernel, call, head)
    assert kernel.value("job.failed_reason") == (
        "EOFError: a job has nobody to ask; what it needs goes into its payload, job.data"
    )


def test_unloading_gives_all_of_it_back(kernel: Kernel) -> None:
    look = "(input, __import__('getpass').getpass, Output.__enter__, Output.__exit__)"
    kernel.do("from conveyor_nb.notebook.shell import session\n%unload_ext conveyor_nb")
    kernel.do("await asyncio.gather(*session._closing)")
    assert "conveyor_nb" not in kernel.do(f"str({look})").text
    kernel.do("%load_ext conveyor_nb")


def test_a_hundred_displays_may_change_and_no_more(kernel: Kernel) -> None:
    body = "for n in range(150):\n    display(n, display_id=True)\nprint('done')"
    log = log_of(kernel, body)
    assert log == [*map(str, range(50)), "done", *map(str, range(50, 150))]


# -- other threads ----------------------------------------------------------------------------


def test_a_panel_made_in_a_thread_lives_on_the_loop_of_the_cells(kernel: Kernel) -> None:
    kernel.do(
        "from conveyor_nb.notebook.panel.known_panels import panels\n"
        "async def show():\n    emails._repr_mimebundle_()\n    return panels[-1]\n"
        "panel = await asyncio.to_thread(lambda: asyncio.run(show()))\n"
        "panel.receive({'do': 'hello', 'view': 'page', 'n': 1})"
    )
    kernel.do("await asyncio.to_thread(lambda: asyncio.run(emails.add('send')))")
    kernel.do(
        "while panel.head['counts']['waiting'] != 1:\n"
        "    panel.receive({'do': 'drawn', 'view': 'page', 'frame': panel.frame})\n"
        "    await asyncio.sleep(0)\n"
        "await asyncio.to_thread(panel.close)\n"
        "while panel.live:\n    await asyncio.sleep(0)"
    )


def test_progress_in_a_thread_with_a_loop_of_its_own(kernel: Kernel) -> None:
    kernel.do("@emails.worker\nasync def send(job):\n    return job.data")
    kernel.do(
        "async def all_of(count):\n"
        "    jobs = [await emails.add('send', n) for n in range(count)]\n"
        "    return [job.returnvalue async for job in progress(jobs, disable=True)]\n"
        "found = await asyncio.to_thread(lambda: asyncio.run(all_of(5)))"
    )
    assert kernel.value("sorted(found)") == [0, 1, 2, 3, 4]


def test_magics_in_a_thread_do_it_or_say_what_to_do(kernel: Kernel) -> None:
    kernel.do(
        "def magic(line):\n    return get_ipython().run_line_magic('conveyor', line)\n"
        "worker = Worker('emails', print)"
    )
    kernel.do("await asyncio.to_thread(magic, 'pause-worker emails')")
    assert kernel.value("str(worker.status)") == "paused"
    kernel.do("await asyncio.to_thread(magic, 'add emails send')")
    assert kernel.value("await emails.count()") == 1
    ran = kernel.run("await asyncio.to_thread(magic, 'stop emails')")
    assert ran.error is None
    assert "put the line at the top of a cell" in ran.err
