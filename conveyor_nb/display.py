"""How queues, jobs and the like are displayed: the notebook layer hands in who does that.

Nothing below the notebook layer imports it. It is opened by its name, and only once something is
displayed, so the engine also runs where there is no notebook library.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Container, Coroutine, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from pandas import DataFrame


__all__ = [
    "Displayable",
    "Picture",
    "Renderers",
    "Shown",
    "bundle_of",
    "findings_frame",
    "hand_over",
    "picture_of",
    "replay_of",
    "rows_of",
    "tape_frame_of",
]

_DOOR = "conveyor_nb.notebook.renderers"
"""Where the renderers are: importing this module hands them over."""


class Picture(Protocol):
    """A picture that a notebook shows, and that is seen wherever the notebook is read."""

    svg: str
    """The picture as SVG."""

    def save(self, path: str | Path) -> Path:
        """Write it to a file whose name ends with ``.svg``, and return the file's path."""


class Renderers(NamedTuple):
    """What is done for those who can be displayed."""

    bundle_of: Callable[[object], dict[str, Any]]
    """The forms in which a notebook may show something, by MIME type."""

    show: Callable[[object], bool]
    """Shows something in the cell that runs so that it can be renewed; ``False``: it can't."""

    stand_in: Callable[[object], object]
    """What marimo is to show in place of something."""

    frame_of: Callable[[object, str | None], DataFrame]
    """What something holds as a DataFrame, or what of it is in a state."""

    frame_of_async: Callable[[object, str | None], Coroutine[Any, Any, DataFrame]]
    """The same, in turns with the loop's other tasks."""

    rows_of: Callable[[DataFrame], list[dict[Any, Any]]]
    """The rows of a DataFrame as plain dicts."""

    picture_of: Callable[[Any], Picture]
    """A queue, a flow or a tape as a picture."""

    tape_frame_of: Callable[[Any], DataFrame]
    """The events of a tape as a DataFrame."""

    findings_frame: Callable[[Iterable[Any]], DataFrame]
    """What is odd in a store as a DataFrame."""
    replay_of: Callable[[Any], object]
    """A panel of what there was at each event of a tape."""


_handed: Renderers | None = None


def hand_over(renderers: Renderers) -> None:
    """Have everything displayed by these renderers from now on."""
    global _handed
    _handed = renderers


def _renderers() -> Renderers:
    if _handed is None:
        importlib.import_module(_DOOR)
    assert _handed is not None, f"{_DOOR} hands its renderers over"
    return _handed


class Shown:
    """Is shown richly in a notebook."""

    __slots__ = ()

    def _ipython_display_(self) -> None:
        """Show what is renewed later on; all else is shown in the forms of the next method.

        Raises:
            NotImplementedError: this is shown once, which IPython then does.
        """
        if not _renderers().show(self):
            raise NotImplementedError

    def _repr_mimebundle_(
        self, include: Container[str] | None = None, exclude: Container[str] | None = None
    ) -> dict[str, Any]:
        """What IPython shows: a live panel where there can be one, else text and static HTML."""
        return bundle_of(self)

    def _display_(self) -> object:
        """What marimo shows: a live panel, or else static HTML."""
        return _renderers().stand_in(self)


class Displayable(Shown):
    """Shows a queue, worker, job or store richly in a notebook, and gives it as a DataFrame."""

    __slots__ = ()

    def to_frame(self, state: str | None = None) -> DataFrame:
        """What this holds, as a pandas DataFrame with the job id as its index.

        A queue, a store and a list of jobs give their jobs, a worker the jobs it runs now, a job
        its attempts.

        Args:
            state: of a queue, a store or a list: only the jobs in this state.

        Raises:
            ValueError: there is no such state.
            TypeError: a state was asked of a worker or job.
            ReadTimeoutError: the store did not answer within 10 seconds.
        """
        return _renderers().frame_of(self, state)

    async def to_frame_async(self, state: str | None = None) -> DataFrame:
        """What :meth:`to_frame` gives, while workers, panels and all else of the loop go on.

        For very many jobs, and for a store that takes its time: there is no limit to that.

        >>> import asyncio
        >>> from conveyor_nb import MemoryStore, Queue
        >>> async def main():
        ...     queue = Queue("emails", store=MemoryStore(ids="sequential"))
        ...     await queue.add("send", {"to": "ada@example.org"})
        ...     return await queue.to_frame_async("waiting")
        >>> asyncio.run(main()).loc["emails-1", "data"]
        {'to': 'ada@example.org'}
        """
        return await _renderers().frame_of_async(self, state)


def bundle_of(subject: object) -> dict[str, Any]:
    """The forms in which a notebook may show ``subject``."""
    return _renderers().bundle_of(subject)


def picture_of(subject: Any) -> Picture:
    """A picture: see ``Queue.picture``, ``FlowNode.picture`` and ``Tape.picture``."""
    return _renderers().picture_of(subject)


def tape_frame_of(tape: Any) -> DataFrame:
    """The events of a tape: see ``Tape.to_frame``."""
    return _renderers().tape_frame_of(tape)


def findings_frame(found: Iterable[Any]) -> DataFrame:
    """What is odd in a store: see ``StoreInterface.check``."""
    return _renderers().findings_frame(found)


def rows_of(frame: DataFrame) -> list[dict[Any, Any]]:
    """The rows of a DataFrame as plain dicts: see ``Queue.add_frame``."""
    return _renderers().rows_of(frame)


def replay_of(tape: Any) -> object:
    """A panel of a tape: see ``Tape.replay``."""
    return _renderers().replay_of(tape)
