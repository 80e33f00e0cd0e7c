"""What is asked of a server in its own words, and many questions at a time."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from conveyor_nb.core.fetching import FetchOptions
from conveyor_nb.core.model import JobData
from conveyor_nb.core.rows import Key
from conveyor_nb.stores.sql.answers import Answers
from conveyor_nb.stores.sql.asking import Asking
from conveyor_nb.stores.sql.counters import Counters
from conveyor_nb.stores.sql.known import Known
from conveyor_nb.stores.sql.serving import Line
from conveyor_nb.stores.sql.wire.codec import Codec
from conveyor_nb.stores.working_set.changes import Changes

__all__ = ["ServerAnswers", "ServerCounters"]

_LAST = "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM {sequence}"
_BEGIN = (
    "SELECT value, CASE WHEN is_called THEN last_value ELSE 0 END"
    ", (SELECT string_agg(concat_ws(E'\\n', queue_name, job_name), E'\\n'"
    " ORDER BY queue_name, job_name)"
    " FROM conveyor_paused_names)"
    " FROM conveyor_nb_counters, {sequence} WHERE name = 'moved'"
)
_USE = "(SELECT setval('{sequence}', greatest(?::bigint, last_value)) FROM {sequence})"
_BUSY = (
    "(SELECT id, 1 AS place FROM conveyor_jobs WHERE queue_name = ? AND state = 'active' LIMIT ?)"
    " UNION ALL "
    "(SELECT id, 2 AS place FROM conveyor_jobs WHERE queue_name = ? AND state = 'waiting' LIMIT ?)"
)

_WAITS = "queue_name = ? AND state = 'waiting' AND group_id"
_STRANGE = f"""WITH RECURSIVE found AS (
        (SELECT group_id FROM conveyor_jobs WHERE {_WAITS} IS NOT NULL ORDER BY group_id LIMIT 1)
        UNION ALL
        SELECT (SELECT group_id FROM conveyor_jobs WHERE {_WAITS} > found.group_id
                ORDER BY group_id LIMIT 1) FROM found WHERE found.group_id IS NOT NULL
    ), named AS (
        SELECT group_id FROM found WHERE group_id IS NOT NULL
        UNION ALL
        SELECT '' WHERE EXISTS (SELECT 1 FROM conveyor_jobs WHERE {_WAITS} IS NULL)
    )
    SELECT named.group_id, coalesce(its.served, 0) FROM named
    LEFT JOIN conveyor_nb_groups AS its ON its.queue_name = ? AND its.group_id = named.group_id
    WHERE coalesce(its.came, 0) = 0
"""
"""The groups of a queue that wait and have no turn: each found by one step in an index."""

_QUEUES = """WITH RECURSIVE found AS (
        (SELECT queue_name FROM conveyor_jobs ORDER BY queue_name LIMIT 1)
        UNION ALL
        SELECT (SELECT queue_name FROM conveyor_jobs WHERE queue_name > found.queue_name
                ORDER BY queue_name LIMIT 1) FROM found WHERE found.queue_name IS NOT NULL
    )
    SELECT queue_name AS name FROM found WHERE queue_name IS NOT NULL
    UNION SELECT name FROM conveyor_nb_queues WHERE listed ORDER BY name
"""
"""The queues that are listed, and those of programs of Conveyor, which list none."""


class ServerCounters(Counters):
    """Counters of which one is the sequence that programs of Conveyor take their numbers from.

    Args:
        sequence: its name, as statements have it.
    """

    def __init__(self, sequence: str) -> None:
        super().__init__()
        self._last = _LAST.format(sequence=sequence)
        self.begin_text = _BEGIN.format(sequence=sequence)
        """Reads both counters, and what is paused, of which programs of Conveyor do not tell."""
        self.use_text = _USE.format(sequence=sequence)
        """Uses up a number of the sequence: an expression with one parameter."""

    def last(self, name: str) -> Asking[int]:
        if name == "sequence" and name not in self._values:
            rows = yield self._last, ()
            self._values[name] = rows[0][0]
        return (yield from super().last(name))

    def begin(self, moved: int, sequence: int) -> None:
        """Begin with what was read."""
        self.forget()
        self._values |= {"moved": moved, "sequence": sequence}

    def take_used(self) -> int | None:
        """The last number of the sequence that was used, if one was: whoever asks notes it."""
        if "sequence" not in self._used:
            return None
        self._used.discard("sequence")
        return self._values["sequence"]


class _Lasting(Known):
    """What is known of queues, from one transaction to the next; rows of jobs are read each time.

    Programs of Conveyor change them without our lock.
    """

    def line(self, queue_name: str, most: int) -> list[JobData] | None:
        return None

    def keep_line(self, queue_name: str, jobs: Sequence[JobData], asked: int) -> None:
        pass

    def busy(self, queue_name: str, most: int) -> list[str] | None:
        return None

    def note(self, changes: Changes) -> None:
        super().note(changes)
        self.active.clear()


class ServerAnswers(Answers):
    """Answers questions by statements to a server.

    Args:
        codec: how rows are written.
        sequence: the name of the sequence of ``conveyor_jobs.seq``.
        locks: whether rows that are read are kept from being changed by others, who take no other
            lock of ours, until the transaction is over.
    """

    def __init__(self, codec: Codec, sequence: str, *, locks: bool) -> None:
        super().__init__(codec, ServerCounters(sequence), is_sure=locks)
        self.at_once = {"busy": 64, "in_turn": 1}
        """Of which questions more is asked for than has to be, as the next step asks for more."""
        if locks:
            self.known = _Lasting(is_sure=True)
            self.select = _locking(self.select)

    def job(self, queue_name: str, job_id: str) -> Asking[JobData | None]:
        if not _is_text(job_id):
            return None
        return (yield from super().job(queue_name, job_id))

    def queue_names(self) -> Asking[list[str]]:
        return [row[0] for row in (yield _QUEUES, ())]

    def _only_line(
        self, queue_name: str, paused: Collection[str], options: FetchOptions, most: int
    ) -> Asking[list[JobData]]:
        return self._line(Line(queue_name, paused, options), most)

    def _strange_groups(self, queue_name: str) -> Asking[Mapping[str, int]]:
        strange = self.known.strange.get(queue_name)
        if strange is None:
            strange = dict((yield _STRANGE, (queue_name,) * 4))
            if self.known.is_sure:
                self.known.strange[queue_name] = strange
        return strange

    def busy(self, queue_name: str, most: int) -> Asking[list[str]]:
        rows = yield (
            f"SELECT id FROM ({_BUSY}) AS busy ORDER BY place LIMIT ?",
            (
                *(queue_name, most, queue_name, most),
                most,
            ),
        )
        return [row[0] for row in rows]

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
