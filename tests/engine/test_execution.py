"""One run of a handler that is told to stop, once or more: which reason counts, and who is told."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from conveyor_nb import Job, MemoryStore, Queue, VirtualClock
from conveyor_nb.core.actions import Action, Fail, Release
from conveyor_nb.core.model import Lock
from conveyor_nb.running.execution import LOOP_ENDED, Execution, Terms, Verdict
from conveyor_nb.running.runners import TaskRunner

ENDS: dict[Verdict, tuple[str, Action | None]] = {
    Verdict.LEFT: (LOOP_ENDED, Release(LOOP_ENDED)),
    Verdict.RELEASED: (Release().reason, Release()),
    Verdict.TIMED_OUT: ("timed out after 1h", Fail("timed out after 1h")),
    Verdict.CANCELLED: ("cancelled", Fail("cancelled", final=True)),
    Verdict.LOST: ("it was removed, or taken away from its worker", None),
}
"""What the handler is told by each verdict, and what is reported of the job: nothing, if lost."""


class Run:
    """A run of an async handler, which cleans up when it is told to stop until it may end.

    Args:
        job: an active job, with its lock.
        clock: for its timeout and its second of grace.
    """

    def __init__(self, job: Job, clock: VirtualClock) -> None:
        self.job = job
        self.cancels = 0
        self.overruns = 0
        self.may_end = asyncio.Event()
        self._began = asyncio.Event()
        runner = TaskRunner(self._handle)
        terms = Terms(runner, False, clock, False, None, self._note_overrun)
        self._task = asyncio.create_task(self._run())
        self.execution = Execution([job], terms, self._task)

    async def begin(self) -> None:
        """Wait until the handler runs."""
        await self._began.wait()

    async def end(self) -> list[Action]:
        """Let the handler end; gives what is to be reported of the job."""
        self.may_end.set()
        await self._task
        return [action for _, action in self.execution.outcomes()]

    async def _handle(self, _: Job) -> str:
        self._began.set()
        while not self.may_end.is_set():
            try:
                await self.may_end.wait()
            except asyncio.CancelledError:
                self.cancels += 1
        return "done"

    async def _run(self) -> None:
        await self.execution.run()

    def _note_overrun(self, _: Execution) -> None:
        self.overruns += 1


@pytest_asyncio.fixture
async def run(store: MemoryStore, clock: VirtualClock) -> AsyncIterator[Run]:
    """One that has begun; it ends after the test."""
    await Queue("emails", store=store).add("send", timeout="1h", attempts=3)
    data = await store.fetch_next_job("emails", "w1", 30)
    assert data is not None
    run = Run(Job(data, store, lock=Lock("w1", 1)), clock)
    await run.begin()
    yield run
    await run.end()


def told(run: Run) -> str:
    with pytest.raises(Exception, match=r".") as raised:
        run.job.raise_if_cancelled()
    return str(raised.value)


@pytest.mark.asyncio
async def test_a_run_that_nobody_stops_completes(run: Run) -> None:
    [action] = await run.end()
    assert type(action).__name__ == "Complete"
    assert run.cancels == 0


@pytest.mark.parametrize(("first", "second"), [*itertools.product(ENDS, repeat=2)])
@pytest.mark.asyncio
async def test_of_two_verdicts_the_higher_counts(
    first: Verdict, second: Verdict, run: Run, clock: VirtualClock
) -> None:
    for verdict in (first, second):
        run.execution.stop(run.job, verdict)
        await clock.settle()

    reason, action = ENDS[max(first, second)]
    assert reason in told(run)
    assert await run.end() == ([] if action is None else [action])
    assert run.cancels == 1, "the handler is told once"


@pytest.mark.parametrize("verdict", ENDS)
@pytest.mark.asyncio
async def test_the_same_verdict_again_changes_nothing(
    verdict: Verdict, run: Run, clock: VirtualClock
) -> None:
    run.execution.stop(run.job, verdict)
    await clock.advance(2)  # past its second of grace
    before = (run.cancels, run.overruns)
    for _ in range(3):
        run.execution.stop(run.job, verdict)
        await clock.advance(2)

    assert (run.cancels, run.overruns) == before


@pytest.mark.asyncio
async def test_who_cancels_a_run_that_goes_on_past_its_timeout_is_heard(
    run: Run, clock: VirtualClock
) -> None:
    run.execution.stop(run.job, Verdict.TIMED_OUT)
    await clock.advance(2)
    assert (run.cancels, run.overruns) == (1, 1)
    run.execution.stop(run.job, Verdict.CANCELLED)
    await clock.settle()

    assert run.cancels == 2
    assert await run.end() == [ENDS[Verdict.CANCELLED][1]]


@pytest.mark.asyncio
async def test_a_verdict_on_a_run_that_is_over_comes_too_late(run: Run) -> None:
    [completed] = await run.end()
    run.execution.stop(run.job, Verdict.CANCELLED)

    assert [action for _, action in run.execution.outcomes()] == [completed]
    assert not run.job.cancel_requested
