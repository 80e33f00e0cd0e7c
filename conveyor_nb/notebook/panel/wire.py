"""How the parts of a frame go to a page.

A kernel in a browser makes undefined of ``None`` on the way, and what is undefined gets lost. So
from there a part goes as JSON text, which ``static/parts.js`` reads.
"""

from __future__ import annotations

import json
import sys
from typing import Any

__all__ = ["IN_A_PAGE", "PART", "as_text"]

IN_A_PAGE = sys.platform == "emscripten"
"""Whether this kernel runs in a browser."""


def as_text(value: object, _: object = None) -> str:
    """A part as text.

    >>> as_text({"tab": None})
    'json:{"tab": null}'
    """
    return f"json:{json.dumps(value)}"


PART: dict[str, Any] = {"sync": True, "part": True} | ({"to_json": as_text} if IN_A_PAGE else {})
"""What a trait is tagged with whose value goes to the page."""
