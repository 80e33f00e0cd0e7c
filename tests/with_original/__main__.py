"""``python -m tests.with_original --checkout DIR [--minutes 5]``: run Conveyor itself beside ours.

With ``--minutes`` processes of both kinds work on one database and are killed and stopped at
any moment, and all jobs are accounted for; without, the tests of this folder are run.

Conveyor is no part of this project: DIR is a checkout of it that is at hand, whose packages
Node.js can resolve. Without one these tests are skipped.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.postgres import running_server
from tests.with_original.fleet import Report, torment
from tests.with_original.program import CHECKOUT, NODE

__all__ = ["main", "summary"]

SHOWN = 20


def main(argv: Sequence[str] | None = None) -> int:
    """Run the tests of this folder; returns pytest's exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.with_original", description=__doc__)
    parser.add_argument("--checkout", required=True, type=Path, help="the folder of Conveyor")
    parser.add_argument("--node", help="Node.js 22 or later (default: that on the path)")
    parser.add_argument("--minutes", type=float, help="kill and stop processes for so long")
    parser.add_argument("--seed", type=int, default=1, help="what is done to whom (default: 1)")
    options, others = parser.parse_known_args(argv)
    os.environ[CHECKOUT] = str(options.checkout.absolute())
    if options.node:
        os.environ[NODE] = options.node
    if options.minutes is None:
        return int(pytest.main([str(Path(__file__).parent), *others]))
    print(f"seed {options.seed}", flush=True)
    with running_server(is_durable=True) as server:
        report = asyncio.run(torment(server.dsn, "public", options.minutes * 60, options.seed))
    print(summary(report))
    return 1 if report.faults else 0


def summary(report: Report) -> str:
    """What was done and what came of it, in lines."""
    lines = [f"{report.seconds:.0f} s"]
    lines += [f"  {n:>6,}  {deed}" for deed, n in sorted(report.done.items())]
    lines += [f"  {n:>6,}  jobs added by {whose}" for whose, n in report.acknowledged.items()]
    lines += [f"  {n:>6,}  jobs taken by {whose}" for whose, n in sorted(report.run_by.items())]
    lines += [f"  {n:>6,}  jobs with two outcomes, {why}" for why, n in report.doubled.items()]
    lines.append(f"{len(report.faults)} faults")
    return "\n".join([*lines, *report.faults[:SHOWN]])


if __name__ == "__main__":
    sys.exit(main())
