"""What the commands of ``%conveyor`` show."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from conveyor_nb.clocks.clock import Clock, ScaledClock
from conveyor_nb.clocks.virtual import VirtualClock
from conveyor_nb.core.model import JobState
from conveyor_nb.core.values.text import fit
from conveyor_nb.core.worker_info import WorkerStatus
from conveyor_nb.notebook.listings import MOST_ROWS, Listing, aligned
from conveyor_nb.notebook.mistakes import quoted
from conveyor_nb.notebook.reads import QueueLine
from conveyor_nb.notebook.require_pandas import require_pandas
from conveyor_nb.stores.in_words import pauses_in_words
from conveyor_nb.worker import Worker

if TYPE_CHECKING:
    from conveyor_nb.notebook.frames import DataFrame

__all__ = [
    "Answer",
    "Said",
    "clock_text",
    "counted",
    "pace",
    "queues_frame",
    "queues_listing",
    "status_text",
]


class Said:
    """A sentence, shown as it is."""

    def __init__(self, text: str) -> None:
        self.text = fit(text)

    def __repr__(self) -> str:
        return self.text


class Answer(NamedTuple):
    """What came of a command: what a cell shows, and what ``x = %conveyor ...`` gives.

    What has no more to do with the answer, such as the end of workers, is its ``rest``: it goes on
    by itself, and a cell that can wait waits for it.
    """

    shown: object
    value: object
    rest: asyncio.Future[None] | None = None

    @classmethod
    def saying(cls, text: str, value: object = None) -> Answer:
        """An answer in a sentence."""
        return cls(Said(text), value)


def counted(number: int, noun: str) -> str:
    """A number of things.

    >>> counted(1, "job"), counted(1_200, "job")
    ('1 job', '1,200 jobs')
    """
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def clock_text(clock: Clock) -> str:
    """The time, and how it passes."""
    return f"{clock.now():%Y-%m-%d %H:%M:%S} UTC; {pace(clock)}"


def pace(clock: Clock) -> str:
    """How time passes.

    >>> pace(ScaledClock(60))
    'time runs 60 times as fast'
    """
    match clock:
        case VirtualClock():
            return "time stands still until %conveyor clock advance"
        case ScaledClock():
            return f"time runs {clock.speed:g} times as fast"
        case _:
            return "time is real"


def status_text(lines: Sequence[QueueLine], workers: Mapping[str, Worker]) -> str:
    """Queues with their counts, and workers with what they do, as aligned text."""
    if not lines:
        return 'no queues yet; add a job: %conveyor add emails send {"to": "ada@example.org"}'
    in_flows = any(line.counts[JobState.WAITING_CHILDREN] for line in lines)
    states = [state for state in JobState if in_flows or state is not JobState.WAITING_CHILDREN]
    rows = [["queue", *map(str, states), ""]]
    for line in lines:
        told = [f"{line.counts[state]:,}" for state in states]
        rows.append([line.name, *told, pauses_in_words(line.paused)])
    text = aligned(rows)
    names = [line.name for line in lines]
    mine = {name: one for name, one in workers.items() if one.queue_name in names}
    if mine:
        text.append("")
        text += aligned([["worker", "queue", "status", "runs"], *map(_worker_row, mine.items())])
    served = {worker.queue_name for worker in mine.values()}
    if idle := [line.name for line in lines if not line.workers and line.name not in served]:
        text += [""]
        text += [
            f"nobody works on {name}; write a handler: %%worker {quoted(name)}" for name in idle
        ]
    return "\n".join(text)


def queues_frame(lines: Sequence[QueueLine]) -> DataFrame:
    """One row for each queue: its jobs by state, whether it is paused, and its workers."""
    require_pandas()
    from conveyor_nb.notebook.frames import DataFrame

    columns: dict[str, list[Any]] = {
        str(state): [line.counts[state] for line in lines] for state in JobState
    }
    columns["paused"] = [pauses_in_words(line.paused) for line in lines]
    columns["workers"] = [len(line.workers) for line in lines]
    frame = DataFrame(columns).astype({name: "int64" for name in columns if name != "paused"})
    frame.index = frame.index.astype("str") if not lines else frame.index
    return frame.set_axis([line.name for line in lines], axis="index").rename_axis(index="queue")


def queues_listing(frame: DataFrame) -> Listing:
    """The same as a table made to be read."""
    rows = [
        [str(name), *(cell if isinstance(cell, str) else f"{cell:,}" for cell in cells)]
        for name, *cells in frame.head(MOST_ROWS).itertuples()
    ]
    more = len(frame) - len(rows)
    note = f"… {more:,} more" if more else "" if rows else "no queues yet"
    return Listing(["queue", *map(str, frame.columns)], rows, note)


def _worker_row(named: tuple[str, Worker]) -> list[str]:
    name, worker = named
    slots = f"{worker.slots_in_use} of {worker.concurrency}"
    if worker.status is WorkerStatus.CLOSED:
        slots = slots if worker.slots_held else ""
    if worker.slots_held:
        slots += f", {worker.slots_held} held"
    if worker.fault:
        slots += f"; {worker.fault}; try again: %conveyor start {quoted(name)}"
    return [name, worker.queue_name, worker.status.in_words, slots]
