"""What a notebook saves of a panel: a picture of the last state, whoever runs the notebook."""

from __future__ import annotations

import re
import subprocess
import sys
from base64 import b64decode
from pathlib import Path
from typing import Any

import nbformat
import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from nbclient import NotebookClient
from nbformat import v4

from conveyor_nb.notebook.host import Host, host_of

from .conftest import PATIENCE, Kernel

JUPYTERLAB = {"deletedCells": [], "recordTiming": True, "cellId": "a"}
VIEW = "application/vnd.jupyter.widget-view+json"
WORK = """\
%load_ext conveyor_nb
from conveyor_nb import Queue, VirtualClock, MemoryStore
%conveyor reset --clock virtual --ids sequential --seed 1
queue = Queue("emails")

@queue.worker(name="mailer", concurrency=2)
async def send(job):
    await job.sleep("1s")
    if job.data == 3:
        raise ValueError("no such mailbox")

jobs = await queue.add_bulk([{"name": "send", "data": n} for n in range(12)])
clock = queue.store.clock
"""


def ask(client: BlockingKernelClient, code: str, metadata: dict[str, Any]) -> str:
    """Send a cell as a host does that tells this of it."""
    content = {"code": code, "silent": False, "store_history": True, "allow_stdin": True}
    message = client.session.msg("execute_request", content)
    message["metadata"] = metadata
    client.shell_channel.send(message)
    return str(message["header"]["msg_id"])


def shown_next(client: BlockingKernelClient, kind: str) -> dict[str, Any]:
    """The next thing of a kind that a kernel shows."""
    while True:
        message: dict[str, Any] = client.get_iopub_msg(timeout=PATIENCE)
        assert message["msg_type"] != "error", message["content"]
        if message["msg_type"] == kind:
            content: dict[str, Any] = message["content"]
            return content


def picture_in(page: str) -> str:
    """The picture in a page."""
    [data] = re.findall('src="data:image/svg[+]xml;base64,([^"]+)"', page)
    return b64decode(data).decode()


def test_in_jupyterlab_it_is_renewed_after_each_cell(kernel: Kernel) -> None:
    kernel.do(WORK)
    ask(kernel.client, "queue", JUPYTERLAB)
    first = shown_next(kernel.client, "display_data")
    assert VIEW not in first["data"]
    assert first["data"]["text/plain"] == "<Queue emails: 10 waiting, 2 active>"
    assert "10 waiting" in first["data"]["text/html"]
    assert f"cv-mount-{first['transient']['display_id']}" in first["data"]["text/html"]

    ask(kernel.client, "await clock.advance('2500ms')", JUPYTERLAB)
    second = shown_next(kernel.client, "update_display_data")
    assert second["transient"] == first["transient"]
    assert (
        second["data"]["text/plain"] == "<Queue emails: 6 waiting, 2 active, 3 completed, 1 failed>"
    )
    page = second["data"]["text/html"]
    assert "ValueError: no such mailbox" in page
    assert "1 failed" in picture_in(page)

    ask(kernel.client, "queue.name", JUPYTERLAB)  # nothing has changed: nothing is sent
    ask(kernel.client, "await queue.add('send')", JUPYTERLAB)
    assert "7 waiting" in shown_next(kernel.client, "update_display_data")["data"]["text/html"]


@pytest.mark.parametrize("line", ["%conveyor", "queue.store"])
def test_so_is_the_dashboard_of_all_queues(line: str, kernel: Kernel) -> None:
    kernel.do(WORK)
    ask(kernel.client, line, JUPYTERLAB)
    first = shown_next(kernel.client, "display_data")
    assert f"cv-mount-{first['transient']['display_id']}" in first["data"]["text/html"]
    is_status = "mailer  emails  running  2 of 2" in first["data"]["text/plain"]
    assert is_status is (line == "%conveyor")

    ask(kernel.client, "await clock.advance('2500ms')", JUPYTERLAB)
    second = shown_next(kernel.client, "update_display_data")
    assert second["transient"] == first["transient"]
    assert ">6</td>" in second["data"]["text/html"]
    if is_status:
        assert "  6        0       2          3       1" in second["data"]["text/plain"]


def test_a_reset_leaves_the_panels_of_the_store_of_before(kernel: Kernel) -> None:
    kernel.do("from conveyor_nb import MemoryStore, Queue\nother = MemoryStore()")
    kernel.do("from conveyor_nb.notebook.panel.widget import panel_of")
    kernel.do("left, kept = panel_of(Queue('emails')), panel_of(Queue('emails', store=other))")
    assert kernel.value("kept.head['store']") == "store other"
    kernel.do("%conveyor reset")
    told = "From before %conveyor reset: its workers are closed"
    assert kernel.value("left.ended, kept.ended") == (told, "")


def run_by_program() -> list[Any]:
    """The outputs of a notebook that a program runs."""
    cells = [v4.new_code_cell(WORK), v4.new_code_cell("await clock.advance('2500ms')\nqueue")]
    notebook = v4.new_notebook(cells=cells)
    NotebookClient(notebook, kernel_name="python3", timeout=PATIENCE).execute()
    outputs: list[Any] = notebook.cells[1].outputs
    return outputs


def test_a_program_that_runs_a_notebook_gets_the_same_each_time(tmp_path: Path) -> None:
    outputs = run_by_program()
    [shown] = outputs
    assert set(shown.data) == {"text/plain", "text/html"}
    assert "cv-mount" not in shown.data["text/html"]
    assert outputs == run_by_program()

    notebook = v4.new_notebook(cells=[v4.new_code_cell("queue", outputs=outputs)])
    nbformat.write(notebook, tmp_path / "saved.ipynb")
    command = [sys.executable, "-m", "nbconvert", "--to", "html", str(tmp_path / "saved.ipynb")]
    subprocess.run(command, check=True, capture_output=True)
    page = (tmp_path / "saved.html").read_text("utf-8")
    assert 'alt="Queue emails: 6 waiting, 2 active, 3 completed, 1 failed' in page


class Asked:
    """A shell whose kernel was asked in some way."""

    def __init__(self, metadata: dict[str, Any] | None, *, allow_stdin: bool = True) -> None:
        self.kernel = self
        self._asked = {"metadata": metadata, "content": {"allow_stdin": allow_stdin}}

    def get_parent(self, channel: str) -> dict[str, Any]:
        assert channel == "shell"
        return self._asked


@pytest.mark.parametrize(
    ("shell", "host"),
    [
        (Asked(JUPYTERLAB), Host.JUPYTERLAB),
        (Asked(JUPYTERLAB, allow_stdin=False), Host.JUPYTERLAB),
        (Asked({"cellId": "vscode-notebook-cell:/a.ipynb"}), Host.WIDGETS),
        (Asked({}), Host.WIDGETS),
        (Asked(None, allow_stdin=False), Host.FILE),
        (object(), Host.WIDGETS),
        (None, Host.WIDGETS),
    ],
)
def test_the_host_is_known_by_what_it_tells_of_a_cell(shell: object, host: Host) -> None:
    assert host_of(shell) is host


def test_voila_runs_a_notebook_to_show_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVER_SOFTWARE", "voila/0.5.8")
    assert host_of(Asked({}, allow_stdin=False)) is Host.WIDGETS
