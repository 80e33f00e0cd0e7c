"""Tasks in the background: kept to their end, and never lost with what they raise."""

from __future__ import annotations

import asyncio
import gc
import inspect
import logging
import re
import weakref
from pathlib import Path
from typing import Any

import pytest

from conveyor_nb.clocks.tasks import BackgroundTasks

ROOT = Path(__file__).resolve().parents[2] / "conveyor_nb"
MODULES = {
    name: path
    for path in sorted(ROOT.rglob("*.py"))
    if (name := str(path.relative_to(ROOT))) != "clocks/tasks.py"
}

Ends = list[tuple[str, BaseException | None]]


async def wait_for(event: asyncio.Event) -> str:
    await event.wait()
    return "done"


async def fail() -> None:
    raise ValueError("no luck")


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.fixture
def ends() -> Ends:
    return []


@pytest.fixture
def tasks(ends: Ends) -> BackgroundTasks:
    return BackgroundTasks(on_end=lambda name, error: ends.append((name, error)))


@pytest.mark.asyncio
async def test_a_task_is_kept_until_it_has_ended(tasks: BackgroundTasks, ends: Ends) -> None:
    event = asyncio.Event()
    task = weakref.ref(tasks.spawn(wait_for(event)))
    await turns()
    gc.collect()
    assert (len(tasks), list(tasks)) == (1, [task()])

    event.set()
    await turns()
    assert (len(tasks), ends) == (0, [("wait_for", None)])


@pytest.mark.asyncio
async def test_what_a_task_raises_is_told_once(tasks: BackgroundTasks, ends: Ends) -> None:
    tasks.spawn(fail())
    await turns()

    assert [(name, str(error)) for name, error in ends] == [("fail", "no luck")]
    assert len(tasks) == 0


@pytest.mark.asyncio
async def test_the_log_is_told_if_nobody_else_is(caplog: pytest.LogCaptureFixture) -> None:
    tasks = BackgroundTasks()
    tasks.spawn(fail())
    tasks.spawn(turns())
    await turns(10)

    assert [(one.name, one.levelno, one.getMessage()) for one in caplog.records] == [
        ("conveyor_nb", logging.ERROR, "fail failed in the background")
    ]
    assert "ValueError: no luck" in caplog.text


@pytest.mark.asyncio
async def test_what_is_awaited_tells_who_awaits_it(tasks: BackgroundTasks, ends: Ends) -> None:
    event = asyncio.Event()
    event.set()
    assert await tasks.see_through(wait_for(event)) == "done"
    with pytest.raises(ValueError, match="no luck"):
        await tasks.see_through(fail())
    await turns()

    assert (len(tasks), ends) == (0, [])


@pytest.mark.parametrize("fails", [True, False])
@pytest.mark.asyncio
async def test_what_nobody_awaits_any_more_goes_on_and_tells(
    tasks: BackgroundTasks, ends: Ends, fails: bool
) -> None:
    event = asyncio.Event()

    async def work() -> None:
        await event.wait()
        if fails:
            raise ValueError("no luck")

    waiting = asyncio.ensure_future(tasks.see_through(work()))
    await turns()
    waiting.cancel()
    await turns()
    assert (waiting.cancelled(), len(tasks), ends) == (True, 1, [])
    event.set()
    await turns()

    (told,) = ends
    assert str(told[1]) == ("no luck" if fails else "None")


@pytest.mark.asyncio
async def test_closing_leaves_none_not_even_what_an_end_has_begun(ends: Ends) -> None:
    def go_on(name: str, error: BaseException | None) -> None:
        ends.append((name, error))
        kept.spawn(wait_for(asyncio.Event()))

    async def be_rude() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise ValueError("no luck")

    before = asyncio.all_tasks()
    kept = BackgroundTasks(on_end=go_on)
    kept.spawn(be_rude())
    kept.spawn(wait_for(asyncio.Event()))
    await turns()
    await kept.close()

    assert [str(error) for _, error in ends] == ["no luck"]
    assert (len(kept), asyncio.all_tasks()) == (0, before)


@pytest.mark.parametrize("module", MODULES)
def test_no_module_keeps_its_tasks_in_another_way(module: str) -> None:
    source = MODULES[module].read_text("utf-8")
    assert re.findall(r"add_done_callback\(.*\.discard\)", source) == []


def test_what_can_not_be_begun_is_closed(tasks: BackgroundTasks) -> None:
    work = turns()
    with pytest.raises(RuntimeError, match="no running event loop"):
        tasks.spawn(work)

    assert inspect.getcoroutinestate(work) == inspect.CORO_CLOSED
    assert len(tasks) == 0


@pytest.mark.asyncio
async def test_they_are_cancelled_from_another_thread(tasks: BackgroundTasks, ends: Ends) -> None:
    task: asyncio.Task[Any] = tasks.spawn(wait_for(asyncio.Event()))
    await turns()
    await asyncio.to_thread(tasks.cancel)
    await asyncio.wait({task})
    await turns()

    assert (task.cancelled(), len(tasks), ends) == (True, 0, [])
