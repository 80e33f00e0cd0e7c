"""A tape as a figure to keep, in characters for a terminal, and as a trace for other tools."""

from __future__ import annotations

from conveyor_nb.notebook.pictures.swimlane import swimlane_picture, swimlane_text
from conveyor_nb.notebook.pictures.swimlane_lines import swimlane_lines
from conveyor_nb.notebook.pictures.swimlane_state import swimlane_of
from conveyor_nb.notebook.pictures.timeline_figure import TracedFigure
from conveyor_nb.stores.tapes.tape import Tape

__all__ = ["TapeFigure"]


class TapeFigure(TracedFigure):
    """A tape as SVG.

    Args:
        tape: what is shown.
    """

    called = "tape"

    def __init__(self, tape: Tape) -> None:
        state = swimlane_of(tape)
        left_out = tape.left_out_in_words
        super().__init__(swimlane_picture(state, left_out), swimlane_text(state), state.timeline)
        self.lines = swimlane_lines(state, tape.subject, left_out)
        """The same in characters."""
