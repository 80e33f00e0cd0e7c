"""Tab and ``?`` know the options of queues and workers, which are typed in one table."""

from __future__ import annotations

import re

import pytest

from tests.notebook.conftest import Kernel

SETUP = """
from conveyor_nb import Backoff, FlowProducer, JobOptions, Queue, Worker
queue = Queue("emails")
async def send(job): ...
"""


@pytest.mark.parametrize(
    ("begun", "offered"),
    [
        ('queue.add("x", ', "attempts backoff deduplication delay job_id priority repeat timeout"),
        ('await queue.add("x", pri', "priority"),
        ('job = await queue.add("x", {"to": "ada"}, remove_', "remove_on_complete remove_on_fail"),
        ("@queue.worker(", "auto_start concurrency executor limiter lock_duration name"),
        ("@queue.worker(conc", "concurrency"),
        ('queue.schedule("5s", "x", ', "attempts job_id"),
        ('queue.now("x", ', "attempts job_id"),
        ('queue.every("5s", "x", ', "attempts limit start_date"),
        ('queue.cron("* * * * *", "x", ', "attempts limit tz"),
        ('queue.add_frame(df, "x", ', "attempts delay"),
        ('queue.upsert_job_scheduler("id", r, "x", ', "attempts"),
        ('Worker("emails", send, ', "auto_start concurrency lifo store"),
        ("JobOptions(", "attempts delay repeat"),
        ("Backoff(", "delay strategy type"),
    ],
)
def test_tab_offers_the_options(begun: str, offered: str, kernel: Kernel) -> None:
    kernel.do(SETUP)
    before = re.sub(r"\w*$", "", begun)
    assert {f"{before}{name}=" for name in offered.split()} <= set(kernel.complete(begun))


def test_tab_offers_no_option_that_the_call_does_not_take(kernel: Kernel) -> None:
    kernel.do(SETUP)
    assert not [text for text in kernel.complete('queue.now("x", del') if "delay=" in text]
    assert not [text for text in kernel.complete('queue.every("5s", "x", t') if "tz=" in text]


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ("queue.add", ["attempts: 'int' = ...", "delay: 'Duration' = ...", "Add a job."]),
        ("queue.worker", ["concurrency: 'int' = 1", "executor: ", "auto_start: 'bool' = ..."]),
        ("Worker", ["lock_duration: 'Duration' = 30.0", "store: 'StoreInterface | None' = None"]),
    ],
)
def test_help_shows_the_options(asked: str, words: list[str], kernel: Kernel) -> None:
    kernel.do(SETUP)
    shown = re.sub("\x1b\\[[0-9;]*m", "", kernel.help(asked))
    for one in words:
        assert one in shown
