"""``inside.py`` can only be imported inside Pyodide, so no doctests are looked for in it."""

from __future__ import annotations

collect_ignore = ["inside.py"]
