"""What the commands that serve a page have in common."""

from __future__ import annotations

import os
import sys
import webbrowser

__all__ = ["HOST", "has_browser", "is_root"]

HOST = "127.0.0.1"


def has_browser() -> bool:
    """Whether a browser with a window can be opened here, by this user."""
    if is_root() or (sys.platform == "linux" and not has_display()):
        return False
    try:
        webbrowser.get()
    except webbrowser.Error:
        return False
    return True


def has_display() -> bool:
    """Whether there is a screen to show a window on; text browsers can't run JupyterLab."""
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def is_root() -> bool:
    """Whether this is root, as in most containers."""
    return hasattr(os, "geteuid") and os.geteuid() == 0
