"""Pictures of panels in a real JupyterLab, to look at.

``python -m tests.browser.screenshots OUT`` writes them to a folder, each scene in several looks;
``--only busy failing`` those of some scenes, ``--look dark`` those of some looks. ``--readme``
makes those of the README instead; it needs Pillow.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from playwright.sync_api import Browser, Locator, Page, sync_playwright

from tests.browser.lab import CHROMIUM_FLAGS, Lab, Server, jupyterlab, wear
from tests.browser.scenes import SCENES
from tests.conftest import chromium_path

CHECKOUT = Path(__file__).resolve().parents[2]


class Look(NamedTuple):
    """How a page looks.

    Args:
        theme: JupyterLab's theme.
        width: how wide the page is, in pixels.
        forced: whether the reader's system forces its colours on it.
    """

    theme: str = "JupyterLab Light"
    width: int = 1280
    forced: bool = False


LOOKS: Mapping[str, Look] = {
    "light": Look(),
    "dark": Look("JupyterLab Dark"),
    "narrow": Look(width=560),
    "wide": Look(width=1600),
    "contrast": Look("JupyterLab Dark High Contrast"),
    "forced": Look(forced=True),
}


@contextlib.contextmanager
def lab_server() -> Iterator[tuple[Browser, Server]]:
    """JupyterLab and a browser, for a block of code."""
    path = chromium_path()
    if path is None:
        raise SystemExit("no Chromium on this machine (apt-get install chromium)")
    start = functools.partial(subprocess.Popen, text=True)
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as home:
        lab = jupyterlab(CHECKOUT, Path(folder), Path(home), start)
        with lab as server, sync_playwright() as tool:
            browser = tool.chromium.launch(executable_path=path, args=CHROMIUM_FLAGS)
            yield browser, server
            browser.close()


def dress(page: Page, look: Look) -> None:
    """Give the page a look."""
    # without motion, so that pieces are at their places, not on their way
    page.emulate_media(forced_colors="active" if look.forced else "none", reduced_motion="reduce")
    page.set_viewport_size({"width": look.width, "height": 1800})
    wear(page, look.theme)
    page.wait_for_timeout(400)  # until what is laid out anew has come


def main() -> None:
    """Make the pictures that the command line asks for."""
    own = "python -m tests.browser.screenshots"
    parser = argparse.ArgumentParser(prog=own, description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--readme", action="store_true", help="only those of the README")
    parser.add_argument("--only", nargs="+", choices=[*SCENES], default=[*SCENES])
    parser.add_argument("--look", nargs="+", choices=[*LOOKS], default=["light", "dark", "narrow"])
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)

    def take(name: str, panel: Locator) -> None:
        for called in given.look:
            dress(panel.page, LOOKS[called])
            panel.screenshot(path=given.out / f"{name}-{called}.png")
            print(given.out / f"{name}-{called}.png", file=sys.stderr)
        dress(panel.page, LOOKS["light"])

    with lab_server() as (browser, server):
        lab = Lab(browser, server)
        lab.page.evaluate("void jupyterapp.commands.execute('application:toggle-left-area')")
        if given.readme:
            from tests.browser.readme_pictures import take_readme_pictures  # needs Pillow

            take_readme_pictures(lab, given.out)
            return
        for name in given.only:
            SCENES[name].play(lab.open(name, *SCENES[name].cells), take)
            lab.close_notebook()
        lab.close()


if __name__ == "__main__":
    main()
