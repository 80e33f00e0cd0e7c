"""What the demo shows: its letters, each by a sign, and its workers."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from conveyor_nb.core.model import JobData, JobState

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["AT_WORK", "ENDED", "KILLED", "Outcome", "WorkerLine", "picture", "sign_of", "table"]

_SIGNS: Mapping[str, tuple[str, str, str]] = {
    "waits": ("·", "dim", "waits"),
    "runs": ("▶", "bold blue", "runs"),
    "held": ("▷", "yellow", "its worker is gone"),
    "again": ("↺", "bold yellow", "runs again"),
    "done": ("✓", "green", "done"),
    "failed": ("✗", "bold red", "failed"),
}
"""What is said of a letter: its sign, its style, and what it means."""


AT_WORK, KILLED, ENDED = "at work", "killed with kill -9", "ended, as it was told to"
_STYLES = {AT_WORK: "blue", KILLED: "bold red", ENDED: "dim"}


class WorkerLine(NamedTuple):
    """What is shown of a worker.

    Args:
        number: which one it is, from 1.
        pid: its process.
        doing: what it does, in words.
    """

    number: int
    pid: int
    doing: str = AT_WORK

    @property
    def name(self) -> str:
        """What its store calls it."""
        return f"worker-{self.number}"

    @property
    def is_gone(self) -> bool:
        """Whether it has said nothing of its end."""
        return self.doing == KILLED


class Outcome(NamedTuple):
    """What came of it all.

    Args:
        letters: how many were added.
        done: how many are delivered.
        again: how many were begun more than once.
        lost: how many are gone.
        doubled: how many were told to be delivered more than once.
    """

    letters: int
    done: int
    again: int
    lost: int
    doubled: int


def sign_of(job: JobData, gone: Collection[str] = ()) -> str:
    """What is said of a letter, by its record and the workers that are gone.

    >>> sign_of(JobData("a", "letter", "letters"))
    'waits'
    """
    match job.state:
        case JobState.ACTIVE if job.locked_by and job.locked_by.startswith(tuple(gone)):
            return "held"
        case JobState.ACTIVE:
            return "again" if job.attempt_logs and job.attempt_logs[-1].attempt > 1 else "runs"
        case JobState.COMPLETED:
            return "done"
        case JobState.FAILED:
            return "failed"
    return "waits"


def picture(
    where: str, jobs: Sequence[JobData], workers: Iterable[WorkerLine], gone: Collection[str]
) -> RenderableType:
    """The letters and the workers as they are now."""
    from rich.panel import Panel
    from rich.text import Text

    signs = [sign_of(job, gone) for job in jobs]
    lines = [Text.assemble(*_row(signs), (f"  {signs.count('done')} of {len(jobs)} done", ""))]
    legend = (part for name in _SIGNS if name != "failed" for part in _meaning(name))
    lines += [Text.assemble(*legend), Text("")]
    for one in workers:
        head = (f"worker {one.number}", "bold"), (f"  process {one.pid}  ", "dim")
        lines.append(Text.assemble(*head, (one.doing, _STYLES[one.doing])))
    title = Text(where, no_wrap=True, overflow="ellipsis")
    return Panel(Text("\n").join(lines), title=title, title_align="left", padding=(0, 1))


def _row(signs: Iterable[str]) -> Iterable[tuple[str, str]]:
    return [(f"{_SIGNS[one][0]} ", _SIGNS[one][1]) for one in signs]


def _meaning(name: str) -> list[tuple[str, str]]:
    sign, style, meaning = _SIGNS[name]
    return [(sign, style), (f" {meaning}   ", "dim")]


def table(outcome: Outcome) -> RenderableType:
    """What came of it all."""
    from rich.table import Table

    found = Table(title="What came of it", title_justify="left")
    for name in ("letters", "delivered", "begun again", "lost", "delivered twice"):
        found.add_column(name, justify="right")
    given = (outcome.letters, outcome.done, outcome.again, outcome.lost, outcome.doubled)
    found.add_row(*map(str, given))
    return found
