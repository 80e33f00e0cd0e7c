"""What IPython shows of a queue, store, worker or job: live where there can be a live panel.

The text and the static HTML say the same on every run with a ``VirtualClock`` and sequential
ids; only the live panel's model id does not, which nbval leaves out when it compares.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeGuard

from IPython.core.getipython import get_ipython

from conveyor_nb.context.runs import current_run
from conveyor_nb.core.model import JobState
from conveyor_nb.core.values.durations import format_seconds
from conveyor_nb.core.values.text import many_lines, one_line
from conveyor_nb.flow import FlowNode
from conveyor_nb.job import Job
from conveyor_nb.lists import JobCounts, JobList
from conveyor_nb.notebook.flow_html import flow_html
from conveyor_nb.notebook.host import Host, host_of
from conveyor_nb.notebook.job_words import (
    job_facts,
    log_text,
    options_text,
    payload_text,
    result_text,
)
from conveyor_nb.notebook.listings import (
    Listing,
    counts_listing,
    flow_listing,
    jobs_listing,
    moment,
)
from conveyor_nb.notebook.markup import Markup, as_page, table, tag
from conveyor_nb.notebook.pictures.tape_figure import TapeFigure
from conveyor_nb.notebook.reads import queue_lines
from conveyor_nb.notebook.shell.terminal import is_terminal
from conveyor_nb.notebook.snapshot import (
    headed,
    jobs_table,
    note,
    queue_page,
    queues_html,
    read_queue_page,
    told,
)
from conveyor_nb.queue import Queue
from conveyor_nb.stores import StoreInterface
from conveyor_nb.stores.in_words import why_unread
from conveyor_nb.stores.read_now import read_now
from conveyor_nb.stores.tapes.tape import Tape
from conveyor_nb.worker import Worker

if TYPE_CHECKING:
    from conveyor_nb.notebook.panel.widget import Panel

__all__ = ["live_forms", "mimebundle", "show", "static_html"]

_SCROLLS = "max-height:24em; overflow:auto"


def mimebundle(subject: object) -> dict[str, Any]:
    """The forms in which a notebook may show ``subject``; it takes the richest it can.

    All have ``text/html`` and ``text/plain``. In a running kernel a queue and a store have a live
    panel too: where the host is JupyterLab or its like, a page puts it over the HTML, and else it
    is a widget.
    """
    if isinstance(subject, Tape):
        return _tape_forms(subject)
    text = _listing_of(subject) if isinstance(subject, (JobList, FlowNode)) else subject
    bundle: dict[str, Any] = {"text/plain": repr(text), "text/html": static_html(subject)}
    return bundle | live_forms(subject)


def _tape_forms(tape: Tape) -> dict[str, Any]:
    figure = TapeFigure(tape)
    forms = figure._repr_mimebundle_()
    return {**forms, "text/plain": figure.lines}


def live_forms(subject: object) -> dict[str, Any]:
    """The forms of its live panel, if it has one that somebody may see."""
    if not _has_panel(subject) or host_of(get_ipython()) is Host.FILE:
        return {}
    return _panel_of(subject).forms()


def show(subject: object, words: Callable[[], str] | None = None) -> bool:
    """Show what has a live panel, where what is shown can be renewed; ``False``: it is not so.

    Args:
        subject: what is shown.
        words: what is said of it to those who only read text; its ``repr`` if not given.
    """
    if not _has_panel(subject) or host_of(get_ipython()) is not Host.JUPYTERLAB:
        return False
    _panel_of(subject).output.show(words or subject.__repr__)
    return True


class _Page:
    """HTML as marimo takes it, which gives tables no look of their own."""

    def __init__(self, html: str) -> None:
        self._html = html

    def _mime_(self) -> tuple[str, str]:
        look = ".cv-page :is(th, td) { padding: .1em 1em .1em 0; vertical-align: top; }"
        return "text/html", f'<style>{look}</style><div class="cv-page">{self._html}</div>'


def stand_in(subject: object) -> object:
    """What marimo, which knows no IPython, is to show in place of ``subject``."""
    if _may_have_panel(subject) and current_run() is None and _is_in_loop():
        return _panel_of(subject)
    return _Page(static_html(subject))


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
        case FlowNode():
            return flow_html(subject)
        case JobList() | JobCounts():
            return _listing_of(subject).to_html()
        case Tape():
            return TapeFigure(subject).html
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


def _has_panel(subject: object) -> TypeGuard[Queue | StoreInterface]:
    return _may_have_panel(subject) and _can_be_live()


def _may_have_panel(subject: object) -> TypeGuard[Queue | StoreInterface]:
    if isinstance(subject, Queue):
        return not subject.closed
    return isinstance(subject, StoreInterface)


def _panel_of(subject: Queue | StoreInterface) -> Panel:
    from conveyor_nb.notebook.panel.widget import dashboard, panel_of  # only where one is shown

    return panel_of(subject) if isinstance(subject, Queue) else dashboard(subject)


def _can_be_live() -> bool:
    """Whether this is a cell of a kernel: a terminal has no page, and a job shows text."""
    if current_run() is not None or not _is_in_loop():
        return False
    shell = get_ipython()
    return shell is not None and not is_terminal(shell)


def _is_in_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


# -- the subjects ---------------------------------------------------------------------------


def _queue_html(queue: Queue) -> str:
    if queue.closed:
        return tag("pre", repr(queue))
    now = queue.store.clock.now()
    try:
        page = read_now(queue.store, lambda reads: read_queue_page(reads, queue.name, now))
    except Exception as error:  # whatever a store raises, the display says so
        text = f"its store, a {type(queue.store).__name__}, {why_unread(error)}"
        return headed("Queue", queue.name, [], note(text))
    return queue_page(page)


def _store_html(store: StoreInterface) -> str:
    try:
        lines = read_now(store, queue_lines)
    except Exception as error:  # likewise
        return headed("Store", type(store).__name__, [], note(why_unread(error)))
    return queues_html(store, lines)


def _worker_html(worker: Worker) -> str:
    return headed(
        "Worker",
        worker.name,
        [told(f"of {worker.queue_name}", worker.status.in_words, worker.slots_summary)],
        jobs_table(worker.running),
    )


def _job_html(job: Job) -> str:
    facts = {label.lower(): _fact(value) for label, value in job_facts(job)}
    facts |= {"options": options_text(job.opts).replace("\n", "; ")}
    attempts = [
        [
            f"{attempt.attempt}",
            attempt.outcome,
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
    tried = table(["attempt", "status", "took", "error"], attempts) if attempts else Markup()
    beside = told(job.name, str(job.state), f"in {job.queue_name}")
    return headed("Job", job.id, [beside], _facts(facts), *parts, tried)


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


def _facts(facts: Mapping[str, str]) -> Markup:
    return table([], [[label, value] for label, value in facts.items() if value])


def _fact(value: object) -> str:
    if isinstance(value, timedelta):
        return format_seconds(value.total_seconds())
    if isinstance(value, datetime):
        return moment(value)
    return "" if value is None else str(value)
