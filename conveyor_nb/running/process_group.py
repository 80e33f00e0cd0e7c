"""A child process and what its handlers start: they end together, also if the parent is killed.

A child leads a process group of its own, which whatever it starts belongs to. Where there are no
groups, on Windows, only the child itself is ended.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
from collections.abc import Callable

__all__ = ["HAS_GROUPS", "call_at_end_of", "end_own_group", "kill_group"]

HAS_GROUPS = hasattr(os, "killpg")


def kill_group(leader: int) -> None:
    """End the group that a process leads, and the process; harmless if they are gone."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def end_own_group() -> None:
    """End this process, and the group if it leads one, at once."""
    if HAS_GROUPS and os.getpgrp() == os.getpid():
        kill_group(os.getpid())
    os._exit(1)


def call_at_end_of(process: int, callback: Callable[[], object]) -> None:
    """Call back, in a thread, when a process has ended that need not be a child of this one.

    A pipe to it tells so too, unless others have inherited its end of the pipe. Only Linux offers
    this; elsewhere there is nothing beside the pipe.
    """
    if not hasattr(os, "pidfd_open"):
        return
    try:
        end = os.pidfd_open(process)
    except OSError:  # an old kernel, or it is gone, which the pipe tells
        return

    def wait() -> None:
        poll = select.poll()
        poll.register(end, select.POLLIN)
        poll.poll()
        os.close(end)
        callback()

    threading.Thread(target=wait, name="conveyor_nb-parent-end", daemon=True).start()
