"""The commands of ``%conveyor`` that are about queues and their jobs."""

from __future__ import annotations

import contextlib
import difflib
import sys
import warnings
from argparse import Namespace
from collections.abc import Iterator
from typing import Any

from conveyor_nb.clocks.virtual import VirtualClock
from conveyor_nb.core.errors import ScheduleReplacedWarning
from conveyor_nb.core.model import ALL_NAMES, JobState
from conveyor_nb.core.options.job_options import Deduplication, Group
from conveyor_nb.core.options.repeat import Repeat
from conveyor_nb.core.values.text import one_line, shown
from conveyor_nb.core.worker_info import WorkerStatus
from conveyor_nb.job import Job
from conveyor_nb.notebook.commands.command_line import (
    backoff,
    duration,
    job_state,
    number,
    payload_of,
    retention,
    whole_number,
)
from conveyor_nb.notebook.commands.commands import Argument, Command, command
from conveyor_nb.notebook.commands.magic_output import (
    Answer,
    counted,
    queues_frame,
    queues_listing,
    status_text,
)
from conveyor_nb.notebook.commands.overview import Overview
from conveyor_nb.notebook.commands.store_context import StoreContext
from conveyor_nb.notebook.known_workers import known_workers
from conveyor_nb.notebook.listings import findings_listing, jobs_listing
from conveyor_nb.notebook.mistakes import Mistake, quoted
from conveyor_nb.notebook.reads import jobs_of, queue_lines
from conveyor_nb.notebook.require_pandas import require_pandas
from conveyor_nb.notebook.shell.session import Session
from conveyor_nb.notebook.shell.terminal import is_terminal
from conveyor_nb.queue import Queue
from conveyor_nb.stores.in_words import counts_in_words

__all__ = ["QUEUE_COMMANDS", "show_overview"]

QUEUE_COMMANDS: dict[str, Command] = {}

QUEUE = Argument("queue", "the name of a queue", completes="queues")
ANY_QUEUE = QUEUE._replace(optional=True)
STATE = Argument("--state", "only jobs in this state", job_state, completes="states")
JOB_NAME = Argument(
    "--job-name", "only the jobs of this name", completes="job names", dest="job_name"
)


async def show_overview(session: Session, _: Namespace) -> Answer:
    """All queues of the default store: a live dashboard, where there can be one."""
    store, lines = session.store, await queue_lines(session.reads)
    return Answer(Overview(store, lines, lambda: known_workers(store)), store)


@command(QUEUE_COMMANDS, QUEUE, example="%conveyor watch emails")
async def watch(session: Session, args: Namespace) -> Answer:
    """Show a queue's live panel; in a terminal, how it is now."""
    queue = await session.queue(args.queue)
    if is_terminal(session.shell):
        now = status_text(await queue_lines(session.reads, [queue.name]), session.workers())
        return Answer.saying(f"{now}\n\nthe live panel needs a notebook", queue)
    return Answer(queue, queue)


@command(QUEUE_COMMANDS, ANY_QUEUE, example="%conveyor status emails")
async def status(session: StoreContext, args: Namespace) -> Answer:
    """Say how many jobs are in which state, and what the workers do."""
    names = await session.queue_names()
    if args.queue is not None:
        names = [(await session.queue(args.queue)).name]
    lines = await queue_lines(session.reads, names)
    return Answer.saying(status_text(lines, session.workers()))


@command(QUEUE_COMMANDS, example="%conveyor check")
async def check(session: StoreContext, _: Namespace) -> Answer:
    """Say what is odd in the store, and what to do; `x = %conveyor check` gives a DataFrame.

    Such are jobs that are stuck, rows that make others fail, clocks that are off.
    """
    require_pandas()
    from conveyor_nb.notebook.frames import findings_frame

    found = await session.store.findings()
    return Answer(findings_listing(found), findings_frame(found))


@command(QUEUE_COMMANDS, example="%conveyor queues")
async def queues(session: StoreContext, _: Namespace) -> Answer:
    """Show the queues; `x = %conveyor queues` gives them as a DataFrame."""
    frame = queues_frame(await queue_lines(session.reads))
    return Answer(queues_listing(frame), frame)


@command(QUEUE_COMMANDS, ANY_QUEUE, STATE, example="%conveyor jobs emails --state failed")
async def jobs(session: StoreContext, args: Namespace) -> Answer:
    """Show the jobs of a queue, or of all; `x = %conveyor jobs` gives them as a DataFrame."""
    require_pandas()
    from conveyor_nb.notebook.frames import jobs_frame

    subject = session.store if args.queue is None else await session.queue(args.queue)
    found = await jobs_of(session.reads, subject, args.state)
    newest = args.state not in (JobState.WAITING, JobState.DELAYED)
    hint = "; x = %conveyor jobs gives them all"
    return Answer(jobs_listing(found, newest=newest, hint=hint), jobs_frame(found))


@command(
    QUEUE_COMMANDS,
    Argument("id", "the id of a job", completes="jobs"),
    example="%conveyor job emails-1",
)
async def job(session: StoreContext, args: Namespace) -> Answer:
    """Show a job with its payload, its result and every attempt."""
    data = await session.store.find_job_by_id(args.id)
    if data is None:
        raise Mistake(f"there is no job {shown(args.id)}; %conveyor jobs lists all that there are")
    found = Job(data, session.store)
    return Answer(found, found)


@command(
    QUEUE_COMMANDS,
    Argument("queue", "the queue; a new name makes a new queue", completes="queues"),
    Argument("name", "what kind of job it is", completes="job names"),
    Argument(
        "payload",
        "its data: JSON, or $name for a variable of the notebook",
        str,
        completes="variables",
        optional=True,
    ),
    Argument("--priority", "a number; lower runs first", number("--priority")),
    Argument("--delay", "start no earlier than after this time", duration("--delay")),
    Argument("--attempts", "how often it may be tried", whole_number("--attempts")),
    Argument("--backoff", "the wait before a retry: 2s, or exponential:2s[:full]", backoff),
    Argument("--timeout", "the longest that an attempt may take", duration("--timeout")),
    Argument("--lifo", "run before older jobs of the same priority", flag=True),
    Argument("--job-id", "its id; if there is a job with it, that one is taken", dest="job_id"),
    Argument("--deduplicate", "take the unfinished job with this key, if there is one"),
    Argument("--group", "the group it is in; groups are served in turn"),
    Argument("--every", "run now, and again each time this time has passed", duration("--every")),
    Argument("--cron", 'run when this line says, such as "0 9 * * 1-5"'),
    Argument(
        "--remove-on-complete",
        "how long to keep it when it is completed: 1h, 100jobs, or at-once for not at all",
        retention,
        dest="remove_on_complete",
    ),
    Argument(
        "--remove-on-fail",
        "how long to keep it when it has failed",
        retention,
        dest="remove_on_fail",
    ),
    example='%conveyor add emails send {"to": "ada@example.org"} --attempts 3 --backoff 2s',
)
async def add(session: StoreContext, args: Namespace) -> Answer:
    """Add a job to a queue."""
    payload = None if args.payload is None else payload_of(args.payload, session.variables)
    new = _told_if_new(args.queue, await session.queue_names())
    with _told_plainly("add"):
        added = await session.any_queue(args.queue).add(args.name, payload, **_job_options(args))
    when = f", due {added.delay_until:%Y-%m-%d %H:%M:%S} UTC" if added.delay_until else ""
    return Answer.saying(f"{added.queue_name}{new}: job {added.id} is {added.state}{when}", added)


@command(QUEUE_COMMANDS, QUEUE, JOB_NAME, example="%conveyor pause emails")
async def pause(session: StoreContext, args: Namespace) -> Answer:
    """Start no more jobs of a queue; those that run finish."""
    queue = await session.queue(args.queue)
    await queue.pause(args.job_name)
    return Answer.saying(f"{_which(args)} is paused until %conveyor resume {_typed(args)}")


@command(QUEUE_COMMANDS, QUEUE, JOB_NAME, example="%conveyor resume emails")
async def resume(session: StoreContext, args: Namespace) -> Answer:
    """Start the jobs of a queue again."""
    queue = await session.queue(args.queue)
    if not await _is_paused(queue, args.job_name):
        return Answer.saying(f"{_which(args)} was not paused")
    await queue.resume(args.job_name)
    return Answer.saying(f"{_which(args)} goes on")


@command(
    QUEUE_COMMANDS,
    QUEUE,
    STATE._replace(help="failed (if not given) or completed"),
    Argument("--children", "retry the failed children of parents of flows, too", flag=True),
    example="%conveyor retry emails",
)
async def retry(session: StoreContext, args: Namespace) -> Answer:
    """Run the failed jobs of a queue again, with all their attempts."""
    state = args.state or JobState.FAILED
    queue = await session.queue(args.queue)
    count = await queue.retry_jobs(state)
    refused = await queue.count(state)
    left = f"; {counted(refused, 'job')} can't be: job.retry() says why" if refused else ""
    said = f"{args.queue}: {counted(count, f'{state} job')} to run again"
    parents = await queue.get_jobs(JobState.WAITING_CHILDREN)
    waiting = [parent for parent in parents if parent.failed_reason]  # it names the failed children
    if args.children:
        children = [child for parent in waiting for child in await _failed_children(parent)]
        for child in children:
            await child.retry(children=True)
        said += f", and {counted(len(children), 'failed job')} below them"
    elif waiting:
        why, _, _ = (waiting[0].failed_reason or "").rpartition(": retry them")
        left += f"; {waiting[0].id} {why}: %conveyor retry {quoted(queue.name)} --children"
    said += left
    return Answer.saying(said, count)


@command(QUEUE_COMMANDS, QUEUE, example="%conveyor promote emails")
async def promote(session: StoreContext, args: Namespace) -> Answer:
    """Let the delayed jobs of a queue run now."""
    count = await (await session.queue(args.queue)).promote_jobs()
    return Answer.saying(f"{args.queue}: {counted(count, 'delayed job')} to run now", count)


@command(QUEUE_COMMANDS, QUEUE, example="%conveyor drain emails")
async def drain(session: StoreContext, args: Namespace) -> Answer:
    """Remove all jobs of a queue that wait: for their turn, their time or their children."""
    count = await (await session.queue(args.queue)).drain()
    return Answer.saying(f"{args.queue}: {counted(count, 'job')} removed", count)


@command(
    QUEUE_COMMANDS,
    QUEUE,
    STATE._replace(help="the state of the jobs to remove; completed if not given"),
    Argument("--grace", "only those in that state for this long", duration("--grace")),
    example="%conveyor clean emails --state failed --grace 1h",
)
async def clean(session: StoreContext, args: Namespace) -> Answer:
    """Remove the completed jobs of a queue, or those in another state."""
    state = args.state or JobState.COMPLETED
    if state is JobState.ACTIVE:
        raise Mistake("an active job can't be cleaned away; any other state can be given")
    count = await (await session.queue(args.queue)).clean(state, args.grace or 0)
    return Answer.saying(f"{args.queue}: {counted(count, f'{state} job')} removed", count)


@command(
    QUEUE_COMMANDS,
    QUEUE,
    Argument("--timeout", "wait no longer than this", duration("--timeout")),
    example="%conveyor wait emails",
    waits=True,
)
async def wait(session: StoreContext, args: Namespace) -> Answer:
    """Wait until a queue has nothing to do.

    Jobs that are delayed, also for a retry, and not yet due are not waited for.
    """
    queue = await session.queue(args.queue)
    await session.settle()
    await _check_that_it_ends(session, queue)
    try:
        await queue.join(args.timeout)
    except TimeoutError:
        return Answer.saying(f"{queue.name} is still at work: {await _counts(queue)}")
    counts = await queue.get_job_counts()
    end = "to do now" if counts[JobState.DELAYED] else "left to do"
    return Answer.saying(f"{queue.name} has nothing {end}: {await _counts(queue)}")


# -- within ---------------------------------------------------------------------------------


@contextlib.contextmanager
def _told_plainly(command: str) -> Iterator[None]:
    """Tell what a warning says of a schedule, without the code that it points at: it is ours."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ScheduleReplacedWarning)
        yield
    for one in caught:
        if issubclass(one.category, ScheduleReplacedWarning):
            print(f"%conveyor {command}: {one_line(str(one.message), 2_000)}", file=sys.stderr)
        else:  # it is from another task or thread
            warnings.showwarning(
                one.message, one.category, one.filename, one.lineno, one.file, one.line
            )


def _job_options(args: Namespace) -> dict[str, Any]:
    """What was typed of the options of ``queue.add``."""
    plain = "priority delay attempts backoff timeout job_id remove_on_complete remove_on_fail"
    given = {name: getattr(args, name) for name in plain.split()}
    if args.lifo:
        given["lifo"] = True
    if args.deduplicate is not None:
        given["deduplication"] = Deduplication(key=args.deduplicate)
    if args.group is not None:
        given["group"] = Group(args.group)
    if args.every is not None or args.cron is not None:
        given["repeat"] = Repeat(every=args.every, cron=args.cron)
    return {name: value for name, value in given.items() if value is not None}


async def _failed_children(parent: Job) -> list[Job]:
    """The children of a job that have failed."""
    store = parent.store
    found = [await store.find_job_by_id(one) for one in parent.children_ids]
    return [
        Job(one, store)
        for one in found
        if one is not None and one.state is JobState.FAILED and one.parent_id == parent.id
    ]


def _told_if_new(name: str, known: list[str]) -> str:
    """Says that a queue is a new one, and which one may have been meant."""
    if name in known:
        return ""
    meant = difflib.get_close_matches(name, known, n=1)
    return f" (a new queue; did you mean {shown(meant[0])}?)" if meant else " (a new queue)"


async def _is_paused(queue: Queue, job_name: str | None) -> bool:
    return (job_name or ALL_NAMES) in await queue.store.get_paused_job_names(queue.name)


def _which(args: Namespace) -> str:
    return args.queue if args.job_name is None else f"{args.job_name} in {args.queue}"


def _typed(args: Namespace) -> str:
    name = quoted(args.queue)
    return name if args.job_name is None else f"{name} --job-name {quoted(args.job_name)}"


async def _counts(queue: Queue) -> str:
    counts = await queue.get_job_counts()
    return ", ".join(counts_in_words(counts))


async def _check_that_it_ends(session: StoreContext, queue: Queue) -> None:
    """Refuse to wait for what can't come.

    Raises:
        Mistake: nobody will do the jobs that wait.
    """
    counts = await queue.get_job_counts()
    name = queue.name
    waiting, active = counts[JobState.WAITING], counts[JobState.ACTIVE]
    if active:
        if isinstance(session.store.clock, VirtualClock):
            raise Mistake(
                f"{counted(active, 'job')} of {name} still at work, and time stands still; "
                "move it on: %conveyor clock advance 1s"
            )
        return
    if not waiting:
        return
    if await queue.is_paused():
        raise Mistake(f"{name} is paused, so this would not end; %conveyor resume {quoted(name)}")
    workers = await session.store.list_workers(name)
    if not any(one.status is WorkerStatus.RUNNING for one in workers):
        raise Mistake(f"nobody works on {name}; write a handler: %%worker {quoted(name)}")
