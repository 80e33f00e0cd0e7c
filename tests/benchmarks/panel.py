"""What an open panel costs: the loop's lag, what goes to the page, and how much slower jobs flow.

A real kernel runs the jobs. Its page is here, and does what ``panel.js`` does: it takes each
message apart, and says of each frame that it is drawn, by a subshell of the kernel, as JupyterLab
does. Whatever is said of an open panel is compared with the same without one, in the same run.
"""

from __future__ import annotations

import ast
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

from conveyor_nb.notebook.panel.queue_view import TABS
from tests.benchmarks.measuring import Figure, Plan

__all__ = ["measure_panel"]

_ROOT = Path(__file__).resolve().parents[2]
_MILLI = 1e3
_KILO = 1e3
_FEW = 1_000
_EVENTS = 10_000
_PATIENCE = 60
_NONE = "no panel"
_VIEWS = (*TABS, "an open job", "queues")
_WAIT = "the longest wait of another task at 10,000 events a second, panel open"
_BYTES = "the largest message to the page at 10,000 events a second"
_RATE = "messages a second to the page at 10,000 events a second"
_COST = "a job's cost with the panel open, against that without one"
_TARGETS = {_WAIT: 50.0, _BYTES: 30.0, _RATE: 11.0, _COST: 125.0}
_UNITS = {_WAIT: "ms", _BYTES: "KB", _RATE: "", _COST: "%"}
_SIZES = {1_000: 1, 10_000: 1_000, 100_000: 100_000}
"""How many jobs are held, by the sizes of the other benchmarks."""


def measure_panel(plan: Plan) -> Iterator[Figure]:
    """Each view of a panel, with few and with many jobs held."""
    taken: dict[tuple[str, str, int], list[tuple[float, float]]] = {}
    is_quick = plan.up_to(_FEW) < _FEW
    jobs, seconds = (500, 0.1) if is_quick else (20_000, 2.0)
    views, sizes = (_VIEWS[:1], plan.sizes[:1]) if is_quick else (_VIEWS, plan.sizes)
    with _kernel() as page:
        for size in sizes:
            held = _SIZES.get(size, size)
            page.do(f"load = Load({held})\nawait load.prepare()")
            page.do(f"await load.flow({min(jobs, 5_000)})")  # what is made on first use is made now
            for _ in plan.rounds(f"panel over {held:,} jobs"):
                for view in views:
                    for group, name, value in _sample(page, view, jobs, seconds):
                        taken.setdefault((group, name, held), []).append(value)
            page.do("await load.end()")
    for (group, name, held), samples in sorted(taken.items(), key=lambda one: one[0][0]):
        walls, cpus = zip(*samples, strict=True)
        cpu = statistics.median(cpus) if group in (_WAIT, _COST) else None
        target = _TARGETS[group] if name != _NONE else None
        yield Figure(group, name, held, _UNITS[group], walls, cpu, at_most=target)


def _sample(
    page: Page, view: str, jobs: int, seconds: float
) -> Iterator[tuple[str, str, tuple[float, float]]]:
    """What one view costs, and what the same is without it: by the wall, and of processors."""
    events, flow = f"await load.events({_EVENTS}, {seconds})", f"await load.flow({jobs})"
    yield _WAIT, _NONE, _times(page.value(events), _MILLI)
    before = page.value(flow)
    page.open(view)
    yield _WAIT, view, _times(page.value(events), _MILLI)
    size, rate = max(page.got, default=0) / _KILO, len(page.got) / page.took
    yield _BYTES, view, (size, size)
    yield _RATE, view, (rate, rate)
    open_ = page.value(flow)
    page.close()
    after = page.value(flow)
    wall, cpu = (one * 200 / (a + b) for one, a, b in zip(open_, before, after, strict=True))
    yield _COST, view, (wall, cpu)


def _times(pair: tuple[float, float], factor: float) -> tuple[float, float]:
    return pair[0] * factor, pair[1] * factor


@dataclass
class Page:
    """A page with the panel, and the notebook around it.

    Args:
        client: the way to the kernel.
    """

    client: BlockingKernelClient
    got: list[int] = field(default_factory=list)
    """The sizes in bytes of what came during the last cell."""
    took: float = 0.0
    """How many seconds that took."""
    _shell: str | None = None
    _panel: str | None = None
    _frame: int = 0

    def begin(self) -> None:
        """Ask for a subshell, as JupyterLab does for widgets where the kernel has some."""
        info = self.client.kernel_info(reply=True, timeout=_PATIENCE)
        if "kernel subshells" not in info["content"].get("supported_features", ()):
            return
        message = self.client.session.msg("create_subshell_request", {})
        self.client.control_channel.send(message)
        reply = self.client.control_channel.get_msg(timeout=_PATIENCE)
        self._shell = reply["content"]["subshell_id"]

    def open(self, view: str) -> None:
        """Show a panel, as a view of it."""
        of = "queues" if view == "queues" else "queue"
        self.do(f"await load.open({of!r})")
        assert self._panel is not None, "the kernel has told of it"
        self._say({"do": "hello"})
        if view in TABS:
            self._say({"do": "tab", "tab": view})
        elif view == "an open job":
            failed = self.value(
                "(await load.queue.get_jobs('failed', end=1) or await "
                "load.queue.get_jobs(end=1))[0].id"
            )
            self._say({"do": "open", "id": failed})
        self.do("await asyncio.sleep(0.3)")

    def close(self) -> None:
        """Leave it."""
        self._say({"do": "bye"})
        self._panel = None
        self.do("await load.close()")

    def value(self, expression: str) -> Any:
        """What an expression gives, which must be a literal."""
        return ast.literal_eval(self.do(expression))

    def do(self, code: str) -> str:
        """Run a cell, and draw what comes meanwhile; gives the text of what it gave."""
        self.got, text, began = [], "", time.perf_counter()
        cell = self.client.execute(code)
        while True:
            parts = self.client.iopub_channel.socket.recv_multipart()
            _, parts_of_it = self.client.session.feed_identities(parts)
            message = self.client.session.deserialize(parts_of_it)
            kind, content = message["msg_type"], message["content"]
            if kind.startswith("comm") or kind == "update_display_data":
                self._take(kind, content, sum(map(len, parts)))
            elif message["parent_header"].get("msg_id") != cell:
                continue
            elif kind == "error":
                raise RuntimeError("\n".join(content["traceback"]))
            elif kind == "execute_result":
                text = content["data"]["text/plain"]
            elif kind == "status" and content["execution_state"] == "idle":
                self.took = time.perf_counter() - began
                return text

    def _take(self, kind: str, content: dict[str, Any], size: int) -> None:
        if kind == "comm_open" and "frame" in content["data"].get("state", {}):
            self._panel = content["comm_id"]
        elif kind != "comm_open":
            self.got.append(size)
        state = content.get("data", {}).get("state", {})
        if "frame" in state and kind == "comm_msg":
            self._say({"do": "drawn", "frame": state["frame"]})

    def _say(self, content: dict[str, Any]) -> None:
        data = {"method": "custom", "content": {**content, "view": "page", "n": 1}}
        message = self.client.session.msg("comm_msg", {"comm_id": self._panel, "data": data})
        if self._shell is not None:
            message["header"]["subshell_id"] = self._shell
        self.client.shell_channel.send(message)


@contextmanager
def _kernel() -> Iterator[Page]:
    """A kernel of this Python that knows of the load, and its page."""
    with tempfile.TemporaryDirectory() as sockets:
        manager = KernelManager(kernel_name="python3")
        if os.name != "nt":
            manager.transport, manager.ip = "ipc", f"{sockets}/kernel"
        manager.start_kernel(cwd=str(_ROOT))
        client = manager.client()
        client.start_channels()
        try:
            client.wait_for_ready(timeout=_PATIENCE)
            page = Page(client)
            page.begin()
            page.do("%load_ext conveyor_nb\nimport asyncio")
            page.do("from tests.benchmarks.panel_load import Load")
            yield page
        finally:
            client.stop_channels()
            manager.shutdown_kernel()
            manager.cleanup_resources()
