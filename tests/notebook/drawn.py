"""What is to be seen in the picture of a belt."""

from __future__ import annotations

import base64
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping

from conveyor_nb.notebook.pictures.belt import belt_picture
from conveyor_nb.notebook.pictures.belt_plan import Plan
from conveyor_nb.notebook.pictures.belt_state import BeltState
from conveyor_nb.notebook.pictures.svg import to_svg

__all__ = ["SVG", "picture_in", "pieces_in"]

SVG = "{http://www.w3.org/2000/svg}"


def pieces_in(
    state: BeltState, plan: Plan
) -> Iterator[tuple[Mapping[str, str], tuple[float, float]]]:
    """The attributes of each job's piece, and where it is."""
    root = ET.fromstring(to_svg(belt_picture(state, plan)))
    for group in root.iter(f"{SVG}g"):
        if group.get("data-key") is not None:
            x, y = group.attrib["transform"].removeprefix("translate(").rstrip(")").split(",")
            yield group.attrib, (float(x), float(y))


def picture_in(page: str) -> str:
    """The picture in HTML, which has no text besides it: who cleans it must leave nothing bare."""
    [data] = re.findall(r'src="data:image/svg[+]xml;base64,([^"]*)"', page)
    assert not re.sub(r"<[^>]*>", "", page)
    return base64.b64decode(data).decode()
