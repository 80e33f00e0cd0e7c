"""The one door from the engine to the notebook: it is opened only when something is displayed.

Importing it imports no notebook library, so the engine also runs where there is none.
"""

from __future__ import annotations

from collections.abc import Container
from typing import TYPE_CHECKING, Any

from conveyor_nb.core.model import ALL_NAMES
from conveyor_nb.core.text import shown

if TYPE_CHECKING:
    from conveyor_nb.notebook.frames import DataFrame
    from conveyor_nb.stores.interface import StoreInterface

_MOST_NAMES = 5

__all__ = ["Displayable", "Shown", "bundle_of", "describe_queue", "rows_of"]


class Shown:
    """Is shown richly in a notebook."""

    __slots__ = ()

    def _repr_mimebundle_(
        self, include: Container[str] | None = None, exclude: Container[str] | None = None
    ) -> dict[str, Any]:
        """What IPython shows: a live panel where there can be one, else text and static HTML."""
        return bundle_of(self)


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
            TypeError: a state was asked of a worker or job, or the store can't be read at once.
        """
        from conveyor_nb.notebook.frames import frame_of

        return frame_of(self, state)


def bundle_of(subject: object) -> dict[str, Any]:
    """The forms in which a notebook may show ``subject``."""
    from conveyor_nb.notebook.render import mimebundle

    return mimebundle(subject)


def rows_of(frame: DataFrame) -> list[dict[Any, Any]]:
    """The rows of a DataFrame as plain dicts: see ``Queue.add_frame``."""
    from conveyor_nb.notebook.frame_rows import payloads_of

    return payloads_of(frame)


def describe_queue(store: StoreInterface, name: str) -> str:
    """A queue's jobs and pauses in a few words, such as ``"12 waiting, 4 active, paused"``.

    A store that can't be read without waiting is named instead.
    """
    counts = getattr(store, "counts", None)
    if counts is None:
        return f"in a {type(store).__name__}"
    parts = [f"{count} {state}" for state, count in counts(name).items() if count] or ["no jobs"]
    paused = store.paused_names(name)  # type: ignore[attr-defined]  # goes with counts
    if ALL_NAMES in paused:
        return ", ".join([*parts, "paused"])
    names = sorted(paused)
    parts += [f"{shown(name)} paused" for name in names[:_MOST_NAMES]]
    parts += [f"{len(names) - _MOST_NAMES:,} more names paused"] * (len(names) > _MOST_NAMES)
    return ", ".join(parts)
