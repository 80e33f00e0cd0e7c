"""What the notebook layer does for those below it, who can't import it: see ``display``.

Each imports what it needs when it is first asked: showing a queue does not take pandas.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from conveyor_nb.core.finding import Finding
from conveyor_nb.display import Renderers, hand_over
from conveyor_nb.notebook.require_pandas import require_pandas
from conveyor_nb.stores.tapes.tape import Tape

if TYPE_CHECKING:
    from pandas import DataFrame

    from conveyor_nb.flow import FlowNode
    from conveyor_nb.notebook.pictures.figure import Figure
    from conveyor_nb.queue import Queue

__all__ = ["RENDERERS"]


def _bundle_of(subject: object) -> dict[str, Any]:
    from conveyor_nb.notebook.render import mimebundle

    return mimebundle(subject)


def _show(subject: object) -> bool:
    from conveyor_nb.notebook.render import show

    return show(subject)


def _stand_in(subject: object) -> object:
    from conveyor_nb.notebook.render import stand_in

    return stand_in(subject)


def _frame_of(subject: object, state: str | None) -> DataFrame:
    require_pandas()
    from conveyor_nb.notebook.to_frame import frame_of

    return frame_of(subject, state)


async def _frame_of_async(subject: object, state: str | None) -> DataFrame:
    require_pandas()
    from conveyor_nb.notebook.to_frame import frame_of_async

    return await frame_of_async(subject, state)


def _rows_of(frame: DataFrame) -> list[dict[Any, Any]]:
    from conveyor_nb.notebook.frame_rows import payloads_of

    return payloads_of(frame)


def _picture_of(subject: Queue | FlowNode | Tape) -> Figure:
    if isinstance(subject, Tape):
        from conveyor_nb.notebook.pictures.tape_figure import TapeFigure

        return TapeFigure(subject)
    from conveyor_nb.notebook.pictures.figure import picture_of

    return picture_of(subject)


def _tape_frame_of(tape: Tape) -> DataFrame:
    require_pandas()
    from conveyor_nb.notebook.tape_frame import tape_frame

    return tape_frame(tape)


def _findings_frame(found: Iterable[Finding]) -> DataFrame:
    require_pandas()
    from conveyor_nb.notebook.frames import findings_frame

    return findings_frame(found)


def _replay_of(tape: Tape) -> object:
    from conveyor_nb.notebook.replay.widget import replay

    return replay(tape)


RENDERERS = Renderers(
    _bundle_of,
    _show,
    _stand_in,
    _frame_of,
    _frame_of_async,
    _rows_of,
    _picture_of,
    _tape_frame_of,
    _findings_frame,
    _replay_of,
)
hand_over(RENDERERS)
