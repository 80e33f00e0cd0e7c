"""Real kernels, and what a person would see of the cells that run in them."""

from __future__ import annotations

import ast
import contextlib
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import pytest_asyncio
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager
from jupyter_core.utils import ensure_event_loop

from conveyor_nb import Queue
from conveyor_nb.notebook.panel.widget import Panel, panel_of

from .pages import Page

if TYPE_CHECKING:
    from ..conftest import CasesOf

PATIENCE = 60
"""Seconds after which a kernel that says nothing is given up; no test waits for this."""


class Ran(NamedTuple):
    """What a cell showed."""

    out: str
    err: str
    shown: list[dict[str, Any]]
    error: tuple[str, str, str] | None

    @property
    def text(self) -> str:
        """The plain text of the last thing that was displayed."""
        return str(self.shown[-1]["text/plain"])


class Cell:
    """A cell that may still run."""

    def __init__(self, client: BlockingKernelClient, code: str, cell_id: str | None) -> None:
        self._client = client
        if cell_id is None:
            self._id = client.execute(code)
        else:  # as JupyterLab sends it
            content = {"code": code, "silent": False, "store_history": True, "allow_stdin": True}
            message = client.session.msg("execute_request", content)
            message["metadata"]["cellId"] = cell_id
            client.shell_channel.send(message)
            self._id = message["header"]["msg_id"]
        self._ran = Ran("", "", [], None)

    def wait_for(self, text: str) -> None:
        """Wait until the cell has printed this."""
        while text not in self._ran.out:
            assert self._read(), f"the cell ended without printing {text!r}: {self._ran}"

    def end(self) -> Ran:
        """Wait until the cell has ended."""
        while self._read():
            pass
        return self._ran

    def _read(self) -> bool:
        """Take in one message; ``False`` if it was the last of this cell."""
        message = self._client.get_iopub_msg(timeout=PATIENCE)
        content = message["content"]
        mine = message["parent_header"].get("msg_id") == self._id
        ran = self._ran
        match message["msg_type"]:
            case "stream":  # also from tasks that an earlier cell started
                out, err = ran.out, ran.err
                both = (out + content["text"], err) if content["name"] == "stdout" else None
                out, err = both or (out, err + content["text"])
                self._ran = ran._replace(out=out, err=err)
            case "execute_result" | "display_data" if mine:
                ran.shown.append(content["data"])
            case "error" if mine:
                traceback = "\n".join(content["traceback"])
                self._ran = ran._replace(error=(content["ename"], content["evalue"], traceback))
            case "status" if mine:
                return bool(content["execution_state"] != "idle")
        return True


class Kernel:
    """A running kernel."""

    def __init__(self, manager: KernelManager, client: BlockingKernelClient) -> None:
        self.manager = manager
        self.client = client

    def start(self, code: str, cell_id: str | None = None) -> Cell:
        """Begin to run a cell, of which the page may say which it is."""
        return Cell(self.client, code, cell_id)

    def run(self, code: str, cell_id: str | None = None) -> Ran:
        """Run a cell to its end, whatever that is."""
        return self.start(code, cell_id).end()

    def do(self, code: str, cell_id: str | None = None) -> Ran:
        """Run a cell that must not fail, nor tell of a mistake."""
        ran = self.run(code, cell_id)
        assert ran.error is None, ran.error
        assert ran.err == ""
        return ran

    def value(self, expression: str) -> Any:
        """What a cell with this expression gives, which must be a literal; it may ``await``."""
        return ast.literal_eval(self.do(expression).text)

    def complete(self, code: str) -> list[str]:
        """What the tab key offers at the end of a cell."""
        reply = self.client.complete(code, reply=True, timeout=PATIENCE)["content"]
        start = reply["cursor_start"]
        return [code[:start] + match for match in reply["matches"]]

    def help(self, code: str) -> str:
        """What ``?`` shows."""
        reply = self.client.inspect(code, reply=True, timeout=PATIENCE)["content"]
        return str(reply["data"]["text/plain"])


@contextlib.contextmanager
def running_kernel(log: Path) -> Iterator[Kernel]:
    """Start a kernel of this Python, and end it; what it writes to its terminal goes to a file.

    Where there are sockets with names it has no ports: of those that are free when they are chosen,
    another kernel that starts may take one.
    """
    with log.open("wb") as output, tempfile.TemporaryDirectory() as sockets:
        manager = KernelManager(kernel_name="python3")
        if sys.platform != "win32":
            manager.transport, manager.ip = "ipc", f"{sockets}/kernel"
        manager.start_kernel(cwd=log.parent, stdout=output, stderr=output)
        client = manager.client()
        client.start_channels()
        try:
            client.wait_for_ready(timeout=PATIENCE)
            yield Kernel(manager, client)
        finally:
            client.stop_channels()
            manager.shutdown_kernel()
            manager.cleanup_resources()


@pytest.fixture(scope="module")
def loaded_kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    """One kernel for a module, with the extension loaded."""
    with running_kernel(tmp_path_factory.mktemp("kernel") / "kernel.log") as kernel:
        kernel.do("%load_ext conveyor_nb")
        yield kernel


@pytest.fixture
def kernel(loaded_kernel: Kernel) -> Kernel:
    """The module's kernel with no queues or workers; time stands still, ids are emails-1, ..."""
    # it collects what the test before has left; what is alive is left out of later collections
    loaded_kernel.do("%reset -f\n%load_ext conveyor_nb\n__import__('gc').freeze()")
    loaded_kernel.do("%conveyor reset --clock virtual --ids sequential --seed 1")
    return loaded_kernel


NewKernel = Callable[..., contextlib.AbstractContextManager[Kernel]]


@pytest.fixture
def kernel_log(tmp_path: Path) -> Path:
    """What the kernel of :func:`new_kernel` writes to its terminal."""
    return tmp_path / "kernel.log"


@pytest.fixture
def new_kernel(kernel_log: Path) -> NewKernel:
    """Starts a kernel of its own for a test that also looks at how it ends.

    What that writes to its terminal goes to ``kernel_log``, or to the file given.
    """
    return lambda log=kernel_log: running_kernel(log)


Together = Callable[..., Any]
AT_ONCE = 4
"""How many cases run together: they start kernels, and wait for these."""

_BEGUN = pytest.StashKey[dict[str, Future[Any]]]()


@pytest.fixture(scope="module")
def case_pool() -> Iterator[ThreadPoolExecutor]:
    """The threads in which cases run together."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield pool


@pytest.fixture
def together(
    request: pytest.FixtureRequest,
    cases_of: CasesOf,
    case_pool: ThreadPoolExecutor,
    tmp_path_factory: pytest.TempPathFactory,
) -> Together:
    """Runs all cases of a test at once, as each would mostly wait: the first one asks for it.

    It is called with a function, which gets the parameters of a case and a folder of its own;
    each test gets what the function gave for its case, or what it raised.
    """

    def run(function: Callable[..., Any]) -> Any:
        begun = request.config.stash.setdefault(_BEGUN, {})
        if request.node.nodeid not in begun:
            for case in cases_of(request.function):
                folder = tmp_path_factory.mktemp("case")
                begun[case.nodeid] = case_pool.submit(_in_thread, function, case, folder)
        return begun[request.node.nodeid].result()

    return run


def _in_thread(function: Callable[..., Any], case: pytest.Function, folder: Path) -> Any:
    try:
        return function(**case.callspec.params, folder=folder)
    finally:
        ensure_event_loop().close()  # that of the thread, which Jupyter's clients have made


# -- panels without a kernel --------------------------------------------------------------------


@pytest_asyncio.fixture
async def panel(queue: Queue) -> AsyncIterator[Panel]:
    """A panel of the queue that a module has as its fixture."""
    panel = panel_of(queue)
    yield panel
    panel.close()


@pytest_asyncio.fixture
async def page(panel: Panel) -> Page:
    """A page that shows it."""
    page = Page(panel)
    await page.say("hello")
    await page.until(lambda: panel.frame == 1)
    return page
