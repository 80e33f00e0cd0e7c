"""``python -m tests.benchmarks``: measure the engine, and the peers beside it."""

from __future__ import annotations

import argparse
import gc
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tests.benchmarks.corners import measure_corners
from tests.benchmarks.durable import measure_durable
from tests.benchmarks.engine import measure_bulk, measure_flow, measure_idle
from tests.benchmarks.fairness import measure_fairness
from tests.benchmarks.measuring import Figure, Plan
from tests.benchmarks.panel import measure_panel
from tests.benchmarks.profiling import profile
from tests.benchmarks.report import conditions, draw, save, table
from tests.benchmarks.steps import measure_memory, measure_steps

SIZES = (1_000, 10_000, 100_000)
REPEATS = 5
QUICK = Plan(sizes=(100, 300), repeats=1)

WITH_PEERS: dict[str, Callable[..., Iterator[Figure]]] = {
    "flow": measure_flow,
    "idle": measure_idle,
    "durable": measure_durable,
}

BENCHMARKS: dict[str, Callable[[Plan], Iterator[Figure]]] = {
    "flow": measure_flow,
    "idle": measure_idle,
    "bulk": measure_bulk,
    "steps": measure_steps,
    "memory": measure_memory,
    "fairness": measure_fairness,
    "corners": measure_corners,
    "panel": measure_panel,
    "durable": measure_durable,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what the arguments say, print it, and write it where they say."""
    options = _parser().parse_args(arguments)
    if options.profile:
        print(profile())
        return
    sizes, repeats = (QUICK.sizes, QUICK.repeats) if options.quick else (SIZES, REPEATS)
    plan = Plan(options.sizes or sizes, options.repeats or repeats, _say)
    told = conditions(plan)
    figures: list[Figure] = []
    for name in options.which:
        if options.quick:
            gc.freeze()  # else it is mostly full collections of all that is loaded
        figures += _measure(name, plan, with_peers=not options.no_peers)
    print(table(figures, told))
    if options.json:
        save(figures, told, options.json)
    if options.plot:
        draw(figures, options.plot)


def _measure(name: str, plan: Plan, *, with_peers: bool) -> list[Figure]:
    if name in WITH_PEERS:
        return list(WITH_PEERS[name](plan, with_peers=with_peers))
    return list(BENCHMARKS[name](plan))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m tests.benchmarks", description=main.__doc__)
    parser.add_argument(
        "--which",
        type=_names,
        default=list(BENCHMARKS),
        metavar="NAME[,NAME]",
        help=f"what to measure: {', '.join(BENCHMARKS)}; all of it if not given",
    )
    parser.add_argument("--sizes", type=_sizes, metavar="N[,N]", help="numbers of jobs")
    parser.add_argument("--repeats", type=int, metavar="N", help="samples of each figure")
    parser.add_argument("--quick", action="store_true", help="small sizes, once: does it work?")
    parser.add_argument("--no-peers", action="store_true", help="measure this engine alone")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the figures as JSON")
    parser.add_argument("--plot", type=Path, metavar="PATH", help="write a picture of them")
    parser.add_argument(
        "--profile", action="store_true", help="show where the time of a job goes, and no more"
    )
    return parser


def _names(text: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in BENCHMARKS:
            raise argparse.ArgumentTypeError(f"no {name!r}; there are {', '.join(BENCHMARKS)}")
    return names


def _sizes(text: str) -> tuple[int, ...]:
    return tuple(sorted({int(part.replace("_", "")) for part in text.split(",")}))


def _say(what: str) -> None:
    print(f"... {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
