"""Support for tests: the suite that every store passes, a user's own too.

Needs pytest and pytest-asyncio, which ``conveyor_nb`` itself does not.
"""

from __future__ import annotations

import pytest

# Their assertions explain themselves, as those of a test file do.
pytest.register_assert_rewrite("conveyor_nb.testing.conformance", "conveyor_nb.testing.steps")
