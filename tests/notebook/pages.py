"""A page with a panel, without a browser."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from conveyor_nb.notebook.panel.event_log import KEPT
from conveyor_nb.notebook.panel.widget import Panel

__all__ = ["Page"]


class Page:
    """Does what ``panel.js`` does with a panel: draws each frame, says so, and sends clicks."""

    def __init__(self, panel: Panel, name: str = "page") -> None:
        self.panel = panel
        self.name = name
        self.draws = True
        self.events: list[dict[str, Any]] = []
        self._changed = asyncio.Event()
        panel.observe(self._take_frame, "frame")

    def _take_frame(self, change: dict[str, Any]) -> None:
        if self.panel.tab == "events":
            kept = [] if self.panel.events["reset"] else self.events
            self.events = [*self.panel.events["rows"], *kept][:KEPT]
        if self.draws:
            self.panel.receive({"do": "drawn", "view": self.name, "frame": change["new"]})
        self._changed.set()

    async def say(self, do: str, **more: object) -> None:
        """Send a message as JupyterLab does: it arrives on another thread."""
        message = {"do": do, "view": self.name, "n": 1, **more}
        await asyncio.to_thread(self.panel.receive, message)
        await asyncio.sleep(0)  # the panel takes it on this loop

    async def turn_to(self, tab: str) -> None:
        """Open a tab."""
        await self.say("tab", tab=tab)
        await self.until(lambda: self.panel.tab == tab)

    async def until(self, shown: Callable[[], bool]) -> None:
        """Wait until a frame shows what is waited for."""
        while not shown():
            self._changed.clear()
            await self._changed.wait()

    def event_types(self) -> list[str]:
        return [event["type"] for event in self.events]
