"""What would end the event loop, and the kernel with it, if it got there: it does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .conftest import Kernel

PRELUDE = """
import asyncio, logging, os, sys
from conveyor_nb import *
from conveyor_nb.notebook.panel.widget import panel_of

logging.getLogger("conveyor_nb").setLevel("CRITICAL")
emails = Queue("emails")

class BadReduce:
    def __reduce__(self):
        bad()

class BadText(Exception):
    def __str__(self):
        bad()

class BadRepr:
    def __repr__(self):
        bad()
"""


@pytest.fixture
def kernel(kernel: Kernel) -> Kernel:
    """The module's kernel in real time, with ways to go wrong."""
    kernel.do(f"%conveyor reset --ids sequential\n{PRELUDE}")
    return kernel


def run_job(kernel: Kernel, options: str = "") -> str:
    """Run one job, and look whether the kernel is still there; in which state the job ended."""
    kernel.do(
        f"job = await emails.add('send', {options})\n"
        "try:\n    await job.wait_until_finished()\nexcept JobFailedError:\n    pass\n"
        "await asyncio.sleep(0)"
    )
    return str(kernel.value("str((await job.refresh()).state)"))


RAISE = ["raise KeyboardInterrupt", "sys.exit(3)"]


@pytest.mark.parametrize("raises", RAISE)
@pytest.mark.parametrize(
    ("listen", "times"),
    [
        ("emails.on('completed', call)", 2),
        ("worker.on('completed', call)", 2),
        ("(await emails.add('send')).observe().subscribe(on_completed=call)", 1),
    ],
)
@pytest.mark.parametrize("call", ["def", "async def"])
def test_who_listens(kernel: Kernel, raises: str, listen: str, times: int, call: str) -> None:
    kernel.do(f"called = []\n{call} call(*told):\n    called.append(told)\n    {raises}")
    kernel.do(f"worker = Worker('emails', lambda job: 1)\n{listen}")
    assert [run_job(kernel) for _ in range(2)] == ["completed"] * 2
    assert kernel.value("len(called)") >= times


@pytest.mark.parametrize("raises", RAISE)
@pytest.mark.parametrize(
    ("body", "options"),
    [
        ("bad()", ""),
        ("return BadReduce()", ""),
        ("raise BadText", ""),
        (
            "raise ValueError",
            "attempts=3, backoff=Backoff('custom', strategy=lambda attempts: bad())",
        ),
    ],
)
@pytest.mark.parametrize("head", ["def", "async def"])
def test_handlers(kernel: Kernel, raises: str, body: str, options: str, head: str) -> None:
    kernel.do(f"def bad():\n    {raises}")
    kernel.do(f"@emails.worker\n{head} send(job):\n    {body}")
    assert run_job(kernel, options) == "failed"
    kernel.do(f"@emails.worker\n{head} send(job):\n    return 1")
    assert run_job(kernel) == "completed"


@pytest.mark.parametrize("raises", [*RAISE, "os._exit(3)"])
def test_handlers_in_processes(kernel: Kernel, raises: str) -> None:
    kernel.do(
        f"@emails.worker(executor='process')\ndef send(job):\n    if job.data:\n        {raises}"
    )
    assert run_job(kernel, "1") == "failed"
    assert run_job(kernel) == "completed"
    kernel.do("%conveyor reset")


@pytest.mark.parametrize("raises", RAISE)
def test_displays_and_panels(kernel: Kernel, raises: str) -> None:
    kernel.do(f"def bad():\n    {raises}")
    kernel.do("panel = panel_of(emails)\npanel.receive({'do': 'hello', 'view': 'page', 'n': 1})")
    kernel.do("@emails.worker\nasync def send(job):\n    return BadRepr()")
    assert run_job(kernel) == "completed"
    assert "emails-1" in kernel.do("emails").shown[0]["text/html"]
    kernel.do("panel.receive({'do': 'open', 'view': 'page', 'n': 2, 'id': 'emails-1'})")
    kernel.do(
        "while not panel.detail:\n"
        "    panel.receive({'do': 'drawn', 'view': 'page', 'frame': panel.frame})\n"
        "    await asyncio.sleep(0)"
    )
    assert "whose repr raised" in kernel.value("str(panel.detail)")
    kernel.do("panel.close()")


@pytest.mark.parametrize("raises", RAISE)
def test_a_panel_that_can_not_be_read(kernel: Kernel, raises: str) -> None:
    kernel.do(f"def bad():\n    {raises}")
    kernel.do(
        "panel = panel_of(emails)\n"
        "async def read():\n    bad()\n"
        "panel._view.read = read\n"
        "panel.receive({'do': 'hello', 'view': 'page', 'n': 1})"
    )
    kernel.do("while panel.notice is None:\n    await asyncio.sleep(0)")
    assert "KeyboardInterrupt" in kernel.value("panel.notice['text']") or "SystemExit" in (
        kernel.value("panel.notice['text']")
    )
    kernel.do("panel.close()")
