"""What the commands that serve a page have in common: where they listen, and how to get there."""

from __future__ import annotations

import errno
import ipaddress
import os
import secrets
import socket
import sys
import warnings
import webbrowser
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from conveyor_nb.cli.errors import CommandError

__all__ = ["HOST", "Place", "check_ip", "has_browser", "is_root", "unwarned"]

HOST = "127.0.0.1"
"""This computer, for its own programs alone."""

FIRST_PORT = 8888

_REASONS = {
    errno.EADDRINUSE: "port {port} is in use; name another with --port, or none for a free one",
    errno.EADDRNOTAVAIL: "this computer has no address {ip}; --ip 0.0.0.0 stands for all it has",
    errno.EACCES: "you may not listen on port {port}; those above 1023 are free to all",
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a command serves its page.

    Args:
        ip: the address it listens on; ``0.0.0.0`` and ``::`` are all that the computer has.
        port: the port; without one, 8888 or the next that is free.
        token: what opens the page.
    """

    ip: str = HOST
    port: int | None = None
    token: str = field(default_factory=lambda: secrets.token_hex(24))

    @property
    def is_open(self) -> bool:
        """Whether other computers reach it."""
        return not ipaddress.ip_address(self.ip).is_loopback

    def require(self) -> None:
        """Check that one can listen there, before anything is started.

        Raises:
            CommandError: one can't.
        """
        family = socket.AF_INET6 if ":" in self.ip else socket.AF_INET
        try:
            socket.create_server((self.ip, self.port or 0), family=family).close()
        except OSError as error:
            raise self.refusal(error) from error

    def refusal(self, error: OSError) -> CommandError:
        """What is said when one can't listen there."""
        reason = _REASONS.get(error.errno or 0)
        if reason is None:
            return CommandError(f"can't listen on {self.ip}: {error.strerror}")
        return CommandError(reason.format(ip=self.ip, port=self.port))

    def traits(self, server: str) -> dict[str, object]:
        """Where to listen, as an application of Jupyter calls it.

        Args:
            server: the class of the application.
        """
        named = {"ip": self.ip, "port": self.port or FIRST_PORT}
        if self.port is not None:
            named["port_retries"] = 0  # this port or none
        traits = {f"{server}.{name}": value for name, value in named.items()}
        return traits | _traits_of_kernels()

    def addresses(self, path: str, port: int) -> list[str]:
        """What to open in a browser: first on this computer, then from elsewhere.

        >>> Place(token="123").addresses("lab", 8888)
        ['http://127.0.0.1:8888/lab?token=123']
        >>> Place("192.168.1.5", token="123").addresses("lab", 8888)
        ['http://192.168.1.5:8888/lab?token=123']
        """
        hosts = [f"[{self.ip}]" if ":" in self.ip else self.ip]
        if ipaddress.ip_address(self.ip).is_unspecified:
            hosts = [HOST, socket.gethostname()]
        return [f"http://{host}:{port}/{path}?token={self.token}" for host in hosts]

    def announce(self, what: str, path: str, port: int) -> None:
        """Say that it is served, and where."""
        where = "" if self.is_open else " on this computer"
        addresses = "\n".join(f"    {address}" for address in self.addresses(path, port))
        print(f"{what} is ready{where}; Ctrl-C ends it.\n\n{addresses}\n")
        if self.is_open:
            print(
                "Whoever has an address with its token can run code here, and what is sent there "
                "is not encrypted.\n"
            )
        sys.stdout.flush()


def _traits_of_kernels() -> dict[str, object]:
    """Have kernels talk in private, where they can: else each warns of it below the address."""
    from jupyter_client.manager import KernelManager

    name = "transport_encryption"  # of jupyter_client 8.10 and later
    return {f"KernelManager.{name}": "auto"} if name in KernelManager.class_traits() else {}


def check_ip(text: str) -> str:
    """An address to listen on.

    Raises:
        ValueError: it is none.

    >>> check_ip("localhost"), check_ip("0.0.0.0")
    ('127.0.0.1', '0.0.0.0')
    """
    if text == "localhost":
        return HOST
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise ValueError(
            f"an address is written like 192.168.1.5, or 0.0.0.0 for all that this computer has; "
            f"not {text!r}"
        ) from None


def unwarned() -> AbstractContextManager[object]:
    """While a server is set up: what Python warns of then is for those who made it."""
    return warnings.catch_warnings(record=True)


def has_browser() -> bool:
    """Whether a browser with a window can be opened here, by this user."""
    if is_root() or (sys.platform == "linux" and not has_display()):
        return False
    try:
        webbrowser.get()
    except webbrowser.Error:
        return False
    return True


def has_display() -> bool:
    """Whether there is a screen to show a window on; text browsers can't run JupyterLab."""
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def is_root() -> bool:
    """Whether this is root, as in most containers."""
    return hasattr(os, "geteuid") and os.geteuid() == 0
