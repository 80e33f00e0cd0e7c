"""The little SVG that pictures are made of: elements as plain lists, which a page gets as JSON.

A page makes elements of them, and :func:`to_svg` a text in which everything is escaped. Colours
are attributes, so that a picture is whole where style sheets are taken out. A style sheet within
it adds the dark theme: by the page's own mark where JupyterLab shows it as a part of the page,
else by what the reader's system prefers.
"""

from __future__ import annotations

import re
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from conveyor_nb.core.values.text import fit

__all__ = [
    "Attributes",
    "Element",
    "at",
    "dark_rules",
    "el",
    "group",
    "image_rules",
    "picture",
    "soft",
    "text",
    "text_of",
    "to_svg",
]

Element = list[Any]
"""A tag's name, its attributes, and its children: elements or texts."""

Value = float | str | None
Attributes = dict[str, Value]

_DARK_RULES = {
    ">g": "filter:brightness(1.4)",  # the hues of names and states, and the greys below with them
    " .cvp-ground": "fill:#161a1f;stroke:#3a424c",
    " .cvp-ink": "fill:#c8ccd2",
    " .cvp-soft": "fill:#848d99",
    " .cvp-belt": "fill:#2a3038",
    " .cvp-roller": "fill:#47505a",
    " .cvp-line": "stroke:#5b6672",
    " .cvp-box": "fill:#171c21",
    " .cvp-rest": "fill:#3a424c",
}


def dark_rules(page: str) -> str:
    """The rules of the dark theme for pictures that are a part of a page.

    Args:
        page: the selector of a page that is dark.
    """
    kept = f"{page} svg.cvp[width]"  # those of a live panel have no width
    return "".join(f"{kept}{name}{{{rule}}}" for name, rule in _DARK_RULES.items())


def image_rules(dark: str, light: str) -> str:
    """The rules for pictures that stand in a page as images: they go by the scheme of colours.

    JupyterLab's themes set it, and need no rule. For other pages:

    Args:
        dark: the selector of a page that is dark.
        light: that of one that is light.
    """
    return f"{dark} img.cvp-image{{color-scheme:dark}}{light} img.cvp-image{{color-scheme:light}}"


_ON_A_DARK_PAGE = dark_rules('body[data-jp-theme-light="false"]')
_BY_ITSELF = "".join(f"svg.cvp:root{name}{{{rule}}}" for name, rule in _DARK_RULES.items())
_INVALID = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
_STYLE = f"{_ON_A_DARK_PAGE}@media (prefers-color-scheme: dark){{{_BY_ITSELF}}}"


def el(tag: str, /, *children: Element | str, **attributes: Value) -> Element:
    """An element; ``_`` in a name of an attribute stands for ``-``, and one at its end for nothing.

    Numbers are rounded to what an eye can tell; attributes that are ``None`` are left out.

    >>> el("rect", x=1.501, class_="cvp-box", fill_opacity=0.25)
    ['rect', {'x': 1.5, 'class': 'cvp-box', 'fill-opacity': 0.25}]
    """
    told = {
        key.rstrip("_").replace("_", "-"): value if isinstance(value, str) else round(value, 2)
        for key, value in attributes.items()
        if value is not None
    }
    return [tag, told, *(fit(child) if isinstance(child, str) else child for child in children)]


def text(x: float, y: float, content: str, /, size: float = 12, **attributes: Value) -> Element:
    """A line of text, in the colour of ink unless a class says otherwise."""
    look: Attributes = {"class_": "cvp-ink", "fill": "#23282e", **attributes}
    return el("text", content, x=x, y=y, font_size=size, **look)


def soft(x: float, y: float, content: str, /, size: float = 12, **attributes: Value) -> Element:
    """A line of text that stands back."""
    look: Attributes = {"class_": "cvp-soft", "fill": "#5a636e", **attributes}
    return text(x, y, content, size, **look)


def group(x: float, y: float, *children: Element, **attributes: Value) -> Element:
    """Elements that are moved together."""
    return el("g", *children, transform=at(x, y), **attributes)


def at(x: float, y: float) -> str:
    """The move to a place."""
    return f"translate({round(x, 1):g},{round(y, 1):g})"


def picture(width: float, height: float, title: str, *children: Element) -> Element:
    """A whole picture; ``title`` is what a screen reader says of it."""
    return el(
        "svg",
        el("title", title),
        *children,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {width:g} {height:g}",
        width="100%",
        style=f"max-width:{width:g}px",
        class_="cvp",
        role="img",
        aria_label=fit(title),
        font_family="system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif",
    )


def to_svg(element: Element) -> str:
    r"""A whole picture as text, with a style sheet for the dark theme.

    >>> whole = to_svg(["svg", {}, ["text", {"x": 1.5, "aria-label": '"<"'}, "1 < 2"]])
    >>> whole.partition("</style>")[2]
    '<text x="1.5" aria-label=\'"&lt;"\'>1 &lt; 2</text></svg>'
    """
    tag, attributes, *children = element
    return text_of([tag, attributes, ["style", {}, _STYLE], *children])


def text_of(element: Element | str) -> str:
    """An element as text, for a little picture within HTML that needs no style sheet.

    >>> text_of(["p", {"title": "<"}, "1 < 2"])
    '<p title="&lt;">1 &lt; 2</p>'
    """
    if isinstance(element, str):
        return escape(_valid(element))
    tag, attributes, *children = element
    told = "".join(f" {key}={quoteattr(_value(value))}" for key, value in attributes.items())
    inner = _STYLE if tag == "style" else "".join(map(text_of, children))
    return f"<{tag}{told}>{inner}</{tag}>" if inner else f"<{tag}{told}/>"


def _value(value: float | str) -> str:
    return _valid(value) if isinstance(value, str) else f"{value:g}"


def _valid(text: str) -> str:
    """A text without the characters of which a single one makes XML unreadable."""
    return _INVALID.sub("\ufffd", fit(text))
