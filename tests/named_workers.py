"""The end of named workers, as it comes when the notebook extension is unloaded."""

from __future__ import annotations

import asyncio

from conveyor_nb import StoreInterface
from conveyor_nb.registry import take_named_workers


async def close_named_workers(store: StoreInterface | None = None) -> None:
    """Close the named workers of a store, or of every store, at once, and forget them."""
    await asyncio.gather(*(worker.close(timeout=0) for worker in take_named_workers(store)))
