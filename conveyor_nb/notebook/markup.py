"""The little HTML that static displays are made of; every text in it is escaped."""

from __future__ import annotations

import html
from base64 import b64encode
from collections.abc import Iterable

from conveyor_nb.core.values.text import fit

__all__ = ["Markup", "as_page", "image", "table", "tag"]


class Markup(str):
    """HTML made here; any other text is escaped."""

    __slots__ = ()


def tag(name: str, *children: str, style: str = "") -> Markup:
    """An element.

    >>> tag("p", "1 < 2 ", tag("b", "yes"))
    '<p>1 &lt; 2 <b>yes</b></p>'
    """
    inner = "".join(
        child if isinstance(child, Markup) else html.escape(fit(child)) for child in children
    )
    attribute = f' style="{style}"' if style else ""
    return Markup(f"<{name}{attribute}>{inner}</{name}>")


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> Markup:
    """A table with its texts to the left; blanks at the beginning of a cell stay."""
    titles = [tag("th", title, style="text-align:left") for title in head]
    lines = [tag("tr", *map(_cell, row)) for row in rows]
    header = tag("thead", tag("tr", *titles)) if titles else Markup()
    return tag("table", header, tag("tbody", *lines))


def image(svg: str, words: str, style: str = "width:100%; max-width:920px") -> Markup:
    """A picture within the text: as an image, no page takes its parts for its own.

    Args:
        svg: the picture.
        words: what it shows, for those who can't see it; none if the text says so too.
        style: how large it is, and where.
    """
    data = b64encode(svg.encode()).decode()
    alt = html.escape(fit(words))
    source = f"data:image/svg+xml;base64,{data}"
    return Markup(f'<img class="cvp-image" style="{style}" alt="{alt}" src="{source}">')


def as_page(content: str) -> str:
    """HTML for a notebook.

    What stands there between dollars is money, not mathematics, wherever MathJax looks on.
    """
    return f'<div class="tex2jax_ignore mathjax_ignore">{content}</div>'


def _cell(text: str) -> Markup:
    if isinstance(text, Markup):
        return tag("td", text)
    return tag("td", text, style=f"text-align:left{'; white-space:pre' * text.startswith(' ')}")
