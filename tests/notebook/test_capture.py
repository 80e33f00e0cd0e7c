"""What a job prints is in its log, and in no cell."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .conftest import Kernel, Ran

PRELUDE = """
import asyncio, logging, sys, threading, warnings
from IPython.display import HTML, clear_output, display, update_display
from conveyor_nb import *

emails = Queue("emails")
"""
RUN = "job = await emails.add('send')\nawait job.wait_until_finished()\nprint('the cell')"
RUN_TWO = """
jobs = await emails.add_bulk([{"name": "send"}] * 2)
for job in jobs:
    await job.wait_until_finished()
"""
LOG = "list((await job.refresh()).logs)"


@pytest.fixture
def kernel(kernel: Kernel) -> Kernel:
    """The module's kernel in real time, with a queue."""
    kernel.do("%conveyor reset --ids sequential")
    kernel.do(PRELUDE)
    return kernel


def handle(kernel: Kernel, body: str, head: str = "async def send(job)", options: str = "") -> None:
    """Make a handler of some lines."""
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    kernel.do(f"@emails.worker({options})\n{head}:\n{lines}")


def log_of_a_run(kernel: Kernel) -> list[str]:
    """Run one job, in a cell that prints what it should and nothing else; what the job logged."""
    ran = kernel.do(RUN)
    assert ran == ran._replace(out="the cell\n", err="", shown=[])
    logs: list[str] = kernel.value(LOG)
    assert kernel.value("list(job.attempt_logs[-1].logs)") == logs
    return logs


# -- what counts as printed -------------------------------------------------------------------


@pytest.mark.parametrize("head", ["async def send(job)", "def send(job)"])
def test_lines_of_both_streams_in_order(kernel: Kernel, head: str) -> None:
    handle(
        kernel,
        "print('one', end=' ')\n"
        "print('line')\n"
        "print('an error', file=sys.stderr)\n"
        "print('two\\nmore', flush=True)\n"
        "sys.stdout.writelines(['a\\n', 'b\\n'])\n"
        "print()\n"
        "print('no end', end='')",
        head,
    )
    assert log_of_a_run(kernel) == [
        *("one line", "an error", "two", "more", "a", "b", "", "no end"),
    ]


def test_a_progress_bar_is_the_last_of_its_states_and_colours_are_left_away(kernel: Kernel) -> None:
    handle(
        kernel,
        "for percent in range(0, 101, 10):\n"
        "    print(f'\\r{percent}%', end='', file=sys.stderr)\n"
        "print(file=sys.stderr)\n"
        "print('dos\\r\\nred \\x1b[31malert\\x1b[0m')",
    )
    assert log_of_a_run(kernel) == ["100%", "dos", "red alert"]


def test_logging_is_logged_once_and_as_the_notebook_set_it_up(kernel: Kernel) -> None:
    handle(
        kernel,
        "logging.getLogger('a').warning('%s is odd', job.id)\nlogging.getLogger('a').info('fine')",
    )
    assert log_of_a_run(kernel) == ["emails-1 is odd"]

    kernel.do("logging.basicConfig(format='%(levelname)s %(name)s: %(message)s', level='INFO')")
    assert log_of_a_run(kernel) == ["WARNING a: emails-2 is odd", "INFO a: fine"]
    assert kernel.run("logging.warning('mine')").err == "WARNING root: mine\n"
    kernel.do("logging.basicConfig(handlers=[], level='WARNING', force=True)")


def test_warnings(kernel: Kernel) -> None:
    handle(kernel, "warnings.warn(f'{job.id} is slow', stacklevel=1)")
    [first, _] = log_of_a_run(kernel)
    assert first.endswith("UserWarning: emails-1 is slow")
    assert "mine" in kernel.run("warnings.warn('mine')").err


def test_what_is_displayed_is_logged_as_text(kernel: Kernel) -> None:
    handle(
        kernel,
        "print('first')\n"
        "display({'a': 1}, display_id='x')\n"
        "update_display({'a': 2}, display_id='x')\n"
        "display(HTML('<b>bold</b>'))\n"
        "display({'image/png': ''}, raw=True)",
    )
    assert log_of_a_run(kernel) == [
        "first",
        "<IPython.core.display.HTML object>",
        "image/png",
        "{'a': 2}",
    ]
    assert kernel.do("display('mine')").text == "'mine'"


def test_tasks_and_threads_of_a_handler_are_the_jobs(kernel: Kernel) -> None:
    kernel.do(
        "async def deep(word):\n"
        "    await asyncio.sleep(0)\n"
        "    print(word)\n"
        "    await asyncio.to_thread(print, word, 'from a thread')"
    )
    handle(
        kernel,
        "await asyncio.to_thread(print, 'thread')\n"
        "await asyncio.create_task(deep('task'))\n"
        "await asyncio.gather(*(asyncio.wait_for(deep(word), 60) for word in ['x']))",
    )
    assert log_of_a_run(kernel) == [
        *("thread", "task", "task from a thread", "x", "x from a thread"),
    ]


def test_processes_print_too(kernel: Kernel) -> None:
    handle(
        kernel,
        "print('one', end=' ')\nprint('line')\nprint('an error', file=sys.stderr)",
        "def send(job)",
        "executor='process'",
    )
    assert log_of_a_run(kernel) == ["one line", "an error"]
    kernel.do("await send.worker.close()")


# -- whose log it goes to ---------------------------------------------------------------------


@pytest.mark.parametrize("head", ["async def send(job)", "def send(job)"])
def test_jobs_that_run_at_once_do_not_mix(kernel: Kernel, head: str) -> None:
    kernel.do("ready = threading.Barrier(2)\ndef wait(): ready.wait(60)")
    wait = "wait()" if head.startswith("def") else "await asyncio.to_thread(wait)"
    handle(
        kernel,
        "for number in range(50):\n"
        "    print(job.id, end=' ')\n"
        f"    {wait}\n"
        "    print(number)\n"
        "    print('error', job.id, file=sys.stderr)",
        head,
        "concurrency=2",
    )
    ran = kernel.do(RUN_TWO)
    assert (ran.out, ran.err) == ("", "")
    for number in (1, 2):
        name = f"emails-{number}"
        lines = kernel.value(f"list((await jobs[{number - 1}].refresh()).logs)")
        expected = [line for i in range(50) for line in (f"{name} {i}", f"error {name}")]
        assert lines == expected


def test_the_notebooks_own_prints_are_not_touched(kernel: Kernel) -> None:
    kernel.do(
        "go_on = asyncio.Event()\n"
        "async def mine():\n"
        "    await go_on.wait()\n"
        "    print('of my task')\n"
        "task = asyncio.create_task(mine())"
    )
    kernel.do("@emails.on('progress')\ndef tell(event):\n    print('of my listener')")
    handle(
        kernel, "print('of the job')\nawait job.update_progress(5)\ngo_on.set()\nawait job.sleep(0)"
    )
    ran = kernel.do(f"{RUN}\nawait task")
    assert sorted(ran.out.splitlines()) == ["of my listener", "of my task", "the cell"]
    assert kernel.value(LOG) == ["of the job"]


def test_what_a_cell_captures_is_its_own(kernel: Kernel) -> None:
    kernel.do("ready = threading.Barrier(2)")
    handle(kernel, "ready.wait(60)\nprint('of the job')\nready.wait(60)", "def send(job)")
    kernel.do("job = await emails.add('send')")
    kernel.do("%%capture found\nprint('mine')\nready.wait(60)\nready.wait(60)")
    kernel.do("await job.wait_until_finished()")
    assert kernel.do("found.stdout").text == r"'mine\n'"
    assert kernel.value(LOG) == ["of the job"]


def test_what_a_handler_redirects_is_its_own(kernel: Kernel) -> None:
    kernel.do("import contextlib, io\ngo_on = asyncio.Event()")
    handle(
        kernel,
        "with contextlib.redirect_stdout(io.StringIO()) as found:\n"
        "    await go_on.wait()\n"
        "    print('for itself')\n"
        "print('for its log')\n"
        "return found.getvalue()",
    )
    kernel.do("job = await emails.add('send')\nawait asyncio.sleep(0)")
    kernel.do("pass")
    kernel.do("go_on.set()\nawait asyncio.sleep(0)")
    assert kernel.value("await job.wait_until_finished()") == "for itself\n"
    assert kernel.value(LOG) == ["for its log"]


def test_a_batchs_prints_go_to_each_of_its_jobs(kernel: Kernel) -> None:
    handle(
        kernel, "print(len(jobs), 'jobs')\nreturn [0, 0]", "async def send(jobs)", "batch=Batch(2)"
    )
    assert kernel.do(RUN_TWO).out == ""
    assert kernel.value("[(await job.refresh()).logs for job in jobs]") == [("2 jobs",)] * 2


def test_prints_that_are_not_captured_stay_with_the_cell(kernel: Kernel) -> None:
    kernel.do("%%worker emails --no-capture\nprint('of the job')")
    assert kernel.do(RUN).out == "of the job\nthe cell\n"
    assert kernel.value(LOG) == []

    handle(kernel, "print('of another')", options="capture=False")
    assert kernel.do(RUN).out == "of another\nthe cell\n"
    assert kernel.value(LOG) == []

    handle(kernel, "print('of the third')")
    assert log_of_a_run(kernel) == ["of the third"]


# -- when it gets there -----------------------------------------------------------------------


def test_lines_are_logged_while_the_job_runs(kernel: Kernel) -> None:
    kernel.do("go_on = asyncio.Event()")
    handle(kernel, "print('begun')\nawait go_on.wait()")
    kernel.do(
        "async with emails.events() as events:\n"
        "    job = await emails.add('send')\n"
        "    async for event in events:\n"
        "        if event.type == 'job:log':\n"
        "            break"
    )
    assert kernel.value("event.job_id, event.data['line']") == ("emails-1", "begun")
    assert kernel.value(LOG) == ["begun"]
    kernel.do("go_on.set()\nawait job.wait_until_finished()")


def test_prints_come_before_what_is_done_to_the_job_after_them(kernel: Kernel) -> None:
    handle(
        kernel,
        "print('one')\nawait job.log('two')\nprint('three')\n"
        "await job.update_progress(50)\nprint('four')\nraise ValueError('five')",
    )
    kernel.do(
        "events = []\n"
        "default_store().subscribe('emails', events.append)\n"
        "job = await emails.add('send')\n"
        "try:\n    await job.wait_until_finished()\nexcept JobFailedError:\n    pass"
    )
    told = "event.data.get('line') or str(event.type) for event in events if event.job_id"
    assert kernel.value(f"[{told}][2:]") == [
        *("one", "two", "three", "job:progress", "four", "job:failed"),
    ]


@pytest.mark.parametrize(
    ("end", "options"),
    [
        ("raise ValueError('no')", ""),
        ("await asyncio.Event().wait()", "timeout='10ms'"),
        ("await job.cancel()\n    await asyncio.Event().wait()", ""),
        ("await job.move_to_failed('no')", ""),
    ],
)
def test_nothing_is_lost_however_a_job_ends(kernel: Kernel, end: str, options: str) -> None:
    handle(
        kernel,
        f"try:\n    print('line')\n    {end}\nfinally:\n    print('bye')",
        "async def s(job)",
    )
    kernel.do(
        f"job = await emails.add('send', {options})\n"
        "try:\n    await job.wait_until_finished()\nexcept ConveyorError:\n    pass"
    )
    kernel.do("while len((await job.refresh()).logs) < 2:\n    await asyncio.sleep(0)")
    assert kernel.value(LOG) == ["line", "bye"]


def test_each_attempt_has_its_own_lines(kernel: Kernel) -> None:
    handle(
        kernel,
        "print('attempt', len(job.attempt_logs))\n"
        "if not job.attempts_made:\n    raise ValueError('no')",
    )
    kernel.do("job = await emails.add('send', attempts=2)\nawait job.wait_until_finished()")
    assert kernel.value(LOG) == ["attempt 1", "attempt 2"]
    logs = kernel.value("[record.logs for record in job.attempt_logs]")
    assert logs == [("attempt 1",), ("attempt 2",)]


def test_a_task_that_outlives_its_job_still_prints_to_its_log(kernel: Kernel) -> None:
    kernel.do(
        "go_on = asyncio.Event()\n"
        "async def late():\n    await go_on.wait()\n    print('late')\n"
        "tasks = []"
    )
    handle(kernel, "print('in time')\ntasks.append(asyncio.create_task(late()))")
    assert log_of_a_run(kernel) == ["in time"]
    kernel.do("go_on.set()\nawait tasks[0]")
    kernel.do("while len((await job.refresh()).logs) < 2:\n    await asyncio.sleep(0)")
    assert kernel.value(LOG) == ["in time", "late"]
    assert kernel.value("job.attempt_logs[-1].logs") == ("in time",)


def test_a_virtual_clocks_events_come_in_one_order(kernel: Kernel) -> None:
    kernel.do("%conveyor reset --ids sequential --clock virtual")
    kernel.do(PRELUDE)
    handle(
        kernel,
        "for number in range(3):\n"
        "    print(number)\n"
        "    await asyncio.sleep(0)\n"
        "    await job.sleep('1s')",
        options="concurrency=2",
    )
    kernel.do(
        "events = []\n"
        "default_store().subscribe('emails', events.append)\n"
        "jobs = await emails.add_bulk([{'name': 'send'}] * 2)"
    )
    assert kernel.value("await default_store().clock.settle()\n(await jobs[0].refresh()).logs") == (
        "0",
    )
    kernel.do("%conveyor clock advance 3s")
    lines = "[(event.job_id, event.data['line']) for event in events if event.type == 'job:log']"
    assert kernel.value(lines) == [(f"emails-{job}", f"{n}") for n in range(3) for job in (1, 2)]


# -- how much -----------------------------------------------------------------------------------


def test_ten_megabytes_are_bounded_and_the_log_says_so(kernel: Kernel) -> None:
    handle(kernel, "for number in range(100_000):\n    print(f'{number:099}')", "def send(job)")
    assert log_of_a_run(kernel)[0].endswith("earlier lines left out)")
    logs = kernel.value("list(job.logs[1:])")  # a kernel shows a thousand items at most
    assert len(logs) == 1_000
    assert logs[:-1] == [f"{number:099}" for number in range(99_001, 100_000)]
    assert logs[-1] == "… 100,000 lines, 10.0 MB, were printed; the newest 999 are kept"

    handle(kernel, "print('x' * 10_000_000)\nprint('end')")
    logs = log_of_a_run(kernel)
    assert logs == ["x" * 1_000 + " … 9,999,000 more characters", "end"]

    handle(kernel, "for _ in range(10_000):\n    print('x' * 1_000, end='')")
    assert log_of_a_run(kernel) == logs[:1]

    handle(kernel, "print('\\n'.join(f'{number:099}' for number in range(100_000)))")
    assert log_of_a_run(kernel)[0] == f"{99_001:099}"


def test_many_prints_cost_few_calls_of_the_store(kernel: Kernel) -> None:
    kernel.do(
        "class Counting(MemoryStore):\n"
        "    calls = 0\n"
        "    async def apply(self, *args, **options):\n"
        "        self.calls += 1\n"
        "        return await super().apply(*args, **options)\n"
        "set_default_store(Counting(ids='sequential'))\n"
        "emails = Queue('emails')"
    )
    handle(kernel, "for number in range(10_000):\n    print(number)", "def send(job)")
    note, *logs = log_of_a_run(kernel)
    assert note.endswith("earlier lines left out)")
    assert len(logs) == 1_000
    assert kernel.value("default_store().calls") < 1_000


# -- where it is seen -------------------------------------------------------------------------


def test_the_log_is_shown_with_the_job(kernel: Kernel) -> None:
    handle(kernel, "print('<b>of the job</b>')")
    kernel.do(RUN)
    shown: Ran = kernel.do("%conveyor job emails-1")
    assert "&lt;b&gt;of the job&lt;/b&gt;" in shown.shown[0]["text/html"]
    detail = "from conveyor_nb.notebook.panel.job_detail import job_detail\n"
    data = "await default_store().get_job('emails', 'emails-1')"
    [attempt] = kernel.value(f"{detail}job_detail({data})['attempts']")
    assert attempt["logs"] == "<b>of the job</b>"
