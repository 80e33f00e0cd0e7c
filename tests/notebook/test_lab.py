"""``python -m conveyor_nb lab`` and ``dashboard`` as a person starts and ends them."""

from __future__ import annotations

import contextlib
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import urlopen

import nbformat
import pytest
from nbformat import v4

if TYPE_CHECKING:
    from ..conftest import StartChild

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C is sent as SIGINT")

OF_THIS_COMPUTER_TOO = "127.0.0.2"


@pytest.fixture
def notebook(tmp_path: Path) -> Path:
    nbformat.write(v4.new_notebook(), path := tmp_path / "my notebook.ipynb")
    return path


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextlib.contextmanager
def running(
    start_child: StartChild, *command: str | Path, port: int
) -> Iterator[subprocess.Popen[str]]:
    whole = [sys.executable, "-m", "conveyor_nb", *command, "--no-browser", "--port", str(port)]
    with start_child(whole, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        yield process


@pytest.fixture
def lab(notebook: Path, port: int, start_child: StartChild) -> Iterator[subprocess.Popen[str]]:
    with running(start_child, "lab", notebook, port=port) as process:
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

    if sys.platform == "linux":
        with pytest.raises(URLError, match="refused"):
            urlopen(f"http://{OF_THIS_COMPUTER_TOO}:{port}", timeout=60)

    lab.send_signal(signal.SIGINT)
    out, err = lab.communicate(timeout=60)
    assert lab.returncode == 0
    # the blank line below the address may have been read along with it
    assert (out.removeprefix("\n"), err) == ("", ""), "it has said all that there is to say"


@pytest.mark.skipif(sys.platform != "linux", reason="only there all of 127.0.0.0/8 is at hand")
@pytest.mark.parametrize("command", ["lab", "dashboard"])
def test_others_reach_it_if_it_is_told_so(
    command: str, notebook: Path, port: int, start_child: StartChild
) -> None:
    with running(start_child, command, "--ip", "0.0.0.0", notebook, port=port) as process:
        token = read_address(process).partition("?token=")[2]
        assert len(token) == 48
        with urlopen(f"http://{OF_THIS_COMPUTER_TOO}:{port}", timeout=60) as page:
            assert urlsplit(page.url).path == "/login"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
