"""Flows: trees of jobs in which a parent runs when its children have settled."""

from __future__ import annotations

from typing import NamedTuple

from conveyor_nb.checks import check_name
from conveyor_nb.intake import check_store, new_job, to_options
from conveyor_nb.job import Job
from conveyor_nb.model import FlowJob, JobData
from conveyor_nb.options import JobOptions
from conveyor_nb.stores import StoreInterface

__all__ = ["FlowNode", "FlowProducer"]


class FlowNode(NamedTuple):
    """A job of a flow that was added, and those of its children."""

    job: Job
    children: list[FlowNode]


class FlowProducer:
    """Adds whole flows, over one queue or several.

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

    async def add(self, flow: FlowJob) -> FlowNode:
        """Add the whole tree in one atomic step: all of it, or nothing.

        Raises:
            TypeError, ValueError: a bad job anywhere in the tree, or an id that is taken.
        """
        planned = _plan(flow, self.store)
        saved = await self.store.save_flow([job for job, _ in planned])
        nodes = [FlowNode(Job(data, self.store), []) for data in saved]
        for node, (_, parent) in zip(nodes, planned, strict=True):
            if parent is not None:
                nodes[parent].children.append(node)
        return nodes[0]


def _plan(flow: FlowJob, store: StoreInterface) -> list[tuple[JobData, int | None]]:
    """The jobs of a flow, parents before children, each with its parent's position.

    A loop, not a recursion: a flow may be any number of levels deep.
    """
    planned: list[tuple[JobData, int | None]] = []
    todo: list[tuple[FlowJob, int | None]] = [(flow, None)]
    while todo:
        node, parent = todo.pop()
        job = _build(node, store)
        if parent is not None:
            _link(planned[parent][0], job)
        todo += [(child, len(planned)) for child in reversed(node.children)]
        planned.append((job, parent))
    return planned


def _build(node: FlowJob, store: StoreInterface) -> JobData:
    if not isinstance(node, FlowJob):
        raise TypeError(f"a flow is made of FlowJob(name, queue_name, ...), not {node!r}")
    try:
        opts = to_options(node.opts, JobOptions())
        if opts.repeat is not None or opts.deduplication is not None:
            raise ValueError("a job of a flow takes no repeat and no deduplication")
        if opts.delay and node.children:
            raise ValueError("a job with children starts when they have settled: it takes no delay")
        check_name(node.queue_name, what="queue name")
        job = new_job(node.queue_name, node.name, node.data, opts)
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"flow job {node.name!r}: {error}") from error
    job.id = job.id or store.new_job_id(job.queue_name)
    return job


def _link(parent: JobData, child: JobData) -> None:
    if child.id in parent.children_ids:
        raise ValueError(f"flow job {parent.name!r} has two children with the id {child.id!r}")
    child.parent_id = parent.id
    child.parent_queue_name = parent.queue_name
    parent.children_ids = (*parent.children_ids, child.id)
    parent.pending_children_count += 1
