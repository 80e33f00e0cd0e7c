"""A tape that is replayed in JupyterLab: by mouse and by keyboard, in the views of a panel."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from playwright.sync_api import expect

if TYPE_CHECKING:
    from .opened import OpenNotebook


SETUP = """\
%load_ext conveyor_nb
from conveyor_nb import Backoff, MemoryStore, Queue, VirtualClock

clock = VirtualClock()
store = MemoryStore(clock=clock, ids="sequential", seed=1)
emails = Queue("emails", store=store)

@emails.worker(concurrency=2)
async def send(job):
    await job.sleep(job.data)
    if job.data == 2 and job.attempts_made == 0:
        raise ValueError("no <mail>")
"""
RECORD = """\
%%record emails
for seconds in (3, 2, 1, 4, 2.5):
    await emails.add("send", seconds, attempts=2, backoff="2s")
await clock.advance("10s")
"""


def test_a_tape_is_replayed(open_notebook: OpenNotebook) -> None:
    notebook = open_notebook(SETUP, RECORD, "tape.replay()")
    notebook.run(0)
    notebook.run(1)
    picture = notebook.page.locator(".jp-OutputArea-output img.cvp-image").first
    expect(picture).to_have_attribute("alt", re.compile("5 jobs, 6 attempts"))
    notebook.run(2)

    panel = notebook.panel
    told, count = panel.get_by_test_id("cv-replay-told"), panel.get_by_test_id("cv-replay-count")
    slider = panel.get_by_test_id("cv-replay-slider")
    expect(told).to_have_text("Before the first event")
    total = int(re.fullmatch(r"0 / (\d+)", count.inner_text())[1])  # type: ignore[index]
    failed = "00:00:02 · job:retrying emails-2 · in 2s · ValueError: no <mail>"

    slider.focus()
    for _ in range(40):
        if told.inner_text() == failed:
            break
        before = count.inner_text()
        slider.press("ArrowRight")
        expect(count).not_to_have_text(before)
    expect(told).to_have_text(failed)
    expect(slider).to_have_attribute("aria-valuetext", re.compile("job:retrying"))
    panel.get_by_test_id("cv-replay-on").click()
    expect(panel.get_by_test_id("cv-chip-delayed")).to_contain_text("1")
    panel.get_by_test_id("cv-replay-back").click()
    expect(told).to_have_text(failed)

    panel.get_by_test_id("cv-replay-open").click()
    expect(panel.get_by_test_id("cv-detail")).to_contain_text("no <mail>")
    expect(panel.get_by_test_id("cv-pause")).to_have_count(0)
    panel.get_by_test_id("cv-detail-close").click()

    panel.get_by_test_id("cv-tab-events").click()
    row = panel.get_by_test_id("cv-event").first
    expect(row).to_contain_text("retrying")
    panel.get_by_test_id("cv-replay-last").click()
    expect(count).to_have_text(f"{total} / {total}")
    expect(row).not_to_contain_text("retrying")
    slider.press("Home")
    expect(told).to_have_text("Before the first event")
    slider.fill(str(total - 2))
    panel.get_by_test_id("cv-tab-jobs").click()
    panel.get_by_test_id("cv-replay-play").click()
    expect(count).to_have_text(f"{total} / {total}")
    expect(panel.get_by_test_id("cv-replay-play")).to_have_text("Play")
    expect(panel.get_by_test_id("cv-chip-completed")).to_contain_text("5")
