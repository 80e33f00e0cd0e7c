"""A panel for everybody: as a program checks it for barriers, and by the keyboard alone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Locator, Page, TimeoutError, expect

from tests.browser.lab import wear
from tests.browser.shop import EMPTY, FILL, NONE, SETUP

if TYPE_CHECKING:
    from ..conftest import NpmInstall
    from .opened import OpenNotebook

LOOKS = ["JupyterLab Light", "JupyterLab Dark", "JupyterLab Dark High Contrast", "forced colours"]

TABS = ("flows", "schedules", "groups", "workers", "timeline", "metrics", "events", "jobs")

FIND = """async (panel) => {
    const resultTypes = ["violations", "incomplete"];
    const { violations, incomplete } = await axe.run(panel, { resultTypes });
    return [...violations, ...incomplete].flatMap(({ id, nodes }) => nodes.map(
        (node) => `${id}: ${node.html.slice(0, 160)}\\n${node.failureSummary}`));
}"""


@pytest.fixture(scope="module")
def axe(npm_install: NpmInstall, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The program that looks for barriers, as a script for a page."""
    work = tmp_path_factory.mktemp("axe")
    npm_install(Path(__file__).parent, work)
    return (work / "node_modules" / "axe-core" / "axe.min.js").read_text("utf-8")


def look_like(page: Page, look: str) -> None:
    """Give the page a theme of JupyterLab, or the colours that a person's system forces on it."""
    is_forced = look not in LOOKS[:3]
    page.emulate_media(forced_colors="active" if is_forced else "none")
    wear(page, LOOKS[0] if is_forced else look)


class Barriers:
    """Collects what is found in one view of a panel after the other."""

    def __init__(self, axe: str, page: Page) -> None:
        self._axe = axe
        self._page = page
        self.found: list[str] = []

    def look(self, view: str, panel: Locator) -> None:
        """Look for barriers in what a panel shows now."""
        self._page.evaluate(f"() => {{ if (!window.axe) {{ {self._axe} }} }}")
        self.found += [f"{view}: {found}" for found in panel.evaluate(FIND)]


def views(panel: Locator) -> Iterator[str]:
    """Go through the views of a queue's panel."""

    def get(testid: str) -> Locator:
        return panel.get_by_test_id(testid)

    for tab in TABS:
        get(f"cv-tab-{tab}").click()
        expect(get(f"cv-sheet-{tab}")).to_be_visible()
        if tab == "flows":
            expect(get("cv-flow-row").first).to_be_visible()
        if tab == "schedules":
            get("cv-schedule-edit").first.click()
            expect(get("cv-rule")).to_be_visible()
        yield tab
        if tab == "schedules":
            get("cv-schedule-cancel").click()
    get("cv-filters").click()
    get("cv-manage").click()
    get("cv-add").click()
    get("cv-form-data").fill("{")
    yield "forms"
    get("cv-form-close").click()
    get("cv-drain").click()
    expect(get("cv-question")).to_be_visible()
    yield "question"
    get("cv-keep").click()
    get("cv-choose").first.check()
    yield "chosen"
    get("cv-choose-none").click()
    get("cv-manage").click()
    get("cv-filters").click()
    get("cv-chip-failed").click()
    expect(get("cv-chip-failed")).to_have_attribute("aria-pressed", "true")
    get("cv-job").first.click()
    expect(get("cv-traceback")).to_be_visible()
    yield "failed job"
    get("cv-detail-close").click()
    get("cv-chip-all").click()
    get("cv-pause").click()
    expect(get("cv-paused")).to_be_visible()
    yield "paused"
    get("cv-resume").click()
    expect(get("cv-paused")).to_have_count(0)


@pytest.mark.parametrize("look", LOOKS)
def test_no_view_has_a_barrier(look: str, axe: str, open_notebook: OpenNotebook) -> None:
    shown = ["dashboard(store)", EMPTY, "dashboard(store, read_only=True)", NONE]
    notebook = open_notebook(SETUP, FILL, *shown)
    look_like(notebook.page, look)
    for cell in range(6):
        notebook.run(cell)
    barriers = Barriers(axe, notebook.page)
    panels = notebook.page.get_by_test_id("cv-panel")
    first, empty, looked_at, none = (panels.nth(n) for n in range(4))
    expect(first.get_by_test_id("cv-card")).to_have_count(2)
    barriers.look("all queues", first)
    first.get_by_test_id("cv-card-open").nth(1).click()
    expect(first.get_by_test_id("cv-title")).to_have_text("orders")
    for view in views(first):
        barriers.look(view, first)
    for tab in TABS:
        empty.get_by_test_id(f"cv-tab-{tab}").click()
        expect(empty.get_by_test_id(f"cv-sheet-{tab}")).to_be_visible()
        barriers.look(f"{tab} of an empty queue", empty)
    looked_at.get_by_test_id("cv-card-open").nth(1).click()
    expect(looked_at.get_by_test_id("cv-title")).to_have_text("orders")
    barriers.look("read-only", looked_at)
    barriers.look("no queues", none)
    assert barriers.found == [], "\n\n".join(barriers.found)


def test_a_panel_whose_kernel_is_gone_has_no_barrier(axe: str, open_alone: OpenNotebook) -> None:
    notebook = open_alone(SETUP, FILL, "orders", "import os; os._exit(1)")
    for cell in range(3):
        notebook.run(cell)
    notebook.panel.get_by_test_id("cv-pause").focus()
    notebook.start(3)
    expect(notebook.panel.get_by_test_id("cv-link")).to_contain_text("Disconnected")
    notebook.page.get_by_role("button", name="Ok", exact=True).click()
    barriers = Barriers(axe, notebook.page)
    for look in LOOKS:
        look_like(notebook.page, look)
        barriers.look(look, notebook.panel)
    assert barriers.found == [], "\n\n".join(barriers.found)


SEEN = """panel => {
    const node = document.activeElement;
    if (!panel.contains(node)) return `the keyboard is at ${node.outerHTML.slice(0, 200)}`;
    const box = node.getBoundingClientRect();
    if (!box.width || box.bottom < 0 || box.top > innerHeight) {
        return `out of sight: ${node.outerHTML}`;
    }
    for (let one = node; one !== panel.parentElement; one = one.parentElement) {
        const { outlineStyle, outlineWidth } = getComputedStyle(one);
        if (outlineStyle !== "none" && parseFloat(outlineWidth) >= 1) return "";
    }
    return `nothing shows that the keyboard is at ${node.outerHTML}`;
}"""
WHERE = "() => document.activeElement?.dataset?.testid ?? document.activeElement?.className ?? ''"


class Keyboard:
    """Somebody who uses a panel by the keyboard alone.

    After each key it is looked whether the keyboard is in the panel, and is seen to be there.
    """

    def __init__(self, panel: Locator) -> None:
        self._panel = panel
        self._page = panel.page
        self._way: list[str] = []

    def look(self) -> None:
        """The keyboard is in the panel, and it is seen where; soon, if its picture is renewed."""
        panel = self._panel.element_handle()
        self._way.append(self._page.evaluate(WHERE))
        try:
            self._page.wait_for_function(f"panel => !({SEEN})(panel)", arg=panel)
        except TimeoutError:
            pytest.fail(f"{panel.evaluate(SEEN)}, after {', '.join(self._way[-12:])}")

    def press(self, *keys: str) -> None:
        for key in keys:
            self._page.keyboard.press(key)
            self.look()

    def type(self, text: str) -> None:
        self._page.keyboard.type(text)
        self.look()

    def go_to(self, name: str, *, back: bool = False) -> None:
        """Go to what has this test id, or this class, as it is next in the order."""
        for _ in range(120):
            self.press("Shift+Tab" if back else "Tab")
            if name in self._page.evaluate(WHERE).split():
                return
        pytest.fail(f"the keyboard does not come to {name}")


def test_the_keyboard_alone_does_it_all(open_notebook: OpenNotebook) -> None:
    notebook = open_notebook(SETUP, FILL, "orders")
    for cell in range(3):
        notebook.run(cell)
    panel = notebook.panel
    expect(panel.get_by_test_id("cv-job")).to_have_count(10)
    keyboard = Keyboard(panel)
    panel.evaluate("panel => panel.focus()")

    keyboard.go_to("cv-pause")
    keyboard.press("Enter")
    expect(panel.get_by_test_id("cv-resume")).to_be_focused()
    keyboard.press("Enter")
    expect(panel.get_by_test_id("cv-pause")).to_be_focused()

    keyboard.go_to("cv-belt")
    hint = panel.get_by_test_id("cv-belt-hint")
    keyboard.press("End")
    expect(hint).to_contain_text("orders-")
    keyboard.press("Home", "ArrowRight")
    expect(panel.locator(".cvp-piece.cvp-chosen")).to_have_count(1)
    keyboard.press("Enter")
    expect(panel.get_by_test_id("cv-detail")).to_be_visible()
    keyboard.go_to("cv-detail-close")
    keyboard.press("Enter")
    expect(panel.get_by_test_id("cv-detail")).to_be_hidden()
    keyboard.look()
    expect(panel.get_by_test_id("cv-belt")).to_be_focused()

    keyboard.go_to("cv-add")
    keyboard.press("Enter")
    expect(panel.get_by_test_id("cv-form-name")).to_be_focused()
    keyboard.type("ship")
    keyboard.press("Tab")
    keyboard.type('{"to": "mary"}')
    keyboard.go_to("cv-form-save")
    keyboard.press("Enter")
    expect(panel.get_by_test_id("cv-form")).to_be_hidden()
    expect(panel.get_by_test_id("cv-add")).to_be_focused()

    keyboard.go_to("cv-chip-failed", back=True)
    keyboard.press("Enter")
    expect(panel.get_by_test_id("cv-job")).to_have_count(1)
    keyboard.go_to("cv-job-open")
    keyboard.press("Enter")
    expect(panel.get_by_test_id("cv-detail")).to_be_visible()
    keyboard.go_to("cv-job-retry")
    keyboard.press("Enter")
    expect(panel.get_by_test_id("cv-job-retry")).to_have_count(0)
    keyboard.look()
    keyboard.go_to("cv-detail-close")
    keyboard.press("Enter")
    expect(panel.get_by_test_id("cv-detail")).to_be_hidden()
    keyboard.look()

    keyboard.go_to("cv-chip-all", back=True)
    keyboard.press("Enter")
    keyboard.go_to("cv-filter-text")
    keyboard.type("mary")
    expect(panel.get_by_test_id("cv-job")).to_have_count(1)
    keyboard.go_to("cv-filter-clear")
    keyboard.press("Enter")
    expect(panel.get_by_test_id("cv-filter-clear")).to_be_hidden()
    keyboard.look()

    said = panel.get_by_test_id("cv-page")
    keyboard.go_to("cv-next")
    keyboard.press("Enter")
    expect(said).to_contain_text("11")
    keyboard.go_to("cv-last")
    keyboard.press("Enter")
    expect(panel.get_by_test_id("cv-last")).to_be_disabled()
    keyboard.press("Enter")
    expect(panel.get_by_test_id("cv-last")).to_be_focused()

    keyboard.go_to("cv-manage", back=True)
    keyboard.press("Enter")
    keyboard.go_to("cv-drain")
    keyboard.press("Enter")
    expect(panel.get_by_test_id("cv-keep")).to_be_focused()
    keyboard.press("Escape")
    expect(panel.get_by_test_id("cv-drain")).to_be_focused()
    keyboard.press("Enter")
    expect(panel.get_by_test_id("cv-keep")).to_be_focused()
    keyboard.press("Tab", "Enter")
    expect(panel.get_by_test_id("cv-question")).to_be_hidden()
    keyboard.look()

    keyboard.go_to("cv-tab-jobs", back=True)
    for tab in TABS[:-1]:
        keyboard.press("ArrowRight")
        expect(panel.get_by_test_id(f"cv-sheet-{tab}")).to_be_visible()
        expect(panel.get_by_test_id(f"cv-tab-{tab}")).to_be_focused()
    keyboard.press("Home")
    expect(panel.get_by_test_id("cv-sheet-jobs")).to_be_visible()


def test_a_screen_reader_hears_what_happens(open_notebook: OpenNotebook) -> None:
    notebook = open_notebook(SETUP, FILL, "orders", "go.set()")
    for cell in range(3):
        notebook.run(cell)
    panel = notebook.panel
    aloud = panel.get_by_test_id("cv-aloud")
    expect(aloud).to_have_attribute("role", "status")
    picture = panel.get_by_test_id("cv-belt").get_by_role("img")
    said = re.compile(r"Queue orders: .*3 active.*next is orders-")
    expect(picture).to_have_accessible_name(said)
    panel.get_by_test_id("cv-pause").click()
    expect(aloud).to_have_text("The queue is paused")
    panel.get_by_test_id("cv-resume").click()
    expect(aloud).to_have_text("The queue goes on")
    notebook.run(3)
    expect(aloud).to_contain_text(re.compile(r"\d+ of \d+ done"))


def test_who_wants_no_motion_sees_none(open_notebook: OpenNotebook) -> None:
    notebook = open_notebook(SETUP, FILL, "orders")
    notebook.page.emulate_media(reduced_motion="reduce")
    for cell in range(3):
        notebook.run(cell)
    panel = notebook.panel
    expect(panel.locator(".cvp-piece").first).to_be_visible()
    moving = """panel => [...panel.querySelectorAll("*")].filter((node) => {
        const { animationName, transitionDuration } = getComputedStyle(node);
        return animationName !== "none" || parseFloat(transitionDuration) > 0;
    }).map((node) => node.outerHTML.slice(0, 100))"""
    assert panel.evaluate(moving) == []
    notebook.page.emulate_media(reduced_motion="no-preference")
    assert panel.evaluate(moving) != []


def test_nothing_is_cut_off_at_any_width(open_notebook: OpenNotebook) -> None:
    """Neither the panel nor anything in it is wider than there is room."""
    notebook = open_notebook(SETUP, FILL, "orders")
    for cell in range(3):
        notebook.run(cell)
    panel = notebook.panel
    resize = "(panel, width) => { panel.parentElement.style.width = `${width}px`; }"
    too_wide = """panel => {
        const { left, right } = panel.getBoundingClientRect();
        return [...panel.querySelectorAll("*")].filter((node) => {
            const box = node.getBoundingClientRect();
            return box.width > 1 && (box.right > right + 1 || box.left < left - 1)
                && !node.closest("svg");
        }).map((node) => node.outerHTML.slice(0, 120));
    }"""
    for width in (380, 560, 760, 1280, 1600):
        panel.evaluate(resize, width)
        for view in views(panel):
            assert panel.evaluate(too_wide) == [], f"{view} at {width}"
