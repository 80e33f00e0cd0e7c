"""``python -m tests.soak --minutes 10 --seed 1``: use everything at once, and watch what holds."""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Sequence

from tests.soak.running import Report, soak

__all__ = ["main", "summary"]

SHOWN = 20


def main(argv: Sequence[str] | None = None) -> int:
    """Run a soak; returns 1 if something did not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="for how long (default: 10)")
    parser.add_argument("--seed", type=int, help="what is done (default: any)")
    options = parser.parse_args(argv)
    seed = random.randrange(10**6) if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)
    report = soak(options.minutes * 60, seed, lambda text: print(f"... {text}", flush=True))
    print(summary(report))
    return 1 if report.violations else 0


def summary(report: Report) -> str:
    """What was done and what came of it, in lines."""
    lines = [f"{report.seconds:g} s, {report.looks} looks, {report.runs:,} runs of handlers"]
    for title, counts in (("actions", report.done), ("events", report.events)):
        lines.append(f"{title}: {counts.total():,}")
        lines += [f"  {count:>9,}  {name}" for name, count in sorted(counts.items())]
    for name, (before, after) in report.memory.trend()[0].items():
        lines.append(f"{name}: {before:,.0f} in the second third, {after:,.0f} in the last")
    lines.append(f"{len(report.violations)} violations" + f" with seed {report.seed}")
    return "\n".join([*lines, *report.violations[:SHOWN]])


if __name__ == "__main__":
    sys.exit(main())
