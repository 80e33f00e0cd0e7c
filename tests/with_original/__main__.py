"""``python -m tests.with_original --checkout DIR``: run Conveyor itself beside ours.

Conveyor is no part of this project: DIR is a checkout of it that is at hand, whose packages
Node.js can resolve. Without one these tests are skipped.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.with_original.program import CHECKOUT, NODE

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the tests of this folder; returns pytest's exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.with_original", description=__doc__)
    parser.add_argument("--checkout", required=True, type=Path, help="the folder of Conveyor")
    parser.add_argument("--node", help="Node.js 22 or later (default: that on the path)")
    options, others = parser.parse_known_args(argv)
    os.environ[CHECKOUT] = str(options.checkout.absolute())
    if options.node:
        os.environ[NODE] = options.node
    return int(pytest.main([str(Path(__file__).parent), *others]))


if __name__ == "__main__":
    sys.exit(main())
