"""What is said of a queue or a store in a few words, for instance by its repr."""

from __future__ import annotations

from collections.abc import Mapping

from conveyor_nb.core.errors import ReadTimeoutError
from conveyor_nb.core.model import ALL_NAMES, JobState
from conveyor_nb.core.values.text import error_line, fit, inline, one_line
from conveyor_nb.stores.read_now import read_now
from conveyor_nb.stores.reads import Readable, Reads

__all__ = [
    "counts_in_words",
    "describe_queue",
    "describe_store",
    "pauses_in_words",
    "queue_in_words",
    "store_in_words",
    "why_unread",
]

_MOST_NAMES = 5


def counts_in_words(counts: Mapping[JobState, int]) -> list[str]:
    """How many jobs are in each state, of those that have any.

    >>> counts_in_words({JobState.WAITING: 1_200, JobState.ACTIVE: 0})
    ['1,200 waiting']
    >>> counts_in_words({})
    ['no jobs']
    """
    return [f"{count:,} {state}" for state, count in counts.items() if count] or ["no jobs"]


def pauses_in_words(paused: frozenset[str]) -> str:
    """What of a queue is paused: all of it, some names, or nothing.

    >>> pauses_in_words(frozenset({"send", "log"})), pauses_in_words(frozenset({"send", ALL_NAMES}))
    ('paused: log, send', 'paused')
    """
    if not paused or ALL_NAMES in paused:
        return "paused" if paused else ""
    names = sorted(paused)
    more = f" and {len(names) - _MOST_NAMES:,} more" if len(names) > _MOST_NAMES else ""
    return f"paused: {one_line(', '.join(names[:_MOST_NAMES]))}{more}"


async def queue_in_words(reads: Reads, name: str) -> str:
    """A queue's jobs and pauses in a few words, such as ``"12 waiting, 4 active, paused"``."""
    parts = counts_in_words(await reads.get_job_counts(name))
    paused = await reads.get_paused_job_names(name)
    return ", ".join(filter(None, [*parts, inline(pauses_in_words(paused))]))


async def store_in_words(reads: Reads) -> str:
    """What a store holds in a few words, such as ``"12 jobs in 3 queues"``."""
    names = await reads.list_queues()
    counts = [await reads.get_job_counts(name) for name in names]
    jobs = sum(sum(one.values()) for one in counts)
    return f"{jobs:,} job{'s'[jobs == 1 :]} in {len(names):,} queue{'s'[len(names) == 1 :]}"


def describe_queue(store: Readable, name: str) -> str:
    """A queue in a few words, or why its store can't be read; it never raises."""
    try:
        return read_now(store, lambda reads: queue_in_words(reads, name))
    except Exception as error:  # whatever a store raises
        return f"in a {fit(type(store).__name__)} that {why_unread(error)}"


def describe_store(store: Readable) -> str:
    """A store in a few words, or why it can't be read; it never raises."""
    try:
        return read_now(store, store_in_words)
    except Exception as error:  # whatever a store raises
        return why_unread(error)


def why_unread(error: Exception) -> str:
    """What is said of a store that should have been read, and was not."""
    if isinstance(error, ReadTimeoutError):
        return f"did not answer within {error.limit:g} s"
    return f"can't be read now: {error_line(error)}"
