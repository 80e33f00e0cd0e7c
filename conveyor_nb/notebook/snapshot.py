"""A queue as a page without scripts: what a saved notebook shows when its kernel is gone.

Its picture is an image, as those who clean a stranger's HTML leave images in and take drawings
apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from conveyor_nb.core.model import ALL_NAMES, JobData, JobState
from conveyor_nb.core.values.text import one_line
from conveyor_nb.job import Job
from conveyor_nb.notebook.happening import what_happens
from conveyor_nb.notebook.job_words import outcome, tries
from conveyor_nb.notebook.listings import JOB_HEAD, job_cells
from conveyor_nb.notebook.markup import Markup, image, table, tag
from conveyor_nb.notebook.pictures.belt import belt_picture, belt_text
from conveyor_nb.notebook.pictures.belt_state import BeltState, read_belt
from conveyor_nb.notebook.pictures.state_bar import state_bar
from conveyor_nb.notebook.pictures.svg import text_of, to_svg
from conveyor_nb.notebook.reads import QueueLine
from conveyor_nb.stores import StoreInterface
from conveyor_nb.stores.in_words import counts_in_words, pauses_in_words
from conveyor_nb.stores.reads import Reads

__all__ = [
    "QueuePage",
    "headed",
    "jobs_table",
    "note",
    "queue_page",
    "queues_html",
    "read_queue_page",
    "told",
]

_MOST_FAILED = 5
_MOST_ROWS = 10
_MOST_REASON = 160
_CHOICE = "those that run, that have just ended, and that are next"
_BAR = "width:200px; height:9px"
_SOFT = "opacity:.75"
_FAILED = "margin:.6em 0 .2em; font-weight:600; color:#c0392b"


@dataclass(frozen=True, slots=True)
class QueuePage:
    """A queue at one instant.

    Args:
        belt: what its picture shows.
        failed: the last jobs that failed, the newest first.
        jobs: the first page of its jobs in the order of what happens, as in a live panel.
    """

    belt: BeltState
    failed: Sequence[JobData]
    jobs: Sequence[JobData]


async def read_queue_page(reads: Reads, name: str, now: datetime) -> QueuePage:
    """Read it, by a few small questions to the store.

    Args:
        reads: asks the store.
        name: the queue's name.
        now: the instant, by the store's clock.
    """
    belt = await read_belt(reads, name, now)
    failed = await reads.list_jobs(name, JobState.FAILED, 0, _MOST_FAILED, newest_first=True)
    jobs = await what_happens(reads, name, belt.counts, 0, _MOST_ROWS)
    return QueuePage(belt, failed, jobs)


def queue_page(page: QueuePage, *, state: str = "") -> Markup:
    """It as HTML.

    Args:
        page: what is shown.
        state: what there is to say of the queue beside its counts, such as that it is closed.
    """
    belt, total = page.belt, page.belt.total
    more = f"{len(page.jobs)} of {total:,} jobs: {_CHOICE}" if total > len(page.jobs) else ""
    paused = pauses_in_words(belt.paused_names)
    counts = told(*counts_in_words(belt.counts), *filter(None, [paused, state]))
    picture = image(to_svg(belt_picture(belt)), belt_text(belt))
    return headed(
        "Queue", belt.name, [counts], picture, _failures(page), jobs_table(page.jobs), note(more)
    )


def _failures(page: QueuePage) -> Markup:
    """The last failures, if the other table lacks any: they are what one looks for."""
    if not {job.id for job in page.failed} - {job.id for job in page.jobs}:
        return Markup()
    count = page.belt.counts[JobState.FAILED]
    title = (
        f"Failed: the last {len(page.failed)} of {count:,}" if count > _MOST_FAILED else "Failed"
    )
    rows = [
        [job.id, job.name, tries(job), one_line(outcome(job), _MOST_REASON)] for job in page.failed
    ]
    return Markup(tag("p", title, style=_FAILED) + table(["id", "name", "tries", "why"], rows))


def queues_html(store: StoreInterface, lines: Iterable[QueueLine]) -> Markup:
    """A store with its queues."""
    states = list(JobState)
    rows = [
        [
            line.name,
            image(text_of(state_bar(line.counts)), "", _BAR),
            *(f"{line.counts[state]:,}" for state in states),
            f"{len(line.workers)}",
            "paused" if ALL_NAMES in line.paused else "",
        ]
        for line in lines
    ]
    head = ["queue", "", *map(str, states), "workers", ""]
    return headed(
        "Store",
        type(store).__name__,
        [],
        table(head, rows) if rows else note("no queues yet"),
    )


# -- pieces ---------------------------------------------------------------------------------


def headed(kind: str, name: str, beside: Iterable[Markup], *parts: Markup) -> Markup:
    """A page with a title."""
    title = tag("p", f"{kind} ", tag("strong", tag("bdi", name)), *beside)
    return tag("div", title, *(part for part in parts if part))


def told(*words: str) -> Markup:
    """What is said beside a title."""
    return tag("span", *(part for word in words for part in (" · ", tag("bdi", word))))


def note(text: str) -> Markup:
    """What is said in the end, if there is anything to say."""
    return tag("p", text, style=_SOFT) if text else Markup()


def jobs_table(jobs: Iterable[JobData | Job]) -> Markup:
    """Jobs, each in a row; without any, nothing."""
    rows = [job_cells(job) for job in jobs]
    return table(JOB_HEAD, rows) if rows else Markup()
