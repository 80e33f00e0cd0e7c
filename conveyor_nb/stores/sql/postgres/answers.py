"""What is asked of a server in its own words, and many questions at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from conveyor_nb.core.model import JobData
from conveyor_nb.core.rows import Key
from conveyor_nb.stores.sql.answers import Answers
from conveyor_nb.stores.sql.asking import Asking
from conveyor_nb.stores.sql.counters import Counters
from conveyor_nb.stores.sql.wire.codec import Codec

__all__ = ["ServerAnswers"]

_LAST = "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM {sequence}"
_USE = "SELECT setval('{sequence}', greatest(?::bigint, last_value)) FROM {sequence}"


class _ServerCounters(Counters):
    """Counters of which one is the sequence that programs of Conveyor take their numbers from.

    Args:
        sequence: its name, as statements have it.
    """

    def __init__(self, sequence: str) -> None:
        super().__init__()
        self._last = _LAST.format(sequence=sequence)
        self._use = _USE.format(sequence=sequence)

    def last(self, name: str) -> Asking[int]:
        if name == "sequence" and name not in self._values:
            rows = yield self._last, ()
            self._values[name] = rows[0][0]
        return (yield from super().last(name))

    def write(self) -> Asking[None]:
        if "sequence" in self._used:
            self._used.discard("sequence")
            yield self._use, (self._values["sequence"],)
        yield from super().write()


class ServerAnswers(Answers):
    """Answers questions by statements to a server.

    Args:
        codec: how rows are written.
        sequence: the name of the sequence of ``conveyor_jobs.seq``.
        locks: whether rows that are read are kept from being changed by others, who take no other
            lock of ours, until the transaction is over.
    """

    def __init__(self, codec: Codec, sequence: str, *, locks: bool) -> None:
        super().__init__(codec, _ServerCounters(sequence))
        if locks:
            self.select = _locking(self.select)

    def job(self, queue_name: str, job_id: str) -> Asking[JobData | None]:
        if not _is_text(job_id):
            return None
        return (yield from super().job(queue_name, job_id))

    def jobs(self, keys: Sequence[Key]) -> Asking[list[JobData | None]]:
        """Many jobs, each as ``job`` gives it; in one statement."""
        known = [key for key in keys if _is_text(key[1])]
        where = (
            "(queue_name, id) IN (SELECT * FROM unnest(?::text[], ?::text[]))"
            " ORDER BY queue_name, id"
        )
        rows = yield self.select(where), ([key[0] for key in known], [key[1] for key in known])
        found = {(job.queue_name, job.id): job for job in map(self.codec.job, rows)}
        return [found.get(key) for key in keys]


def _is_text(job_id: str) -> bool:
    """Whether a server can be asked for an id: not for one that a job is still to get."""
    return "\0" not in job_id


def _locking(select: Callable[[str], str]) -> Callable[[str], str]:
    texts: dict[str, str] = {}

    def locking(where: str) -> str:
        text = texts.get(where)
        if text is None:
            text = texts[where] = f"{select(where)} FOR UPDATE"
        return text

    return locking
