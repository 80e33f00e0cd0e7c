"""IPython in a terminal, with no kernel: what a person types there, and what they see."""

from __future__ import annotations

import ast
import contextlib
import os
import re
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ..conftest import CasesOf

pexpect: Any = pytest.importorskip("pexpect", reason="IPython needs it where there are terminals")

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals"),
    # Python warns of a fork beside threads, such as those that talk to other tests' kernels
    pytest.mark.filterwarnings("ignore:.*forkpty:DeprecationWarning"),
]

PATIENCE = 60
"""Seconds after which a terminal that says nothing is given up; no test waits for this."""

OPTIONS = (
    *("--no-banner", "--no-confirm-exit", "--colors=nocolor", "--HistoryManager.enabled=False"),
    *("--TerminalInteractiveShell.term_title=False", "--TerminalInteractiveShell.autoindent=False"),
)
MOVES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")
"""What tells a terminal where to write."""
MOVE_BEGUN = re.compile(r"\x1b(\[[0-9;?]*)?$")

BAD_END = re.compile(r"Traceback|Error|Warning|destroyed|never awaited")


class Terminal:
    """A terminal in which IPython runs.

    Args:
        directory: where IPython may write.
        simple: without prompt_toolkit; such a prompt reads lines, and nothing happens meanwhile.
    """

    def __init__(self, directory: Path, *, simple: bool) -> None:
        self.simple = simple
        self._pipe = directory / "go"
        os.mkfifo(self._pipe)
        self._partly = ""
        self.everything = ""
        """All that was written, but for what tells a terminal where to write."""
        self._cells = 0
        self._begin = 0
        self._child = pexpect.spawn(
            sys.executable,
            ["-m", "IPython", *OPTIONS, *(["--simple-prompt"] if simple else [])],
            cwd=str(directory),
            # this terminal answers no questions about where its cursor is
            env=os.environ
            | {"IPYTHONDIR": str(directory), "TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1"},
            encoding="utf-8",
            dimensions=(50, 160),
        )
        self._child.delaybeforesend = None

    @property
    def out(self) -> str:
        """What was written since the last cell was typed."""
        return self.everything[self._begin :]

    def wait_for(self, text: str) -> None:
        """Read, and type nothing, until this was written."""
        while text not in self.out:
            assert self._read(), f"no {text!r} was written: {self.out}"

    def start(self, cell: str) -> None:
        """Type a cell."""
        self._cells += 1
        self.wait_for(f"In [{self._cells}]:")
        before = len(self.everything)
        *_, last = lines = cell.split("\n")
        if self.simple:
            # a block ends with an empty line, and the cell of a magic with two
            enough = 1 if len(lines) == 1 else 3 if cell.startswith("%%") else 2
            self._child.send(cell + enough * "\n")
        elif len(lines) == 1:
            self._child.send(f"{cell}\r")
        else:  # pasted, so that return is no key; then the keys that run a cell of many lines
            self._child.send(f"\x1b[200~{cell}\x1b[201~\x1b\r")
        while f"{last}\n" not in self.everything[before:]:  # what is typed is written too
            assert self._read(), f"{cell!r} was not taken: {self.out}"
        self._begin = self.everything.index(f"{last}\n", before) + len(last) + 1

    def run(self, cell: str) -> str:
        """Type a cell, and give what is written until the next prompt is there."""
        self.start(cell)
        return self.wait_for_prompt()

    def wait_for_prompt(self) -> str:
        """Give what is written until the next prompt is there."""
        prompt = f"In [{self._cells + 1}]:"
        self.wait_for(prompt)
        return self.out.partition(prompt)[0].replace("...:", "").strip()

    def let_go(self) -> None:
        """Let a job that runs, or is going to, end: one of ``WORKERS``."""
        self._pipe.write_text("")

    def value(self, expression: str) -> Any:
        """What a cell with this expression gives, which must be a literal; it may ``await``."""
        self.start(expression)
        return self.shown()

    def shown(self) -> Any:
        """The value that the cell gives, once it is there."""
        out, _, text = self.wait_for_prompt().partition(f"Out[{self._cells}]:")
        assert text, out
        return ast.literal_eval(text.strip())

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        self._child.sendintr()

    def end(self) -> int:
        """Type ``exit``, and give the status of the process when it has ended."""
        self.start("exit")
        while self._read():
            pass
        return int(self._child.wait())

    def close(self) -> None:
        """End it whatever it does."""
        self._child.close(force=True)

    def _read(self) -> bool:
        """Read some of what is written; ``False`` if there will be no more."""
        try:
            written = self._partly + self._child.read_nonblocking(65_536, timeout=PATIENCE)
        except pexpect.EOF:
            return False
        part = MOVE_BEGUN.search(written)
        end = part.start() if part else len(written)
        self._partly = written[end:]
        self.everything += MOVES.sub("", written[:end])
        return True


def load(terminal: Terminal) -> None:
    """Load the extension, and what the tests use."""
    assert terminal.run("%load_ext conveyor_nb") == ""
    terminal.run("import asyncio, os, threading, time; from conveyor_nb import *")
    terminal.run("wait_for_go = lambda: open('go').read()")


KINDS = {"prompt": False, "simple-prompt": True}
at_a_prompt = pytest.mark.parametrize("loaded", [False], indirect=True, ids=["prompt"])
at_a_simple_prompt = pytest.mark.parametrize("loaded", [True], indirect=True, ids=["simple-prompt"])


@pytest.fixture(scope="module", params=KINDS.values(), ids=list(KINDS))
def loaded(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Terminal]:
    """One terminal of each kind for the module."""
    terminal = Terminal(tmp_path_factory.mktemp("terminal"), simple=request.param)
    with contextlib.closing(terminal):
        load(terminal)
        yield terminal


@pytest.fixture
def terminal(loaded: Terminal) -> Terminal:
    """The module's terminal with no queues or workers; ids are emails-1, ..."""
    loaded.run("%conveyor reset --ids sequential")
    loaded.run("go, begun, emails = asyncio.Event(), asyncio.Event(), Queue('emails')")
    return loaded


DONE = "os.write(1, b'job ' b'done\\n')"
"""Writes past what is captured, and what is not in the line that was typed."""

BODY = f"await asyncio.to_thread(wait_for_go); {DONE}; return 7"
WORKERS = {
    "cell magic": f"%%worker emails\n{BODY}",
    "decorator": f"@emails.worker()\nasync def send(job):\n    {BODY}",
    "by hand": f"Worker('emails', lambda job: wait_for_go() or {DONE} and 7)",
}
each_worker = pytest.mark.parametrize("worker", WORKERS.values(), ids=WORKERS)

STAND_STILL = (
    "conveyor_nb: workers stand still while this prompt waits; run a cell that awaits, such as "
    "%conveyor wait emails, or "
)


@at_a_prompt
@each_worker
def test_a_job_runs_while_the_prompt_waits(terminal: Terminal, worker: str) -> None:
    assert "conveyor_nb" not in terminal.run(worker), "there is nothing to warn of"
    terminal.run("job = %conveyor add emails send")
    terminal.let_go()
    terminal.wait_for("job done")  # and no key is typed
    assert terminal.value("(await job.refresh()).returnvalue") == 7


@each_worker
def test_a_cell_can_await_a_job(terminal: Terminal, worker: str) -> None:
    terminal.run(worker)
    terminal.run("job = %conveyor add emails send")
    terminal.start("await job.wait_until_finished()")
    terminal.let_go()
    assert terminal.shown() == 7
    assert terminal.run("%conveyor wait emails") == "emails has nothing left to do: 1 completed"


@at_a_simple_prompt
@each_worker
def test_a_prompt_that_stops_workers_says_so_once(terminal: Terminal, worker: str) -> None:
    told = terminal.run(worker).splitlines()
    assert told[-1].strip() == f"{STAND_STILL}start IPython in a terminal without --simple-prompt"
    assert terminal.run("%conveyor add emails send") == "emails: job emails-1 is waiting"
    terminal.start("%conveyor wait emails")
    terminal.let_go()
    terminal.wait_for_prompt()


@at_a_prompt
def test_turning_the_integration_off_is_told(terminal: Terminal) -> None:
    terminal.run(WORKERS["cell magic"])
    assert terminal.run("%gui") == f"{STAND_STILL}type %gui asyncio"
    terminal.run("%gui asyncio")
    terminal.run("%conveyor add emails send")
    terminal.let_go()
    terminal.wait_for("job done")


@at_a_prompt
def test_what_a_job_prints_at_the_prompt_is_in_its_log_only(terminal: Terminal) -> None:
    terminal.run(f"%%worker emails\nprint('of ' 'the job'); {DONE}")
    terminal.start("job = %conveyor add emails send")
    terminal.wait_for("job done")
    assert terminal.value("(await job.refresh()).logs") == ("of the job",)
    assert terminal.everything.count("of the job") == 1, "in that log, which was just shown"


def test_what_is_shown_is_plain_text(terminal: Terminal) -> None:
    terminal.run("%conveyor add emails send")
    told = [
        "queue   waiting  delayed  active  completed  failed",
        "emails        1        0       0          0       0",
        "",
        "nobody works on emails; write a handler: %%worker emails",
    ]
    assert terminal.run("%conveyor").splitlines() == told
    watched = terminal.run("%conveyor watch emails").splitlines()
    assert watched == [*told, "", "the live panel needs a notebook"]
    assert terminal.run("emails").endswith("]: <Queue emails: 1 waiting>")


MISTAKES = {
    "%conveyor stauts": "%conveyor: there is no command 'stauts'; did you mean 'status'?",
    "%conveyor watch e": "%conveyor watch: there is no queue 'e'; there are: emails",
    "%conveyor stop e": "%conveyor stop: there is no worker 'e', nor any other; write one: %%wor",
    "%conveyor add emails send {no": "%conveyor add: ",
    "%%worker\npass": "%%worker: ",
}


@pytest.mark.parametrize("typed", MISTAKES)
def test_a_mistake_is_told_in_one_line(terminal: Terminal, typed: str) -> None:
    told = terminal.run(typed)
    assert told.startswith(MISTAKES[typed])
    assert "\n" not in told


def test_an_interrupt_ends_the_cell_that_awaits_and_not_the_job(terminal: Terminal) -> None:
    terminal.run(f"%%worker emails\nawait go.wait(); {DONE}")
    terminal.run("job = %conveyor add emails send")
    # what is called soon is called when the cell awaits
    tell = "asyncio.get_running_loop().call_soon(os.write, 1, b'be' b'gun\\n')"
    terminal.start(f"{tell}; await job.wait_until_finished(); print('went' ' on')")
    terminal.wait_for("begun")
    terminal.interrupt()
    terminal.start("go.set(); await job.wait_until_finished()")
    terminal.wait_for("job done")
    assert terminal.value("(await job.refresh()).attempts_made") == 0
    assert "went on" not in terminal.everything


def test_an_interrupt_ends_a_cell_that_computes(terminal: Terminal) -> None:
    terminal.start("emails; print('be' 'gun'); threading.Event().wait()")
    terminal.wait_for("begun")
    terminal.interrupt()
    terminal.wait_for("KeyboardInterrupt")
    assert terminal.value("await asyncio.sleep(0, 'goes on')") == "goes on"


def test_a_function_may_start_a_worker(terminal: Terminal) -> None:
    terminal.run("make = lambda: Worker('emails', lambda job: 7)")
    assert "<Worker emails of emails: running" in terminal.run("worker = make(); worker")
    terminal.run("job = %conveyor add emails send")
    assert terminal.value("await job.wait_until_finished()") == 7


def test_without_a_loop_a_line_says_how_to_get_one(terminal: Terminal) -> None:
    terminal.run("%autoawait off")
    told = terminal.run(WORKERS["cell magic"])
    terminal.run("%autoawait on")
    assert told == (
        "%%worker: a worker runs in an event loop, and this cell does not; type %autoawait "
        "asyncio, and then run it again"
    )


def test_a_cell_may_still_run_a_loop_of_its_own(terminal: Terminal) -> None:
    assert terminal.value("asyncio.run(asyncio.sleep(0, 'done'))") == "done"


IN_FLIGHT = (
    "%%worker emails --concurrency 2\n"
    "begun.set()\n"
    "try:\n    await asyncio.Event().wait()\n"
    "finally:\n    os.write(1, b'cleaned' b' up\\n')"
)


def start_jobs(terminal: Terminal) -> None:
    terminal.run("begun = asyncio.Event()")
    terminal.run(IN_FLIGHT)
    terminal.run("Queue('plain').worker()(lambda job: threading.Event().wait())")
    add = "await Queue('{}').add_bulk([{{'name': 'send'}}] * 5)"
    terminal.run(f"{add.format('plain')}; {add.format('emails')}; await begun.wait()")


def test_unloading_stops_jobs_and_leaves_the_shell_as_it_was(terminal: Terminal) -> None:
    look = "[one in vars(get_ipython()) for one in ('should_run_async', '_atexit_once')]"
    start_jobs(terminal)
    assert terminal.value(look) == [True, True]
    lines = sorted(terminal.run("%unload_ext conveyor_nb").splitlines())
    assert lines[:2] == ["cleaned up"] * 2
    assert len(lines) == 3
    assert lines[2].startswith("workers emails, plain are closed")
    waiting = "(await Queue('{}').get_job_counts())['waiting']"
    both = f"{waiting.format('emails')}, {waiting.format('plain')}"
    assert terminal.value(both) == (5, 4), "all are back but that of the thread that goes on"
    assert terminal.value(look) == [False, False]
    assert "not found" in terminal.run("%conveyor")
    load(terminal)


@pytest.fixture(scope="module")
def ended(
    cases_of: CasesOf, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[Terminal, int]]:
    """Terminals that have ended with jobs in flight, by the test that is to look, and how.

    All of them were at work at the same time, as most of it is waiting.
    """
    cases = {
        one.nodeid: one.callspec.params for one in cases_of(test_exit_with_jobs_in_flight_ends_well)
    }
    with contextlib.ExitStack() as stack, ThreadPoolExecutor(len(cases)) as pool:
        terminals = []
        for case in cases.values():
            terminals.append(
                Terminal(tmp_path_factory.mktemp("terminal"), simple=bool(case["simple"]))
            )
            stack.callback(terminals[-1].close)
        statuses = pool.map(end_with_jobs, terminals, [case["last"] for case in cases.values()])
        return dict(zip(cases, zip(terminals, statuses, strict=True), strict=True))


def end_with_jobs(terminal: Terminal, last: str) -> int:
    """Type ``exit`` when jobs run, after a last cell; gives the status of the process."""
    load(terminal)
    start_jobs(terminal)
    terminal.run(last)
    return terminal.end()


@pytest.mark.parametrize("simple", KINDS.values(), ids=list(KINDS))
@pytest.mark.parametrize("last", ["pass", "%unload_ext conveyor_nb", "%reload_ext conveyor_nb"])
def test_exit_with_jobs_in_flight_ends_well(
    ended: dict[str, tuple[Terminal, int]],
    request: pytest.FixtureRequest,
    simple: bool,
    last: str,
) -> None:
    terminal, status = ended[request.node.nodeid]
    assert status == 0
    assert terminal.everything.count("cleaned up") == 2
    assert BAD_END.search(terminal.out) is None
