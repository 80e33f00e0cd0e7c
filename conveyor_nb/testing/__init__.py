"""Support for tests: the suite that every store passes, a user's own too.

``conformance`` is the suite, and says how a store of your own runs it; ``events`` watches what a
store tells, ``steps`` puts one to work in a line, and ``reference`` is a queue to compare it with.

Needs pytest and pytest-asyncio, which ``conveyor_nb`` itself does not.

>>> import asyncio
>>> from conveyor_nb import MemoryStore
>>> from conveyor_nb.testing.events import capture_events
>>> from conveyor_nb.testing.steps import add, complete, take
>>> async def main():
...     async with MemoryStore() as store:
...         async with capture_events(store, "emails") as events:
...             await add(store, "a", priority=1)
...             await complete(store, await take(store))
...         return events.story
>>> asyncio.run(main())
['job:waiting a', 'job:active a', 'job:completed a', 'queue:drained']
"""

from __future__ import annotations

import pytest

# Their assertions explain themselves, as those of a test file do.
pytest.register_assert_rewrite("conveyor_nb.testing.conformance", "conveyor_nb.testing.steps")
