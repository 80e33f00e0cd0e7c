"""``python -m tests.crash --minutes 20 --seed 1``: let processes die, and account for all jobs."""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.crash.nemesis import Report, torment
from tests.crash.places import POSTGRES, at_place

__all__ = ["main", "summary"]

SHOWN = 20


def main(argv: Sequence[str] | None = None) -> int:
    """Torment a store; returns 1 if something did not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0, help="for how long (default: 1)")
    parser.add_argument("--seed", type=int, help="what is done to whom (default: any)")
    parser.add_argument(
        "--store",
        help=f"its address, or {POSTGRES}: a server of its own that is stopped, too "
        "(default: a new file)",
    )
    options = parser.parse_args(argv)
    seed = random.randrange(10**6) if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="conveyor-crash-") as folder:
        report = asyncio.run(_torment(options.store, Path(folder), options.minutes * 60, seed))
    print(summary(report))
    return 1 if report.faults else 0


async def _torment(store: str | None, folder: Path, seconds: float, seed: int) -> Report:
    async with at_place(store, folder) as place:
        return await torment(place, seconds, seed)


def summary(report: Report) -> str:
    """What was done and what came of it, in lines."""
    lines = [f"{report.seconds:.0f} s, {report.acknowledged:,} jobs acknowledged"]
    lines += [f"  {count:>5,}  {deed}" for deed, count in sorted(report.done.items())]
    lines.append(f"{report.restarted:,} jobs started more than once")
    if report.last_words:
        lines.append(f"{report.last_words.total():,} processes ended by themselves, and said")
        lines += [f"  {count:>5,}  {said}" for said, count in report.last_words.most_common(SHOWN)]
    lines.append(f"{len(report.faults)} faults")
    return "\n".join([*lines, *report.faults[:SHOWN]])


if __name__ == "__main__":
    sys.exit(main())
