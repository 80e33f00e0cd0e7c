"""The package's own logger: what it tells of other people's errors is fit to be read."""

from __future__ import annotations

import logging
import traceback

from conveyor_nb.core.values.text import many_lines

__all__ = ["bound_tracebacks"]


class _Bounds(logging.Filter):
    """Has a record's traceback written such that it is bounded and does no harm to a terminal."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and not record.exc_text:
            text = "".join(traceback.format_exception(error))
            record.exc_text = many_lines(text.rstrip(), both_ends=True)
        return True


_bounds = _Bounds()


def bound_tracebacks() -> None:
    """Let the logger ``conveyor_nb`` do so; a logger that a person passes is left as it is."""
    logging.getLogger("conveyor_nb").addFilter(_bounds)
