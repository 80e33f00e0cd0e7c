"""Run the notebooks and save their outputs anew: after a change of what is shown.

``python -m tests.renew_notebooks`` runs all of them, and with numbers after it, such as ``05 13``,
those. Look at what has changed before you keep it: nbval compares with it from then on. What nobody
sees (how long a cell took, the state of widgets) is not saved.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

FOLDER = Path(__file__).resolve().parent.parent / "notebooks"
KEPT = frozenset({"conveyor_nb", "kernelspec", "language_info"})
"""What of a notebook's metadata is kept."""

CELL_TIMEOUT = 300


def main() -> None:
    """Renew those that were asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.renew_notebooks", description=__doc__)
    parser.add_argument("number", nargs="*", help="the numbers of notebooks, such as 05")
    wanted = parser.parse_args().number
    for path in sorted(FOLDER.glob("[0-9][0-9]_*.ipynb")):
        if not wanted or path.name[:2] in wanted:
            began = time.monotonic()
            changed = renew(path)
            took = time.monotonic() - began
            print(f"{path.name}: {'renewed' if changed else 'as before'}, {took:.1f} s", flush=True)


def renew(path: Path) -> bool:
    """Run a notebook and save it; whether anything has changed."""
    before = path.read_text(encoding="utf-8")
    node: NotebookNode = nbformat.reads(before, as_version=4)
    metadata = {key: value for key, value in node.metadata.items() if key in KEPT}
    NotebookClient(
        node,
        timeout=CELL_TIMEOUT,
        coalesce_streams=True,
        kernel_name="python3",
        extra_arguments=["--log-level=CRITICAL"],
        resources={"metadata": {"path": str(path.parent)}},
    ).execute()
    for cell in node.cells:
        cell.metadata.clear()
    node.metadata.clear()
    node.metadata.update(metadata)
    after = str(nbformat.writes(node, indent=1)) + "\n"
    path.write_text(after, encoding="utf-8")
    return after != before


if __name__ == "__main__":
    main()
