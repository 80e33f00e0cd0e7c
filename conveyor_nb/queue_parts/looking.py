"""The part of a queue that looks at its jobs and counts them."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from conveyor_nb.core.fetching import FetchOptions
from conveyor_nb.core.model import JobState, to_state
from conveyor_nb.core.options.declaring import part_of
from conveyor_nb.core.options.worker_options import GroupLimits, Limiter, WorkerOptions
from conveyor_nb.core.values.checks import check_text
from conveyor_nb.display import Picture, picture_of
from conveyor_nb.job import Job
from conveyor_nb.lists import JobCounts, JobList
from conveyor_nb.queue_parts.base import QueueBase

__all__ = ["Looking"]


@part_of("Queue")
class Looking(QueueBase):
    """What a queue offers to look at its jobs."""

    async def get_job(self, job_id: str) -> Job | None:
        """The job with this id, or ``None``."""
        self._require_open()
        data = await self.store.get_job(self.name, check_text(job_id, what="job_id"))
        return self._job(data) if data else None

    async def get_jobs(
        self,
        state: JobState | str | None = None,
        start: int = 0,
        end: int | None = 100,
        *,
        newest_first: bool = False,
    ) -> JobList:
        """The jobs at positions ``start`` to ``end`` (exclusive) of a state, or of all.

        Waiting jobs come in order of service, delayed ones as they fall due, settled ones as
        they settled; jobs of all states as they were added. With ``newest_first`` it is the
        other way round: those that settled, or were added, last come first.
        """
        self._require_open()
        found = await self.store.list_jobs(
            self.name, to_state(state), start, end, newest_first=newest_first
        )
        return JobList(await self._in_slices(map(self._job, found)))

    async def next_jobs(
        self,
        count: int = 10,
        *,
        lifo: bool = False,
        limiter: Limiter | None = None,
        max_global_concurrency: int | None = None,
        group: GroupLimits | None = None,
    ) -> JobList:
        """The next jobs, in the order in which a worker with these options would take them now.

        It goes by priorities, pauses and whose turn it is among groups. Limits hold as if no job
        ended meanwhile, each one counting those before it as started: so there may be fewer.
        A delayed job that is due is among them once it was promoted, as any fetch does first.

        Args:
            count: how many at most.
            lifo, limiter, max_global_concurrency, group: as of the worker.

        Raises:
            TypeError, ValueError: a bad argument.

        >>> import asyncio
        >>> from conveyor_nb import Group, MemoryStore, Queue
        >>> async def main():
        ...     async with MemoryStore() as store, Queue("emails", store=store) as queue:
        ...         for number, to in enumerate(["ada", "ada", "bob"]):
        ...             await queue.add("send", number, group=Group(to))
        ...         return [job.data for job in await queue.next_jobs(3)]
        >>> asyncio.run(main())
        [0, 2, 1]
        """
        self._require_open()
        options = WorkerOptions(
            lifo=lifo, limiter=limiter, max_global_concurrency=max_global_concurrency, group=group
        )
        wanted = FetchOptions(
            options.lifo, options.limiter, options.max_global_concurrency, options.group
        )
        found = await self.store.next_jobs(self.name, count, wanted)
        return JobList(await self._in_slices(map(self._job, found)))

    async def search(
        self,
        text: str | None = None,
        *,
        states: Collection[JobState | str] | None = None,
        name: str | None = None,
        created_from: datetime | None = None,
        created_to: datetime | None = None,
        newest_first: bool = False,
        start: int = 0,
        end: int | None = 100,
    ) -> JobList:
        """The jobs that fit every condition given, as they were added.

        It looks at every job of the queue: for people, and not for a handler to look things up.

        Args:
            text: what stands somewhere in the payload, whatever its case: in a text, a key or a
                plain value such as a number, however deep within.
            states: the states.
            name: the job name.
            created_from, created_to: aware datetimes; not created before, or after, this.
            newest_first: the jobs that were added last come first.
            start: the position of the first job to give.
            end: the position after that of the last; ``None``: all.

        Raises:
            TypeError, ValueError: a bad condition.

        >>> import asyncio
        >>> from conveyor_nb import MemoryStore, Queue
        >>> async def main():
        ...     queue = Queue("emails", store=MemoryStore(ids="sequential"))
        ...     for name in ("Ada", "Grace", "Adam"):
        ...         await queue.add("send", {"to": [f"{name}@example.org"]})
        ...     return [job.data["to"] for job in await queue.search("ada", newest_first=True)]
        >>> asyncio.run(main())
        [['Adam@example.org'], ['Ada@example.org']]
        """
        self._require_open()
        page = await self.store.search_jobs(
            self.name,
            states=states,
            name=name,
            created_from=created_from,
            created_to=created_to,
            text=text,
            newest_first=newest_first,
            start=start,
            end=end,
        )
        return JobList(await self._in_slices(map(self._job, page.jobs)))

    async def count(self, state: JobState | str | None = None) -> int:
        """How many jobs are in a state, or in the queue."""
        self._require_open()
        return await self.store.count_jobs(self.name, to_state(state))

    async def get_job_counts(self) -> JobCounts:
        """The number of jobs in each state."""
        self._require_open()
        return JobCounts(await self.store.get_job_counts(self.name))

    def picture(self) -> Picture:
        """The queue as a picture: its jobs on a conveyor belt, its workers' slots, what has ended.

        As the last line of a cell it is seen wherever the notebook is read, with a kernel or
        without; ``save("queue.svg")`` keeps it as a file.

        Raises:
            ReadTimeoutError: the store did not answer in time.

        >>> import asyncio
        >>> from conveyor_nb import MemoryStore, Queue
        >>> async def main():
        ...     queue = Queue("emails", store=MemoryStore(ids="sequential"))
        ...     await queue.add("send", {"to": "ada@example.org"})
        ...     return queue.picture()
        >>> asyncio.run(main())
        <Figure: Queue emails: 1 waiting; no worker serves it; next is emails-1>
        """
        self._require_open()
        return picture_of(self)
