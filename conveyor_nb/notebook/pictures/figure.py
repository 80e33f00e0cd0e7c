"""A picture to keep: shown by a notebook, saved as a file, and seen without any kernel."""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path
from typing import Any

from conveyor_nb.core.errors import JobNotFoundError
from conveyor_nb.flow import FlowNode
from conveyor_nb.notebook.markup import Markup, as_page, image
from conveyor_nb.notebook.pictures.belt import belt_picture, belt_text
from conveyor_nb.notebook.pictures.belt_state import BeltState, read_belt
from conveyor_nb.notebook.pictures.flow_state import read_flow
from conveyor_nb.notebook.pictures.svg import Element, to_svg
from conveyor_nb.queue import Queue
from conveyor_nb.stores.read_now import read_now
from conveyor_nb.stores.reads import Reads

__all__ = ["Figure", "picture_of"]


class Figure:
    """A picture as SVG: a notebook shows it, and it is seen wherever the notebook is read.

    Args:
        drawing: what is drawn.
        words: the same in words, for a terminal.
    """

    def __init__(self, drawing: Element, words: str) -> None:
        self.svg = to_svg(drawing)
        """The picture as text."""
        self._words = words
        self._width = float(drawing[1]["viewBox"].split()[2])

    def __repr__(self) -> str:
        return f"<Figure: {self._words}>"

    def _repr_mimebundle_(
        self, include: Container[str] | None = None, exclude: Container[str] | None = None
    ) -> dict[str, Any]:
        """In words, as an image in HTML, and by itself.

        Who reads a stranger's notebook, or one on a forge, gets HTML from which drawings are taken
        out, all but their texts; images are left in.
        """
        return {
            "text/plain": repr(self),
            "text/html": as_page(self.html),
            "image/svg+xml": self.svg,
        }

    @property
    def html(self) -> Markup:
        """The picture as an image."""
        return image(self.svg, self._words, f"width:100%; max-width:{self._width:g}px")

    def save(self, path: str | Path) -> Path:
        """Write the picture to a file, and return its path.

        Args:
            path: the file, whose name ends with ``.svg``.

        Raises:
            ValueError: the name ends in another way.
        """
        path = Path(path)
        if path.suffix.lower() != ".svg":
            raise ValueError(f"a picture is saved as SVG, in a file such as queue.svg, not {path}")
        path.write_text(self.svg, "utf-8")
        return path


def picture_of(subject: Queue | FlowNode) -> Figure:
    """The picture of a queue or a flow as it is now; of a store that takes time, within a limit.

    Raises:
        JobNotFoundError: the job at the top of the flow is gone.
        ReadTimeoutError: the store did not answer in time.
    """
    store = subject.store if isinstance(subject, Queue) else subject.job.store

    async def look(reads: Reads) -> BeltState:
        now = store.clock.now()
        if isinstance(subject, Queue):
            return await read_belt(reads, subject.name, now)
        root = await reads.get_job(subject.job.queue_name, subject.job.id)
        if root is None:
            raise JobNotFoundError(subject.job.id, subject.job.queue_name)
        return await read_flow(reads, root, now)

    state = read_now(store, look)
    return Figure(belt_picture(state), belt_text(state))
