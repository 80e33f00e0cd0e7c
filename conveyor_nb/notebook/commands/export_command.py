"""``%conveyor export``: the handler of a notebook's worker as a module for a worker process."""

from __future__ import annotations

import asyncio
import inspect
import linecache
import os
import subprocess
import sys
import tempfile
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from conveyor_nb.core.handlers import Handler
from conveyor_nb.core.values.text import one_line, shown
from conveyor_nb.notebook.commands.commands import Argument, Command, command
from conveyor_nb.notebook.commands.kernel_commands import WORKER
from conveyor_nb.notebook.commands.magic_output import Answer
from conveyor_nb.notebook.exporting import (
    HEAD,
    HandlerSource,
    function_of_body,
    module_of,
    without_worker,
)
from conveyor_nb.notebook.mistakes import Mistake, quoted
from conveyor_nb.notebook.shell.session import Session
from conveyor_nb.worker import Worker

__all__ = ["EXPORT_COMMANDS"]

EXPORT_COMMANDS: dict[str, Command] = {}

_CHECK = """\
import sys
sys.path.insert(0, sys.argv[1])
from conveyor_nb.cli.errors import CommandError
from conveyor_nb.cli.worker.loading import load
try:
    load(sys.argv[2], what="the handler")
except CommandError as error:
    sys.exit(str(error))
"""
_OURS = HEAD.partition("{")[0]


@command(
    EXPORT_COMMANDS,
    WORKER,
    Argument("path", "the module to write, such as mailer.py"),
    Argument("--force", "write over a file that is something else", flag=True),
    example="%conveyor export emails mailer.py",
    waits=True,
)
async def export(session: Session, args: Namespace) -> Answer:
    """Write a worker's handler, and what it needs of other cells, as a module.

    `python -m conveyor_nb worker` runs it in a process of its own. It is imported once before it is
    said to be there; if something can't come along, nothing is written.
    """
    worker = session.worker(args.worker)
    path = _path(args.path, force=args.force)
    text, name = module_of(
        _sources(worker, session.shell),
        _cells(session.shell),
        session.variables,
        queue=worker.queue_name,
        module=path.stem,
    )
    await asyncio.to_thread(_check, text, path, name)
    path.write_text(text, encoding="utf-8")
    return Answer.saying(
        f"{path} has {name}; run it in a process of its own: python -m conveyor_nb worker "
        f"{path.stem}:{name} --queue {quoted(worker.queue_name)} --store sqlite:///queue.db"
    )


def _path(given: str, *, force: bool) -> Path:
    path = Path(given)
    if path.suffix != ".py" or not path.stem.isidentifier():
        raise Mistake(f"a module is called such as mailer.py, not {shown(given)}")
    if not path.absolute().parent.is_dir():
        raise Mistake(f"there is no folder {shown(str(path.parent))}")
    if path.exists() and not force and not path.read_text("utf-8", "replace").startswith(_OURS):
        raise Mistake(f"{shown(given)} is there, and no export; --force writes over it")
    return path


def _sources(worker: Worker, shell: Any) -> Mapping[str | None, HandlerSource]:
    if isinstance(worker.handler, Mapping):
        return {job: _source_of(one, shell) for job, one in worker.handler.items()}
    return {None: _source_of(worker.handler, shell)}


def _source_of(handler: Handler, shell: Any) -> HandlerSource:
    """A handler as code.

    Raises:
        Mistake: it has none, or its code would not stand by itself.
    """
    function: Any = inspect.unwrap(handler)
    name, module = getattr(function, "__name__", ""), getattr(function, "__module__", None)
    if not inspect.isfunction(function) or not name.isidentifier():
        raise Mistake(f"{shown(handler)} is no function with a name; write it with `def`")
    if function.__closure__:
        raise Mistake(f"{name} is made inside another function, and uses what is only there")
    filename = function.__code__.co_filename
    if filename.startswith("<%%worker "):
        body = "".join(linecache.getlines(filename)[1:])
        return function_of_body(name, _plain(body, shell))
    if module not in (None, "__main__"):
        return HandlerSource(name, f"from {module} import {name}")
    try:
        return HandlerSource(name, without_worker(_plain(inspect.getsource(function), shell)))
    except OSError:
        raise Mistake(f"the code of {name} is not at hand; run its cell again") from None


def _cells(shell: Any) -> list[str]:
    """The cells as they ran, each as Python.

    What is run without being noted in the history, as tools do, is known to the compiler alone.
    """
    compiled = getattr(shell.compile, "_filename_map", {})
    known = ["".join(linecache.getlines(filename)) for filename in compiled]
    return [*known, *(_plain(cell, shell) for cell in shell.user_ns["In"])]


def _plain(cell: str, shell: Any) -> str:
    """A cell as Python."""
    return str(shell.input_transformer_manager.transform_cell(cell))


def _check(text: str, path: Path, name: str) -> None:
    """Import the module in a process of its own, in the folder where it is going to be.

    Raises:
        Mistake: it can't be imported.
    """
    with tempfile.TemporaryDirectory(prefix="conveyor_nb-") as folder:
        Path(folder, path.name).write_text(text, encoding="utf-8")
        done = subprocess.run(
            [sys.executable, "-c", _CHECK, folder, f"{path.stem}:{name}"],
            cwd=path.absolute().parent,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        last = done.stderr.strip().rpartition("\n")[2]
        raise Mistake(f"nothing was written, as it does not work by itself: {one_line(last, 500)}")
