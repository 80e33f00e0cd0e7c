"""The one seam between the engine and storage.

A store keeps jobs, applies to them the changes that ``lifecycle`` decides, one atomic step each,
and publishes an event for every change after it is visible. Every store passes the same
conformance suite.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from conveyor_nb.clocks.clock import Clock
from conveyor_nb.core.actions import Action
from conveyor_nb.core.errors import UnsupportedError
from conveyor_nb.core.fetching import Fetched, FetchOptions
from conveyor_nb.core.finding import Finding
from conveyor_nb.core.job_scheduler import JobScheduler
from conveyor_nb.core.model import JobData, JobState, Lock, StoreEvent
from conveyor_nb.core.worker_info import WorkerCommand, WorkerInfo
from conveyor_nb.display import Displayable, findings_frame
from conveyor_nb.stores.capabilities import USUAL_CAPABILITIES, Capability
from conveyor_nb.stores.derived import Derived
from conveyor_nb.stores.events import EventCallback
from conveyor_nb.stores.in_words import describe_store
from conveyor_nb.stores.read_now import read_now
from conveyor_nb.stores.reads import Reads
from conveyor_nb.stores.saves import Saves

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["EventCallback", "StoreInterface"]

_CHECKED_WITHIN = 30.0
"""For how many seconds ``check`` waits for a store."""


class StoreInterface(Saves, Derived, Displayable, ABC):
    """What every store promises. All methods are coroutines but for (un)subscribing.

    A store has to do the abstract ones; for rows in a database ``stores.working_set`` does most of
    them. What follows, such as searches and counts, is in ``Derived``; a store may do it better.
    Jobs go in and come out as copies: nobody changes a store by changing what they hold.
    A state may be given as text; a ``ValueError`` names one that is none.
    ``queue_name`` and ``job_id`` together name a job; ids are unique in a queue.
    """

    clock: Clock
    """The only source of time for the store and for everything that works on it."""

    capabilities: Collection[Capability] = USUAL_CAPABILITIES
    """What it can do of what not every store can; a call that needs another one raises
    ``UnsupportedError``, or for a payload ``PayloadError``, and stores nothing."""

    read_only: bool = False
    """Whether nothing can be changed through it; a call that would raises."""

    idle_beat: float | None = 30.0
    """How often, in seconds, an idle worker calls :meth:`renew_locks` to show that it is there;
    ``None``: it need not, as the store sees its workers by itself."""

    settles_and_fetches: bool = False
    """Whether :meth:`apply_and_fetch` is one step: so a worker asks for the next job then."""

    tells_at_once: bool = False
    """Whether subscribers are called within each step. If not, an event may be of something that
    was before they subscribed, and who follows a job reads it again when its end is told."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {describe_store(self)}>"

    # -- life ---------------------------------------------------------------------------------

    @abstractmethod
    async def connect(self) -> None:
        """Make the store ready; may be called again."""

    @abstractmethod
    async def disconnect(self) -> None:
        """Let go of every resource and every subscriber; may be called again.

        Each subscriber is told so by an event ``store:disconnected``, the last one they get: who
        waits for something of the store waits no longer.
        """

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.disconnect()

    @asynccontextmanager
    async def reader(self) -> AsyncIterator[Reads]:
        """What displays ask on a loop of another thread, as plain calls can't await the store.

        It is the store itself, which any thread's loop may use. One whose connection belongs to
        a loop opens another here, and closes it in the end. A store that answers without waiting
        declares ``SynchronousReads``, and is never asked so.
        """
        yield self

    # -- what is odd --------------------------------------------------------------------------

    async def findings(self) -> list[Finding]:
        """What is odd in the store, the most serious first; see :meth:`check`."""
        return []

    def check(self) -> DataFrame:
        """What is odd in the store: a row for each finding, the most serious first.

        It only looks. A store in a database may have been shared, with other versions and
        with programs of Conveyor, and left by any of them at any moment: so there may be rows that
        make others fail, jobs whose worker is gone, parents, children and schedules that wait for
        nothing, clocks that are off, and queues that nobody serves. In a ``MemoryStore`` there is
        nothing of the kind. ``await store.findings()`` gives the same as records.

        Returns:
            A DataFrame with the columns ``what``, ``severity`` (``"info"``, ``"warning"`` or
            ``"error"``), ``queue_name``, ``job_id``, ``detail`` and ``advice``.

        Raises:
            ReadTimeoutError: the store did not answer within 30 seconds.

        >>> from conveyor_nb import MemoryStore
        >>> len(MemoryStore().check())
        0
        """
        return findings_frame(read_now(self, lambda _: self.findings(), _CHECKED_WITHIN))

    # -- jobs in ------------------------------------------------------------------------------

    def within(self, connection: Any) -> Saves:
        """Where jobs are added as a part of a transaction of the caller's own.

        They are there once that is committed, for workers and for everybody, and never were if it
        is rolled back. Until then nothing else may be awaited of the store that would change it,
        in one whose database has one writer at a time.

        Args:
            connection: that of the caller, with a transaction under way, to the store's database.

        Raises:
            UnsupportedError: the store has no ``TRANSACTIONS``.
            TypeError, ValueError: no such connection, or none in a transaction.
        """
        raise UnsupportedError("connection", connection, Capability.TRANSACTIONS)

    # -- look-ups -----------------------------------------------------------------------------

    @abstractmethod
    async def get_job(self, queue_name: str, job_id: str) -> JobData | None:
        """The job, or ``None``."""

    @abstractmethod
    async def list_jobs(
        self,
        queue_name: str,
        state: JobState | str | None = None,
        start: int = 0,
        end: int | None = None,
        *,
        newest_first: bool = False,
    ) -> list[JobData]:
        """The jobs at positions ``start`` to ``end`` (exclusive), of one state or of all.

        Waiting jobs come in order of service, delayed ones as they fall due, settled ones as
        they settled; jobs of all states as they were added. With ``newest_first`` it is the
        other way round: those that settled, or were added, last come first.

        Raises:
            TypeError, ValueError: a position is not a whole number of 0 or more.
        """

    @abstractmethod
    async def get_job_counts(self, queue_name: str) -> dict[JobState, int]:
        """The number of jobs in each state; every state is a key."""

    @abstractmethod
    async def list_queues(self) -> list[str]:
        """The names of the queues that have, or had, jobs, pauses or workers, sorted."""

    # -- flows --------------------------------------------------------------------------------

    @abstractmethod
    async def get_children_jobs(self, queue_name: str, parent_id: str) -> list[JobData]:
        """The children of a parent that are still in the store, in the order of the flow."""

    @abstractmethod
    async def get_children_values(self, queue_name: str, parent_id: str) -> dict[str, Any]:
        """What the completed children of a parent returned, by child id; removed ones too."""

    # -- schedulers ---------------------------------------------------------------------------

    @abstractmethod
    async def upsert_job_scheduler(self, scheduler: JobScheduler) -> JobScheduler:
        """Create a scheduler and its first run, or change one together with its pending run.

        Raises:
            PayloadError: the payload can't be copied; nothing is stored.
        """

    @abstractmethod
    async def get_job_schedulers(self, queue_name: str) -> list[JobScheduler]:
        """The schedulers of a queue, in the order they were created."""

    @abstractmethod
    async def pause_job_scheduler(self, queue_name: str, scheduler_id: str) -> bool:
        """Take back the pending run and plan no other; ``False``: there is no such scheduler."""

    @abstractmethod
    async def resume_job_scheduler(self, queue_name: str, scheduler_id: str) -> bool:
        """Plan runs again, from now on; ``False``: there is no such scheduler."""

    @abstractmethod
    async def remove_job_scheduler(self, queue_name: str, scheduler_id: str) -> bool:
        """Remove a scheduler and its pending run; ``False``: there is no such scheduler."""

    # -- work ---------------------------------------------------------------------------------

    @abstractmethod
    async def fetch_jobs(
        self,
        queue_name: str,
        worker_id: str,
        lock_duration: float,
        options: FetchOptions | None = None,
        *,
        limit: int = 1,
    ) -> Fetched:
        """Make the next jobs in order of service active, locked by the worker, in one step.

        Delayed jobs that are due are promoted first. There are fewer than ``limit`` only if no
        other may start now; if there is none at all, the answer says when to ask again.
        """

    @abstractmethod
    async def next_jobs(
        self, queue_name: str, count: int, options: FetchOptions | None = None
    ) -> list[JobData]:
        """The jobs that :meth:`fetch_jobs` would take now with this ``limit``, in order.

        It is a look, and changes nothing: a delayed job that is due, and that nobody has promoted
        yet, is not among them. Pauses, priorities and the turns of groups are as they are now.
        Limits hold as if no job ended meanwhile: those before it count as started, and there may
        be fewer than ``count``.

        Raises:
            TypeError, ValueError: the count is not a whole number of 0 or more.
        """

    @abstractmethod
    async def apply(
        self, queue_name: str, job_id: str, action: Action, *, lock: Lock | None = None
    ) -> JobData:
        """Apply an action to a job in one atomic step, and return the job as it is after.

        The step takes in everything that follows from the action: telling the parent, creating
        the next run of a schedule, and removing the job as its options say (what is returned is
        then its last state).

        Raises:
            JobNotFoundError: there is no such job.
            InvalidJobStateError: the job's state does not allow the action.
            LostLockError: the action needs the job's lock, and ``lock`` is not it.
            RetryRefusedError: the job can't be retried: another has its deduplication key, or
                one of the failed children that it would wait for is gone.
            PayloadError: a payload or result in the action can't be copied.
        """

    @abstractmethod
    async def renew_locks(
        self, queue_name: str, worker_id: str, attempts: Mapping[str, int], lock_duration: float
    ) -> list[str]:
        """Renew the locks that a worker holds, and note that it is there, in one step.

        Args:
            queue_name: the queue.
            worker_id: the worker.
            attempts: which attempt of each job it is at work on, by job id; an idle worker has
                none, and is seen all the same.
            lock_duration: seconds that each lock holds from now on.

        Returns:
            The ids of the jobs whose lock it does not hold any more, or that are gone.
        """

    @abstractmethod
    async def update_job(
        self,
        queue_name: str,
        job_id: str,
        changes: Mapping[str, Any],
        *,
        expected_state: JobState | str | None = None,
    ) -> JobData:
        """Change a job's payload, progress or priority, if it is in ``expected_state``.

        ``changes`` maps ``data``, ``progress`` or ``priority`` to new values.

        Raises:
            ValueError: another field is named; the state is changed by :meth:`apply` alone.
        """

    @abstractmethod
    async def remove_job(self, queue_name: str, job_id: str) -> bool:
        """Remove a job in whatever state; ``False`` if there is none.

        The worker that runs an active one is told by the event and stops it.
        """

    @abstractmethod
    async def promote_delayed_jobs(self, queue_name: str) -> int:
        """Make the delayed jobs that are due wait; return how many."""

    # -- whole queues -------------------------------------------------------------------------

    @abstractmethod
    async def pause_job_name(self, queue_name: str, name: str) -> None:
        """Start no more jobs of this name; ``ALL_NAMES`` pauses the queue."""

    @abstractmethod
    async def resume_job_name(self, queue_name: str, name: str) -> None:
        """Undo :meth:`pause_job_name` for this name."""

    @abstractmethod
    async def get_paused_job_names(self, queue_name: str) -> frozenset[str]:
        """The paused names; has ``ALL_NAMES`` if the whole queue is paused."""

    @abstractmethod
    async def promote_jobs(self, queue_name: str) -> int:
        """Make all delayed jobs wait; return how many."""

    @abstractmethod
    async def retry_jobs(self, queue_name: str, state: JobState | str = JobState.FAILED) -> int:
        """Make all failed (or completed) jobs wait again; return how many.

        One that can't be retried, see :class:`RetryRefusedError`, stays as it is and is not
        counted; an event ``queue:error`` with its id says why.

        Raises:
            ValueError: the state is another one.
        """

    @abstractmethod
    async def retry_family(self, queue_name: str, job_id: str) -> JobData:
        """Retry a settled job with its failed children, and theirs, in one atomic step.

        Returns:
            The job as it is after that.

        Raises:
            JobNotFoundError: there is no such job.
            InvalidJobStateError: it has not settled.
            RetryRefusedError: one of them can't be retried; none is.
        """

    @abstractmethod
    async def drain(self, queue_name: str) -> int:
        """Remove all that waits: for its turn, its time, or its children; return how many.

        Children of a parent that goes so are jobs of their own from then on. The next run of a
        schedule is planned as ever.
        """

    @abstractmethod
    async def clean(self, queue_name: str, state: JobState | str, grace: float = 0.0) -> int:
        """Remove the jobs in a state that have been in it for ``grace`` seconds or more.

        Raises:
            ValueError: the state is ``active``: a job that runs is removed by its id alone.
        """

    @abstractmethod
    async def obliterate(self, queue_name: str, *, force: bool = False) -> int:
        """Remove the queue with all its jobs; return how many.

        Raises:
            InvalidJobStateError: a job is active, and ``force`` is not set.
        """

    # -- workers ------------------------------------------------------------------------------

    @abstractmethod
    async def save_worker(self, worker: WorkerInfo) -> None:
        """Note a worker, or its new status, and publish that."""

    @abstractmethod
    async def list_workers(self, queue_name: str | None = None) -> list[WorkerInfo]:
        """The workers that were saved and have not closed, in order of start.

        ``last_seen`` tells one that has vanished: when it was saved, or renewed its locks, last.
        """

    @abstractmethod
    async def command_worker(self, worker_id: str, command: WorkerCommand) -> WorkerInfo:
        """Tell a worker what to do, whatever process it is in; returns it as it is listed then.

        It is told by an event at once, and finds the command in its record by the next beat at
        the latest, see :attr:`idle_beat`. The record has what it has not done yet; of two commands
        about one thing the later. A command ends with its worker, and holds for
        ``OBEYED_WITHIN`` seconds; one that says nothing takes back what was told before.

        Raises:
            WorkerNotFoundError: no such worker is listed.
        """

    # -- events -------------------------------------------------------------------------------

    @abstractmethod
    async def publish(self, event: StoreEvent) -> None:
        """Call the subscribers of the event's queue, in order of subscription.

        They may be called a little after this has returned, as with the events of every step:
        in the order of the steps and of the calls, over all queues.
        One that raises is reported to ``on_event_handler_error`` and stops no other.
        """

    @abstractmethod
    def subscribe(
        self,
        queue_name: str | None,
        callback: EventCallback,
        *,
        job_id: str | None = None,
        kinds: Collection[str] | None = None,
    ) -> None:
        """Call ``callback`` with each event of a queue (``None``: of all), or of one job.

        With ``kinds`` only with events of these types, and as ever when the store disconnects.
        Events that nobody asks for need not be made: a queue is faster for it. Who subscribes to
        the same once more is called once, from then on with what is asked for now.

        Events carry no results, as their records have them, but for who subscribed to one job:
        its ``job:completed`` has ``returnvalue`` in its data, as the store keeps it, unless it
        is ``None``; the record may be gone by then.

        Raises:
            TypeError: the callback can't be called, or is async.
            ValueError: there is no such type of event, or ``job_id`` is given without a queue.
        """

    @abstractmethod
    def unsubscribe(
        self,
        queue_name: str | None,
        callback: EventCallback | None = None,
        *,
        job_id: str | None = None,
    ) -> None:
        """Undo :meth:`subscribe`; with no callback, for all callbacks of that queue or job."""
