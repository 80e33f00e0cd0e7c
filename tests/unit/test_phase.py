"""The phases of a worker, as a table: each phase, each change, and where that leads."""

from __future__ import annotations

import pytest

from conveyor_nb.core.worker_info import WorkerStatus
from conveyor_nb.running.phase import Phase, PhaseChange

TABLE = """
         START    START+   END_OF_WHILE PAUSE   RESUME   STOP    CLOSE   CLOSED
STOPPED  RUNNING  RUNNING+ -            -       -        -       CLOSING -
RUNNING  -        -        -            PAUSED  -        STOPPED CLOSING -
PAUSED   RUNNING  -        -            -       RUNNING  STOPPED CLOSING -
RUNNING+ RUNNING  -        STOPPED      PAUSED+ -        STOPPED CLOSING -
PAUSED+  RUNNING  -        STOPPED      -       RUNNING+ STOPPED CLOSING -
CLOSING  -        -        -            -       -        -       -       CLOSED
CLOSED   -        -        -            -       -        -       -       -
""".replace("+", "_FOR_A_WHILE")
"""A ``-`` is where it stays as it is."""

_HEAD, *_ROWS = [line.split() for line in TABLE.strip().splitlines()]
CASES = [
    (phase, change, phase if end == "-" else end)
    for phase, *ends in _ROWS
    for change, end in zip(_HEAD, ends, strict=True)
]


@pytest.mark.parametrize(("phase", "change", "end"), CASES)
def test_what_each_change_does_to_each_phase(phase: str, change: str, end: str) -> None:
    assert Phase[phase].after(PhaseChange[change]) is Phase[end]


def test_the_table_has_every_phase_and_every_change() -> None:
    assert {phase for phase, *_ in _ROWS} == {one.name for one in Phase}
    assert set(_HEAD) == {one.name for one in PhaseChange}


@pytest.mark.parametrize(
    ("phase", "status", "takes_jobs", "stays_on", "is_closing"),
    [
        (Phase.STOPPED, WorkerStatus.STOPPED, False, False, False),
        (Phase.RUNNING, WorkerStatus.RUNNING, True, True, False),
        (Phase.RUNNING_FOR_A_WHILE, WorkerStatus.RUNNING, True, True, False),
        (Phase.PAUSED, WorkerStatus.PAUSED, False, True, False),
        (Phase.PAUSED_FOR_A_WHILE, WorkerStatus.PAUSED, False, True, False),
        (Phase.CLOSING, WorkerStatus.CLOSING, False, False, True),
        (Phase.CLOSED, WorkerStatus.CLOSED, False, False, True),
    ],
)
def test_what_a_phase_means(
    phase: Phase, status: WorkerStatus, takes_jobs: bool, stays_on: bool, is_closing: bool
) -> None:
    assert phase.status is status
    assert (phase.takes_jobs, phase.stays_on, phase.is_closing) == (
        takes_jobs,
        stays_on,
        is_closing,
    )
