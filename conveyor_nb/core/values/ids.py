"""The ids of jobs: random ones, or numbers for each name.

A job gets its id in the step that saves it, so that two who add jobs at once never make the same.
The jobs of a flow are linked by their ids before that: those that are to get one have a placeholder
until then.
"""

from __future__ import annotations

import itertools
import os
from collections import OrderedDict

from conveyor_nb.core.values.text import shown

__all__ = [
    "Numbers",
    "are_sequential",
    "is_placeholder",
    "placeholder",
    "random_id",
    "random_worker_id",
]

_MARK = "\0"
"""No id of a job has a control character."""


def placeholder(number: int) -> str:
    """A stand-in for the id that a job of a flow will get; a different one for each ``number``.

    >>> is_placeholder(placeholder(1)), is_placeholder("emails-1")
    (True, False)
    """
    return f"{_MARK}{number}"


def is_placeholder(job_id: str) -> bool:
    """Whether an id is to be replaced in the step that saves its job."""
    return job_id.startswith(_MARK)


_IDS_AT_ONCE = 128
"""How many ids are made together: each time is a system call, and a copy for each digit."""

_PATTERN = b"xxxxxxxx-xxxx-4xxx-yxxx-xxxxxxxxxxxx "
"""A UUID of version 4 as text, with a space after it: each ``x`` is random, and ``y`` almost."""

_AT_RANDOM = [at for at, digit in enumerate(_PATTERN) if digit == ord("x")]
_VARIANT = _PATTERN.index(b"y")
_VARIANTS = bytes.maketrans(b"0123456789abcdef", b"89ab" * 4)

_spare: list[str] = []
if hasattr(os, "register_at_fork"):  # a process and its child must not make the same ids
    os.register_at_fork(after_in_child=_spare.clear)


def random_id() -> str:
    """A random UUID as text, in less than a tenth of the time of ``str(uuid.uuid4())``."""
    try:
        return _spare.pop()
    except IndexError:
        one, *more = _some_ids()
        _spare.extend(more)
        return one


def _some_ids() -> list[str]:
    """Make ids side by side: the first digit of them all, then the second."""
    digits = os.urandom(16 * _IDS_AT_ONCE).hex().encode()
    text = bytearray(_PATTERN * _IDS_AT_ONCE)
    for number, at in enumerate(_AT_RANDOM):
        text[at :: len(_PATTERN)] = digits[number::32]
    text[_VARIANT :: len(_PATTERN)] = digits[31::32].translate(_VARIANTS)
    return text.decode().split()


def are_sequential(ids: str | None) -> bool:
    """Whether ids are counted, by what a store was given for them.

    Raises:
        ValueError: it says neither.
    """
    if ids not in (None, "sequential"):
        raise ValueError(f"ids must be 'sequential' or None (UUID4), not {shown(ids)}")
    return ids is not None


def random_worker_id(name: str) -> str:
    """An id for a worker of a name, by chance its own."""
    return f"{name}-{random_id()[:8]}"


_MOST_NAMES_OVER = 256


class Numbers:
    """A counter for each name, so that no id comes twice; also when a name is over, for a while."""

    def __init__(self) -> None:
        self._counters: dict[str, itertools.count[int]] = {}
        self._over: OrderedDict[str, itertools.count[int]] = OrderedDict()

    def of(self, name: str) -> itertools.count[int]:
        """The counter of a name, from 1."""
        counter = self._counters.get(name)
        if counter is None:
            counter = self._over.pop(name) if name in self._over else itertools.count(1)
            self._counters[name] = counter
        return counter

    def let_go(self, name: str) -> None:
        """Keep the counter only for as long as it is among the latest few of this kind."""
        counter = self._counters.pop(name, None)
        if counter is not None:
            self._over[name] = counter
            if len(self._over) > _MOST_NAMES_OVER:
                self._over.popitem(last=False)
