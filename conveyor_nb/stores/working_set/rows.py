"""The working set: rows as a step sees them."""

from __future__ import annotations

import random as random_module
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from msgspec.structs import replace

from conveyor_nb.core import freezing, turns
from conveyor_nb.core.fetching import FetchOptions
from conveyor_nb.core.job_scheduler import JobScheduler
from conveyor_nb.core.model import JobData, JobState
from conveyor_nb.core.options.worker_options import Limiter
from conveyor_nb.core.rows import ChildRow, HeldKey, Key, held_key, key_of, parent_key_of
from conveyor_nb.core.steps.retention import entered_at, is_kept_by_count
from conveyor_nb.core.worker_info import WorkerInfo
from conveyor_nb.stores.working_set.changes import Changes, Overlay
from conveyor_nb.stores.working_set.questions import Question, RowMissing

__all__ = ["WorkingSet"]


class WorkingSet:
    """The ``Rows`` of one step of a store whose rows are elsewhere.

    Args:
        about: the jobs that the step is given, or their keys: what it asks about one of them, it
            is going to ask about each.
        random: what chance has a say in.
        followed: the jobs that somebody follows by themselves.
        collects_metrics: whether the store does.
        freeze: turns a payload into what the rows hold of it, see ``Rows.freeze``.
    """

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
        self._overlay = Overlay()
        self._asked_for: tuple[FetchOptions, datetime] | None = None
        if self._random_state is not None:
            self._random.setstate(self._random_state)

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
            ids = self._ask("new_ids", queue_name, _enough(len(used) + 1))
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
        self.changes.before.setdefault(key, before)
        if before is None or after is None or before.state is not after.state:
            jobs.pop(key, None)  # to be put last: jobs are in the order they came to their states
        jobs[key] = after
        self._overlay.put(key, self.changes.before[key], before, after)

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

    # -- families -----------------------------------------------------------------------------

    def child(self, parent: Key, child: Key) -> ChildRow | None:
        """What a parent knows of a child."""
        if self.changes.jobs.get(parent, self) is None:  # it was removed
            return None
        row = self.changes.children.get(parent, {}).get(child)
        return row if row is not None else self._ask("child", parent, child)

    def children(self, parent: Key) -> Mapping[Key, ChildRow]:
        """What a parent knows of all its children."""
        if self.changes.jobs.get(parent, self) is None:
            return {}
        known: dict[Key, ChildRow] = self._ask("children", parent)
        return known | self.changes.children.get(parent, {})

    def put_child(self, parent: Key, child: Key, row: ChildRow) -> None:
        """Keep what a parent knows of a child."""
        known = self.changes.children.setdefault(parent, {})
        before = known.get(child) or self.answers.get(Question("child", (parent, child)))
        self._overlay.awaited[parent] += row.awaited - (before is not None and before.awaited)
        known[child] = row

    def failed_children(self, parent: Key) -> Sequence[Key]:
        """The children of a parent that failed."""
        failed = self._ask("failed_children", parent)
        return self._with_changed(parent, failed, lambda row: row.why is not None)

    def awaited_children(self, parent: Key, most: int) -> tuple[Sequence[Key], int]:
        """The first of those that a parent waits for again, and how many there are."""
        changed = len(self.changes.children.get(parent, ()))
        named, count = self._ask("awaited_children", parent, _enough(most + changed))
        found = self._with_changed(parent, named, lambda row: row.awaited)
        return found[:most], count + self._overlay.awaited[parent]

    def _with_changed(
        self, parent: Key, keys: Sequence[Key], fits: Callable[[ChildRow], bool]
    ) -> list[Key]:
        """Children by their rows as they are now, in the order of the flow."""
        changed = self.changes.children.get(parent, {})
        found = [key for key in keys if key not in changed]
        fitting = [key for key, row in changed.items() if fits(row)]
        job = self.job(*parent) if fitting else None
        if job is None:
            return found + fitting
        places = {child_id: place for place, child_id in enumerate(job.children_ids)}
        return sorted(found + fitting, key=lambda key: places.get(key[1], len(places)))

    # -- schedulers ---------------------------------------------------------------------------

    def scheduler(self, queue_name: str, scheduler_id: str) -> JobScheduler | None:
        """The scheduler."""
        key = (queue_name, scheduler_id)
        changed = self.changes.schedulers
        return changed[key] if key in changed else self._ask("scheduler", *key)

    def schedulers(self, queue_name: str) -> Sequence[JobScheduler]:
        """The schedulers of a queue."""
        known = {one.id: one for one in self._ask("schedulers", queue_name)}
        changed = self.changes.schedulers.items()
        now = known | {key[1]: one for key, one in changed if key[0] == queue_name}
        return [one for one in now.values() if one is not None]

    def put_scheduler(self, scheduler: JobScheduler) -> None:
        """Keep a scheduler as it is now."""
        self.changes.schedulers[scheduler.queue_name, scheduler.id] = scheduler

    def remove_scheduler(self, scheduler: JobScheduler) -> None:
        """Remove a scheduler."""
        self.changes.schedulers[scheduler.queue_name, scheduler.id] = None

    # -- queues -------------------------------------------------------------------------------

    def is_idle(self, queue_name: str) -> bool:
        """Whether nothing is waiting or active."""
        if self._overlay.busy[queue_name]:
            return False
        most = _enough(len(self._overlay.were_busy[queue_name]) + 1)
        busy = self._ask("busy", queue_name, most)
        return self._overlay.were_busy[queue_name].issuperset(busy)

    def listed(
        self, queue_name: str, state: JobState | None = None, *, since: datetime | None = None
    ) -> list[JobData]:
        """All jobs in a state."""
        rows = self._ask("listed", queue_name, state, since)
        return self._now(
            queue_name,
            rows,
            lambda job: state in (None, job.state) and (since is None or entered_at(job) <= since),
        )

    def surplus(self, queue_name: str, state: JobState, most: int) -> Sequence[JobData]:
        """The oldest of those that are kept by count."""

        def kept(jobs: Mapping[Key, JobData | None]) -> list[JobData]:
            found = [jobs[queue_name, one] for one in self._overlay.touched[queue_name]]
            return [job for job in found if job and job.state is state and is_kept_by_count(job)]

        new, gone = kept(self.changes.jobs), len(kept(self.changes.before))
        oldest = self._ask("surplus", queue_name, state, max(most - len(new), 0))
        left = self._unchanged(oldest)
        # jobs that have left the newest ones without being told of make room for others
        spare = gone - (len(oldest) - len(left))
        return left[: len(left) - spare] + new[: max(len(new) - most, 0)]

    def expired(self, now: datetime, most: int) -> Sequence[JobData]:
        """Jobs that have been kept long enough."""
        return self._unchanged(self._ask("expired", now, most))

    def paused_names(self, queue_name: str) -> Collection[str]:
        """The paused names."""
        names = dict.fromkeys(self._ask("paused_names", queue_name), True)
        changed = self.changes.paused.items()
        names |= {key[1]: paused for key, paused in changed if key[0] == queue_name}
        return {name for name, paused in names.items() if paused}

    def pause(self, queue_name: str, name: str) -> None:
        """Keep a name as paused."""
        self.changes.paused[queue_name, name] = True

    def resume(self, queue_name: str, name: str) -> None:
        """Keep a name as paused no more."""
        self.changes.paused[queue_name, name] = False

    def forget_queue(self, queue_name: str) -> None:
        """Keep nothing of a queue."""
        self.changes.forgotten.append(queue_name)

    # -- serving ------------------------------------------------------------------------------

    def due(self, queue_name: str, now: datetime) -> Sequence[JobData]:
        """The delayed jobs whose time has come."""
        return self._now(
            queue_name,
            self._ask("due", queue_name, now),
            lambda job: job.state is JobState.DELAYED and (job.delay_until or now) <= now,
        )

    def active_count(self, queue_name: str) -> int:
        """How many jobs are active."""
        active: int = self._ask("active_count", queue_name)
        return active + self._overlay.counts[queue_name, JobState.ACTIVE]

    def waiting_in_group(self, queue_name: str, group_id: str) -> int:
        """How many jobs of a group wait."""
        waiting: int = self._ask("waiting_in_group", queue_name, group_id)
        return waiting + self._overlay.in_groups[queue_name, group_id]

    def opens_at(self, queue_name: str, limiter: Limiter) -> datetime | None:
        """When one more may start, by a rate limit."""
        return turns.opens_at(self._starts(queue_name, limiter), limiter)

    def room(self, queue_name: str, limiter: Limiter, now: datetime) -> int:
        """How many more may start now, by a rate limit."""
        return turns.room(self._starts(queue_name, limiter), limiter, now)

    def _starts(self, queue_name: str, limiter: Limiter) -> list[datetime]:
        own = (job.processed_at for job in self.changes.started if job.queue_name == queue_name)
        return [*self._ask("starts", queue_name, limiter), *filter(None, own)]

    def next_in_turn(self, queue_name: str, options: FetchOptions, now: datetime) -> JobData | None:
        """The job to serve now."""
        return next(self.in_turn(queue_name, options, now), None)

    def in_turn(self, queue_name: str, options: FetchOptions, now: datetime) -> Iterator[JobData]:
        """The jobs to serve from now on, after those that this step has served."""
        place = sum(job.queue_name == queue_name for job in self.changes.started)
        assert place == len(self._overlay.touched[queue_name]), "who serves does nothing else"
        self._asked_for = options, now
        while True:
            line = self._ask("in_turn", queue_name, options, now, _enough(place + 1))
            if place == len(line):
                return
            yield line[place]
            place += 1

    def next_opening(self, queue_name: str) -> datetime | None:
        """When a group that a rate limit holds back may be served, as no job was to be had."""
        if self._asked_for is None:  # the queue's own limits came first
            return None
        opening: datetime | None = self._ask("next_opening", queue_name, *self._asked_for)
        return opening

    def next_due(self, queue_name: str) -> datetime | None:
        """When the next delayed job falls due, as no job was to be had."""
        due: datetime | None = self._ask("next_due", queue_name)
        return due

    def has_waiting(self, queue_name: str) -> bool:
        """Whether a job is waiting, as none was to be had."""
        return bool(self._ask("has_waiting", queue_name))

    # -- workers ------------------------------------------------------------------------------

    def put_worker(self, worker: WorkerInfo) -> None:
        """Keep a worker."""
        self.changes.workers[worker.id] = (worker, True)

    def see_worker(self, worker_id: str, now: datetime) -> None:
        """Keep that a worker was seen now."""
        self.changes.seen[worker_id] = now

    def remove_worker(self, worker: WorkerInfo) -> None:
        """Keep nothing of a worker."""
        self.changes.workers[worker.id] = (worker, False)


def _enough(count: int) -> int:
    """A power of two that is not less: a step asks for more a few times, and not for each one."""
    return 1 << (count - 1).bit_length() if count else 0
