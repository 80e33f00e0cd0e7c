"""What was loaded of a store for a step, and the jobs as that step has changed them."""

from __future__ import annotations

import random as random_module
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from msgspec.structs import replace

from conveyor_nb.core import freezing
from conveyor_nb.core.fetching import FetchOptions
from conveyor_nb.core.model import JobData, JobState
from conveyor_nb.core.rows import HeldKey, Key, held_key, key_of, parent_key_of
from conveyor_nb.stores.working_set.changes import Changes, Overlay
from conveyor_nb.stores.working_set.questions import Question, RowMissing

__all__ = ["LoadedRows", "enough"]


class LoadedRows:
    """The jobs of one step, payloads included, and all that a step has asked and changed.

    Args:
        about: the jobs that the step is given, or their keys: what it asks about one of them, it
            is going to ask about each.
        random: what chance has a say in.
        followed: the jobs that somebody follows by themselves.
        collects_metrics: whether the store does.
        freeze: turns a payload into what the rows hold of it, see ``Rows.freeze``.
    """

    unheard: Mapping[str, Collection[str]] = {}
    """None: other processes may want to hear of them."""

    def __init__(
        self,
        about: Sequence[JobData | Key] = (),
        *,
        random: random_module.Random | None = None,
        followed: Collection[Key] = (),
        collects_metrics: bool = False,
        freeze: Callable[[Any, str], Any] = freezing.freeze,
    ) -> None:
        self.answers: dict[Question, Any] = {}
        """What was asked, and what the store said."""
        self.followed = followed
        self.collects_metrics = collects_metrics
        self._given = [one for one in about if isinstance(one, JobData)]
        self._keys = [key_of(one) if isinstance(one, JobData) else one for one in about]
        self._loaded: dict[Key, JobData | None] = {}
        self._freeze = freeze
        self._frozen: dict[int, tuple[Any, Any]] = {}
        """Payloads by identity, and what the rows hold of them: for all times the step is taken."""
        self._random = random or random_module.Random()
        self._random_state: Any = None
        self.begin()

    # -- what is loaded, and what is changed --------------------------------------------------

    def begin(self) -> None:
        """Drop all changes: the step is taken from its start."""
        self.changes = Changes()
        self.outbox, self.results = self.changes.events, self.changes.results
        self._made: Overlay | None = None
        self._asked_for: tuple[FetchOptions, datetime] | None = None
        if self._random_state is not None:
            self._random.setstate(self._random_state)

    @property
    def _overlay(self) -> Overlay:
        """What follows from the changes so far; most steps change one job, and never ask."""
        overlay = self._made
        if overlay is None:
            overlay = self._made = Overlay()
            for key, after in self.changes.jobs.items():  # each was changed once so far
                before = self.changes.before[key]
                overlay.put(key, before, before, after)
        return overlay

    def learn(self, questions: Sequence[Question], answers: Sequence[Any]) -> None:
        """Take in what the store answered."""
        for question, answer in zip(questions, answers, strict=True):
            self.answers[question] = answer
            if question.what == "job":
                self._loaded[question.about] = answer
            elif isinstance(answer, (list, tuple)):
                rows = [row for row in answer if isinstance(row, JobData)]
                self._loaded.update((key_of(row), row) for row in rows)

    def forget(self) -> None:
        """Drop all that was loaded: it does not hold any more."""
        self.answers.clear()
        self._loaded.clear()

    def alike(self, asked: Question) -> list[Question]:
        """A question, and those of its kind that will be asked about the other jobs at hand.

        So a step on very many jobs is taken again a few times, and not once for each of them.
        """
        jobs = [*self._given, *(job for job in self._loaded.values() if job is not None)]
        likely = (Question(asked.what, about) for about in self._likely(asked, jobs))
        unknown = (one for one in likely if one not in self.answers)
        return list(dict.fromkeys((asked, *unknown)))

    def _likely(self, asked: Question, jobs: list[JobData]) -> Iterator[tuple[Any, ...]]:
        failed = [
            (one.about[0], key) for one, keys in self._said("failed_children") for key in keys
        ]
        match asked.what:
            case "job":
                named = (*self._keys, *map(parent_key_of, jobs))
                runs = (
                    (one.about[0], to.pending_job_id) for one, to in self._said("scheduler") if to
                )
                keys = (*named, *runs, *(key for _, key in failed))
                yield from (key for key in keys if key and key[1] and key not in self._loaded)
            case "child":
                yield from failed
                yield from ((up, key_of(job)) for job in jobs if (up := parent_key_of(job)))
            case "failed_children":
                yield from ((key_of(job),) for job in jobs if job.children_ids)
            case "awaited_children":
                ups = (up for job in jobs if (up := parent_key_of(job)))
                own = (key_of(job) for job in jobs if job.children_ids)
                yield from ((key, asked.about[1]) for key in (*ups, *own))
            case "holders":
                yield from ((job.queue_name, key) for job in jobs if (key := held_key(job)))
            case "scheduler":
                yield from ((job.queue_name, job.scheduler_id) for job in jobs if job.scheduler_id)

    def _said(self, what: str) -> list[tuple[Question, Any]]:
        return [(one, answer) for one, answer in self.answers.items() if one.what == what]

    def _ask(self, what: str, *about: Any) -> Any:
        question = Question(what, about)
        try:
            return self.answers[question]
        except KeyError:
            raise RowMissing(question) from None

    # -- what a step notes --------------------------------------------------------------------

    @property
    def random(self) -> random_module.Random:
        """What chance has a say in; a step that is taken again gets the same again."""
        if self._random_state is None:
            self._random_state = self._random.getstate()
        return self._random

    def record(self, job: JobData, now: datetime) -> None:
        """Note a job for the metrics."""
        self.changes.settled.append((job, now))

    # -- payloads -----------------------------------------------------------------------------

    def freeze(self, value: Any, what: str, /) -> Any:
        """What the rows hold of a payload: as it was when the step first came by it."""
        known = self._frozen.get(id(value))
        if known is None:
            known = (value, self._freeze(value, what))
            if known[1] is not value:
                self._frozen[id(value)] = known
        return known[1]

    # -- jobs ---------------------------------------------------------------------------------

    def job(self, queue_name: str, job_id: str) -> JobData | None:
        """The job, as it is now."""
        key = (queue_name, job_id)
        if key in self.changes.jobs:
            return self.changes.jobs[key]
        return self._loaded[key] if key in self._loaded else self._ask("job", *key)

    def holders(self, queue_name: str, key: HeldKey) -> Sequence[JobData]:
        """The unfinished jobs with a key."""
        found = self._unchanged(self._ask("holders", queue_name, key))
        return [*found, *self._overlay.with_key[queue_name, key].values()]

    def new_id(self, queue_name: str) -> str:
        """An id that no job of the queue has."""
        used = self.changes.new_ids.setdefault(queue_name, [])
        while True:
            ids = self._ask("new_ids", queue_name, enough(len(used) + 1))
            used.append(ids[len(used)])
            if (queue_name, used[-1]) not in self.changes.jobs:
                return used[-1]

    def add(self, job: JobData, values: Mapping[str, Any]) -> JobData:
        """Take in a new row."""
        added = self._overlay.added[job.queue_name]
        sequence = self._ask("next_sequence", job.queue_name) + added
        row = replace(job, sequence=sequence, **values)
        self._overlay.added[job.queue_name] += 1
        self._put(key_of(row), None, row)
        return row

    def change(self, job: JobData, values: Mapping[str, Any]) -> JobData:
        """Replace a row by one with new values."""
        row = replace(job, **values)
        self._put(key_of(job), job, row)
        if row.state is JobState.ACTIVE and job.state is not JobState.ACTIVE:
            self.changes.started.append(row)
        return row

    def remove(self, job: JobData) -> None:
        """Remove a row, and what is known of its children."""
        self._put(key_of(job), job, None)
        self.changes.children.pop(key_of(job), None)

    def _put(self, key: Key, before: JobData | None, after: JobData | None) -> None:
        jobs = self.changes.jobs
        overlay = self._overlay if key in jobs else self._made
        self.changes.before.setdefault(key, before)
        if before is None or after is None or before.state is not after.state:
            jobs.pop(key, None)  # to be put last: jobs are in the order they came to their states
        jobs[key] = after
        if overlay is not None:
            overlay.put(key, self.changes.before[key], before, after)

    def _unchanged(self, rows: Iterable[JobData]) -> list[JobData]:
        return [row for row in rows if key_of(row) not in self.changes.jobs]

    def _now(
        self, queue_name: str, rows: Sequence[JobData], fits: Callable[[JobData], bool]
    ) -> list[JobData]:
        """Rows as they are now: without those that do not fit any more, the new ones last."""
        changed = {(queue_name, one): None for one in self._overlay.touched[queue_name]}
        if not changed:
            return list(rows)
        keys = dict.fromkeys(map(key_of, rows)) | changed
        now = (self.changes.jobs.get(key, self._loaded.get(key)) for key in keys)
        return [job for job in now if job is not None and fits(job)]


def enough(count: int) -> int:
    """A power of two that is not less: a step asks for more a few times, and not for each one."""
    return 1 << (count - 1).bit_length() if count else 0
