"""The commands of ``%conveyor`` that are about workers, events, time and the whole session."""

from __future__ import annotations

from argparse import Namespace

from conveyor_nb.clocks.clock import Clock, ScaledClock, SystemClock
from conveyor_nb.clocks.virtual import VirtualClock
from conveyor_nb.core.values.durations import format_seconds
from conveyor_nb.core.values.text import one_line, shown
from conveyor_nb.core.worker_info import WorkerCommand, WorkerStatus
from conveyor_nb.notebook.commands.command_line import duration, whole_number, word
from conveyor_nb.notebook.commands.commands import Argument, Command, command
from conveyor_nb.notebook.commands.far_workers import far_worker, tell_far_worker
from conveyor_nb.notebook.commands.magic_output import Answer, clock_text, counted, pace
from conveyor_nb.notebook.commands.queue_commands import ANY_QUEUE
from conveyor_nb.notebook.known_workers import (
    called,
    known_workers,
    start_worker,
    stop_worker,
)
from conveyor_nb.notebook.listings import events_listing, workers_listing
from conveyor_nb.notebook.mistakes import Mistake, near, quoted
from conveyor_nb.notebook.require_pandas import require_pandas
from conveyor_nb.notebook.shell.session import Session
from conveyor_nb.stores import MemoryStore, StoreInterface
from conveyor_nb.worker import Worker

__all__ = ["KERNEL_COMMANDS"]

KERNEL_COMMANDS: dict[str, Command] = {}

WORKER = Argument("worker", "the name of a worker", completes="workers")


@command(KERNEL_COMMANDS, ANY_QUEUE, example="%conveyor workers")
async def workers(session: Session, args: Namespace) -> Answer:
    """Give the workers of a queue, or of all, as a DataFrame."""
    require_pandas()
    from conveyor_nb.notebook.frames import workers_frame

    name = None if args.queue is None else (await session.queue(args.queue)).name
    found = await session.store.list_workers(name)
    known = {one.id for one in found}
    stopped = [
        one for one in session.workers().values() if one.fault and name in (None, one.queue_name)
    ]
    found += [one.info() for one in stopped if one.id not in known]
    faults = {one.id: one.fault for one in stopped}
    return Answer(workers_listing(found, faults), workers_frame(found))


@command(KERNEL_COMMANDS, WORKER, example="%conveyor start emails")
async def start(session: Session, args: Namespace) -> Answer:
    """Let a worker that was stopped or paused take jobs again.

    One of another process can't be started from here, but goes on if it was paused.
    """
    if (far := await far_worker(session, args.worker)) is not None:
        return await tell_far_worker(session, far, WorkerCommand("running"))
    worker = start_worker(session.worker(args.worker))
    return Answer.saying(f"worker {worker.name} takes jobs of {worker.queue_name}", worker)


@command(
    KERNEL_COMMANDS,
    WORKER,
    Argument("--timeout", "how long running jobs may take to finish (30s)", duration("--timeout")),
    example="%conveyor stop emails",
    waits=True,
)
async def stop(session: Session, args: Namespace) -> Answer:
    """Take no more jobs, wait for those that run, and stop.

    Jobs that still run after the timeout go back to their queue, with no attempt spent: at once, or
    as soon as a handler that can't be stopped has returned. One of another process is told so
    through the store.
    """
    if (far := await far_worker(session, args.worker)) is not None:
        command = WorkerCommand("closed", timeout=args.timeout)
        return await tell_far_worker(session, far, command)
    worker = session.worker(args.worker)
    if worker.status is WorkerStatus.CLOSED:
        return Answer.saying(f"worker {worker.name} is stopped already")
    await stop_worker(worker, 30 if args.timeout is None else args.timeout)
    return Answer.saying(_stopped(worker))


@command(KERNEL_COMMANDS, WORKER, example="%conveyor pause-worker emails")
async def pause_worker(session: Session, args: Namespace) -> Answer:
    """Let a worker take no more jobs; those that it runs finish."""
    if (far := await far_worker(session, args.worker)) is not None:
        return await tell_far_worker(session, far, WorkerCommand("paused"))
    worker = session.worker(args.worker)
    if worker.status.is_over:
        raise Mistake(_stopped(worker))
    worker.pause()
    running = len(worker.running)
    rest = f"; {counted(running, 'job')} to finish" if running else ""
    return Answer.saying(f"worker {worker.name} is paused{rest}")


@command(KERNEL_COMMANDS, WORKER, example="%conveyor resume-worker emails")
async def resume_worker(session: Session, args: Namespace) -> Answer:
    """Let a worker that was paused take jobs again."""
    return await start(session, args)


@command(
    KERNEL_COMMANDS,
    WORKER,
    Argument("jobs", "how many jobs at once", whole_number("how many jobs at once")),
    example="%conveyor concurrency emails 4",
)
async def concurrency(session: Session, args: Namespace) -> Answer:
    """Let a worker run more or fewer jobs at once; those that run finish."""
    if args.jobs < 1:
        raise Mistake(f"a worker runs 1 job at once or more, not {args.jobs}")
    if (far := await far_worker(session, args.worker)) is not None:
        return await tell_far_worker(session, far, WorkerCommand(concurrency=args.jobs))
    worker = session.worker(args.worker)
    if worker.status.is_over:
        raise Mistake(_stopped(worker))
    worker.concurrency = args.jobs
    return Answer.saying(f"worker {worker.name} runs {args.jobs} at a time", worker)


@command(
    KERNEL_COMMANDS,
    ANY_QUEUE,
    Argument("--last", "how many of the newest (20)", whole_number("--last")),
    example="%conveyor events emails --last 50",
)
async def events(session: Session, args: Namespace) -> Answer:
    """Give the newest events as a DataFrame, oldest first."""
    require_pandas()
    from conveyor_nb.notebook.frames import events_frame

    last = 20 if args.last is None else args.last
    if last < 1:
        raise Mistake(f"--last is how many events, 1 or more, not {last}")
    name = None if args.queue is None else (await session.queue(args.queue)).name
    found = [one for one in tuple(session.events) if name in (None, one.queue_name)]
    return Answer(events_listing(found[-last:]), events_frame(found[-last:]))


@command(
    KERNEL_COMMANDS,
    Argument("action", "advance, or nothing to see the time", completes="clock", optional=True),
    Argument("by", "how far: a time such as 10m", duration("how far"), optional=True),
    example="%conveyor clock advance 10m",
    waits=True,
)
async def clock(session: Session, args: Namespace) -> Answer:
    """Show the store's time, or move it on.

    Only a virtual clock can be moved: `%conveyor reset --clock virtual` starts over with one.
    All that falls due in that time happens, in order, before the command is done.
    """
    here = session.store.clock
    if args.action is None:
        return Answer.saying(clock_text(here), here.now())
    if args.action != "advance":
        raise Mistake(f"a clock can't {shown(args.action)}; {near(args.action, ['advance'])}")
    if args.by is None:
        raise Mistake("how far should it advance? Type for instance: %conveyor clock advance 10m")
    if not isinstance(here, VirtualClock):
        raise Mistake(
            "this clock runs by itself; %conveyor reset --clock virtual starts over with one "
            "that you advance"
        )
    await here.advance(args.by)
    return Answer.saying(f"{format_seconds(args.by)} later: {here.now():%Y-%m-%d %H:%M:%S} UTC")


def _stopped(worker: Worker) -> str:
    told = f"worker {worker.name} is stopped"
    if held := len(worker.running):
        told += f"; {counted(held, 'job')} to go back when the handler returns, which did not stop"
    if worker not in known_workers(worker.store).values():  # another worker of its name goes on
        return told
    return f"{told}; start it: %conveyor start {quoted(called(worker))}"


def _clock(text: str) -> Clock:
    """What ``--clock`` stands for."""
    text = word(text)
    if text == "real":
        return SystemClock()
    if text == "virtual":
        return VirtualClock()
    try:
        return ScaledClock(float(text.removeprefix("x")))
    except ValueError:
        raise Mistake(
            f"--clock is real, virtual, or how many times as fast, such as x60, not {shown(text)}"
        ) from None


def _ids(text: str) -> str | None:
    kinds = {"sequential": "sequential", "random": None}
    if (text := word(text)) not in kinds:
        raise Mistake(f"--ids is sequential or random, not {shown(text)}; {near(text, kinds)}")
    return kinds[text]


@command(
    KERNEL_COMMANDS,
    Argument(
        "--clock",
        "real, virtual (stands still until it is advanced), or how many times as fast: x60",
        _clock,
        completes="clocks",
    ),
    Argument("--ids", "sequential (emails-1, emails-2, ...) or random", _ids, completes="ids"),
    Argument("--seed", "fixes what is random in retries", whole_number("--seed")),
    example="%conveyor reset --clock virtual --ids sequential",
)
async def reset(session: Session, args: Namespace) -> Answer:
    """Start over: close the workers, and go on with an empty store."""
    new = MemoryStore(clock=args.clock, ids=args.ids, seed=args.seed)
    return _go_on_with(session, new, "reset", f"an empty store, where {pace(new.clock)}")


@command(
    KERNEL_COMMANDS,
    Argument("url", "sqlite:///queue.db, postgresql://user@host/db, or memory:", optional=True),
    Argument("--read-only", "show it and change nothing", flag=True, dest="read_only"),
    example="%conveyor store sqlite:///queue.db",
)
async def store(session: Session, args: Namespace) -> Answer:
    """Say which store is used, or close the workers and go on with another one.

    Jobs in a file, or on a server, outlive the kernel, and are seen by other processes.
    """
    if args.url is None:
        return Answer.saying(one_line(repr(session.store), 1_000), session.store)
    new = await session.open(args.url, read_only=args.read_only)
    return _go_on_with(session, new, "store", one_line(repr(new), 1_000))


def _go_on_with(session: Session, new: StoreInterface, how: str, told: str) -> Answer:
    """Make another store the default one, and say so and what is to be done about that."""
    hints = ["run your %%worker cells again"] if session.workers() else []
    if stale := session.queue_variables():
        hints.append(f"make {', '.join(stale)} anew")
    rest = session.reset(new, how)
    answer = Answer.saying("; ".join([told, " and ".join(hints)]) if hints else told, new)
    return answer._replace(rest=rest)
