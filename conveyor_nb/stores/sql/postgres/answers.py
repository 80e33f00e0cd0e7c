"""What is asked of a server in its own words, and many questions at a time."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from conveyor_nb.clocks.clock import REAL_TIME
from conveyor_nb.core.fetching import FetchOptions
from conveyor_nb.core.model import JobData
from conveyor_nb.core.options.worker_options import Limiter
from conveyor_nb.core.rows import Key
from conveyor_nb.stores.sql.answers import Answers
from conveyor_nb.stores.sql.asking import Asking
from conveyor_nb.stores.sql.counters import Counters
from conveyor_nb.stores.sql.groups import NO_GROUP
from conveyor_nb.stores.sql.known import Known
from conveyor_nb.stores.sql.postgres.quick import PAUSED, NotQuickError
from conveyor_nb.stores.sql.serving import Line
from conveyor_nb.stores.sql.wire.codec import Codec

__all__ = ["Lasting", "ServerAnswers", "ServerCounters", "StrangeGroups"]

_LAST = "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM {sequence}"
_BEGIN = (
    # the number of the last job is read when the lock is had: one that was waited for adds some
    "SELECT value, ({last}), {paused} FROM"
    " (SELECT value FROM conveyor_nb_counters WHERE name = 'moved' FOR UPDATE) AS counter"
)
_MOST_VERSIONS = 10_000
"""Of how many jobs it is remembered of which version they are."""

_USE = "(SELECT setval('{sequence}', greatest(?::bigint, last_value)) FROM {sequence})"
_IN_LINE = "ORDER BY priority, seq LIMIT ?"
_THESE = "(queue_name, id) IN (SELECT * FROM unnest(?::text[], ?::text[])) ORDER BY queue_name, id"
_OF_A_QUEUE = (
    "SELECT (SELECT array_agg(job_name) FROM conveyor_paused_names WHERE queue_name = ?),"
    " EXISTS (SELECT 1 FROM conveyor_jobs WHERE queue_name = ? AND state = 'waiting'"
    " AND group_id IS NOT NULL),"
    " (SELECT min(delay_until) FROM conveyor_jobs WHERE queue_name = ? AND state = 'delayed'),"
    " limit_seconds, group_limit_seconds, came, served, busy FROM (SELECT 1) AS one"
    " LEFT JOIN conveyor_nb_queues ON name = ?"
    " LEFT JOIN conveyor_nb_groups ON queue_name = ? AND group_id = ''"
)
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
        SELECT '' WHERE NOT EXISTS (SELECT 1 FROM conveyor_nb_groups
            WHERE queue_name = ? AND group_id = '' AND came > 0)
        AND EXISTS (SELECT 1 FROM (SELECT 1 FROM conveyor_jobs WHERE {_WAITS} IS NULL
            ORDER BY priority, seq LIMIT 1) AS first)
    )
    SELECT named.group_id, coalesce(its.served, 0) FROM named
    LEFT JOIN conveyor_nb_groups AS its ON its.queue_name = ? AND its.group_id = named.group_id
    WHERE coalesce(its.came, 0) = 0
"""
"""The groups of a queue that wait and have no turn: each found by one step in an index.

Those without a group are looked for in the order of service, as whoever only asks whether there
are some is led through the whole table.
"""

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


_LIMITED = "SELECT pg_advisory_xact_lock(hashtext(? || ':rate_limit'))"
"""The lock under which programs of Conveyor count what has started and start another one."""


_SERVED = (
    "SELECT named.id, coalesce(its.served, 0) FROM unnest(?::text[]) AS named(id)"
    " LEFT JOIN conveyor_nb_groups AS its ON its.queue_name = ? AND its.group_id = named.id"
)

StrangeGroups = dict[str, tuple[datetime, Mapping[str, int]]]
"""By queue, when it was read which groups have no turn though they wait, and the last of each."""

_FRESH = timedelta(seconds=0.9)
"""For how long that is believed, so that who looks each second finds it out anew: it takes longer,
the more groups wait."""


class ServerCounters(Counters):
    """Counters of which one is the sequence that programs of Conveyor take their numbers from.

    Args:
        sequence: its name, as statements have it.
    """

    def __init__(self, sequence: str) -> None:
        super().__init__()
        self.sequence = sequence
        self._last = _LAST.format(sequence=sequence)
        self.begin_text = _BEGIN.format(last=self._last, paused=PAUSED)
        """Reads both counters and what is paused, and keeps other stores of ours from writing."""
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


class Lasting(Known):
    """What is known of queues, from one transaction to the next.

    Programs of Conveyor change rows of jobs without our lock. So these are read each time, but
    where what is written holds only for jobs that still are of the version that is known.
    """

    def __init__(self) -> None:
        super().__init__(is_sure=True)
        self.is_guarded = False
        """Whether what is written holds for known versions only."""
        self.versions: dict[Key, int] = {}
        """Of which version the known jobs are."""

        self.keeps_rows = False
        """Whether they are kept when all else is forgotten."""

    def forget(self) -> None:
        rows = self.active
        if self.keeps_rows:
            self.active = {}
        else:
            self.versions.clear()
        super().forget()
        self.active = rows

    def line(self, queue_name: str, most: int) -> list[JobData] | None:
        return super().line(queue_name, most) if self.is_guarded else None

    def busy(self, queue_name: str, most: int) -> list[str] | None:
        return super().busy(queue_name, most) if self.is_guarded else None

    def written(self, keys: Iterable[Key], version: int) -> None:
        """Take note of which version jobs are that were just written."""
        for key in keys:
            if key[1] in self.active.get(key[0], ()):
                self.versions[key] = version
            else:
                self.versions.pop(key, None)
        if len(self.versions) > _MOST_VERSIONS:
            self.forget()


class ServerAnswers(Answers):
    """Answers questions by statements to a server.

    Args:
        codec: how rows are written.
        sequence: the name of the sequence of ``conveyor_jobs.seq``.
        locks: whether rows that are read are kept from being changed by others, who take no other
            lock of ours, until the transaction is over.
        strange: where it is kept for a second, also for others, which groups they have added to.
    """

    def __init__(
        self, codec: Codec, sequence: str, *, locks: bool, strange: StrangeGroups | None = None
    ) -> None:
        super().__init__(codec, ServerCounters(sequence), is_sure=locks)
        self.at_once = {"busy": 64, "in_turn": 1}
        """Of which questions more is asked for than has to be, as the next step asks for more."""
        self._locks = locks
        self._strange = {} if strange is None else strange
        self.lasting = Lasting()
        if locks:
            self.known = self.lasting
            self.select = _with("FOR UPDATE", self.select)
        columns = (*codec.job_columns, "xmin")
        self._versioned = f"SELECT {', '.join(columns)} FROM conveyor_jobs WHERE "

    def job(self, queue_name: str, job_id: str) -> Asking[JobData | None]:
        return (yield from self.jobs([(queue_name, job_id)]))[0]

    def starts(self, queue_name: str, limiter: Limiter) -> Asking[list[datetime]]:
        if self._locks:
            if self.lasting.is_guarded:
                raise NotQuickError
            yield _LIMITED, (queue_name,)
        return (yield from super().starts(queue_name, limiter))

    def queue_names(self) -> Asking[list[str]]:
        return [row[0] for row in (yield _QUEUES, ())]

    def _only_line(
        self, queue_name: str, paused: Collection[str], options: FetchOptions, most: int
    ) -> Asking[list[JobData]]:
        if self.lasting.is_guarded:
            return (yield from super()._only_line(queue_name, paused, options, most))
        return (yield from self._line(Line(queue_name, paused, options), most))

    def _line(self, line: Line, most: int) -> Asking[list[JobData]]:
        if not self.lasting.is_guarded:
            return (yield from super()._line(line, most))
        if line.lifo:
            raise NotQuickError
        rows = yield f"{self._versioned}{line.where} {_IN_LINE}", (*line.values, most)
        return self._seen(rows)

    def _seen(self, rows: Iterable[Sequence[Any]]) -> list[JobData]:
        """Jobs, and of which version they are."""
        found = []
        for *row, version in rows:
            job = self.codec.job(row)
            self.lasting.versions[job.queue_name, job.id] = version
            # what is known of an active one was true of another version
            self.known.active.get(job.queue_name, {}).pop(job.id, None)
            found.append(job)
        return found

    def _begin_turns(self) -> Asking[None]:
        if self.lasting.is_guarded:
            raise NotQuickError
        yield from super()._begin_turns()

    def _strange_groups(self, queue_name: str) -> Asking[Mapping[str, int]]:
        now = REAL_TIME.now()
        at, strange = self._strange.get(queue_name, (None, {}))
        if at is None or now - at >= _FRESH:
            strange = dict((yield _STRANGE, (queue_name,) * 5))
            self._strange[queue_name] = (now, strange)
        elif strange:  # they may have had a turn meanwhile
            strange = dict((yield _SERVED, (list(strange), queue_name)))
        return strange

    def busy(self, queue_name: str, most: int) -> Asking[list[str]]:
        known = self.known.busy(queue_name, most)
        if known is not None:
            return known
        rows = yield (
            f"SELECT id FROM ({_BUSY}) AS busy ORDER BY place LIMIT ?",
            (
                *(queue_name, most, queue_name, most),
                most,
            ),
        )
        return [row[0] for row in rows]

    def learn_of(self, queue_name: str, options: FetchOptions, most: int) -> Asking[None]:
        """Learn what fetches ask about a queue before anything is changed, most in one statement.

        Args:
            queue_name, options: those of the fetches.
            most: how many jobs they take at most.
        """
        if queue_name not in self.known.paused:
            yield from self._learn_of(queue_name)
        paused = self.known.paused[queue_name]
        if self.lasting.is_guarded and not (options.lifo or self.known.has_groups[queue_name]):
            yield from self._only_line(queue_name, paused, options, most)

    def _learn_of(self, queue_name: str) -> Asking[None]:
        rows = yield _OF_A_QUEUE, (queue_name,) * 5
        paused, has_groups, due, seconds, group_seconds, *group = rows[0]
        self.known.paused[queue_name] = paused or []
        self.known.has_groups[queue_name] = has_groups
        self.known.next_due[queue_name] = due
        self.limits.learn(queue_name, seconds, group_seconds)
        self.groups.learn(queue_name, NO_GROUP, group)

    def known_busy(self, queue_name: str, least: int) -> int | None:
        """For how many, of a power of two, :meth:`busy` is known; ``None``: not for ``least``."""
        most = None
        while self.known.busy(queue_name, least) is not None:
            most, least = least, 2 * least
        return most

    def jobs(self, keys: Sequence[Key]) -> Asking[list[JobData | None]]:
        """Many jobs, each as ``job`` gives it; in one statement."""
        is_guarded = self.lasting.is_guarded
        found = {key: job for key in keys if is_guarded and (job := self._active(key))}
        wanted = [key for key in keys if _is_text(key[1]) and key not in found]
        where = "queue_name = ? AND id = ?"
        given: Sequence[Any] = wanted[0] if wanted else ()
        if len(wanted) > 1:
            where, given = _THESE, [list(part) for part in zip(*wanted, strict=True)]
        if wanted and is_guarded:
            read = self._seen((yield self._versioned + where, given))
            found |= {(job.queue_name, job.id): job for job in read}
        elif wanted:
            rows = yield self.select(where), given
            found |= {(job.queue_name, job.id): job for job in map(self.codec.job, rows)}
        return [found.get(key) for key in keys]

    def _active(self, key: Key) -> JobData | None:
        return self.known.active.get(key[0], {}).get(key[1])


def _is_text(job_id: str) -> bool:
    """Whether a server can be asked for an id: not for one that a job is still to get."""
    return "\0" not in job_id


def _with(end: str, select: Callable[[str], str]) -> Callable[[str], str]:
    """What makes texts as ``select`` does, with an end to them; each is made once."""

    @cache
    def longer(where: str) -> str:
        return f"{select(where)} {end}"

    return longer
