"""Programs of Conveyor that run, each in a process of Node's, and do what they are told."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
from collections.abc import AsyncIterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from conveyor_nb.clocks.tasks import BackgroundTasks

__all__ = ["CHECKOUT", "NODE", "Program", "RefusedError", "checkout", "node", "running"]

CHECKOUT, NODE = "CONVEYOR_CHECKOUT", "CONVEYOR_NODE"
DRIVER = Path(__file__).with_name("driver.mjs")
_MOST_LINE = 1 << 24


class RefusedError(Exception):
    """A program of Conveyor has answered with an error."""


def checkout() -> Path:
    """The folder of Conveyor; skips the test where none is at hand."""
    folder = os.environ.get(CHECKOUT)
    if not folder:
        pytest.skip(f"{CHECKOUT} names no checkout of Conveyor")
    return Path(folder)


def node() -> str:
    """Node, of version 22 at least, which runs TypeScript as it is."""
    found = os.environ.get(NODE) or shutil.which("node")
    if found is None:
        pytest.skip("no Node.js here")
    return found


def connection(dsn: str, schema: str) -> dict[str, Any]:
    """The options by which its driver reaches a schema of a server."""
    parts = urlsplit(dsn)
    options: dict[str, Any] = {
        "user": parts.username or "postgres",
        "password": parts.password or "",
        "database": parts.path.strip("/") or "postgres",
        "connection": {"search_path": schema, "client_min_messages": "warning"},
    }
    port = parts.port or 5432
    folder = parse_qs(parts.query).get("host")
    if folder is not None:
        return options | {"path": f"{folder[0]}/.s.PGSQL.{port}"}
    return options | {"host": parts.hostname, "port": port}


class Program:
    """A program of Conveyor.

    Args:
        process: what it runs in.
    """

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.events: list[dict[str, Any]] = []
        """What it was told of the queues that it watches, and its own faults."""
        self._numbers = count()
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._ready = asyncio.Event()

    async def hear(self) -> None:
        """Take what it says, until it ends."""
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            said = json.loads(line)
            if "event" in said:
                self.events.append(said["event"])
                self._ready.set()
            elif "error" in said:
                self._answers.pop(said["id"]).set_exception(RefusedError(said["error"]))
            else:
                self._answers.pop(said["id"]).set_result(said["answer"])
        for future in self._answers.values():
            future.set_exception(RefusedError("the program is gone"))
        self._answers.clear()
        self._ready.set()

    async def ready(self) -> None:
        """Wait until it is connected."""
        await self._ready.wait()
        if not self.events:
            raise RefusedError("the program did not start; what it said is above")
        self.events.clear()

    async def ask(self, what: str, **given: Any) -> Any:
        """Have it do something; returns what comes of it.

        Raises:
            RefusedError: it could not, and why.
        """
        number = next(self._numbers)
        future = asyncio.get_running_loop().create_future()
        self._answers[number] = future
        assert self.process.stdin is not None
        self.process.stdin.write((json.dumps({"id": number, "ask": what, **given}) + "\n").encode())
        await self.process.stdin.drain()
        return await future

    async def queue(self, queue: str, does: str, *args: Any) -> Any:
        """Call a method of one of its queues."""
        return await self.ask("queue", queue=queue, does=does, args=args)

    async def job(self, queue: str, job_id: str, does: str, *args: Any) -> Any:
        """Call a method of a job."""
        return await self.ask("job", queue=queue, job=job_id, does=does, args=args)

    async def store(self, does: str, *args: Any) -> Any:
        """Call a method of its store."""
        return await self.ask("store", does=does, args=args)

    async def api(self, method: str, path: str, body: Any = None) -> Any:
        """Ask its dashboard."""
        given = {} if body is None else {"body": body}
        answer = await self.ask("api", method=method, path=path, **given)
        if answer["status"] >= 400:
            raise RefusedError(f"{method} {path}: {answer}")
        return answer["body"]


@contextlib.asynccontextmanager
async def running(dsn: str, schema: str, *arguments: str) -> AsyncIterator[Program]:
    """A program of Conveyor on a schema of a server, ended in the end."""
    process = await start(dsn, schema, arguments)
    program = Program(process)
    tasks = BackgroundTasks()
    tasks.spawn(program.hear())
    try:
        await program.ready()
        yield program
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        while tasks:
            await asyncio.wait(list(tasks))


async def start(dsn: str, schema: str, arguments: Sequence[str] = ()) -> asyncio.subprocess.Process:
    """Start a program of Conveyor."""
    where = json.dumps(connection(dsn, schema))
    return await asyncio.create_subprocess_exec(
        *(node(), "--no-warnings", "--experimental-transform-types", str(DRIVER)),
        *(str(checkout().absolute()), where, *arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=_MOST_LINE,
    )
