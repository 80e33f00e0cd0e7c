"""Where this package runs from: a checkout of its source, or an installed copy."""

from __future__ import annotations

from pathlib import Path

__all__ = ["PACKAGE", "find_checkout"]

PACKAGE = Path(__file__).resolve().parents[1]
"""The folder of the package."""


def find_checkout() -> Path | None:
    """The top folder of the source tree; ``None`` where the package is installed without one."""
    top = PACKAGE.parent
    return top if (top / "pyproject.toml").is_file() and (top / "notebooks").is_dir() else None
