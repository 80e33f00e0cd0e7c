"""The little HTML that static displays are made of; every text in it is escaped."""

from __future__ import annotations

import html
from collections.abc import Iterable

from conveyor_nb.core.values.text import fit

__all__ = ["Markup", "as_page", "table", "tag"]


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


def as_page(content: str) -> str:
    """HTML for a notebook.

    What stands there between dollars is money, not mathematics, wherever MathJax looks on.
    """
    return f'<div class="tex2jax_ignore mathjax_ignore">{content}</div>'


def _cell(text: str) -> Markup:
    return tag("td", text, style=f"text-align:left{'; white-space:pre' * text.startswith(' ')}")
