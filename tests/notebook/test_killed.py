"""However a kernel ends, no process of its workers is left, nor what their handlers started.

All of them hold a pipe open whose other end is read here: it ends when the last of them has.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .conftest import Kernel, NewKernel, Together

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are no groups on Windows")

HANDLER = """
import asyncio, os, subprocess, sys, threading
from conveyor_nb import *

def send(job):
    pipe = open(PATH, "w")
    sleep = [sys.executable, "-c", "import time; time.sleep(1_000)"]
    started = subprocess.Popen(sleep, pass_fds=[pipe.fileno()])
    print(os.getpid(), started.pid, file=pipe, flush=True)
    if job.data == "busy":
        threading.Event().wait()
    elif job.data == "held":
        threading.Thread(target=threading.Event().wait).start()
    globals()["pipe"] = pipe
    return "done"

emails = Queue("emails")
worker = Worker("emails", send, executor="process")
"""


def kill(kernel: Kernel) -> None:
    kernel.manager.provisioner.process.kill()  # type: ignore[union-attr]


def terminate(kernel: Kernel) -> None:
    kernel.manager.provisioner.process.terminate()  # type: ignore[union-attr]


def shut_down(kernel: Kernel) -> None:
    kernel.client.shutdown()


def restart(kernel: Kernel) -> None:
    kernel.manager.restart_kernel()


def leave(kernel: Kernel) -> None:
    kernel.client.execute("%load_ext conveyor_nb\nexit()")


Ends = Callable[["Kernel"], None]


@pytest.mark.parametrize("end", [kill, terminate, shut_down, restart, leave])
@pytest.mark.parametrize("data", ["busy", "idle", "held"])
def test_nothing_is_left(together: Together, new_kernel: NewKernel, end: Ends, data: str) -> None:
    assert together(partial(end_a_kernel, new_kernel)) == "", "it has ended: they are gone"


def end_a_kernel(new_kernel: NewKernel, end: Ends, data: str, folder: Path) -> str:
    """End a kernel with a worker; gives what comes out of the pipe of its processes to its end."""
    os.mkfifo(path := folder / "pipe")
    with new_kernel(folder / "kernel.log") as kernel:
        kernel.do(f"PATH = {str(path)!r}{HANDLER}")
        kernel.do(f"job = await emails.add('send', {data!r})")
        with path.open() as pipe:
            child, started = map(int, pipe.readline().split())
            if data != "busy":
                assert kernel.value("await job.wait_until_finished()") == "done"
            assert os.getpgid(child) == os.getpgid(started) == child
            end(kernel)
            return pipe.read()


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="only Linux tells of a process's end")
def test_nothing_is_left_although_others_hold_its_pipes(
    new_kernel: NewKernel, tmp_path: Path
) -> None:
    os.mkfifo(path := tmp_path / "pipe")
    with new_kernel() as kernel:
        kernel.do(f"PATH = {str(path)!r}{HANDLER}")
        kernel.do("job = await emails.add('send', 'busy')")
        with path.open() as pipe:
            pipe.readline()
            kernel.run(
                "import signal, warnings\n"
                "warnings.simplefilter('ignore')\n"
                "forked = os.fork()\n"
                "if not forked:\n"
                "    while True:\n"
                "        signal.pause()\n"
            )
            forked = kernel.value("forked")
            try:
                kill(kernel)
                assert pipe.read() == ""
            finally:
                os.kill(forked, signal.SIGKILL)


def test_clearing_the_variables_leaves_workers_at_work(kernel: Kernel, tmp_path: Path) -> None:
    os.mkfifo(path := tmp_path / "pipe")
    kernel.do(f"PATH = {str(path)!r}{HANDLER}")
    kernel.do("default_store().clock.patience = 0.02  # the process computes for ever")
    kernel.do("job = await emails.add('send', 'busy')")
    with path.open() as pipe:
        pipe.readline()
        kernel.do("%reset -f")
        assert "running  1 of 1" in kernel.do("%conveyor status").out
        kernel.do("%conveyor stop emails --timeout 0s")
        assert pipe.read() == ""
