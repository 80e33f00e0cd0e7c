"""What IPython shows of a queue, store, worker or job: live where there can be a live panel.

The text and the static HTML say the same on every run with a ``VirtualClock`` and sequential
ids; only the live panel's model id does not, which nbval leaves out when it compares.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from IPython.core.getipython import get_ipython

from conveyor_nb.context.runs import current_run
from conveyor_nb.core.model import ALL_NAMES, JobData, JobState
from conveyor_nb.core.values.durations import format_seconds
from conveyor_nb.core.values.text import many_lines, one_line
from conveyor_nb.flow import FlowNode
from conveyor_nb.job import Job
from conveyor_nb.lists import JobCounts, JobList
from conveyor_nb.notebook.job_words import (
    job_facts,
    log_text,
    options_text,
    payload_text,
    result_text,
)
from conveyor_nb.notebook.listings import (
    JOB_HEAD,
    Listing,
    counts_listing,
    flow_listing,
    job_cells,
    jobs_listing,
    moment,
)
from conveyor_nb.notebook.markup import Markup, as_page, table, tag
from conveyor_nb.notebook.panel.job_table import PAGE_SIZE
from conveyor_nb.notebook.reads import QueueLine, queue_lines
from conveyor_nb.notebook.shell.terminal import is_terminal
from conveyor_nb.queue import Queue
from conveyor_nb.stores import StoreInterface
from conveyor_nb.stores.in_words import counts_in_words, pauses_in_words, why_unread
from conveyor_nb.stores.read_now import read_now
from conveyor_nb.stores.reads import Reads
from conveyor_nb.worker import Worker

__all__ = ["mimebundle", "queues_html", "static_html"]

_SCROLLS = "max-height:24em; overflow:auto"

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


def mimebundle(subject: object) -> dict[str, Any]:
    """The forms in which a notebook may show ``subject``; it takes the richest it can.

    In a running kernel a queue's has a live panel, which JupyterLab prefers. All have
    ``text/html`` and ``text/plain`` for readers without a kernel.
    """
    text = _listing_of(subject) if isinstance(subject, (JobList, FlowNode)) else subject
    bundle: dict[str, Any] = {"text/plain": repr(text), "text/html": static_html(subject)}
    if isinstance(subject, Queue) and not subject.closed and _can_be_live():
        from conveyor_nb.notebook.panel.widget import (
            panel_of,  # widgets only where one is shown
        )

        bundle[WIDGET_VIEW] = {
            "version_major": 2,
            "version_minor": 0,
            "model_id": panel_of(subject).model_id,
        }
    return bundle


def static_html(subject: object) -> str:
    """A snapshot as HTML without scripts; every text in it is escaped."""
    return as_page(_html_of(subject))


def _html_of(subject: object) -> str:
    match subject:
        case Queue():
            return _queue_html(subject)
        case StoreInterface():
            return _store_html(subject)
        case Worker():
            return _worker_html(subject)
        case Job():
            return _job_html(subject)
        case JobList() | JobCounts() | FlowNode():
            return _listing_of(subject).to_html()
        case _:
            return tag("pre", repr(subject))


def _listing_of(subject: JobList | JobCounts | FlowNode) -> Listing:
    match subject:
        case JobList():
            return jobs_listing(subject)
        case JobCounts():
            return counts_listing(subject)
        case FlowNode():
            return flow_listing(subject)


def _can_be_live() -> bool:
    """Whether this is a cell of a kernel: a terminal has no page, and a job shows text."""
    if current_run() is not None:
        return False
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    shell = get_ipython()
    return shell is not None and not is_terminal(shell)


# -- the subjects ---------------------------------------------------------------------------


def _queue_html(queue: Queue) -> str:
    if queue.closed:
        return tag("pre", repr(queue))

    async def look(
        reads: Reads,
    ) -> tuple[Mapping[JobState, int], frozenset[str], list[JobData]]:
        return (
            await reads.get_job_counts(queue.name),
            await reads.get_paused_job_names(queue.name),
            await reads.list_jobs(queue.name, None, 0, PAGE_SIZE, newest_first=True),
        )

    try:
        counts, paused, jobs = read_now(queue.store, look)
    except Exception as error:  # whatever a store raises, the display says so
        told = f"its store, a {type(queue.store).__name__}, {why_unread(error)}"
        return _page("Queue", queue.name, [], _note(told))
    total = sum(counts.values())
    more = f"the newest {len(jobs)} of {total:,} jobs" if total > len(jobs) else ""
    return _page("Queue", queue.name, [_counts(counts, paused)], _jobs_table(jobs), _note(more))


def _store_html(store: StoreInterface) -> str:
    try:
        lines = read_now(store, queue_lines)
    except Exception as error:  # likewise
        return _page("Store", type(store).__name__, [], _note(why_unread(error)))
    return queues_html(store, lines)


def queues_html(store: StoreInterface, lines: Iterable[QueueLine]) -> str:
    """A store with its queues."""
    states = list(JobState)
    rows = [
        [
            line.name,
            *(f"{line.counts[state]:,}" for state in states),
            f"{len(line.workers)}",
            "paused" if ALL_NAMES in line.paused else "",
        ]
        for line in lines
    ]
    head = ["queue", *map(str, states), "workers", ""]
    return _page(
        "Store",
        type(store).__name__,
        [],
        table(head, rows) if rows else _note("no queues yet"),
    )


def _worker_html(worker: Worker) -> str:
    return _page(
        "Worker",
        worker.name,
        [_told(f"of {worker.queue_name}", str(worker.status), worker.slots_summary)],
        _jobs_table(worker.running),
    )


def _job_html(job: Job) -> str:
    facts = {label.lower(): _fact(value) for label, value in job_facts(job)}
    facts |= {"options": options_text(job.opts).replace("\n", "; ")}
    attempts = [
        [
            f"{attempt.attempt}",
            str(attempt.status or "active"),
            _fact(attempt.ended_at and attempt.ended_at - attempt.started_at),
            one_line(attempt.error or "", 500),
        ]
        for attempt in job.attempt_logs
    ]
    blocks = [
        ("payload", payload_text(job)),
        ("result", result_text(job)),
        ("failure", many_lines(_failure_of(job), both_ends=True)),
        ("log", log_text(job.logs)),
    ]
    parts = [
        tag("div", tag("p", label), tag("pre", text, style=_SCROLLS))
        for label, text in blocks
        if text
    ]
    tried = table(["attempt", "status", "took", "error"], attempts) if attempts else ""
    told = _told(job.name, str(job.state), f"in {job.queue_name}")
    return _page("Job", job.id, [told], _facts(facts), *parts, tried)


def _failure_of(job: Job) -> str:
    """Why a failed job failed; that of an earlier attempt is told by the table of attempts.

    Of a retried parent: which failed children it waits for.
    """
    if job.state not in (JobState.FAILED, JobState.WAITING_CHILDREN):
        return ""
    last = job.attempt_logs[-1] if job.attempt_logs else None
    if last is not None and last.stacktrace is not None and last.error == job.failed_reason:
        return last.stacktrace
    return job.failed_reason or ""  # a child, or a person who cancelled it, ended it after that


# -- pieces ---------------------------------------------------------------------------------


def _page(kind: str, name: str, beside: Iterable[Markup], *parts: str) -> str:
    title = tag("p", f"{kind} ", tag("strong", tag("bdi", name)), *beside)
    return tag("div", title, *(part for part in parts if part))


def _counts(counts: Mapping[JobState, int], paused: frozenset[str]) -> Markup:
    return _told(*counts_in_words(counts), *filter(None, [pauses_in_words(paused)]))


def _told(*words: str) -> Markup:
    return tag("span", *(part for word in words for part in (" · ", tag("bdi", word))))


def _note(text: str) -> str:
    return tag("p", text) if text else ""


def _facts(facts: Mapping[str, str]) -> str:
    return table([], [[label, value] for label, value in facts.items() if value])


def _jobs_table(jobs: Iterable[JobData | Job]) -> str:
    rows = [job_cells(job) for job in jobs]
    return table(JOB_HEAD, rows) if rows else ""


def _fact(value: object) -> str:
    if isinstance(value, timedelta):
        return format_seconds(value.total_seconds())
    if isinstance(value, datetime):
        return moment(value)
    return "" if value is None else str(value)
