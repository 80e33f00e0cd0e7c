"""``%conveyor export``: a notebook's handler as a module that a worker process runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from conveyor_nb.notebook.exporting import HandlerSource, function_of_body, module_of
from conveyor_nb.notebook.mistakes import Mistake

if TYPE_CHECKING:
    from .conftest import Kernel


@pytest.fixture
def target(kernel: Kernel, tmp_path: Path) -> Path:
    """Where the module is to be written; the kernel works there."""
    kernel.do(f"import os\nos.chdir({str(tmp_path)!r})")
    return tmp_path / "mailer.py"


def run(target: Path, checkout: Path, name: str, *jobs: str) -> str:
    """Let a worker process run the module over jobs, and give what it prints."""
    program = (
        "import asyncio, sys\n"
        "from conveyor_nb import Queue, open_store\n"
        "async def main():\n"
        "    async with open_store('sqlite:///queue.db') as store:\n"
        "        async with Queue('emails', store=store) as queue:\n"
        "            for name in sys.argv[1:]: await queue.add(name, {'to': 'ada'})\n"
        "asyncio.run(main())"
    )
    where: Any = {"cwd": target.parent, "env": {"PYTHONPATH": str(checkout), "PATH": ""}}
    subprocess.run([sys.executable, "-c", program, *jobs], check=True, **where)
    store = "--queue emails --store sqlite:///queue.db --until-idle".split()
    command = [sys.executable, "-m", "conveyor_nb", "worker", f"{target.stem}:{name}", *store]
    done = subprocess.run(command, capture_output=True, text=True, check=True, **where)
    assert "failed" not in done.stderr, done.stderr
    return str(done.stdout)


CELLS = (
    "import json as j, math\nfrom collections import Counter",
    "POLITE = 'dear ' + 'friend'\nUNUSED = Counter()",
    "class Letter:\n    def __init__(self, to):\n        self.text = greet(to)",
    "def greet(name):  # nicely\n    return f'{POLITE} {name}'",
    "def greet(name):  # a second try\n    return f'{POLITE} {name}!'",
)


def test_a_handler_runs_in_a_process_of_its_own(
    kernel: Kernel, target: Path, checkout: Path
) -> None:
    for cell in CELLS:
        kernel.do(cell)
    kernel.do(
        "from conveyor_nb import Queue\nemails = Queue('emails')\n"
        "@emails.worker(concurrency=2)\n"
        "async def send(job):\n    print(j.dumps(Letter(job.data['to']).text), flush=True)"
    )

    said = kernel.do("%conveyor export emails mailer.py").out

    assert said == (
        "mailer.py has send; run it in a process of its own: python -m conveyor_nb worker "
        "mailer:send --queue emails --store sqlite:///queue.db\n"
    )
    written = target.read_text()
    assert "# a second try" in written
    assert "# nicely" not in written
    assert "UNUSED" not in written
    assert "import math" not in written
    assert ".worker" not in written
    assert run(target, checkout, "send", "send") == '"dear friend ada!"\n'
    kernel.do("%conveyor export emails mailer.py")  # an export is written over


def test_a_worker_cell_runs_in_a_process_of_its_own(
    kernel: Kernel, target: Path, checkout: Path
) -> None:
    kernel.do("import math")
    kernel.do(
        "%%worker emails --job-name send\n# the body\nif job.data:\n    print('sent', math.pi < 4)"
    )
    kernel.do("%%worker emails --job-name bounce\nprint('''two\nlines''')")

    assert "mailer.py has HANDLERS" in kernel.do("%conveyor export emails mailer.py").out

    assert "# the body" in target.read_text()
    assert run(target, checkout, "HANDLERS", "send", "bounce") == "sent True\ntwo\nlines\n"


def test_what_a_handler_adds_is_added_where_its_process_works(
    kernel: Kernel, target: Path, checkout: Path
) -> None:
    kernel.do(
        "from conveyor_nb import MemoryStore, Queue\nstore = MemoryStore()\n"
        "reports = Queue('emails', store=store)"
    )
    kernel.do(
        "%%worker emails\nif job.name == 'send':\n    await reports.add('report')\n"
        "print(job.name, flush=True)"
    )
    kernel.do("%conveyor export emails mailer.py")
    assert run(target, checkout, "emails", "send") == "send\nreport\n"


@pytest.mark.parametrize(
    ("cell", "told"),
    [
        (
            "for client in [object()]: pass\nasync def send(job): return client, unknown",
            "client (it is made by `for client in [object()]:`); unknown (no cell makes it)",
        ),
        ("send = lambda job: 1", "is no function with a name; write it with `def`"),
        (
            "def make():\n    word = 'x'\n    async def send(job): return word\n    return send\n"
            "send = make()",
            "send is made inside another function, and uses what is only there",
        ),
        (
            "import os\nasync def send(job): return here\nhere = os.getpid() == KERNEL or 1 / 0",
            "nothing was written, as it does not work by itself: mailer can't be imported: "
            "ZeroDivisionError: division by zero",
        ),
    ],
)
def test_what_can_not_come_along_is_told_and_nothing_is_written(
    cell: str, told: str, kernel: Kernel, target: Path
) -> None:
    kernel.do("import os\nKERNEL = os.getpid()\nNOW = 1")
    kernel.do(cell.replace("KERNEL", str(kernel.value("KERNEL"))))
    kernel.do("from conveyor_nb import Worker\nworker = Worker('emails', send)")
    said = kernel.run("%conveyor export emails mailer.py").err
    assert said.startswith("%conveyor export: ")
    assert told in said
    assert not target.exists()
    kernel.do("await worker.close()")


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("mailer.txt", "a module is called such as mailer.py, not 'mailer.txt'"),
        ("no/folder/mailer.py", "there is no folder 'no/folder'"),
        ("mine.py", "'mine.py' is there, and no export; --force writes over it"),
    ],
)
def test_a_path_that_will_not_do_is_a_mistake(
    path: str, told: str, kernel: Kernel, target: Path
) -> None:
    (target.parent / "mine.py").write_text("precious = 1\n")
    kernel.do("%%worker emails\nreturn 1")
    assert told in kernel.run(f"%conveyor export emails {path}").err
    assert (target.parent / "mine.py").read_text() == "precious = 1\n"


def test_shell_commands_stay_in_the_notebook() -> None:
    with pytest.raises(Mistake, match="works in notebooks only"):
        function_of_body("send", "get_ipython().system('ls')\n")


def test_what_was_imported_otherwise_is_imported() -> None:
    source = HandlerSource("send", "def send(job):\n    return loads(job.data), js.dumps(LIMIT)")
    import json

    variables = {"loads": json.loads, "js": json, "LIMIT": (1, "two")}
    text, _ = module_of({None: source}, [], variables, queue="emails", module="m")
    assert "from json import loads\nimport json as js\n\nLIMIT = (1, 'two')\n" in text
