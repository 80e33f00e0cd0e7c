"""What tests with a server share."""

from __future__ import annotations

from tests.servers.conveyor import store, theirs

__all__ = ["store", "theirs"]
