"""``python -m conveyor_nb lab`` as a person starts and ends it."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import urlopen

import nbformat
import pytest
from nbformat import v4

if TYPE_CHECKING:
    from ..conftest import StartChild

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C is sent as SIGINT")


@pytest.fixture
def notebook(tmp_path: Path) -> Path:
    nbformat.write(v4.new_notebook(), path := tmp_path / "my notebook.ipynb")
    return path


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture
def lab(notebook: Path, port: int, start_child: StartChild) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "conveyor_nb", "lab", "--no-browser", "--port", str(port)]
    with start_child(
        [*command, notebook], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        yield process


def read_address(lab: subprocess.Popen[str]) -> str:
    """Wait until JupyterLab says that it is ready, and where."""
    assert lab.stdout is not None
    for line in lab.stdout:
        if line.strip().startswith("http"):
            return line.strip()
    pytest.fail(f"JupyterLab ended without an address:\n{lab.stderr and lab.stderr.read()}")


def test_it_serves_the_notebook_until_ctrl_c(lab: subprocess.Popen[str], port: int) -> None:
    address = read_address(lab)
    where = re.escape(f"http://127.0.0.1:{port}/lab/tree/my%20notebook.ipynb?token=")
    assert re.fullmatch(f"{where}[0-9a-f]{{48}}", address)

    with urlopen(address, timeout=60) as page:
        assert page.url == address, "the token is accepted, nobody is sent to log in"
        assert b"JupyterLab" in page.read()
    with urlopen(address.partition("?")[0], timeout=60) as page:
        assert urlsplit(page.url).path == "/login", "without the token, nobody gets in"
    with pytest.raises(HTTPError, match="403"):
        urlopen(f"http://127.0.0.1:{port}/api/contents", timeout=60)

    lab.send_signal(signal.SIGINT)
    out, err = lab.communicate(timeout=60)
    assert lab.returncode == 0
    assert "Traceback" not in out + err
