"""The workers that are known by name, so that a cell that runs again takes over from itself."""

from __future__ import annotations

import contextlib
import functools
import inspect
import warnings
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, ParamSpec, Protocol, TypeVar, Unpack
from weakref import WeakKeyDictionary, WeakSet

from conveyor_nb.core.errors import HandlerReplacedWarning
from conveyor_nb.core.handlers import ALL_OTHERS, Handler, Handlers, check_handler
from conveyor_nb.core.options.worker_options import DecoratorKeywords, StartKeywords
from conveyor_nb.core.values.text import shown
from conveyor_nb.stores import StoreInterface, check_store
from conveyor_nb.worker import Worker

__all__ = [
    "HandlerFunction",
    "install_handler",
    "install_worker",
    "named_workers",
    "next_version",
    "restart_worker",
    "take_named_workers",
]


class _Book:
    """The workers of one store that are known by name.

    The store itself has it, and nobody else: workers have their store, so whatever kept them for
    it would keep both for ever.
    """

    def __init__(self) -> None:
        self.named: dict[str, Worker] = {}
        self.giving_way: set[Worker] = set()
        """Workers that were replaced, while they still run their last jobs."""


_BOOK = "_conveyor_nb_named_workers"
_with_book: WeakSet[StoreInterface] = WeakSet()


def _book_of(store: StoreInterface) -> _Book:
    _with_book.add(store)
    book: _Book = vars(store).setdefault(_BOOK, _Book())
    return book


P = ParamSpec("P")
R = TypeVar("R", covariant=True)


class HandlerFunction(Protocol[P, R]):
    """A function as ``@queue.worker`` gives it back: as it was, with its worker at hand."""

    worker: Worker
    """The worker whose handler it is now: of several, the one that was made last."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function itself."""


def named_workers(store: StoreInterface | None = None) -> dict[str, Worker]:
    """The named workers of a store by name, also those that are closed and may start again."""
    return dict(_book_of(check_store(store)).named)


class _Part(NamedTuple):
    """A handler by name of a worker, and the options that were given with it."""

    handler: Handler
    options: StartKeywords


_parts: WeakKeyDictionary[Worker, dict[str, _Part]] = WeakKeyDictionary()
"""The handlers of workers that were given one by one, the newest last."""


def next_version(before: Worker | None) -> int:
    """The version of a worker that takes over from another one, or from none."""
    return ((before and before.version) or 0) + 1


def install_worker(
    queue_name: str,
    handler: Handler,
    *,
    store: StoreInterface | None = None,
    version: int | None = None,
    job_name: str | None = None,
    **options: Unpack[StartKeywords],
) -> Worker:
    """Start a worker under its name; one that has the name already gives way.

    The old worker takes no more jobs; those it runs finish with the old handler. If the new one
    can't be made, the old one stays as it is.

    Args:
        queue_name, handler, store, options: see ``Worker``.
        version: what its ``version`` is to be, if not that after the old one's.
        job_name: the handler is for jobs of this name; the new worker has it beside those that
            the old one had for others. Of options that were given with several of them the
            newest hold.
    """
    store = check_store(store)
    before = named_workers(store).get(options.get("name") or queue_name)
    parts: dict[str, _Part] = {}
    taken: Handler | Handlers = handler
    if job_name is not None:
        if before is not None and before.queue_name == queue_name:
            parts.update(_parts.get(before, {}))
        parts.pop(job_name, None)
        parts[job_name] = _Part(handler, options)
        taken = {name: part.handler for name, part in parts.items()}
        auto_start = options.get("auto_start", True)
        for part in reversed(parts.values()):
            options = {**part.options, **options}
        options["auto_start"] = auto_start
    worker = Worker(queue_name, taken, store=store, **options)
    worker.version = next_version(before) if version is None else version
    if parts:
        _parts[worker] = parts
    return _install(worker)


def install_handler(
    queue_name: str,
    handler: Callable[P, R],
    *,
    store: StoreInterface,
    **options: Unpack[DecoratorKeywords],
) -> HandlerFunction[P, R]:
    """What ``@queue.worker`` does: :meth:`install_worker`, and give the function back.

    Args:
        queue_name, handler, store, options: see :meth:`install_worker`.

    Returns:
        The handler itself, as an attribute is all that it needs; if it can't have that, a
        ``functools.partial`` of it.
    """
    given: Any = check_handler(handler)
    job_name = options.get("job_name")
    before = named_workers(store).get(options.get("name") or queue_name)
    if before is not None and job_name is not None and _leaves_names(before, queue_name, job_name):
        warnings.warn(
            f"the handler for jobs named {shown(job_name)} takes over from the one that worker "
            f"{shown(before.name)} had for jobs of every name, and jobs of other names fail from "
            'now on; decorate that one with job_name="*" to have it for all others',
            HandlerReplacedWarning,
            stacklevel=2,
        )
    if not _can_have_worker(given):
        given = functools.partial(given)
    install_worker(queue_name, given, store=store, **options)
    function: HandlerFunction[P, R] = given
    return function


def _leaves_names(before: Worker, queue_name: str, job_name: str) -> bool:
    """Whether a handler for one name leaves jobs without any, whose handler was ``before``'s."""
    is_for_all = before.queue_name == queue_name and not isinstance(before.handler, Mapping)
    return is_for_all and not before.status.is_over and job_name != ALL_OTHERS


def _can_have_worker(handler: Handler) -> bool:
    """Whether a handler may have an attribute ``worker`` from us."""
    if isinstance(known := getattr(handler, "worker", None), Worker):
        return True
    return known is None and hasattr(handler, "__dict__") and not inspect.ismethod(handler)


def _attach(worker: Worker) -> None:
    """Give each of its handlers the worker as an attribute."""
    handlers = worker.handler.values() if isinstance(worker.handler, Mapping) else [worker.handler]
    for handler in handlers:
        if _can_have_worker(handler):
            with contextlib.suppress(AttributeError, TypeError):  # somebody else's __setattr__
                handler.worker = worker  # type: ignore[attr-defined]


def restart_worker(name: str, *, store: StoreInterface | None = None) -> Worker:
    """Let the named worker take jobs again; for one that was closed, a new one like it.

    Raises:
        ValueError: there is no worker of this name.
    """
    known = named_workers(store)
    if name not in known:
        names = ", ".join(map(repr, sorted(known))) or "none"
        raise ValueError(f"no worker {shown(name)}; the named workers are: {names}")
    worker = known[name]
    if worker.status.is_over:
        successor = worker.successor()
        successor.version = worker.version
        if worker in _parts:
            _parts[successor] = _parts[worker]
        return _install(successor)
    worker.start()
    return worker


def take_named_workers(store: StoreInterface | None = None) -> list[Worker]:
    """Forget the named workers of a store, or of every store, and hand them over to be closed.

    Those that gave way and still run their last jobs are among them.
    """
    taken: list[Worker] = []
    for one in [*_with_book] if store is None else [store]:
        book = vars(one).pop(_BOOK, None) or _Book()
        taken += [*book.named.values(), *book.giving_way]
    return taken


def _install(worker: Worker) -> Worker:
    book = _book_of(worker.store)
    before = book.named.get(worker.name)
    book.named[worker.name] = worker
    _attach(worker)
    if before is not None:
        giving_way = book.giving_way
        giving_way.add(before)
        before.retire().add_done_callback(lambda _: giving_way.discard(before))
    return worker
