"""What is typed after ``python -m conveyor_nb worker``."""

from __future__ import annotations

import argparse
import os

__all__ = ["add_store", "add_worker"]

_DESCRIPTION = """\
Run the jobs of queues until told to stop.

A handler is a function that takes the job, async or plain, or a mapping of job names to such
functions. MODULE is imported as Python does it, with this folder first.
"""

_EPILOG = """\
examples:
  python -m conveyor_nb worker app.jobs:send --store sqlite:///queue.db --queue emails
  python -m conveyor_nb worker emails=app.jobs:send reports=app.jobs:build --concurrency 10
  python -m conveyor_nb worker app.jobs:HANDLERS --queue emails --reload --log json

SIGTERM or Ctrl-C: no more jobs are taken, and those that run may finish for as long as --grace
says; then, or at a second signal, they are given back, to be run by another worker.

exit codes: 0 it was told to stop, and all its jobs are done; 1 it could not start, or a fault
stopped it; 2 wrong arguments; 3 it was told to stop, and gave jobs back.
"""

_RATE = "10/1s"


def add_worker(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its arguments."""
    worker = commands.add_parser(
        "worker",
        help="run the jobs of queues that are in a file or on a server",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    worker.add_argument(
        "handlers",
        nargs="+",
        metavar="[QUEUE=]MODULE:HANDLER",
        help="what runs the jobs: of that queue, or of each --queue",
    )
    worker.add_argument(
        "--queue", action="append", default=[], metavar="NAME", help="a queue; may be repeated"
    )
    add_store(worker)
    _add_options(worker.add_argument_group("how jobs are run, by each worker"))
    _add_surroundings(worker.add_argument_group("the process"))


def add_store(command: argparse.ArgumentParser) -> None:
    """Add the argument that says where the jobs are."""
    from conveyor_nb.stores.opening import STORE_VARIABLE

    command.add_argument(
        "--store",
        default=os.environ.get(STORE_VARIABLE),
        metavar="URL",
        help="sqlite:///queue.db (a file beside), sqlite:////srv/queue.db, or "
        f"postgresql://user@host/database (default: the variable {STORE_VARIABLE})",
    )


def _add_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--concurrency", type=int, metavar="N", help="jobs at once (default: 1)")
    group.add_argument("--name", help="what the worker is called (default: its queue's name)")
    group.add_argument(
        "--max-global-concurrency", type=int, metavar="N", help="active jobs, over all workers"
    )
    group.add_argument(
        "--limiter", metavar="RATE", help=f"jobs that may start in a time, such as {_RATE}"
    )
    group.add_argument(
        "--group-concurrency", type=int, metavar="N", help="active jobs of each group"
    )
    group.add_argument(
        "--group-limiter", metavar="RATE", help="the same as --limiter, for each group"
    )
    group.add_argument("--lifo", action="store_true", default=None, help="the newest job first")
    group.add_argument("--batch", type=int, metavar="N", help="hand over up to N jobs at a time")
    group.add_argument(
        "--process",
        action="store_true",
        help="run each job of a plain function in a process of its own",
    )
    group.add_argument(
        "--lock-duration", metavar="TIME", help="a job's lock holds so long without renewal (30s)"
    )
    group.add_argument(
        "--stalled-interval", metavar="TIME", help="how often to look for lost workers (30s)"
    )
    group.add_argument(
        "--retry-on",
        action="append",
        metavar="ERROR",
        help="retry only this exception, such as ConnectionError or app.errors:Busy; repeatable",
    )
    group.add_argument(
        "--lifespan", metavar="MODULE:FUNCTION", help="opens what all jobs have as job.resources"
    )


def _add_surroundings(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--grace",
        default="30s",
        metavar="TIME",
        help="when told to stop, wait so long for jobs that run (default: 30s)",
    )
    group.add_argument(
        "--until-idle", action="store_true", help="end when no job runs and none can start"
    )
    group.add_argument(
        "--reload", action="store_true", help="start anew when a .py file in this folder changes"
    )
    group.add_argument(
        "--log",
        choices=("text", "json"),
        default="text",
        help="lines for people, or one JSON object a line (default: text)",
    )
    group.add_argument(
        "--health",
        metavar="ADDRESS:PORT",
        help="answer /health, and /metrics for Prometheus, there; such as 127.0.0.1:9090",
    )
