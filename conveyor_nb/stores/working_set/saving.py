"""How jobs come into a store that takes its steps by a working set."""

# mypy: disable-error-code="no-any-return"
# What a step gives has the type that it is written with.

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Any, TypeVar, TypeVarTuple

from msgspec.structs import replace

from conveyor_nb.core.model import JobData
from conveyor_nb.core.rows import Key, Rows
from conveyor_nb.core.slicing import Step
from conveyor_nb.core.steps import saving
from conveyor_nb.core.values.text import shown
from conveyor_nb.stores.capabilities import Capability, refuse_options
from conveyor_nb.stores.saves import Saves

__all__ = ["SteppedSaving"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class SteppedSaving(Saves):
    """The steps that save jobs, under the names that a store has for them."""

    capabilities: Collection[Capability]

    @abstractmethod
    async def take_step(
        self, step: Callable[[Rows, datetime], Any], about: Sequence[JobData | Key] = ()
    ) -> Any:
        """Take a step by a working set and publish what it noted; returns its result.

        Args:
            step: called with the working set and the instant; it may be a generator, as long ones.
            about: the jobs that it is given, or their keys.
        """

    def take_payload(self, value: Any, what: str) -> Any:
        """What the steps are given of a payload, or a result, in place of it.

        A store whose steps are taken later, or elsewhere, freezes it here, for it may change.

        Raises:
            PayloadError: the store has no ``PYTHON_OBJECTS``, and it is one; ``what`` names it.
        """
        return value

    def _taken(self, job: JobData, what: str = "data") -> JobData:
        """A new job as the steps are given it, if the store can keep it."""
        refuse_options(self.capabilities, job.opts)
        given = job.kept_data
        data = self.take_payload(given, what)
        return job if data is given else replace(job, data=data)

    async def save_job(self, job: JobData) -> JobData:
        taken = self._taken(job)
        return await self._take(saving.save, taken, about=[taken])

    async def save_bulk(self, jobs: Sequence[JobData]) -> list[JobData]:
        taken = [self._taken(job, f"item {place}: data") for place, job in enumerate(jobs)]
        return await self._take_long(saving.save_bulk, taken, about=taken)

    async def save_flow(self, jobs: Sequence[JobData]) -> list[JobData]:
        taken = [self._taken(job, f"data of {shown(job.name)}") for job in jobs]
        return await self._take_long(saving.save_flow, taken, about=taken)

    async def _take(
        self,
        step: Callable[[Rows, *Ts, datetime], T],
        *given: *Ts,
        about: Sequence[JobData | Key] = (),
    ) -> T:
        result: T = await self.take_step(lambda rows, now: step(rows, *given, now), about)
        return result

    async def _take_long(
        self,
        step: Callable[[Rows, *Ts, datetime], Step[T]],
        *given: *Ts,
        about: Sequence[JobData | Key] = (),
    ) -> T:
        result: T = await self.take_step(lambda rows, now: step(rows, *given, now), about)
        return result
