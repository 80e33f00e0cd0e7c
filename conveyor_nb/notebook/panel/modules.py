"""The front end's modules as one text, and its style sheets likewise, as anywidget takes them.

They are plain ES modules, so that editors, a type checker and Node's test runner read them as they
are. A page gets them one after the other in the order of their imports, without any build step.
"""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["bundle", "style_sheet"]

_IMPORT = re.compile(r'^import \{(?P<names>[^}]*)\} from "\./(?P<file>[\w/.-]+\.js)";\n', re.M)
_EXPORT = re.compile(r"^export (?=(?:async )?function\b|const\b|let\b|class\b)", re.M)
_NAME = re.compile(r"^(?:async )?(?:function\*?|const|let|class) (\w+)", re.M)


def bundle(entry: Path) -> str:
    """The text of a module and of all that it imports, from its own folder.

    Args:
        entry: the module's file; what it exports by default is what the whole exports.

    Raises:
        ValueError: two modules have a name in common at their top level, or import one under
            another name: in one text that can't be.
    """
    texts: dict[str, str] = {}
    _collect(entry.parent, entry.name, texts)
    owners: dict[str, str] = {}
    for file, text in texts.items():
        for name in _NAME.findall(text):
            if (owner := owners.setdefault(name, file)) != file:
                raise ValueError(f"{file} and {owner} both have a {name} at their top level")
    return "\n".join(texts.values())


def style_sheet(folder: Path) -> str:
    """The style sheets of all views as one text: ``panel.css`` with what they share comes first."""
    files = sorted(folder.glob("*.css"), key=lambda file: (file.name != "panel.css", file.name))
    return "\n".join(file.read_text("utf-8") for file in files)


def _collect(folder: Path, file: str, texts: dict[str, str]) -> None:
    """Take in a module after those that it imports."""
    if file in texts:
        return
    text = (folder / file).read_text("utf-8")
    for found in _IMPORT.finditer(text):
        if " as " in found["names"]:
            raise ValueError(f"{file} imports {found['names'].strip()}: no name may be changed")
        _collect(folder, found["file"], texts)
    texts[file] = _EXPORT.sub("", _IMPORT.sub("", text))
