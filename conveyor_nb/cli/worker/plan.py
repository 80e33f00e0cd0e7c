"""What a worker process is to do, as its arguments say; checked before anything is opened."""

from __future__ import annotations

import argparse
import builtins
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from conveyor_nb.cli.errors import CommandError
from conveyor_nb.cli.worker.loading import load

if TYPE_CHECKING:
    from conveyor_nb.core.handlers import Handler, Handlers
    from conveyor_nb.core.options.worker_options import Limiter, WorkerKeywords

__all__ = ["Address", "Plan", "plan_of"]


class Address(NamedTuple):
    """Where a process listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Plan(NamedTuple):
    """What a worker process is to do.

    Args:
        handlers: what runs the jobs, by queue.
        options: those of each worker.
        grace: how many seconds jobs have to finish when the process is told to stop.
        until_idle: end when no job runs and none can start.
        health: where it answers how it is, if it does.
    """

    handlers: Mapping[str, Handler | Handlers]
    options: WorkerKeywords
    grace: float
    until_idle: bool
    health: Address | None


def plan_of(arguments: argparse.Namespace) -> Plan:
    """Read the arguments, and import what they name.

    Raises:
        CommandError: one of them is wrong; it says which, and what would be right.
    """
    from conveyor_nb.core.options.worker_options import WorkerOptions
    from conveyor_nb.core.values.durations import to_seconds

    try:
        grace = to_seconds(arguments.grace, what="--grace")
        health = None if arguments.health is None else _address(arguments.health)
        options = _options(arguments)
        WorkerOptions(**options)
        handlers = _handlers(arguments.handlers, arguments.queue)
    except (TypeError, ValueError) as error:
        raise CommandError(str(error)) from error
    return Plan(handlers, options, grace, arguments.until_idle, health)


def _handlers(given: Sequence[str], queues: Sequence[str]) -> dict[str, Handler | Handlers]:
    from conveyor_nb.core.handlers import check_handlers
    from conveyor_nb.core.values.checks import check_name
    from conveyor_nb.core.values.text import shown

    handlers: dict[str, Handler | Handlers] = {}
    for one in given:
        queue, equals, reference = one.rpartition("=")
        names = [queue] if equals else queues
        if not names:
            raise CommandError(
                f"of which queue does {reference} run the jobs? Say --queue emails, or "
                f"emails={reference}"
            )
        handler = check_handlers(load(reference, what="a handler"))
        for name in names:
            if check_name(name, what="queue name") in handlers:
                raise CommandError(
                    f"queue {shown(name)} has two handlers; one for each job name is a mapping in "
                    "a module: HANDLERS = {'send': send, 'bounce': bounce}"
                )
            handlers[name] = handler
    if unserved := [name for name in queues if name not in handlers]:
        raise CommandError(
            f"--queue {shown(unserved[0])} has no handler: each that was given names its own queue"
        )
    return handlers


def _options(arguments: argparse.Namespace) -> WorkerKeywords:
    """The options that were given; the others have their defaults."""
    from conveyor_nb.core.options.worker_options import Batch, GroupLimits

    limits = _given(
        concurrency=arguments.group_concurrency,
        limiter=_limiter(arguments.group_limiter, "--group-limiter"),
    )
    given: Any = _given(
        concurrency=arguments.concurrency,
        name=arguments.name,
        max_global_concurrency=arguments.max_global_concurrency,
        limiter=_limiter(arguments.limiter, "--limiter"),
        group=GroupLimits(**limits) if limits else None,
        lifo=arguments.lifo,
        batch=None if arguments.batch is None else Batch(arguments.batch),
        executor="process" if arguments.process else None,
        lock_duration=arguments.lock_duration,
        stalled_interval=arguments.stalled_interval,
        retry_on=_errors(arguments.retry_on),
        lifespan=arguments.lifespan and load(arguments.lifespan, what="a lifespan"),
    )
    options: WorkerKeywords = given
    return options


def _given(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _errors(names: Sequence[str] | None) -> tuple[Any, ...] | None:
    """Exceptions by their names: Python's own, or those of a module."""
    if names is None:
        return None
    return tuple(
        load(name, what="an exception") if ":" in name else getattr(builtins, name, name)
        for name in names
    )


def _limiter(text: str | None, option: str) -> Limiter | None:
    from conveyor_nb.core.options.worker_options import Limiter
    from conveyor_nb.core.values.text import shown

    if text is None:
        return None
    most, slash, window = text.partition("/")
    if not slash or not most.isdecimal():
        raise ValueError(
            f"{option} is a number of jobs in a time, such as 10/1s, not {shown(text)}"
        )
    return Limiter(int(most), window)


def _address(text: str) -> Address:
    from conveyor_nb.core.values.text import shown

    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise ValueError(f"--health is an address and a port: 127.0.0.1:9090, not {shown(text)}")
    return Address(host.strip("[]") or "127.0.0.1", int(port))
