"""A store that answers nothing at once, to be shown wherever one in memory is."""

from __future__ import annotations

from collections.abc import Callable
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any

from conveyor_nb import MemoryStore, StoreInterface
from conveyor_nb.clocks.clock import checkpoint


def _afar(name: str) -> Callable[..., Any]:
    async def ask(store: FarStore, *given: Any, **options: Any) -> Any:
        store.asked.append(name)
        await checkpoint()
        answer = await getattr(store.near, name)(*given, **options)
        await checkpoint()
        return answer

    return ask


def _here(name: str) -> Callable[..., Any]:
    def ask(store: FarStore, *given: Any, **options: Any) -> Any:
        return getattr(store.near, name)(*given, **options)

    return ask


if TYPE_CHECKING:
    _Every = MemoryStore  # as it has all of their signatures
else:
    _Every = type(StoreInterface)(
        "_Every",
        (StoreInterface,),
        {
            name: _afar(name) if iscoroutinefunction(getattr(MemoryStore, name)) else _here(name)
            for name in StoreInterface.__abstractmethods__
        },
    )


class FarStore(_Every):
    """Another store, seen from afar: each of its coroutines gives way to the loop, twice.

    Args:
        near: the store that is behind it; one in memory if not given.
    """

    def __init__(self, near: MemoryStore | None = None) -> None:
        self.near = near or MemoryStore(ids="sequential")
        self.clock = self.near.clock
        self.asked: list[str] = []
        """What it was asked, in order."""
