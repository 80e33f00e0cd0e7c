"""The pages that people read, and the fenced blocks in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

__all__ = ["CHECKOUT", "PAGES", "Block", "blocks_of"]

CHECKOUT = Path(__file__).resolve().parents[1]
PAGES = [
    path.relative_to(CHECKOUT).as_posix()
    for path in sorted(CHECKOUT.glob("notebooks/**/*.md"))
    if ".ipynb_checkpoints" not in path.parts
]
"""The pages of the site that are no notebooks; the README is read like them."""

_BLOCK = re.compile(r"^```(?P<kind>[^\n`]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A fenced block: what is named behind its fence, and what is in it."""

    kind: str
    text: str


def blocks_of(page: str) -> Iterator[Block]:
    """The blocks of a page, in their order."""
    for match in _BLOCK.finditer((CHECKOUT / page).read_text(encoding="utf-8")):
        yield Block(match["kind"], match["text"])
