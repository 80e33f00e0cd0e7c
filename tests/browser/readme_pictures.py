"""The pictures of the README: small, and one of them moves."""

from __future__ import annotations

import io
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from PIL import Image
from playwright.sync_api import FloatRect, Locator, expect

from tests.browser.lab import Lab, wear
from tests.browser.scenes import BOOK, SOME, STUDIO, pause, run

__all__ = ["take_readme_pictures"]

SLOWNESS = 5
"""How many times slower the film is taken than it is shown: each frame takes a moment."""

FRAMES_A_SECOND = 12
PAUSED_AT, RESUMED_AT, SECONDS = 6.0, 8.5, 12.0

FILM = """\
import random
from conveyor_nb import MemoryStore, Queue, ScaledClock

random.seed(2)
images = Queue("images", store=MemoryStore(clock=ScaledClock(1 / SLOWNESS), ids="sequential"))

@images.worker(name="darkroom", concurrency=3)
async def develop(job):
    for percent in (15, 40, 65, 90):
        await job.sleep(random.uniform(0.15, 0.4))
        await job.update_progress(percent)
    if job.attempts_made < {4: 1, 7: 2}.get(job.data, 0):
        raise OSError("the file is cut off")

names = ["resize", "crop", "upload", "thumbnail"]
""".replace("SLOWNESS", str(SLOWNESS))
FILM_JOBS = """\
await images.add_bulk([
    {"name": names[n * 7 % 4], "data": n, "attempts": 2, "backoff": "2s"} for n in range(1, 31)
])
"""
HIDDEN = '[title="The store\'s own clock"] { display: none !important; }'
"""In the film the clock has its usual speed."""


def take_readme_pictures(lab: Lab, out: Path) -> None:
    """Take them all.

    Args:
        lab: where they are taken.
        out: the folder that gets them.
    """
    lab.page.set_viewport_size({"width": 1000, "height": 1500})
    take_film(lab, out)
    take_stills(lab, out)


def take_film(lab: Lab, out: Path) -> None:
    """Take the picture that moves."""
    panel = run(lab.open("film", FILM, "images", FILM_JOBS), 3)
    lab.page.add_style_tag(content=HIDDEN)
    expect(panel.locator(".cvp-piece").first).to_be_visible()
    save_film(film(panel), out / "belt.gif")
    lab.close_notebook()


def take_stills(lab: Lab, out: Path) -> None:
    """Take those that stand still: pieces are at their places, not on their way."""
    lab.page.emulate_media(reduced_motion="reduce")
    panel = run(lab.open("failed", STUDIO, SOME, "images"), 3)
    pause(panel, 18)
    panel.get_by_test_id("cv-chip-failed").click()
    panel.get_by_test_id("cv-job").first.click()
    expect(panel.get_by_test_id("cv-traceback")).to_be_visible()
    pause(panel, 0.5)
    shrink(panel.get_by_test_id("cv-detail").screenshot(), out / "failed-job.png")
    panel.get_by_test_id("cv-detail-close").click()
    panel.get_by_test_id("cv-tab-timeline").click()
    pause(panel, 1)
    shrink(panel.screenshot(), out / "timeline.png")
    lab.close_notebook()

    wear(lab.page, "JupyterLab Dark")
    panel = run(lab.open("flow", STUDIO, BOOK, "images"), 3)
    panel.get_by_test_id("cv-tab-flows").click()
    expect(panel.get_by_test_id("cv-flows")).to_contain_text("1 of 3")
    shrink(panel.screenshot(), out / "flow.png")
    lab.close_notebook()


def film(panel: Locator) -> list[bytes]:
    """Film the belt of a queue: jobs come along, some go back, and a pause holds them up."""
    page = panel.page
    session = page.context.new_cdp_session(page)
    session.send("Animation.enable")
    session.send("Animation.setPlaybackRate", {"playbackRate": 1 / SLOWNESS})
    stage = stage_of(panel)
    frames = []
    began = time.monotonic()
    to_click = {PAUSED_AT: "cv-pause", RESUMED_AT: "cv-resume"}
    for number in range(int(SECONDS * FRAMES_A_SECOND)):
        now = number / FRAMES_A_SECOND
        for at in [at for at in to_click if at <= now]:
            panel.get_by_test_id(to_click.pop(at)).click()
        frames.append(page.screenshot(clip=stage))
        page.wait_for_timeout(max(0.0, 1000 * (began + now * SLOWNESS - time.monotonic())))
    session.send("Animation.setPlaybackRate", {"playbackRate": 1})
    return frames


def stage_of(panel: Locator) -> FloatRect:
    """The part of a panel that is filmed: from its head to the counts."""
    whole = panel.bounding_box()
    counts = panel.locator(".cv-chips").bounding_box()
    assert whole is not None
    assert counts is not None
    high = counts["y"] + counts["height"] - whole["y"]
    return {"x": whole["x"], "y": whole["y"], "width": whole["width"], "height": high}


def save_film(frames: Sequence[bytes], path: Path) -> None:
    """Save pictures as one that moves, with one palette for all."""
    pictures = [Image.open(io.BytesIO(frame)).convert("RGB") for frame in frames]
    width, height = pictures[0].size
    some = pictures[:: max(1, len(pictures) // 8)]
    sheet = Image.new("RGB", (width, height * len(some)))
    for place, picture in enumerate(some):
        sheet.paste(picture, (0, height * place))
    palette = palette_of(sheet)
    first, *rest = [one.quantize(palette=palette, dither=Image.Dither.NONE) for one in pictures]
    pace = round(1000 / FRAMES_A_SECOND)
    first.save(
        path, save_all=True, append_images=rest, optimize=True, disposal=1, duration=pace, loop=0
    )


def shrink(picture: bytes, path: Path) -> None:
    """Save a picture with few colours: it has not many more."""
    with Image.open(io.BytesIO(picture)) as whole:
        plain = whole.convert("RGB")
        few = plain.quantize(palette=palette_of(plain), dither=Image.Dither.NONE)
        few.save(path, optimize=True)


def palette_of(picture: Image.Image, colours: int = 256) -> Image.Image:
    """The most frequent colours of a picture: its plain parts keep theirs."""
    raw = picture.tobytes()
    counts = Counter(zip(raw[::3], raw[1::3], raw[2::3], strict=True))
    palette = Image.new("P", (1, 1))
    palette.putpalette([part for colour, _ in counts.most_common(colours) for part in colour])
    return palette
