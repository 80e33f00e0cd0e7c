"""A cell that is edited and run again replaces what it added before, and doubles nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .conftest import Kernel


@pytest.fixture
def kernel(kernel: Kernel) -> Kernel:
    """The module's kernel in real time, with a queue, a worker and a list of who was called."""
    kernel.do("%conveyor reset --ids sequential\nimport asyncio\nfrom conveyor_nb import *")
    kernel.do(
        "called = []\n"
        "emails = Queue('emails')\n"
        "store = default_store()\n"
        "worker = Worker('emails', lambda job: job.data)"
    )
    return kernel


def called(kernel: Kernel) -> list[str]:
    """Run a job; who was called."""
    kernel.do("called.clear()\njob = await emails.add('send')\nawait job.wait_until_finished()")
    kernel.do("await asyncio.sleep(0)\nawait asyncio.sleep(0)")
    names: list[str] = kernel.value("sorted(called)")
    return names


ADD = {
    "queue.on": "@emails.on('completed')\ndef tell(event): called.append('{}')",
    "async": "@emails.on('completed')\nasync def tell(event): called.append('{}')",
    "worker.on": "@worker.on('completed')\ndef tell(event): called.append('{}')",
    "subscribe": (
        "def tell(event):\n    if event.type == 'job:completed':\n        called.append('{}')\n"
        "store.subscribe('emails', tell)"
    ),
    "all queues": (
        "def tell(event):\n    if event.type == 'job:completed':\n        called.append('{}')\n"
        "store.subscribe(None, tell)"
    ),
    "a queue made anew": (
        "again = Queue('emails')\n@again.on('completed')\ndef tell(event): called.append('{}')"
    ),
}
WITH_ID = {
    "lambda": "emails.on('completed', lambda event: called.append('{}'))",
    "underscore": "@emails.on('completed')\ndef _(event): called.append('{}')",
    "made in a function": (
        "def make():\n    def tell(event): called.append('{}')\n    return tell\n"
        "emails.on('completed', make())"
    ),
    "method": (
        "class Teller:\n    def tell(self, event): called.append('{}')\n"
        "emails.on('completed', Teller().tell)"
    ),
}


@pytest.mark.parametrize("cell_id", ["a", None])
@pytest.mark.parametrize("kind", ADD)
def test_the_new_version_replaces_the_old(kernel: Kernel, kind: str, cell_id: str | None) -> None:
    for version in ("one", "two", "three"):
        kernel.do(ADD[kind].format(version), cell_id)
        assert called(kernel) == [version]


@pytest.mark.parametrize("kind", WITH_ID)
def test_what_has_no_name_of_its_own_is_known_by_its_cell(kernel: Kernel, kind: str) -> None:
    for version in ("one", "two", "three"):
        kernel.do(WITH_ID[kind].format(version), "a")
        assert called(kernel) == [version]


def test_without_a_cell_they_stay(kernel: Kernel) -> None:
    for number in (1, 2):
        kernel.do(WITH_ID["lambda"].format(number))
        kernel.do(WITH_ID["underscore"].format(number))
    assert called(kernel) == ["1", "1", "2", "2"]


@pytest.mark.parametrize(
    "cell",
    [
        "for name in 'ab':\n"
        "    @emails.on('completed')\n"
        "    def tell(event, name=name): called.append(name)",
        "for name in 'ab':\n"
        "    emails.on('completed', lambda event, name=name: called.append(name))",
        "def make(name):\n"
        "    def tell(event): called.append(name)\n"
        "    return tell\n"
        "for name in 'ab': emails.on('completed', make(name))",
    ],
)
def test_what_one_run_adds_does_not_replace_itself(kernel: Kernel, cell: str) -> None:
    for _ in range(3):
        kernel.do(cell, "a")
        assert called(kernel) == ["a", "b"]


def test_the_same_function_is_called_once(kernel: Kernel) -> None:
    kernel.do("def tell(event): called.append(str(event.type))", "a")
    for _ in range(3):
        kernel.do("emails.on('completed', tell)\nstore.subscribe('emails', tell)", "b")
    assert called(kernel).count("job:completed") == 2, "of the queue and of the store"
    kernel.do("store.unsubscribe('emails', tell)")


def test_other_cells_places_and_events_stay(kernel: Kernel) -> None:
    tell = "@{}.on('{}')\ndef tell(event): called.append('{}')"
    kernel.do(tell.format("emails", "completed", "a"), "a")
    kernel.do(tell.format("emails", "completed", "b"), "b")
    kernel.do(tell.format("emails", "active", "c"), "a")
    kernel.do(tell.format("Queue('others')", "completed", "d"), "a")
    assert called(kernel) == ["a", "b", "c"]
    kernel.do("if False:\n    emails.on('completed', tell)", "a")
    assert called(kernel) == ["a", "b", "c"], "what is not added again stays too"


def test_what_is_added_between_cells_stays(kernel: Kernel) -> None:
    kernel.do(
        "def add():\n    emails.on('completed', tell)\n"
        "def tell(event): called.append('x')\n"
        "loop = asyncio.get_running_loop()",
        "a",
    )
    for _ in range(2):
        kernel.do("import contextvars\nloop.call_soon(add, context=contextvars.Context())", "a")
        kernel.do("await asyncio.sleep(0)")
    assert called(kernel) == ["x", "x"]


@pytest.mark.parametrize("cell_id", ["a", None])
def test_who_observes_a_job_is_told_once(kernel: Kernel, cell_id: str | None) -> None:
    kernel.do("await worker.close()\njob = await emails.add('send')")
    for version in ("one", "two"):
        kernel.do(
            f"def tell(job, *more):\n    called.append('{version}')\n"
            "_ = job.observe().subscribe(on_active=tell, on_completed=tell)",
            cell_id,
        )
    kernel.do("_ = job.observe().subscribe(on_completed=lambda *told: called.append('b'))", "b")
    kernel.do("async with Worker('emails', print):\n    await job.wait_until_finished()")
    kernel.do("await asyncio.sleep(0)\nawait asyncio.sleep(0)")
    assert sorted(kernel.value("called")) == ["b", "two", "two"]


def test_a_module_that_is_loaded_again_replaces_its_callbacks(
    kernel: Kernel, tmp_path: Path
) -> None:
    module = tmp_path / "callbacks_of_a_test.py"
    source = (
        "from conveyor_nb import Queue\n"
        "emails, called = Queue('emails'), __import__('__main__').called\n"
        "@emails.on('completed')\ndef tell(event): called.append('{0}')\n"
        "@emails.on('completed')\ndef also(event): called.append('also {0}')\n"
    )
    kernel.do(f"import importlib, sys\nsys.path.insert(0, {str(tmp_path)!r})")
    kernel.do("sys.dont_write_bytecode = True")
    module.write_text(source.format("one"))
    kernel.do(f"import {module.stem}", "a")
    assert called(kernel) == ["also one", "one"]
    module.write_text(source.format("a second"))
    kernel.do(f"importlib.reload({module.stem})", "b")
    assert called(kernel) == ["a second", "also a second"]
    kernel.do("sys.path.pop(0)")


@pytest.mark.parametrize("cell_id", ["b", None])
def test_methods_of_two_objects_are_two(kernel: Kernel, cell_id: str | None) -> None:
    kernel.do(
        "class Teller:\n"
        "    def __init__(self, name): self.name = name\n"
        "    def tell(self, event): called.append(self.name)\n"
        "emails.on('completed', Teller('a').tell)",
        cell_id and "a",
    )
    kernel.do("emails.on('completed', Teller('b').tell)", cell_id)
    assert called(kernel) == ["a", "b"]


def test_nothing_is_left_of_what_was_replaced(kernel: Kernel) -> None:
    kernel.do("import gc, weakref\ngone = []")
    for _ in range(3):
        kernel.do(
            "again = Queue('emails')\ngone.append(weakref.ref(again))\n"
            "@again.on('completed')\ndef tell(event): called.append('x')",
            "a",
        )
    kernel.do("gc.collect()")
    assert kernel.value("[one() is None for one in gone]") == [True, True, False]
    assert called(kernel) == ["x"]


def test_it_ends_with_the_extension(kernel: Kernel) -> None:
    kernel.do("%unload_ext conveyor_nb")
    for version in ("one", "two"):
        kernel.do(ADD["queue.on"].format(version), "a")
    assert called(kernel) == ["one", "two"]
    kernel.do("%load_ext conveyor_nb")


# -- a class that is defined anew -------------------------------------------------------------

CLASS = "import dataclasses\n@dataclasses.dataclass\nclass Letter:\n    to: str = 'ada'\n"
OUTCOME = (
    "try:\n    outcome = await job.wait_until_finished()\n"
    "except JobFailedError as error:\n    outcome = str(error)"
)


@pytest.mark.parametrize("options", ["", "(executor='process')"])
def test_an_old_object_says_to_make_it_anew(kernel: Kernel, options: str) -> None:
    kernel.do("await worker.close()")
    kernel.do(CLASS)
    kernel.do(
        f"@emails.worker{options}\n"
        "def send(job):\n    return isinstance(job.data, Letter) if job.data else Letter()\n"
        "old = Letter()\njob = await emails.add('send', old)"
    )
    assert kernel.value("await job.wait_until_finished()") is True

    kernel.do(CLASS)
    ran = kernel.run("%conveyor add emails send $old")
    assert ran.error is None
    assert "make the object anew" in ran.err
    ran = kernel.run("await emails.add('send', [old])")
    assert ran.error is not None
    assert "data[0] is a Letter" in ran.error[1]
    assert ran.error[1].endswith("make the object anew")

    kernel.do(f"job = await emails.add('send', Letter())\n{OUTCOME}")
    if options:  # whose handler has a copy of the class
        assert "Letter of the payload was defined anew" in kernel.value("outcome")
        assert kernel.value("outcome.endswith('run the worker\\'s cell again')") is True
        kernel.do(f"job = await emails.add('send')\n{OUTCOME}")
        assert "run the cell of its handler again" in kernel.value("outcome")
    else:
        assert kernel.value("outcome") is True
    kernel.do("%conveyor reset")
