"""``python -m conveyor_nb worker`` over a file: what it does, and how it begins and ends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from conveyor_nb import Group, JobState, Queue, open_store
from conveyor_nb.cli import main

if TYPE_CHECKING:
    from ..conftest import StartChild

APP = Path(__file__).with_name("worker_app.py")
URL = "sqlite:///queue.db"

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the handlers' module in it, where commands run."""
    shutil.copy(APP, tmp_path / "worker_app.py")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delenv("CONVEYOR_STORE", raising=False)
    yield tmp_path
    sys.modules.pop("worker_app", None)


def add(*jobs: tuple[str, Mapping[str, Any]], queue: str = "emails", **options: Any) -> list[str]:
    """Add jobs to the file, and give their ids."""

    async def add_them() -> list[str]:
        async with open_store(URL) as store, Queue(queue, store=store) as emails:
            return [(await emails.add(name, data, **options)).id for name, data in jobs]

    return asyncio.run(add_them())


def states(queue: str = "emails") -> dict[str, JobState]:
    """The states of the jobs in the file, by id."""

    async def look() -> dict[str, JobState]:
        async with open_store(URL) as store:
            return {job.id: job.state for job in await store.list_jobs(queue)}

    return asyncio.run(look())


def work(*arguments: str) -> int:
    """Run the command here; ``--until-idle`` ends it."""
    return main(["worker", *arguments, "--store", URL, "--until-idle"])


class Process:
    """The command in a process of its own."""

    def __init__(self, child: subprocess.Popen[str]) -> None:
        self.child = child
        self.lines: list[str] = []

    def wait_for(self, text: str) -> str:
        """Read what it writes until a line has this text in it."""
        assert self.child.stderr is not None
        for line in self.child.stderr:
            self.lines.append(line)
            if text in line:
                return line
        raise AssertionError(f"no line with {text!r}: {''.join(self.lines)}")

    def wait_for_output(self, text: str) -> None:
        """The same of what its handlers print."""
        assert self.child.stdout is not None
        assert any(text in line for line in self.child.stdout), f"no {text!r} was printed"

    def tell(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Send it a signal."""
        self.child.send_signal(number)

    def end(self) -> int:
        """Wait until it has ended; gives its exit code."""
        _, err = self.child.communicate()
        self.lines += err.splitlines(keepends=True)
        return self.child.returncode


Start = Callable[..., Process]


@pytest.fixture
def start(start_child: StartChild, checkout: Path) -> Iterator[Start]:
    """Starts the command in a process of its own."""
    with contextlib.ExitStack() as children:

        def start_it(*arguments: str) -> Process:
            command = [sys.executable, "-m", "conveyor_nb", "worker", *arguments, "--store", URL]
            child = start_child(
                command,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": str(checkout), "PYTHONDONTWRITEBYTECODE": "1"},
            )
            return Process(children.enter_context(child))

        yield start_it


# -- what it does -----------------------------------------------------------------------------


def test_it_runs_the_jobs_of_a_file_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    sent, failed = add(("send", {"to": "ada"}), ("send", {"fail": "no such address"}))

    assert work("worker_app:send", "--queue", "emails") == 0

    assert states() == {sent: JobState.COMPLETED, failed: JobState.FAILED}
    out, err = capsys.readouterr()
    assert out == "sent ada\n", "what handlers print is apart from the lines"
    assert f"completed  emails send {sent}" in err
    assert f"failed     emails send {failed}  ValueError: no such address" in err
    assert [line.split()[1] for line in err.splitlines()] == [
        *("started", "completed", "failed", "closed")
    ]


def test_lines_are_json_for_machines(capsys: pytest.CaptureFixture[str]) -> None:
    (failed,) = add(("send", {"fail": "no\nsuch"}), attempts=2)

    assert work("worker_app:send", "--queue", "emails", "--log", "json") == 0

    told = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [one["event"] for one in told] == ["started", "retrying", "failed", "closed"]
    last = told[2]
    assert (last["queue"], last["job"], last["name"]) == ("emails", failed, "send")
    assert last["text"] == "ValueError: no such"
    assert last["seconds"] > 0


def test_handlers_by_job_name_and_by_queue_share_a_process() -> None:
    (sent,) = add(("send", {"to": "ada"}))
    (blocked,) = add(("block", {"seconds": 0}), queue="reports")

    assert work("emails=worker_app:HANDLERS", "reports=worker_app:block") == 0

    assert states() == {sent: JobState.COMPLETED}
    assert states("reports") == {blocked: JobState.COMPLETED}


def test_every_option_of_a_worker_can_be_given() -> None:
    (used,) = add(("use", {}), group=Group("a"))
    options = "--concurrency 2 --name mailer --max-global-concurrency 5 --limiter 10/1s"
    more = "--group-concurrency 1 --group-limiter 5/1m --lifo --lock-duration 5s"
    others = "--stalled-interval 1m --retry-on ConnectionError --lifespan worker_app:pool"

    every = f"{options} {more} {others}".split()
    assert work("worker_app:use", "--queue", "emails", *every) == 0

    assert states() == {used: JobState.COMPLETED}


def test_a_batch_and_processes_of_their_own_are_options(folder: Path) -> None:
    (folder / "more_app.py").write_text("def total(jobs):\n    return [1] * len(jobs)\n")
    batch = add(*[("sum", {})] * 3)
    (blocked,) = add(("block", {"seconds": 0}), queue="reports")

    assert work("more_app:total", "--queue", "emails", "--batch", "3") == 0
    assert work("worker_app:block", "--queue", "reports", "--process") == 0

    assert states() == dict.fromkeys(batch, JobState.COMPLETED)
    assert states("reports") == {blocked: JobState.COMPLETED}


def test_the_store_may_stand_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    (sent,) = add(("send", {"to": "ada"}))
    monkeypatch.setenv("CONVEYOR_STORE", URL)

    assert main(["worker", "worker_app:send", "--queue", "emails", "--until-idle"]) == 0

    assert states() == {sent: JobState.COMPLETED}


# -- how it ends ------------------------------------------------------------------------------


def test_told_to_stop_it_lets_jobs_finish_and_takes_no_more(start: Start) -> None:
    first, second = add(("send", {"to": "ada", "seconds": 0.3}), ("send", {"to": "grace"}))
    process = start("worker_app:send", "--queue", "emails")
    process.wait_for("started")
    assert process.child.poll() is None

    async def until_active() -> None:
        async with open_store(URL) as store, store.events("emails") as events:
            job = await store.get_job("emails", first)
            if job is not None and job.state is JobState.WAITING:
                await anext(aiter(events))

    asyncio.run(until_active())
    process.tell()

    assert process.end() == 0
    assert states() == {first: JobState.COMPLETED, second: JobState.WAITING}
    assert "waits up to 30s for 1 job" in "".join(process.lines)


@pytest.mark.parametrize("how", ["a second signal", "no grace"])
def test_it_gives_back_what_it_may_not_finish(how: str, start: Start) -> None:
    (held,) = add(("hold", {}))
    grace = "0s" if how == "no grace" else "10m"
    process = start("worker_app:HANDLERS", "--queue", "emails", "--grace", grace)
    process.wait_for_output("held")

    process.tell()
    process.wait_for("stopping")
    if how == "a second signal":
        process.tell(signal.SIGINT)

    assert process.end() == 3
    assert states() == {held: JobState.WAITING}


def test_a_killed_process_leaves_its_job_to_the_next_one(start: Start) -> None:
    (held,) = add(("hold", {}), attempts=2)
    process = start("worker_app:HANDLERS", "--queue", "emails", "--lock-duration", "300ms")
    process.wait_for_output("held")
    process.child.kill()
    assert states() == {held: JobState.ACTIVE}

    process = start("worker_app:HANDLERS", "--queue", "emails", "--stalled-interval", "100ms")
    process.wait_for_output("held")

    process.tell()
    process.wait_for("stopping")
    process.tell()
    assert process.end() == 3


def test_what_stops_a_worker_ends_the_process(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["worker_app:use", "--queue", "emails", "--lifespan", "worker_app:broken"]
    assert main(["worker", *arguments, "--store", URL]) == 1

    told = capsys.readouterr().err.splitlines()
    assert told[-1] == (
        "conveyor_nb: a worker stopped: its lifespan raised OSError: no route to the pool"
    )


# -- what it tells ----------------------------------------------------------------------------


def get(address: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(address) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_it_answers_how_it_is(start: Start) -> None:
    add(("send", {"to": "ada"}), ("hold", {}))
    process = start("worker_app:HANDLERS", "--queue", "emails", "--health", "127.0.0.1:0")
    address = process.wait_for("/health").split()[2].removesuffix("/health,")
    process.wait_for("completed")
    process.wait_for_output("held")

    assert get(f"{address}/health") == (200, "ok\n")
    _, metrics = get(f"{address}/metrics")
    assert 'conveyor_attempts_total{outcome="completed",queue="emails"} 1.0' in metrics
    assert 'conveyor_slots_in_use{queue="emails"} 1.0' in metrics
    assert 'conveyor_jobs{queue="emails",state="active"} 1.0' in metrics
    assert get(f"{address}/else")[0] == 404


def test_a_loop_that_a_handler_keeps_is_told(start: Start, folder: Path) -> None:
    (folder / "stuck_app.py").write_text(
        "import time\nasync def keep(job):\n    print('kept', flush=True)\n    time.sleep(60)\n"
    )
    add(("keep", {}))
    process = start("stuck_app:keep", "--queue", "emails", "--health", "127.0.0.1:0")
    address = process.wait_for("/health").split()[2].removesuffix("/health,")
    process.wait_for_output("kept")

    assert get(f"{address}/health") == (
        503,
        "its event loop does not answer: a handler keeps it\n",
    )
    process.child.kill()


def test_it_starts_anew_when_its_code_changes(start: Start, folder: Path) -> None:
    process = start("worker_app:send", "--queue", "emails", "--reload")
    process.wait_for("started")
    add(("send", {"to": "ada"}))
    process.wait_for_output("sent ada")

    (folder / "worker_app.py").write_text(
        "async def send(job):\n    print('now to', job.data['to'], flush=True)\n"
    )
    process.wait_for("closed")
    process.wait_for("started")
    add(("send", {"to": "grace"}))
    process.wait_for_output("now to grace")

    process.tell()
    assert process.end() == 0


# -- mistakes ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("send --queue e", "a handler is named MODULE:NAME, such as app.jobs:send, not 'send'"),
        (
            "worker_app.py:send --queue e",
            "a handler is named MODULE:NAME, such as app.jobs:send, not 'worker_app.py:send'; "
            "write worker_app:send",
        ),
        ("no_app:send --queue e", "there is no module 'no_app', neither here nor installed"),
        (
            "worker_app:sent --queue e",
            "a handler: worker_app:sent: module 'worker_app' has no attribute 'sent'",
        ),
        (
            "worker_app:send",
            "of which queue does worker_app:send run the jobs? Say --queue emails, or "
            "emails=worker_app:send",
        ),
        (
            "e=worker_app:send e=worker_app:hold",
            "queue 'e' has two handlers; one for each job name is a mapping in a module: "
            "HANDLERS = {'send': send, 'bounce': bounce}",
        ),
        (
            "e=worker_app:send --queue f",
            "--queue 'f' has no handler: each that was given names its own queue",
        ),
        ("worker_app:send --queue e --concurrency 0", "concurrency must be 1 or more, not 0"),
        (
            "worker_app:send --queue e --limiter often",
            "--limiter is a number of jobs in a time, such as 10/1s, not 'often'",
        ),
        (
            "worker_app:send --queue e --health here",
            "--health is an address and a port: 127.0.0.1:9090, not 'here'",
        ),
    ],
)
def test_a_wrong_argument_is_told_in_a_sentence(
    arguments: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["worker", *arguments.split(), "--store", URL]) == 1
    assert capsys.readouterr().err == f"conveyor_nb: {told}\n"
    assert not Path("queue.db").exists(), "nothing is opened"


@pytest.mark.parametrize(
    ("url", "told"),
    [
        (None, "where are the jobs? Say --store sqlite:///queue.db, or another URL, or set"),
        ("mysql://ada:secret@db/jobs", "not 'mysql://ada:...@db/jobs'"),
        ("sqlite:////no/such/folder/queue.db", "no such folder"),
    ],
)
def test_a_store_that_is_not_there_is_told_in_a_sentence(
    url: str | None, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["worker", "worker_app:send", "--queue", "emails", "--until-idle"]
    assert main(arguments if url is None else [*arguments, "--store", url]) == 1
    err = capsys.readouterr().err
    assert told in err
    assert "secret" not in err
    assert err.count("\n") == 1


def test_a_module_that_fails_says_where(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "broken_app.py").write_text("import json\n\nsend = nowhere\n")
    assert work("broken_app:send", "--queue", "emails") == 1
    assert capsys.readouterr().err == (
        "conveyor_nb: broken_app can't be imported: NameError: name 'nowhere' is not defined "
        "(broken_app.py, line 3)\n"
    )


def test_what_is_no_handler_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert work("worker_app:NOT_A_HANDLER", "--queue", "emails") == 1
    assert "not 7" in capsys.readouterr().err


# -- told from elsewhere ----------------------------------------------------------------------


def tell(capsys: pytest.CaptureFixture[str], *typed: str) -> str:
    """What a command says that tells a worker something."""
    assert main([*typed, "--store", URL]) == 0
    return capsys.readouterr().out.rstrip()


def test_a_worker_is_managed_from_another_process(
    start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    add(("hold", {}))
    process = start("worker_app:HANDLERS", "--queue", "emails", "--name", "mailer")
    process.wait_for_output("held")
    assert tell(capsys, "pause-worker", "mailer") == "worker mailer is paused"
    process.wait_for("told to pause")
    assert tell(capsys, "workers").split()[-4:] == ["mailer", "emails", "paused", "1"]
    assert tell(capsys, "resume-worker", "mailer") == "worker mailer takes jobs of emails"
    assert tell(capsys, "concurrency", "mailer", "2") == "worker mailer runs 2 at a time"
    add(("hold", {}))
    process.wait_for_output("held")
    stopping = "worker mailer is stopping, as soon as its jobs are done"
    assert tell(capsys, "stop", "mailer", "--timeout", "1m") == stopping
    process.wait_for("waits up to 30s for 2 jobs; SIGTERM gives them back")
    process.tell()
    assert process.end() == 3
    assert set(states().values()) == {JobState.WAITING}
    assert tell(capsys, "workers") == "no workers"


def test_a_process_whose_workers_were_told_to_stop_ends(
    start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    process = start("worker_app:send", "--queue", "emails", "--queue", "letters")
    for queue in ("emails", "letters"):
        process.wait_for(f"started    {queue}")
    assert tell(capsys, "stop", "emails") == "worker emails is stopped"
    assert tell(capsys, "workers").split()[-3:] == ["letters", "running", "1"]
    assert tell(capsys, "stop", "letters") == "worker letters is stopped"
    assert process.end() == 0


def test_it_is_said_that_a_worker_does_not_do_what_it_is_told(
    start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    process = start("worker_app:send", "--queue", "emails")
    process.wait_for("started")
    process.tell(signal.SIGSTOP)
    told = tell(capsys, "pause-worker", "emails")
    assert told == (
        "worker emails is told to pause, and has not done so yet; the command holds for 90 s"
    )
    assert "running: told to pause, not done yet" in tell(capsys, "workers")
    process.tell(signal.SIGCONT)
    process.wait_for("paused")
    process.tell()
    assert process.end() == 0


def test_two_workers_of_one_name_are_told_apart(
    start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        start("worker_app:send", "--queue", "emails").wait_for("started")
    assert main(["pause-worker", "emails", "--store", URL]) == 1
    said = capsys.readouterr().err
    assert "2 workers are called 'emails'; say which, by its id: emails-" in said
    ids = said.partition("by its id: ")[2].strip().split(", ")
    assert tell(capsys, "pause-worker", ids[0]) == "worker emails is paused"
    assert main(["stop", "emials", "--store", URL]) == 1
    assert "there is no worker 'emials'; did you mean 'emails'?" in capsys.readouterr().err
