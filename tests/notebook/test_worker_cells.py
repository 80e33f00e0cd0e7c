"""What may stand in a ``%%worker`` cell, and what is said where something can't."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .conftest import Kernel


@pytest.fixture
def kernel(kernel: Kernel) -> Kernel:
    """The module's kernel in real time."""
    kernel.do("%conveyor reset --ids sequential\nimport asyncio\nfrom conveyor_nb import *")
    return kernel


def run_job(kernel: Kernel, queue: str = "emails") -> object:
    """Run one job to its end; what its handler returned."""
    kernel.do(f"job = await Queue({queue!r}).add('send', 'x y')")
    return kernel.value("await job.wait_until_finished()")


def log(kernel: Kernel) -> list[str]:
    lines: list[str] = kernel.value("list((await job.refresh()).logs)")
    return lines


# -- what works -------------------------------------------------------------------------------


def test_commands_of_the_system_run_with_what_the_handler_knows(kernel: Kernel) -> None:
    kernel.do("%%worker emails\n\n!echo sent {job.data}\nlines = !echo one\nreturn list(lines)")
    assert run_job(kernel) == ["one"]
    assert log(kernel) == ["sent x y"]


def test_magics_work_and_those_of_ours_wait(kernel: Kernel) -> None:
    kernel.do("%%worker reports\nreturn job.data")
    kernel.do(
        "%%worker emails\n"
        "for number in range(2):\n"
        "    %conveyor add reports send 7\n"
        "    %conveyor wait reports\n"
        "%env NO_SUCH_VARIABLE=1\n"
        "counts = await Queue('reports').get_job_counts()\n"
        "return counts['completed']"
    )
    assert run_job(kernel) == 2
    assert log(kernel)[-1] == "env: NO_SUCH_VARIABLE=1"


def test_a_traceback_shows_the_line_below_those_of_magics(kernel: Kernel) -> None:
    kernel.do("%%worker emails\n\n!true\n%env X=1\n# a remark\n1 / 0")
    kernel.do(
        "job = await Queue('emails').add('send')\n"
        "try:\n    await job.wait_until_finished()\nexcept JobFailedError:\n    pass"
    )
    trace = kernel.value("(await job.refresh()).stacktrace[-1]")
    assert "line 6" in trace
    assert "1 / 0" in trace


def test_global_names_are_the_notebooks(kernel: Kernel) -> None:
    kernel.do("count = 0")
    kernel.do("%%worker emails\nglobal count\ncount += 1\nreturn count")
    assert [run_job(kernel), run_job(kernel)] == [1, 2]
    assert kernel.value("count") == 2


@pytest.mark.parametrize(
    "name", ["µs", "ﬁle", "class", "None", "job", "1", "my queue", "it's", 'say "hi"', "名前", "🚚"]
)
def test_any_name_of_a_queue_will_do(kernel: Kernel, name: str) -> None:
    quoted = '"' + name.replace('"', '\\"') + '"'
    kernel.do(f"%%worker {quoted}\nreturn job.queue_name")
    assert run_job(kernel, name) == name


# -- what does not ----------------------------------------------------------------------------


@pytest.mark.parametrize("body", ["", "\n", "\n\n  \n", "\n# only a remark", "\n# one\n\n# two\n"])
def test_a_cell_without_code_says_so(kernel: Kernel, body: str) -> None:
    ran = kernel.run(f"%%worker emails{body}")
    assert ran.error is None
    assert ran.err == (
        "%%worker: the cell is empty; say what is to be done, for instance: return job.data\n"
    )


def test_help_needs_no_code(kernel: Kernel) -> None:
    assert "--concurrency" in kernel.do("%%worker -h").out


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("yield 1", "a handler can't `yield`"),
        ("async with job:\n    x = yield", "a handler can't `yield`"),
        ("%%time\nreturn 1", "%%time can't stand in a %%worker cell"),
        ("pass\n%%bash\nls", "%%bash can't stand in a %%worker cell"),
    ],
)
def test_one_line_says_what_can_not_stand_there(kernel: Kernel, body: str, message: str) -> None:
    ran = kernel.run(f"%%worker emails\n{body}")
    assert ran.error is None
    assert message in ran.err
    assert ran.err.count("\n") == 1
    assert "no queues yet" in kernel.do("%conveyor status").out


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ("return (", 2),
        ("\n\nreturn 1\n  x = 2", 5),
        ("x = 1\nfor y in x:\n    nonlocal x", 4),
        ("!ls\nfrom os import *", 3),
        ("x = 1\nglobal x", 3),
        ("%env\ndef f():\n    await g()", 4),
        ("break", 2),
        ("x = '", 2),
    ],
)
def test_an_error_of_syntax_is_shown_at_its_line(kernel: Kernel, body: str, line: int) -> None:
    error = kernel.run(f"%%worker emails\n{body}").error
    assert error is not None
    assert error[0] in ("SyntaxError", "IndentationError")
    assert f":{line}" in error[2].partition("\n")[0]
    assert "no queues yet" in kernel.do("%conveyor status").out


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("emails --concurency 2", "did you mean '--concurrency'?"),
        ("emails -concurrency 2", "did you mean '--concurrency'?"),
        ("my emails", "a name with blanks is typed in quotation marks"),
        ('"my emails', "doesn't end"),
        ("emails --name", "expected one argument"),
        ("emails --name a b", "b is too much"),
        ("--name a", "queue missing"),
        ('""', "queue name"),
    ],
)
def test_a_slip_in_the_first_line_is_told_in_one(kernel: Kernel, line: str, message: str) -> None:
    ran = kernel.run(f"%%worker {line}\nreturn 1")
    assert ran.error is None
    assert message in ran.err
    assert ran.err.count("\n") == 1


# -- which workers there are then -------------------------------------------------------------


def test_a_worker_of_another_name_says_who_else_takes_these_jobs(kernel: Kernel) -> None:
    kernel.do("%%worker emails --name one\nreturn 1")
    assert kernel.do("%%worker emails --name two\nreturn 2").out == (
        "worker two takes jobs of emails, 1 at a time; so does one "
        "(to have this one alone: %conveyor stop one)\n"
    )
    assert kernel.do("%%worker reports --name one\nreturn 1").out == (
        "worker one takes jobs of reports, 1 at a time, and no more of emails\n"
    )
    assert kernel.do("%%worker emails --name two\nreturn 3").out == (
        "worker two goes on with this handler\n"
    )
