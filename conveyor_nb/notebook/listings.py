"""Tables of jobs, events and the like, made to be read: short in a terminal and as HTML."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any

from conveyor_nb.core.event_words import event_text
from conveyor_nb.core.finding import Finding
from conveyor_nb.core.model import JobData, JobState, StoreEvent
from conveyor_nb.core.values.text import inline, one_line, width
from conveyor_nb.core.worker_info import WorkerInfo
from conveyor_nb.flow import FlowNode
from conveyor_nb.job import Job
from conveyor_nb.notebook.job_words import instant_of, outcome, tries
from conveyor_nb.notebook.markup import Markup, as_page, table, tag

__all__ = [
    "JOB_HEAD",
    "MOST_ROWS",
    "Listing",
    "aligned",
    "counts_listing",
    "events_listing",
    "findings_listing",
    "flow_listing",
    "flow_nodes",
    "job_cells",
    "jobs_listing",
    "moment",
    "workers_listing",
]

MOST_ROWS = 50
"""The most rows that are shown of a list; the list itself has them all."""

_MOST_WIDTH = 60
_MOST_DEPTH = 20
JOB_HEAD = ("id", "name", "state", "tries", "when (UTC)", "result")

Row = Sequence[str]


class Listing:
    """A table with few enough rows to be read.

    Args:
        head: the titles of the columns.
        rows: their texts.
        note: what stands below it.
    """

    def __init__(self, head: Row, rows: Iterable[Row], note: str = "") -> None:
        self.head = head
        self.rows = [*map(list, rows)]
        self.note = note

    def __repr__(self) -> str:
        cells = [[_short(cell) for cell in row] for row in self.rows]
        lines = aligned([list(self.head), *cells]) if cells else []
        return "\n".join([*lines, *filter(None, [self.note])])

    def to_html(self) -> Markup:
        """The table as HTML without scripts."""
        note = tag("p", self.note) if self.note else Markup()
        return tag("div", table(self.head, self.rows) if self.rows else Markup(), note)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        return {"text/plain": repr(self), "text/html": as_page(self.to_html())}


def jobs_listing(jobs: Sequence[JobData | Job], *, newest: bool = False, hint: str = "") -> Listing:
    """A table of some jobs.

    Args:
        jobs: the jobs.
        newest: of many show the last; else the first.
        hint: how to get at the others.
    """
    shown = jobs[-MOST_ROWS:] if newest else jobs[:MOST_ROWS]
    with_queue = len({job.queue_name for job in shown}) > 1
    head = ("queue", *JOB_HEAD) if with_queue else JOB_HEAD
    rows = [[job.queue_name, *job_cells(job)] if with_queue else job_cells(job) for job in shown]
    return Listing(head, rows, _left_out(len(shown), len(jobs), "job", hint, newest=newest))


def events_listing(events: Sequence[StoreEvent]) -> Listing:
    """A table of events, oldest first, each with what it tells."""
    with_queue = len({event.queue_name for event in events}) > 1
    rows = [
        [
            f"{event.timestamp:%H:%M:%S}",
            str(event.type),
            *([event.queue_name] if with_queue else []),
            event.job_id or "",
            event_text(event),
        ]
        for event in events
    ]
    head = ["at (UTC)", "event", *(["queue"] if with_queue else []), "job", "what"]
    return Listing(head, rows, "" if rows else "no events yet")


def workers_listing(
    workers: Sequence[WorkerInfo], faults: Mapping[str, str | None] = MappingProxyType({})
) -> Listing:
    """A table of workers.

    Args:
        workers: the workers.
        faults: what has stopped some of them, by id.
    """
    rows = [
        [
            *(one.id, one.name, one.queue_name),
            ": ".join(filter(None, (one.status.in_words, _told(one) or faults.get(one.id)))),
            f"{one.concurrency}",
        ]
        for one in workers[:MOST_ROWS]
    ]
    note = _left_out(len(rows), len(workers), "worker")
    return Listing(("id", "name", "queue", "status", "slots"), rows, note)


def findings_listing(found: Sequence[Finding]) -> Listing:
    """A table of what is odd in a store; what there is to do stands in full below it."""
    if not found:
        return Listing((), (), "nothing odd was found")
    rows = [
        [
            *(str(one.severity), one.what),
            *("/".join(filter(None, (one.queue_name, one.job_id))), one.detail),
        ]
        for one in found[:MOST_ROWS]
    ]
    advice = dict.fromkeys(f"{one.what}: {one.advice}" for one in found[:MOST_ROWS])
    notes = [_left_out(len(rows), len(found), "finding"), *advice]
    note = "\n".join(filter(None, notes))
    return Listing(("severity", "what", "where", "found"), rows, note)


def _told(worker: WorkerInfo) -> str:
    return f"told to {worker.command}, not done yet" if worker.command else ""


def counts_listing(counts: Mapping[JobState, int]) -> Listing:
    """How many jobs are in each state."""
    return Listing(list(map(str, counts)), [[f"{count:,}" for count in counts.values()]])


def flow_listing(flow: FlowNode) -> Listing:
    """A flow as a tree."""
    rows = [
        [f"{_branch(depth)}{one_line(job.name)}", job.queue_name, job.id, str(job.state)]
        for depth, (job, _) in itertools.islice(flow_nodes(flow), MOST_ROWS)
    ]
    note = _left_out(len(rows), sum(1 for _ in flow_nodes(flow)), "job")
    return Listing(("name", "queue", "id", "state"), rows, note)


def job_cells(job: JobData | Job) -> list[str]:
    """A job as a row."""
    at, word = instant_of(job)
    when = f"{word} {moment(at)}" if at else ""
    return [job.id, job.name, str(job.state), tries(job), when, outcome(job)]


def moment(instant: datetime) -> str:
    """An instant, to the second."""
    return f"{instant:%Y-%m-%d %H:%M:%S}"


def aligned(rows: list[list[str]]) -> list[str]:
    """Rows with their columns under each other, numbers to the right.

    >>> aligned([["queue", "jobs"], ["emails", "3"]])
    ['queue   jobs', 'emails     3']
    """
    rows = [[inline(cell) for cell in row] for row in rows]
    widths = [max(map(width, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = []
        for cell, wide in zip(row, widths, strict=True):
            room = " " * (wide - width(cell))
            cells.append(room + cell if cell.replace(",", "").isdecimal() else cell + room)
        lines.append("  ".join(cells).rstrip())
    return lines


def _short(cell: str) -> str:
    indent = len(cell) - len(cell.lstrip(" "))
    return " " * indent + one_line(cell[indent:], _MOST_WIDTH)


def _branch(depth: int) -> str:
    return f"{'  ' * min(depth, _MOST_DEPTH)}└ " if depth else ""


def flow_nodes(flow: FlowNode) -> Iterator[tuple[int, FlowNode]]:
    """The nodes of a tree with their depth; a loop, as it may be any number of levels deep."""
    todo = [(0, flow)]
    while todo:
        depth, node = todo.pop()
        yield depth, node
        todo += [(depth + 1, child) for child in reversed(node.children)]


def _left_out(shown: int, total: int, noun: str, hint: str = "", *, newest: bool = False) -> str:
    if not total:
        return f"no {noun}s"
    if total == shown:
        return ""
    told = f"the newest {shown} of {total:,} {noun}s" if newest else f"… {total - shown:,} more"
    return f"{told}{hint}"
