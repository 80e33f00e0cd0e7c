"""Tapes as tests: what a program did is compared with what it did when somebody looked at it."""

from __future__ import annotations

import os
from pathlib import Path

from conveyor_nb.core.values.checks import check_flag
from conveyor_nb.core.values.text import shown
from conveyor_nb.stores.tapes.tape import Tape

__all__ = ["RENEW", "assert_tape"]

RENEW = "CONVEYOR_NB_RENEW"
"""The variable of the environment that lets :func:`assert_tape` write what it expects."""


def assert_tape(tape: Tape, path: str | Path, *, renew: bool = False) -> None:
    r"""Check that a tape is what it was, by a file that ``tape.save`` wrote.

    Record it with a ``VirtualClock`` and sequential ids, as :func:`virtual_queue` has them: then a
    program gives the same tape each time. To expect what it does now, run the test with
    ``CONVEYOR_NB_RENEW=1`` in the environment, or once with ``renew=True``, and look at what has
    changed in the file before you keep it.

    Args:
        tape: what happened.
        path: the file with what is expected, such as ``expected.jsonl``.
        renew: write the file anew in place of comparing.

    Raises:
        AssertionError: what happened is something else, or there is no such file yet; the message
            says what came first differently.
        ValueError: the file holds no tape, its name does not end with ``.jsonl``, or the tape is
            still being recorded.
        TypeError: it is no tape.

    >>> import asyncio, tempfile
    >>> from conveyor_nb.testing import virtual_queue
    >>> async def add(*names):
    ...     async with virtual_queue("emails") as queue:
    ...         with queue.record() as tape:
    ...             for name in names:
    ...                 await queue.add(name)
    ...         return tape
    >>> folder = Path(tempfile.mkdtemp())
    >>> assert_tape(asyncio.run(add("send", "bounce")), folder / "expected.jsonl", renew=True)
    >>> assert_tape(asyncio.run(add("send", "bounce")), folder / "expected.jsonl")
    >>> try:
    ...     assert_tape(asyncio.run(add("send", "remind")), folder / "expected.jsonl")
    ... except AssertionError as error:
    ...     print(str(error).partition("\n\n")[0].replace(str(folder), "..."))
    The tape is not that of .../expected.jsonl, which is called the other here.
    Event 2 is different.
      alike: 00:00:00 job:waiting emails-1 send
      both: 00:00:00 job:waiting emails-2 remind
        name: 'remind' in this tape, 'bounce' in the other
    """
    if not isinstance(tape, Tape):
        raise TypeError(f"assert_tape takes a Tape, not {shown(tape)}")
    if tape.ended is None:
        raise ValueError(f"{tape!r}: compare it after its block")
    path = Path(path)
    if path.suffix.lower() != ".jsonl":
        raise ValueError(f"what is expected is in a file such as expected.jsonl, not in {path}")
    if check_flag(renew, what="renew") or os.environ.get(RENEW, "") not in ("", "0"):
        tape.save(path)
        return
    if not path.exists():
        raise AssertionError(f"There is no {path} yet. {_how_to_renew('write')}")
    difference = tape.difference(Tape.load(path))
    if difference is not None:
        raise AssertionError(
            f"The tape is not that of {path}, which is called the other here.\n{difference}\n\n"
            f"If this is what should happen now: {_how_to_renew('write')}"
        )


def _how_to_renew(what: str) -> str:
    return f"run the test with {RENEW}=1 in the environment to {what} what happened to it."
