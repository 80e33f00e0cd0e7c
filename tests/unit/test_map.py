"""The map from promises to tests names what there is."""

from __future__ import annotations

import re
from pathlib import Path


def test_every_test_of_the_map_exists(checkout: Path) -> None:
    text = (checkout / "tests" / "README.md").read_text()
    suite = checkout / "conveyor_nb" / "testing" / "conformance"
    sources = ""
    for name in set(re.findall(r"`([\w/]+\.py)`", text)):
        path = checkout / "tests" / name if "/" in name else suite / name
        assert path.exists(), f"the map names {name}, which is not there"
        sources += path.read_text()
    for test in re.findall(r"`(test_\w+)`", text):
        assert f"def {test}(" in sources, f"the map names {test}, which is in none of its files"
