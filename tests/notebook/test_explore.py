"""``explore``: an experiment that runs again when a knob is turned."""

from __future__ import annotations

import asyncio
import re
from types import SimpleNamespace

import nbformat
import pytest
from ipywidgets import IntSlider
from ipywidgets.widgets.widget import _instances
from nbclient import NotebookClient
from nbformat import v4

from conveyor_nb import explore
from conveyor_nb.core.cell_reruns import Origin, enter_cell
from conveyor_nb.notebook import exploring
from conveyor_nb.notebook.exploring import close_explorations

from .conftest import PATIENCE, Kernel
from .test_outputs import JUPYTERLAB, VIEW, ask, shown_next

EXPERIMENT = """\
from conveyor_nb import MemoryStore, Queue, VirtualClock, Worker, chart, explore
from ipywidgets import IntSlider

async def experiment(slots=5, seconds=2):
    if slots == 13:
        raise ValueError("13 is <unlucky>")
    clock = VirtualClock()
    async with MemoryStore(clock=clock) as store, Queue("emails", store=store) as queue:
        async def send(job):
            await job.sleep(seconds)
        async with Worker("emails", send, store=store, concurrency=slots):
            await queue.add_bulk({"name": "send"} for _ in range(100))
            await clock.advance("10 minutes")
        jobs = await queue.get_jobs("completed", end=None)
        took = max(job.completed_at for job in jobs) - jobs[0].created_at
    return chart({f"{slots} slots": took.total_seconds()}, x="seconds")
"""


def test_a_turned_knob_runs_it_again(kernel: Kernel) -> None:
    kernel.do(EXPERIMENT + "knob = IntSlider(5, 1, 50)")
    ask(kernel.client, "await explore(experiment, slots=knob)", JUPYTERLAB)
    knobs = shown_next(kernel.client, "display_data")
    first = shown_next(kernel.client, "display_data")
    assert VIEW in knobs["data"]
    assert "slots: <strong>5</strong>" in knobs["data"]["text/html"]
    assert first["data"]["text/plain"] == "<Figure: 5 slots: 40 (seconds)>"

    ask(kernel.client, "knob.value = 10; knob.value = 20", JUPYTERLAB)
    second = shown_next(kernel.client, "update_display_data")
    assert second["transient"] == first["transient"]
    assert second["data"]["text/plain"] == "<Figure: 20 slots: 10 (seconds)>", "the last one counts"

    ask(kernel.client, "knob.value = 13", JUPYTERLAB)
    third = shown_next(kernel.client, "update_display_data")
    assert third["data"]["text/plain"] == "ValueError: 13 is <unlucky>"
    assert "13 is &lt;unlucky&gt;" in third["data"]["text/html"]

    ask(kernel.client, "knob.value = 1", JUPYTERLAB)
    assert "1 slots: 200" in shown_next(kernel.client, "update_display_data")["data"]["text/plain"]


def test_a_program_that_runs_a_notebook_is_told_where_the_knobs_stand() -> None:
    cell = "await explore(experiment, slots=[1, 5, 50], seconds=range(1, 4))"
    notebook = v4.new_notebook(cells=[v4.new_code_cell(EXPERIMENT), v4.new_code_cell(cell)])
    NotebookClient(notebook, timeout=PATIENCE, kernel_name="python3").execute()

    knobs, result = notebook.cells[1].outputs
    assert knobs.data["text/plain"] == "slots: 1 · [5] · 50\nseconds: 1 · [2] · 3"
    assert re.search("slots: 1 · <strong>5</strong> · 50", knobs.data["text/html"])
    assert VIEW not in knobs.data
    assert result.data["text/plain"] == "<Figure: 5 slots: 40 (seconds)>"
    assert "widgets" not in notebook.metadata
    nbformat.validate(notebook)


# -- without a kernel -------------------------------------------------------------------------


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a live notebook shows."""
    shown: list[str] = []
    formatter = SimpleNamespace(format=lambda result: ({"text/plain": repr(result)}, {}))
    shell = SimpleNamespace(display_formatter=formatter)
    monkeypatch.setattr(exploring, "get_ipython", lambda: shell)
    monkeypatch.setattr(exploring, "display", lambda *_, **__: None)
    monkeypatch.setattr(
        exploring, "publish_display_data", lambda data, *_, **__: shown.append(data["text/plain"])
    )
    return shown


@pytest.mark.asyncio
async def test_a_knob_that_is_turned_on_another_thread_runs_it_where_it_ran(
    shown: list[str],
) -> None:
    again = asyncio.Event()
    ran_on = []

    async def experiment(slots: int) -> None:
        ran_on.append(asyncio.get_running_loop())
        if slots == 2:
            again.set()

    async def turn() -> None:
        knob.value = 2

    knob = IntSlider(1, 1, 9)
    await explore(experiment, slots=knob)
    await asyncio.to_thread(asyncio.run, turn())
    await asyncio.wait_for(again.wait(), 10)
    assert ran_on == [asyncio.get_running_loop()] * 2
    close_explorations()


@pytest.mark.asyncio
async def test_no_knob_is_left_behind(shown: list[str]) -> None:
    def divide(by: int, plus: int = 0) -> float:
        return 1 / by + plus

    before = set(_instances)
    with pytest.raises(ZeroDivisionError):
        await explore(divide, by=[0, 1], plus=(0, 5))
    with pytest.raises(TypeError, match="plus takes a list of choices"):
        await explore(divide, by=[1, 2], plus=object())
    assert set(_instances) == before

    await explore(divide, by=[1, 2], plus=(0, 5))
    assert shown == ["1.0"]
    assert set(_instances) > before
    close_explorations()
    assert set(_instances) == before


@pytest.mark.asyncio
async def test_a_cell_that_runs_again_lets_go_of_its_knobs_of_before(shown: list[str]) -> None:
    runs = []
    knob = IntSlider(1, 1, 9)
    before = set(_instances)
    open_after = []
    for cell, run in (("a", 1), ("a", 2), ("b", 3)):
        enter_cell(Origin(cell, run))
        await explore(lambda slots, rate: runs.append(slots), slots=knob, rate=[1, 2])
        open_after.append(len(set(_instances) - before))
    assert open_after == [open_after[0], open_after[0], 2 * open_after[0]]
    assert runs == [1, 1, 1]

    knob.value = 2
    await asyncio.sleep(0)
    assert runs == [1, 1, 1, 2, 2]
    close_explorations()
    assert set(_instances) == before, "the caller's own is the caller's"


@pytest.mark.asyncio
async def test_what_can_be_no_knob_is_refused_before_anything_runs() -> None:
    async def experiment(slots: int = 5) -> None:
        pytest.fail("it must not run")

    with pytest.raises(TypeError, match="explore takes a function, not 5"):
        await explore(5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="argument of the experiment 'slot'; did you mean 'slots'"):
        await explore(experiment, slot=[1])
    with pytest.raises(TypeError, match="slots takes a list of choices, a range, or what"):
        await explore(experiment, slots=object())
    with pytest.raises(ValueError, match="slots begins at its default, 5, which is none of its"):
        await explore(experiment, slots=[1, 2])
    with pytest.raises(ValueError, match="slots has no choices"):
        await explore(experiment, slots=range(0))
