"""Run the tests on the lowest or the newest versions that ``pyproject.toml`` allows.

    python -m tests.versions --lowest
    python -m tests.versions --newest --python 3.13 tests/engine -x

What is left of the arguments goes to pytest. The packages go into a new environment in a temporary
folder, by way of uv (``python -m pip install uv``), which alone can look for the lowest.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
RESOLUTIONS = {"lowest": "lowest-direct", "newest": "highest"}
QUIET = "ignore::DeprecationWarning"
"""Old packages that use newer ones get warnings, which are none of ours."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the tests, and return pytest's exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.versions", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    which = parser.add_mutually_exclusive_group(required=True)
    for name in RESOLUTIONS:
        which.add_argument(f"--{name}", dest="which", action="store_const", const=name)
    parser.add_argument("--python", default=sys.executable, help="its version, or its path")
    arguments, for_pytest = parser.parse_known_args(argv)
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if uv is None:
        parser.error("uv is not installed; run: python -m pip install uv")
    with tempfile.TemporaryDirectory(prefix="conveyor_nb-") as folder:
        python = install(uv, Path(folder), arguments.python, RESOLUTIONS[arguments.which])
        if arguments.which == "lowest":
            os.environ["PYTHONWARNINGS"] = QUIET  # also if it runs a kernel
            for_pytest = [f"-W{QUIET}", *for_pytest]
        return run_tests(python, Path(folder), for_pytest)


def install(uv: str, folder: Path, python: str, resolution: str) -> Path:
    """Make an environment with all that the tests need, and show what is in it."""
    own = folder / "venv" / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    how = [f"--resolution={resolution}", "--only-binary=:all:", "--no-binary=conveyor_nb"]
    what = f"--editable={CHECKOUT}[test,bench]"
    for command in (
        ["venv", "--quiet", "--seed", f"--python={python}", str(folder / "venv")],
        ["pip", "install", "--quiet", f"--python={own}", *how, what],
        ["pip", "freeze", f"--python={own}"],
    ):
        subprocess.run([uv, *command], check=True)
    return own


def run_tests(python: Path, folder: Path, arguments: Sequence[str]) -> int:
    """Run pytest in such an environment; nothing is written into the checkout."""
    own = {
        "HYPOTHESIS_STORAGE_DIRECTORY": str(folder / "hypothesis"),
        "MYPY_CACHE_DIR": str(folder / "mypy"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONTZPATH": "",  # so that time zones are those of the package tzdata
        "RUFF_CACHE_DIR": str(folder / "ruff"),
    }
    command = [
        str(python),
        "-m",
        "pytest",
        f"--override-ini=cache_dir={folder / 'pytest'}",
        *arguments,
    ]
    return subprocess.run(command, cwd=CHECKOUT, env=os.environ | own, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
