"""The timeline of a queue as a figure to keep, and as a trace for other tools."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from conveyor_nb.core.values.text import one_line, shown
from conveyor_nb.notebook.pictures.chrome_trace import chrome_trace
from conveyor_nb.notebook.pictures.figure import Figure
from conveyor_nb.notebook.pictures.svg import Element
from conveyor_nb.notebook.pictures.timeline import timeline_picture, timeline_text
from conveyor_nb.notebook.pictures.timeline_state import TimelineState, read_timeline
from conveyor_nb.queue import Queue
from conveyor_nb.stores.read_now import read_now
from conveyor_nb.stores.reads import Reads

__all__ = ["Timeline", "TracedFigure", "timeline"]


class TracedFigure(Figure):
    """A picture of attempts, which other tools can have as a trace.

    Args:
        drawing: what is drawn.
        words: the same in words.
        state: the attempts.
    """

    called = "timeline"

    def __init__(self, drawing: Element, words: str, state: TimelineState) -> None:
        super().__init__(drawing, words)
        self._state = state

    def to_chrome_trace(self) -> dict[str, Any]:
        """The attempts as Chrome trace events, all of them, however many the picture draws as one.

        A process is a worker, a thread one of its slots, times are microseconds.
        """
        return chrome_trace(self._state)

    def save(self, path: str | Path) -> Path:
        """Write the picture, or the trace that Perfetto (ui.perfetto.dev) opens, to a file.

        Args:
            path: the file, whose name ends with ``.svg`` or ``.json``; it is returned.

        Raises:
            ValueError: the name ends in another way.
        """
        path = Path(path)
        if path.suffix.lower() == ".json":
            path.write_text(json.dumps(self.to_chrome_trace()), "utf-8")
            return path
        if path.suffix.lower() != ".svg":
            raise ValueError(
                f"a {self.called} is saved as a picture in a file such as run.svg, or as a Chrome"
                f" trace in one such as run.json, not {path}"
            )
        return super().save(path)


class Timeline(TracedFigure):
    """Who ran what and when, as SVG; :func:`timeline` makes it.

    Args:
        state: what is shown.
    """

    def __init__(self, state: TimelineState) -> None:
        super().__init__(timeline_picture(state), timeline_text(state), state)

    def __repr__(self) -> str:
        return f"<Timeline of queue {one_line(self._state.name, 60)}: {self._words}>"


def timeline(queue: Queue) -> Timeline:
    """Who ran what and when: a row for each slot of a worker, a bar for each attempt.

    It shows what the jobs that the store still has went through, of very many the newest 10,000
    that completed and as many that failed. Of attempts whose record tells no slot, as those of
    other programs, slots are found by what ran at the same time.

    Args:
        queue: the queue.

    Raises:
        TypeError: it is no queue.
        ReadTimeoutError: the store did not answer in time.

    >>> from conveyor_nb import MemoryStore, Queue, timeline
    >>> with_nothing = timeline(Queue("emails", store=MemoryStore()))
    >>> with_nothing
    <Timeline of queue emails: 0 attempts>
    >>> with_nothing.to_chrome_trace()["traceEvents"]
    []
    """
    if not isinstance(queue, Queue):
        raise TypeError(f"timeline takes a Queue, not {shown(queue)}")
    now = queue.store.clock.now()

    async def look(reads: Reads) -> TimelineState:
        return await read_timeline(reads, queue.name, now)

    return Timeline(read_now(queue.store, look))
