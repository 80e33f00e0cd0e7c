"""The benchmarks work, and a job has not become dearer: counted in calls, for a time is noise."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks.fairness import WORK, watched
from tests.benchmarks.held import CONDITIONS
from tests.benchmarks.profiling import calls_of_life, calls_of_steps
from tests.benchmarks.steps import visits

CALLS_OF_A_LIFE = 88
"""Python functions called from ``add`` to the awaited result, a coroutine's resumption included.

Lower it when a job has become cheaper. CPython 3.11, 3.12 and 3.13 differ by less than one.
"""
SLACK = 1.03
FEW, MANY = 200, 2_000
VISITS = {
    "waiting": 1.1,
    "delayed": 16.0,
    "completed": 0.1,
    "priorities": 2.0,
    "groups": 7.0,
    "a paused name": 1.1,
    "own keys": 20.0,
}
"""Objects that the collector looks at for each job held: many where options are a job's own."""
IN_SLICES = (
    "add_bulk",
    "clean",
    "drain",
    "obliterate",
    "retry_jobs",
    "promote_jobs",
    "get_jobs, all",
)


def test_the_benchmarks_run(checkout: Path, tmp_path: Path) -> None:
    figures, picture = tmp_path / "figures.json", tmp_path / "figures.png"
    command = [sys.executable, "-m", "tests.benchmarks", "--quick"]
    result = subprocess.run(
        [*command, "--json", figures, "--plot", picture],
        cwd=checkout,
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 0, result.stderr
    assert "a job, from add to its awaited result" in result.stdout
    written = json.loads(figures.read_text(encoding="utf-8"))
    assert written["conditions"]["Python"].endswith(sys.version.split()[0])
    assert all(figure["median"] > 0 for figure in written["figures"] if figure["unit"] != "ms")
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_job_calls_no_more_functions_than_before_however_many_there_are() -> None:
    few, many = calls_of_life(FEW), calls_of_life(MANY)

    assert many <= CALLS_OF_A_LIFE * SLACK
    assert many <= few * SLACK


@pytest.mark.parametrize("condition", CONDITIONS)
def test_a_step_calls_no_more_functions_when_more_jobs_are_held(condition: str) -> None:
    few, many = calls_of_steps(condition, FEW), calls_of_steps(condition, MANY)

    # a list that is sorted in pieces splits one now and then; a heap drops what no longer holds
    dearer = {step: (few[step], many[step]) for step in few if many[step] > few[step] * 1.1 + 1}
    assert not dearer


@pytest.mark.parametrize("name", IN_SLICES)
def test_work_on_many_jobs_calls_no_collector(name: str) -> None:
    watched(name, 10)  # what is made on first use is made now

    collections = watched(name, MANY).collections

    # what makes the loop wait for long is a full collection: younger ones lead to it
    assert collections.total() <= 1
    assert not collections[2]


def test_the_flow_of_many_jobs_calls_the_collector_now_and_then() -> None:
    assert "the flow of the jobs, each awaited" in WORK
    watched("the flow of the jobs, each awaited", 10)

    assert watched("the flow of the jobs, each awaited", MANY).collections.total() <= MANY / 200


@pytest.mark.parametrize("condition", CONDITIONS)
def test_the_collector_looks_at_few_objects_for_a_job_that_is_held(condition: str) -> None:
    assert visits(condition, MANY) <= VISITS[condition]
