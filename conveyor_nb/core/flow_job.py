"""A node of a flow, as people write it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Unpack

from conveyor_nb.core.options.declaring import spelled_out
from conveyor_nb.core.options.job_options import OPTION_NAMES, JobKeywords, JobOptions
from conveyor_nb.core.values.checks import reject_unknown
from conveyor_nb.core.values.text import shown

__all__ = ["FlowJob"]


@dataclass(frozen=True, slots=True, repr=False, init=False)
class FlowJob:
    """A node of a flow: a job, and the children that must settle before it runs.

    Its options are keywords, as those of ``queue.add``, or all in ``opts``.

    >>> FlowJob("sum", "sums", children=[FlowJob("number", "numbers", 1, attempts=2)])
    FlowJob('sum', 'sums', 1 children)
    """

    name: str
    queue_name: str
    data: Any = None
    opts: JobOptions | JobKeywords | None = None
    children: tuple[FlowJob, ...] | list[FlowJob] = ()

    @spelled_out()
    def __init__(
        self,
        name: str,
        queue_name: str,
        data: Any = None,
        opts: JobOptions | JobKeywords | None = None,
        children: tuple[FlowJob, ...] | list[FlowJob] = (),
        **options: Unpack[JobKeywords],
    ) -> None:
        if options:
            reject_unknown(options, OPTION_NAMES | {"children", "opts"}, what="option of a FlowJob")
            if opts is not None:
                raise TypeError("the options of a FlowJob are given by name or as opts, not both")
            opts = JobOptions(**options)
        given = {"name": name, "queue_name": queue_name, "data": data, "opts": opts}
        for key, value in given.items():
            object.__setattr__(self, key, value)
        object.__setattr__(self, "children", children)

    def __repr__(self) -> str:  # a flow may be any number of levels deep
        children = f"{len(self.children)} children"
        return f"FlowJob({shown(self.name)}, {shown(self.queue_name)}, {children})"
