"""A panel that nobody can see rests: nothing is read for it, and nothing is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playwright.sync_api import expect

if TYPE_CHECKING:
    from .opened import Notebook, OpenNotebook


SETUP = """\
from IPython.display import HTML
from conveyor_nb import MemoryStore, Queue
from conveyor_nb.notebook.panel.widget import panel_of

store = MemoryStore(ids="sequential")
queue = Queue("emails", store=store)
panel = panel_of(queue)

@queue.worker(concurrency=2)
async def send(job):
    pass

panel
"""
FAR = "HTML('<div style=height:4000px>far</div>')"
WORK = """\
frame = panel.frame
jobs = await queue.add_bulk([{"name": "send"}] * 200)
await jobs[-1].wait_until_finished()
panel.frame - frame
"""
CELLS = (SETUP, FAR, WORK)
RESTS = """\
    const { kernel } = jupyterapp.shell.currentWidget.sessionContext.session;
    const run = async code => (await kernel.requestExecute({ code }).done).content;
    // one short cell after the other: kernels without subshells hear a page between cells only
    const rests = async () => {
        while ((await run("assert panel.rests")).status !== "ok") { /* not yet */ }
    };
"""


def scroll_to(notebook: Notebook, number: int) -> None:
    notebook.page.locator(".jp-Notebook .jp-Cell").nth(number).locator(
        ".jp-InputArea"
    ).scroll_into_view_if_needed()


def work_unseen(notebook: Notebook) -> None:
    """Let jobs run once the panel rests: no frame is made."""
    notebook.page.evaluate(f"async () => {{ {RESTS} await rests(); }}")
    notebook.run(2)
    output = notebook.page.locator(".jp-Notebook .jp-Cell").nth(2).locator(".jp-OutputArea-output")
    expect(output).to_have_text("0")


def shows(notebook: Notebook, completed: int) -> None:
    expect(notebook.panel.get_by_test_id("cv-chip-completed")).to_contain_text(f"{completed}")


def test_it_rests_when_it_is_scrolled_away(open_notebook: OpenNotebook) -> None:
    notebook = open_notebook(*CELLS)
    notebook.run(0)
    shows(notebook, 0)
    notebook.run(1)
    scroll_to(notebook, 2)
    work_unseen(notebook)
    scroll_to(notebook, 0)
    shows(notebook, 200)


def test_it_rests_while_its_page_is_behind_others(open_notebook: OpenNotebook) -> None:
    notebook = open_notebook(*CELLS)
    notebook.run(0)
    shows(notebook, 0)
    turn = """hidden => {
        Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
        document.dispatchEvent(new Event("visibilitychange"));
    }"""
    notebook.page.evaluate(turn, True)
    work_unseen(notebook)
    notebook.page.evaluate(turn, False)
    shows(notebook, 200)


def test_it_rests_while_another_tab_of_jupyterlab_is_open(open_notebook: OpenNotebook) -> None:
    notebook = open_notebook(*CELLS)
    notebook.run(0)
    shows(notebook, 0)
    # its cells go on, as they do when a person has left them
    notebook.page.evaluate(
        f"""async work => {{
            {RESTS}
            await jupyterapp.commands.execute("launcher:create");
            await rests();
            for (const code of [work, "assert panel.frame == frame and panel.rests"]) {{
                const {{ status, evalue }} = await run(code);
                if (status !== "ok") throw new Error(`${{code}}: ${{evalue}}`);
            }}
            jupyterapp.shell.currentWidget.dispose();
        }}""",
        WORK,
    )
    shows(notebook, 200)
