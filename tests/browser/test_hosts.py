"""A queue's panel in other hosts than JupyterLab: the same clicks, and the same comes of them."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

import nbformat
import pytest
from nbformat import v4
from playwright.sync_api import Browser, Error, Locator, Page, expect

from conveyor_nb.cli.lite import INSTALL_OFFLINE

if TYPE_CHECKING:
    from ..conftest import StartChild


class Site(NamedTuple):
    """A site: where it is served, and the folder of its files."""

    address: str
    folder: Path


PATIENCE = 180_000.0
"""Milliseconds that the browser waits for what must come to pass, on a slow machine too."""

WORK = """\
from conveyor_nb import MemoryStore, Queue

queue = Queue("emails", store=MemoryStore(ids="sequential"))

@queue.worker(name="mailer", concurrency=2)
async def send(job):
    if job.name == "bad" and len(job.attempt_logs) == 1:
        raise ValueError("no such <mailbox>")
"""
IS_IDLE = """() => {
    const context = window.jupyterapp?.shell?.currentWidget?.sessionContext;
    return context?.session?.kernel?.status === "idle";
}"""


def write_notebook(path: Path, *cells: str, kernel: str = "python3") -> Path:
    made = [v4.new_code_cell(cell) for cell in cells]
    spec = {"name": kernel, "display_name": "Python", "language": "python"}
    nbformat.write(v4.new_notebook(cells=made, metadata={"kernelspec": spec}), path)
    return path


def chip(panel: Locator, state: str, count: int) -> Locator:
    """The chip of a state, if it shows this count."""
    return panel.get_by_test_id(f"cv-chip-{state}").filter(has_text=re.compile(rf"\D{count}$"))


def add(panel: Locator, name: str) -> None:
    """Add a job by the panel's form."""
    panel.get_by_test_id("cv-add").click()
    panel.get_by_test_id("cv-form-name").fill(name)
    panel.get_by_test_id("cv-form-data").fill('{"to": "ada"}')
    panel.get_by_test_id("cv-form-save").click()
    expect(panel.get_by_test_id("cv-form")).to_be_hidden()


def walk(panel: Locator) -> None:
    """The main path: a job is added and runs, the queue is paused, a failed job is run again."""
    expect(panel.get_by_test_id("cv-title")).to_have_text("emails")
    add(panel, "send")
    expect(chip(panel, "completed", 1)).to_be_visible()

    panel.get_by_test_id("cv-pause").click()
    expect(panel.get_by_test_id("cv-paused")).to_be_visible()
    add(panel, "bad")
    expect(chip(panel, "waiting", 1)).to_be_visible()
    panel.get_by_test_id("cv-resume").click()
    expect(chip(panel, "failed", 1)).to_be_visible()

    panel.get_by_test_id("cv-chip-failed").click()
    panel.get_by_test_id("cv-job").filter(has_text="bad").click()
    detail = panel.get_by_test_id("cv-detail")
    expect(detail.get_by_test_id("cv-traceback")).to_contain_text("ValueError: no such <mailbox>")
    detail.get_by_test_id("cv-job-retry").click()
    expect(detail.get_by_test_id("cv-attempt")).to_have_count(2)
    expect(chip(panel, "completed", 2)).to_be_visible()
    expect(chip(panel, "failed", 0)).to_be_visible()


def is_of_host(error: Error) -> bool:
    """Whether it comes from the host's own scripts: a panel's are no file that is served."""
    stack = error.stack or ""
    return " at " not in stack or ("/static/" in stack and "blob:" not in stack)


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page in which no script of ours may raise."""
    context = browser.new_context(viewport={"width": 1280, "height": 1200})
    context.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    page = context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: None if is_of_host(error) else faults.append(str(error)))
    yield page
    context.close()
    assert not faults, "scripts in the page raised"


@pytest.fixture
def port() -> int:
    """A port that is free."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def wait_for(process: subprocess.Popen[str], port: int | None) -> None:
    """Wait until a server that has told its port listens there."""
    while True:
        with contextlib.suppress(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port or 80)).close()
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = process.wait(0.05)
            pytest.fail(f"it ended with {code}, after it had told its address", pytrace=False)


@contextlib.contextmanager
def serving(
    start_child: StartChild, checkout: Path, home: Path, *command: str | Path
) -> Iterator[str]:
    """Run a module that serves a page, with settings of its own, and give the page's address."""
    own = {name: str(home) for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR")}
    env = {**os.environ, **own, "PYTHONPATH": str(checkout), "TZ": "UTC"}
    with start_child(
        [sys.executable, "-m", *command],
        cwd=home,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        assert process.stdout is not None
        found = (
            re.search(r"http://(?:127\.0\.0\.1|localhost):[^\s)]+", line) for line in process.stdout
        )
        address = next((one.group() for one in found if one), None)
        assert address is not None, "it ended before it was ready"
        wait_for(process, urlsplit(address).port)
        yield address
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(60)


def test_in_notebook_7(
    page: Page, start_child: StartChild, checkout: Path, tmp_path: Path, port: int
) -> None:
    write_notebook(tmp_path / "seven.ipynb", WORK, "queue")
    settings = (
        "--no-browser --allow-root --ServerApp.answer_yes=True --IdentityProvider.token=t"
        f" --JupyterNotebookApp.expose_app_in_browser=True --ServerApp.ip=127.0.0.1 --port={port}"
    ).split()
    with serving(start_child, checkout, tmp_path, "notebook", *settings) as address:
        page.goto(address.partition("/tree")[0] + "/notebooks/seven.ipynb?token=t")
        page.wait_for_function(IS_IDLE)
        page.evaluate("void jupyterapp.commands.execute('notebook:run-all-cells')")
        walk(page.get_by_test_id("cv-panel"))


def test_as_a_page_of_its_own(
    page: Page, start_child: StartChild, checkout: Path, tmp_path: Path, port: int
) -> None:
    notebook = write_notebook(tmp_path / "emails.ipynb", WORK, "queue", "queue.store")
    command = ("conveyor_nb", "dashboard", "--no-browser", "--port", str(port), notebook)
    with serving(start_child, checkout, tmp_path, *command) as address:
        page.goto(address)
        panel = page.get_by_test_id("cv-panel")
        walk(panel.first)
        expect(panel.nth(1).get_by_test_id("cv-card")).to_contain_text("emails")
        expect(page.get_by_text("import MemoryStore")).to_have_count(0)

        stranger = page.context.browser
        assert stranger is not None
        outside = stranger.new_context().new_page()
        outside.goto(address.partition("?")[0])
        expect(outside).to_have_url(re.compile("/login"))
        expect(outside.get_by_test_id("cv-panel")).to_have_count(0)
        outside.context.close()


WORKER = """\
async def send(job):
    if job.name == "bad" and len(job.attempt_logs) == 1:
        raise ValueError("no such <mailbox>")
"""


def test_a_file_without_a_notebook_beside_a_worker_of_its_own(
    page: Page, start_child: StartChild, checkout: Path, tmp_path: Path, port: int
) -> None:
    (tmp_path / "mailer.py").write_text(WORKER)
    store = "--store", "sqlite:///queue.db"
    work = ("conveyor_nb", "worker", "mailer:send", "--queue", "emails", *store)
    show = ("conveyor_nb", "dashboard", "--no-browser", "--port", str(port), *store)
    env = {**os.environ, "PYTHONPATH": str(checkout)}
    with start_child(
        [sys.executable, "-m", *work], cwd=tmp_path, env=env, stderr=subprocess.PIPE
    ) as worker:
        assert worker.stderr is not None
        assert "started" in worker.stderr.readline()
        with serving(start_child, checkout, tmp_path, *show) as address:
            page.goto(address)
            panel = page.get_by_test_id("cv-panel")
            panel.get_by_test_id("cv-card-open").click()
            walk(panel)


MARIMO = """\
import marimo

app = marimo.App()

@app.cell
def _():
{work}
    return queue, send

@app.cell
def _(queue):
    queue
    return

@app.cell
def _(send):
    send.worker
    return

@app.cell
def _(queue):
    queue.store
    return
"""


def test_in_marimo(
    page: Page, start_child: StartChild, checkout: Path, tmp_path: Path, port: int
) -> None:
    notebook = tmp_path / "emails.py"
    notebook.write_text(MARIMO.format(work=textwrap.indent(WORK, "    ")))
    settings = f"--headless --no-token --host 127.0.0.1 --port {port}".split()
    with serving(start_child, checkout, tmp_path, "marimo", "run", *settings, notebook) as address:
        page.goto(address)
        panel = page.get_by_test_id("cv-panel")
        walk(panel.first)
        expect(panel.nth(1).get_by_test_id("cv-card")).to_contain_text("emails")
        expect(page.get_by_text("Worker mailer · of emails")).to_be_visible()


BUSY = """\
import asyncio
from js import BroadcastChannel
from pyodide.ffi import create_proxy

goes_on = asyncio.Event()
channel = BroadcastChannel.new("test")
channel.onmessage = create_proxy(lambda _: goes_on.set())
for _ in range(3):
    await queue.add("later", delay="1h")
    await asyncio.sleep(0.2)
await goes_on.wait()
"""


@pytest.fixture(scope="module")
def site(
    browser: Browser,
    start_child: StartChild,
    checkout: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Site]:
    """The site, built and served as a person does it, with live pages that need no network."""
    if shutil.which("npm") is None:
        reason = "no npm on this machine (apt-get install nodejs npm)"
        if os.environ.get("CI"):
            pytest.fail(f"{reason}; on CI the site's live pages must be seen")
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("site")
    command = ("conveyor_nb", "docs", "--offline", "--no-browser", "--output", folder / "out")
    with serving(start_child, checkout, folder, *command) as address:
        yield Site(address, folder / "out")


def run_cell(page: Page, number: int) -> Locator:
    """Begin to run a cell, and give what stands beside it."""
    page.evaluate(
        """number => {
            jupyterapp.shell.currentWidget.content.activeCellIndex = number;
            void jupyterapp.commands.execute("notebook:run-cell");
        }""",
        number,
    )
    return page.locator(".jp-Notebook .jp-Cell").nth(number).locator(".jp-InputPrompt")


def test_every_page_of_the_site_fits_a_telephone_and_needs_nothing_from_elsewhere(
    site: Site, browser: Browser
) -> None:
    pages = [path for path in site.folder.glob("**/*.html") if "live" not in path.parts]
    names = [path.relative_to(site.folder).as_posix() for path in pages]
    assert len(names) > 30
    context = browser.new_context(viewport={"width": 380, "height": 800}, color_scheme="dark")
    page = context.new_page()
    foreign: set[str] = set()
    page.on("request", lambda one: foreign.add(one.url) if is_foreign(one.url, site) else None)
    page.on("response", lambda one: foreign.add(one.url) if one.status >= 400 else None)
    wide = []
    for name in names:
        page.goto(f"{site.address}/{name}")
        if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
            wide.append(name)
    context.close()
    assert (wide, foreign) == ([], set())


def is_foreign(url: str, site: Site) -> bool:
    return not url.startswith((site.address, "data:", "blob:"))


def test_the_site_is_read_without_scripts(site: Site, browser: Browser) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(site.address)
    page.get_by_role("link", name="quick start").first.click()
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    picture = page.locator("div.cell_output img").first
    size = picture.bounding_box()
    assert size is not None
    assert size["width"] > 300
    context.close()


MOST_CELLS = 12
"""After so many cells of the quick start something has to move."""


def test_the_quick_start_runs_in_its_page_without_a_server(site: Site, page: Page) -> None:
    page.goto(f"{site.address}/01_quickstart.html")
    with page.expect_popup() as opened:
        page.get_by_role("link", name="Run it in your browser").click()
    live = opened.value
    foreign: set[str] = set()
    live.on("request", lambda one: foreign.add(one.url) if is_foreign(one.url, site) else None)
    live.wait_for_function(IS_IDLE)
    panel = live.get_by_test_id("cv-panel").first
    for number in range(1, 1 + MOST_CELLS):
        prompt = run_cell(live, number)
        if "jp-CodeCell" in (prompt.locator("xpath=ancestor::*[3]").get_attribute("class") or ""):
            expect(prompt).to_have_text(re.compile(r"\[\d+\]:"))
        if panel.count():
            break
    expect(panel.get_by_test_id("cv-title")).to_be_visible()
    expect(
        live.locator(".jp-RenderedText[data-mime-type='application/vnd.jupyter.stderr']")
    ).to_have_count(0)
    assert foreign == set()


def test_in_jupyterlite(site: Site, page: Page) -> None:
    cells = (INSTALL_OFFLINE, f"%load_ext conveyor_nb\n{WORK}", "queue", BUSY, "queue.to_frame()")
    notebook = v4.new_notebook(cells=[v4.new_code_cell(cell) for cell in cells])
    notebook.metadata["kernelspec"] = {"name": "python", "display_name": "Python"}
    page.goto(f"{site.address}/live/lab/index.html")
    page.wait_for_function("window.jupyterapp?.serviceManager?.isReady")
    page.evaluate(
        """content => jupyterapp.serviceManager.contents.save(
            "emails.ipynb", { type: "notebook", format: "json", content })""",
        notebook,
    )
    page.goto(f"{site.address}/live/lab/index.html?path=emails.ipynb")
    page.wait_for_function(IS_IDLE)

    for cell in range(3):
        expect(run_cell(page, cell)).to_have_text(f"[{cell + 1}]:")
    panel = page.get_by_test_id("cv-panel")
    walk(panel)

    prompt = run_cell(page, 3)  # it waits, and the panel goes on
    expect(chip(panel, "delayed", 3)).to_be_visible()
    expect(prompt).to_have_text("[*]:")
    page.evaluate("new BroadcastChannel('test').postMessage('go on')")
    expect(prompt).to_have_text("[4]:")

    run_cell(page, 4)
    expect(page.get_by_text("a DataFrame needs pandas, which is not")).to_be_visible()


WORK_TO_THE_END = f"""{WORK}
for name in ("send", "bad", "send"):
    await queue.add(name)
await queue.join()
queue
"""


def run(*command: str | Path) -> None:
    subprocess.run([sys.executable, "-m", *command], check=True, capture_output=True)


@pytest.mark.parametrize("program", ["nbconvert", "papermill"])
def test_a_program_that_runs_a_notebook_leaves_a_picture(
    program: str, page: Page, tmp_path: Path
) -> None:
    notebook = write_notebook(tmp_path / "emails.ipynb", WORK_TO_THE_END)
    if program == "papermill":
        run("papermill", notebook, notebook)
        run("nbconvert", "--to", "html", notebook)
    else:
        run("nbconvert", "--to", "html", "--execute", notebook)

    page.goto(notebook.with_suffix(".html").as_uri())
    picture = page.get_by_role("img", name="Queue emails: 2 completed, 1 failed")
    picture.evaluate("image => image.decode()")  # raises if it can't be drawn
    size = picture.bounding_box()
    assert size is not None
    assert size["width"] > 500
    assert size["height"] > 100
    expect(page.get_by_text("ValueError: no such <mailbox>").first).to_be_visible()
    expect(page.get_by_test_id("cv-panel")).to_have_count(0)
