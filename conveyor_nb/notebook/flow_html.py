"""What ``FlowProducer.add`` gives, as HTML: a tree with the states and a ring of progress."""

from __future__ import annotations

import itertools
from collections import Counter

from conveyor_nb.core.model import JobState
from conveyor_nb.core.values.text import one_line
from conveyor_nb.flow import FlowNode
from conveyor_nb.notebook.listings import MOST_ROWS, flow_nodes
from conveyor_nb.notebook.markup import Markup, image, tag
from conveyor_nb.notebook.pictures.pieces import state_mark
from conveyor_nb.notebook.pictures.ring import ring
from conveyor_nb.notebook.pictures.svg import el, text_of

__all__ = ["flow_html"]

_MOST_DEPTH = 20
_LEFT = "text-align:left"
_HEAD = ("job", "queue", "id", "state")


def flow_html(flow: FlowNode) -> Markup:
    """The flow as it was when it was added, or when its jobs were refreshed.

    Without styles and pictures, as forges leave it, it is a table that says the same.
    """
    nodes = list(flow_nodes(flow))
    counts = Counter(node.job.state for _, node in nodes)
    done, failed = counts[JobState.COMPLETED], counts[JobState.FAILED]
    told = f" {len(nodes):,} jobs, {done:,} completed{f', {failed:,} failed' * bool(failed)}"
    title = tag(
        "p",
        *(
            image(text_of(ring(counts)), "", "width:22px; height:22px"),
            " Flow ",
            tag("strong", tag("bdi", flow.job.name)),
            told,
        ),
        style="display:flex; align-items:center; gap:.4em",
    )
    rows = [_row(depth, node) for depth, node in itertools.islice(nodes, MOST_ROWS)]
    head = tag("thead", tag("tr", *(tag("th", name, style=_LEFT) for name in _HEAD)))
    more = len(nodes) - len(rows)
    note = tag("p", f"\u2026 {more:,} more") if more else Markup()
    return tag("div", title, tag("table", head, tag("tbody", *rows)), note)


def _row(depth: int, node: FlowNode) -> Markup:
    job = node.job
    indent = f"{_LEFT}; padding-left:{0.5 + 1.6 * min(depth, _MOST_DEPTH):.1f}em"
    branch = "\u2514 " if depth else ""
    cells = [
        tag("td", branch, tag("bdi", one_line(job.name)), style=indent),
        tag("td", tag("bdi", job.queue_name), style=_LEFT),
        tag("td", tag("bdi", job.id), style=_LEFT),
        tag("td", _mark(job.state), f" {job.state}", style=f"{_LEFT}; white-space:nowrap"),
    ]
    return tag("tr", *cells)


def _mark(state: JobState) -> Markup:
    mark = el(
        "svg",
        state_mark(state, 0, 0),
        xmlns="http://www.w3.org/2000/svg",
        viewBox="0 0 12 12",
        width=13,
        height=13,
    )
    return image(text_of(mark), "", "width:13px; height:13px; vertical-align:-2px")
