"""The command line: ``python -m conveyor_nb lab``, ``dashboard``, ``demo``, ``docs``, ``worker``.

Nothing of Jupyter is imported before a command runs, so ``--help`` works without the extra
packages, and what is missing is told in one line.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from conveyor_nb.cli.errors import CommandError
from conveyor_nb.cli.notebooks import COPIES, SITE
from conveyor_nb.cli.serving import HOST, Place, check_ip
from conveyor_nb.cli.worker.arguments import add_store, add_worker

__all__ = ["main"]

_SERVED = "With no browser at hand, or as root, print the address and serve it. Ctrl-C ends it."

VERBS = {
    "status": "how many jobs of each queue are in which state",
    "jobs": "list jobs: of a queue, in a state",
    "job": "show a job with all its attempts",
    "add": "add a job",
    "pause": "start no more jobs of a queue, or of one job name",
    "resume": "start them again",
    "retry": "run the failed jobs of a queue again",
    "promote": "let the delayed jobs of a queue run now",
    "clean": "remove completed jobs, or those in another state",
    "drain": "remove all jobs of a queue that wait",
    "check": "say what is odd: jobs that are stuck, clocks that are off, and the like",
    "workers": "list the workers that are at work",
    "pause-worker": "let a worker, by name or id, take no more jobs",
    "resume-worker": "let it take jobs again",
    "concurrency": "let a worker run so many jobs at once",
    "stop": "let a worker finish its jobs and stop",
}
"""The commands of ``%conveyor`` that a shell has too, over a store that ``--store`` names."""

INTERRUPTED = 130
"""The exit code that a shell reports for a program that Ctrl-C ended."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code.

    Args:
        argv: the arguments after the program's name; those of this process if not given.
    """
    arguments, rest = build_parser().parse_known_args(argv)
    if rest and arguments.command not in VERBS:
        build_parser().parse_args(argv)  # which says what is wrong with them
    arguments.rest = rest
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # What a script starts in its background ignores Ctrl-C, by which these commands end.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return run(arguments, sys.argv[1:] if argv is None else argv)
    except CommandError as error:
        from conveyor_nb.core.values.text import fit

        print(f"conveyor_nb: {fit(str(error))}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED


def run(arguments: argparse.Namespace, argv: Sequence[str]) -> int:
    """Run the command that was asked for; returns the exit code.

    Raises:
        CommandError: it can't go on.
    """
    if arguments.command == "demo":
        return _show_demo(arguments)
    if arguments.command == "worker":
        return _work(arguments, argv)
    if arguments.command in VERBS:
        from conveyor_nb.cli.verbs import run_verb

        return run_verb(arguments.command, arguments.store, arguments.rest, as_json=arguments.json)
    if arguments.command == "docs":
        return _build_docs(arguments)
    place = Place(arguments.ip, arguments.port)
    if arguments.command == "lab":
        from conveyor_nb.cli.lab import run_lab

        given = {"folder": arguments.folder, "no_browser": arguments.no_browser}
        run_lab(arguments.notebook, place, **given)
    elif arguments.store is not None:
        from conveyor_nb.cli.dashboard import run_store_dashboard

        if arguments.notebook is not None:
            raise CommandError("say which notebook, or which --store, not both")
        how = {"read_only": arguments.read_only, "no_browser": arguments.no_browser}
        run_store_dashboard(arguments.store, place, **how)
    else:
        from conveyor_nb.cli.dashboard import run_dashboard

        run_dashboard(arguments.notebook, place, no_browser=arguments.no_browser)
    return 0


def _show_demo(arguments: argparse.Namespace) -> int:
    if arguments.store is None:
        from conveyor_nb.cli.demo import run_demo

        run_demo(arguments.notebook, output=arguments.output)
        return 0
    if arguments.notebook is not None or arguments.output is not None:
        raise CommandError("--store shows a demo of its own, without a notebook and without a page")
    from conveyor_nb.cli.store_demo.story import run_store_demo

    run_store_demo(arguments.store)
    return 0


def _build_docs(arguments: argparse.Namespace) -> int:
    from conveyor_nb.cli.docs import run_docs

    run_docs(
        arguments.output,
        arguments.port,
        live=not arguments.no_live,
        offline=arguments.offline,
        serve=not arguments.no_serve,
        no_browser=arguments.no_browser,
    )
    return 0


def _work(arguments: argparse.Namespace, argv: Sequence[str]) -> int:
    if arguments.reload:
        from conveyor_nb.cli.worker.reloading import run_reloading

        return run_reloading(argv, arguments.grace)
    from conveyor_nb.cli.worker.process import run_worker

    return run_worker(arguments)


def build_parser() -> argparse.ArgumentParser:
    """The arguments of every command."""
    parser = argparse.ArgumentParser(
        prog="python -m conveyor_nb", description="A job queue that lives in a Jupyter kernel."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    lab = commands.add_parser(
        "lab",
        help="open a notebook in JupyterLab",
        description="Open a notebook in JupyterLab. The notebooks of an installed package are "
        f"copied first, to where they aren't yet; nothing is overwritten. {_SERVED}",
    )
    lab.add_argument(
        "--folder",
        type=Path,
        metavar="PATH",
        help=f"copy the notebooks of the guide to this folder (default: {COPIES} in this one; "
        "in a checkout they are opened where they are)",
    )
    dashboard = commands.add_parser(
        "dashboard",
        help="serve what a notebook, or a store, shows as a page of its own",
        description="Serve what a notebook shows, without its code, as a page with live panels. "
        "Each page that is opened, or loaded again, runs the notebook in a kernel of its own, "
        "from the first cell to the last. Or serve all queues of a file or a server, with "
        f"--store, and no notebook. {_SERVED}",
    )
    dashboard.add_argument(
        "--store", metavar="URL", help="show the queues of this store, such as sqlite:///queue.db"
    )
    dashboard.add_argument(
        "--read-only", action="store_true", help="with --store: show and change nothing"
    )
    for command in (lab, dashboard):
        command.add_argument(
            "--ip",
            type=_ip,
            default=HOST,
            metavar="ADDRESS",
            help=f"listen on this address of the computer, 0.0.0.0 for all it has; who reaches it "
            f"needs the token ({HOST}, for this computer alone)",
        )
        command.add_argument(
            "--port", type=_port, metavar="N", help="listen on this port (default: a free one)"
        )
        command.add_argument("--no-browser", action="store_true", help="only print the address")

    demo = commands.add_parser(
        "demo",
        help="run a notebook in the terminal and write it as an HTML page",
        description="Run a notebook without a browser, sum up its jobs, and write the page that "
        "it became, which can be read without a kernel.",
    )
    demo.add_argument(
        "--store",
        choices=("sqlite", "postgres"),
        help="show, in place of a notebook, how jobs in a file, or on a server of its own, outlive "
        "a worker that is killed",
    )
    demo.add_argument(
        "--output",
        type=Path,
        metavar="PATH",
        help="the page's path (default: a new temporary folder, so that nothing is overwritten)",
    )
    _add_docs(commands)
    add_worker(commands)
    for name, told in VERBS.items():
        verb = commands.add_parser(name, help=told, add_help=False, allow_abbrev=False)
        add_store(verb)
        verb.add_argument("--json", action="store_true")
    for command in (lab, dashboard, demo):
        command.add_argument(
            "notebook",
            nargs="?",
            type=Path,
            metavar="NOTEBOOK",
            help="the notebook (default: the quick start)",
        )
    return parser


def _add_docs(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    docs = commands.add_parser(
        "docs",
        help="build the site of the documentation, and serve it",
        description="Build the guide, the how-tos and the reference as a site, and serve it on "
        "this computer until Ctrl-C. Its files can be put on any web server.",
    )
    docs.add_argument(
        "--output",
        type=Path,
        metavar="PATH",
        help=f"the folder it goes to (default: build/site in a checkout, else {SITE} in this one)",
    )
    docs.add_argument(
        "--offline",
        action="store_true",
        help="put Pyodide into it, so that pages that run in the browser load nothing from "
        "elsewhere; they have no pandas then. Needs npm",
    )
    docs.add_argument("--no-live", action="store_true", help="without pages that run")
    docs.add_argument("--no-serve", action="store_true", help="only build it")
    docs.add_argument(
        "--port", type=_port, metavar="N", help="serve it on this port (default: a free one)"
    )
    docs.add_argument("--no-browser", action="store_true", help="only print the address")


def _port(text: str) -> int:
    if text.isdecimal() and 1 <= int(text) <= 65535:
        return int(text)
    raise argparse.ArgumentTypeError(f"a port is a number from 1 to 65535, not {text!r}")


def _ip(text: str) -> str:
    try:
        return check_ip(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
