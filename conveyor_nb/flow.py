"""Flows: trees of jobs in which a parent runs when its children have settled."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

from msgspec.structs import replace

from conveyor_nb.core.flow_job import FlowJob
from conveyor_nb.core.model import JobData
from conveyor_nb.core.new_jobs import new_job, to_options
from conveyor_nb.core.options.job_options import JobOptions
from conveyor_nb.core.values.checks import check_name
from conveyor_nb.core.values.ids import placeholder
from conveyor_nb.core.values.text import shown
from conveyor_nb.display import Picture, bundle_of, picture_of
from conveyor_nb.job import Job
from conveyor_nb.stores import StoreInterface, check_store

__all__ = ["FlowNode", "FlowProducer"]


class FlowNode(NamedTuple):
    """A job of a flow that was added, and those of its children."""

    job: Job
    children: list[FlowNode]

    def __repr__(self) -> str:
        count = len(self.children)
        below = f", {count:,} {'child' if count == 1 else 'children'}" if count else ""
        return f"<FlowNode of {self.job!r}{below}>"

    def picture(self) -> Picture:
        """The flow as a picture, as it is now: its jobs on a conveyor belt, over all their queues.

        It is seen wherever the notebook is read; ``save("flow.svg")`` keeps it as a file.

        Raises:
            JobNotFoundError: the job at its top is gone.
            ReadTimeoutError: the store did not answer in time.

        >>> import asyncio
        >>> from conveyor_nb import FlowJob, MemoryStore
        >>> async def main():
        ...     producer = FlowProducer(store=MemoryStore(ids="sequential"))
        ...     flow = FlowJob("book", "books", children=[FlowJob("page", "pages")])
        ...     return (await producer.add(flow)).picture()
        >>> asyncio.run(main())
        <Figure: Flow book: 1 waiting, 1 wait for children; no worker serves pages; next is pages-1>
        """
        return picture_of(self)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        return bundle_of(self)


class FlowProducer:
    """Adds whole flows, over one queue or several.

    A parent never runs while a child of its is unsettled. What a child that fails does to it, its
    own option ``fail_parent_on_child_failure`` says; once what went wrong is mended,
    ``job.retry(children=True)`` of the parent runs it again, with all below it that failed.

    Args:
        store: where the jobs are kept; the default ``MemoryStore`` if not given.

    >>> import asyncio
    >>> from conveyor_nb import MemoryStore, Worker
    >>> async def add_up(job):
    ...     return sum((await job.get_children_values()).values())
    >>> async def main():
    ...     async with MemoryStore(ids="sequential") as store:
    ...         flow = await FlowProducer(store=store).add(
    ...             FlowJob("add-up", "sums", children=[
    ...                 FlowJob("number", "numbers", data) for data in (1, 2, 3)
    ...             ])
    ...         )
    ...         async with (
    ...             Worker("numbers", lambda job: job.data, store=store),
    ...             Worker("sums", add_up, store=store),
    ...         ):
    ...             return await flow.job.wait_until_finished()
    >>> asyncio.run(main())
    6
    """

    def __init__(self, *, store: StoreInterface | None = None) -> None:
        self.store = check_store(store)

    async def add(self, flow: FlowJob, *, connection: Any = None) -> FlowNode:
        """Add the whole tree in one atomic step: all of it, or nothing.

        Args:
            flow: the job at its top.
            connection: as in ``Queue.add``.

        Raises:
            TypeError, ValueError: a bad job anywhere in the tree, or an id that is taken.
            UnsupportedError: ``connection``, and the store is in no database.
        """
        planned = _plan(flow)
        saves = self.store if connection is None else self.store.within(connection)
        saved = await saves.save_flow([job for job, _ in planned])
        nodes = [FlowNode(Job(data, self.store), []) for data in saved]
        for node, (_, parent) in zip(nodes, planned, strict=True):
            if parent is not None:
                nodes[parent].children.append(node)
        return nodes[0]


def _plan(flow: FlowJob) -> list[tuple[JobData, int | None]]:
    """The jobs of a flow, parents before children, each with its parent's position.

    A loop, not a recursion: a flow may be any number of levels deep.
    """
    built: list[JobData] = []
    parents: list[int | None] = []
    children: list[dict[str, None]] = []
    todo: list[tuple[FlowJob, int | None]] = [(flow, None)]
    while todo:
        node, parent = todo.pop()
        job = _build(node, len(built))
        if parent is not None:
            _link(built[parent], job, children[parent])
        todo += [(child, len(built)) for child in reversed(node.children)]
        built.append(job)
        parents.append(parent)
        children.append({})
    return [
        (_in_family(job, None if parent is None else built[parent], ids), parent)
        for job, parent, ids in zip(built, parents, children, strict=True)
    ]


def _link(parent: JobData, child: JobData, children: dict[str, None]) -> None:
    if child.id in children:
        raise ValueError(
            f"flow job {shown(parent.name)} has two children with the id {shown(child.id)}"
        )
    children[child.id] = None


def _in_family(job: JobData, parent: JobData | None, children: Collection[str]) -> JobData:
    return replace(
        job,
        parent_id=parent.id if parent else None,
        parent_queue_name=parent.queue_name if parent else None,
        children_ids=tuple(children),
        pending_children_count=len(children),
    )


def _build(node: FlowJob, number: int) -> JobData:
    if not isinstance(node, FlowJob):
        raise TypeError(f"a flow is made of FlowJob(name, queue_name, ...), not {shown(node)}")
    try:
        if not isinstance(node.children, (list, tuple)):
            raise TypeError(f"its children must be a list of FlowJobs, not {shown(node.children)}")
        opts = to_options(node.opts, JobOptions())
        if opts.repeat is not None or opts.deduplication is not None:
            raise ValueError("a job of a flow takes no repeat and no deduplication")
        if opts.delay and node.children:
            raise ValueError("a job with children starts when they have settled: it takes no delay")
        check_name(node.queue_name, what="queue name")
        job = new_job(node.queue_name, node.name, node.data, opts)
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"flow job {shown(node.name)}: {error}") from error
    return job if job.id else replace(job, id=placeholder(number))
