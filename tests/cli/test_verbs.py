"""``python -m conveyor_nb status --store URL`` and the like, over a file."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from conveyor_nb import Queue, Worker, open_store
from conveyor_nb.cli import main

URL = "sqlite:///queue.db"

Say = Callable[..., str]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a file of some jobs in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CONVEYOR_STORE", URL)

    async def send(job: object) -> None:
        raise ValueError("no such address")

    async def fill() -> None:
        async with (
            open_store(URL, ids="sequential") as store,
            Queue("emails", store=store) as emails,
        ):
            await emails.add("send", {"to": "ada"})
            async with Worker("emails", send, store=store, auto_start=False) as worker:
                await worker.run_until_idle()
            await emails.add("send", {"to": "grace"})
            await emails.add("later", delay="1h")

    asyncio.run(fill())
    return tmp_path


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Say:
    """Runs a command that must not fail, and gives what it says."""

    def say_it(*arguments: str) -> str:
        assert main([*arguments]) == 0
        out, err = capsys.readouterr()
        assert err == ""
        return out.rstrip()

    return say_it


def test_the_status_of_a_file_is_told(say: Say) -> None:
    head, row, _, advice = say("status").splitlines()
    assert head.split() == ["queue", "waiting", "delayed", "active", "completed", "failed"]
    assert row.split() == ["emails", "1", "1", "0", "0", "1"]
    assert advice == (
        "nobody works on emails; start one: python -m conveyor_nb worker app.jobs:send "
        "--queue emails"
    )


def test_jobs_are_listed_for_people_and_for_programs(say: Say) -> None:
    assert [line.split()[0] for line in say("jobs", "emails").splitlines()] == [
        *("id", "emails-1", "emails-2", "emails-3")
    ]
    (failed,) = json.loads(say("jobs", "emails", "--state", "failed", "--json"))
    assert (failed["id"], failed["failed_reason"]) == ("emails-1", "ValueError: no such address")


def test_a_job_is_told_with_its_attempts(say: Say) -> None:
    told = say("job", "emails-1")
    assert told.splitlines()[:2] == [
        "emails-1: send of emails, failed",
        "  payload   {'to': 'ada'}",
    ]
    assert "ValueError: no such address" in told
    assert "attempt 1" in told


@pytest.mark.parametrize(
    ("typed", "told", "counts"),
    [
        ("retry emails", "emails: 1 failed job to run again", (2, 1, 0)),
        ("promote emails", "emails: 1 delayed job to run now", (2, 0, 1)),
        ("drain emails", "emails: 2 jobs removed", (0, 0, 1)),
        ("clean emails --state failed", "emails: 1 failed job removed", (1, 1, 0)),
        ("pause emails", "emails is paused until python -m conveyor_nb resume emails", (1, 1, 1)),
        ("resume emails", "emails was not paused", (1, 1, 1)),
        ('add emails send {"to":1} --job-id x', "emails: job x is waiting", (2, 1, 1)),
    ],
)
def test_what_is_told_is_done(
    typed: str, told: str, counts: tuple[int, int, int], say: Say
) -> None:
    assert say(*typed.split()) == told
    _, row, *_ = say("status").splitlines()
    _, waiting, delayed, _, _, failed, *_ = row.split()
    assert (int(waiting), int(delayed), int(failed)) == counts


def test_workers_are_listed(say: Say) -> None:
    assert say("workers") == "no workers"


def test_what_is_odd_is_told_with_what_to_do(say: Say) -> None:
    told = say("check").splitlines()
    assert told[1].split()[:5] == ["warning", "nobody", "serves", "it", "emails"]
    assert told[2].startswith("nobody serves it: start one: python -m conveyor_nb worker")
    (row,) = json.loads(say("check", "--json"))
    assert (row["what"], row["severity"]) == ("nobody serves it", "warning")
    say("pause", "emails")
    assert say("check") == "nothing odd was found"


def test_help_speaks_of_the_shell(say: Say) -> None:
    told = say("jobs", "--help")
    assert told.startswith("python -m conveyor_nb jobs [--state STATE] [queue]")
    assert "--json gives them all" in told
    assert "%conveyor" not in told


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("retry emals", "there is no queue 'emals'; did you mean 'emails'?"),
        ("jobs emails --stat failed", "there is no option '--stat'; did you mean '--state'?"),
        (
            "job nobody",
            "there is no job 'nobody'; python -m conveyor_nb jobs lists all that",
        ),
        ("status --store mysql://a:secret@b/c", "not 'mysql://a:...@b/c'"),
    ],
)
def test_a_mistake_is_told_in_a_sentence(
    typed: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(typed.split()) == 1
    err = capsys.readouterr().err
    assert told in err
    assert err.count("\n") == 1


def test_a_look_changes_nothing(folder: Path, say: Say) -> None:
    before = (folder / "queue.db").read_bytes()
    for look in ("status", "jobs emails", "job emails-1", "workers"):
        say(*look.split())
    assert (folder / "queue.db").read_bytes() == before


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("--store sqlite:///nowhere.db", "nowhere.db"),
        ("--store nowhere", "not 'nowhere'"),
        ("some.ipynb --store sqlite:///queue.db", "which notebook, or which --store, not both"),
    ],
)
def test_the_dashboard_of_a_store_that_is_not_there_is_a_mistake(
    typed: str, told: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["dashboard", "--no-browser", *typed.split()]) == 1
    err = capsys.readouterr().err
    assert told in err
    assert err.count("\n") == 1
    assert not (folder / "nowhere.db").exists()


def test_a_url_must_be_given(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("CONVEYOR_STORE")
    assert main(["status"]) == 1
    assert capsys.readouterr().err == (
        "conveyor_nb: where are the jobs? Say --store sqlite:///queue.db, or set CONVEYOR_STORE\n"
    )
