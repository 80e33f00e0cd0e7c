"""What type checkers know of the options: each is typed once, and a wrong name is refused.

One run of mypy reads all programs. A line with ``# refused: words`` has to be refused with these
words; every other line has to be right.
"""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from conveyor_nb import JobOptions, MemoryStore, Queue, Worker
from conveyor_nb.core.options.declaring import option_names
from conveyor_nb.core.options.job_options import (
    BulkJob,
    CronKeywords,
    EveryKeywords,
    JobKeywords,
    RunKeywords,
    SharedKeywords,
    UndelayedKeywords,
)
from conveyor_nb.core.options.repeat import Repeat
from conveyor_nb.core.options.worker_options import WorkerKeywords, WorkerOptions

PROGRAM = """
from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from conveyor_nb import (
    Backoff, Batch, BulkJob, Deduplication, FlowJob, Group, GroupLimits, Job, JobKeywords,
    JobOptions, Keep, Limiter, Queue, Repeat, Worker, WorkerKeywords,
)


async def send(job: Job) -> str:
    return "sent"


async def right(queue: Queue, numbers: list[int], computed: dict[str, Any]) -> None:
    await queue.add("x")
    await queue.add("x", {"to": "ada"}, attempts=3, backoff="2s", delay=5, priority=0.5)
    await queue.add("x", None, backoff=Backoff("exponential", "1s"), timeout=timedelta(minutes=1))
    await queue.add("x", lifo=True, job_id="a", group=Group("g"), repeat=Repeat(every="1h"))
    await queue.add("x", remove_on_complete=True, remove_on_fail=Keep(count=1000))
    await queue.add("x", remove_on_complete="1000s", remove_on_fail=timedelta(days=1))
    await queue.add("x", fail_parent_on_child_failure="ignore")
    await queue.add("x", deduplication=Deduplication("k", ttl="1m"), **computed)
    common: JobKeywords = {"attempts": 3}
    await queue.add("x", **common)
    await queue.add_bulk([{"name": "x", "data": n, "attempts": 2} for n in numbers])
    await queue.add_bulk({"name": "x", "opts": JobOptions(delay="1s")} for _ in numbers)
    await queue.add_bulk([{"name": "x", "opts": {"delay": "1s"}}])
    item: BulkJob = {"name": "x"}
    await queue.add_bulk([item] * 3)
    await queue.schedule("in 10 minutes", "x", attempts=3)
    await queue.now("x", attempts=3)
    await queue.every("10m", "x", limit=3, start_date=datetime.now(UTC), job_id="mine")
    await queue.cron("* * * * *", "x", tz="Europe/Paris", attempts=2)
    await queue.upsert_job_scheduler("id", Repeat(every=5), "x", None, attempts=3)
    Queue("q", default_job_options={"attempts": 3})
    Queue("q", default_job_options=JobOptions(attempts=3))
    child = FlowJob("y", "q", opts=JobOptions(lifo=True))
    FlowJob("x", "q", opts={"attempts": 3}, children=[child])
    FlowJob("x", "q", None, attempts=3, timeout="5s")
    Worker("q", send, concurrency=2, limiter=Limiter(10, "1s"), lock_duration="30s")
    Worker("q", send, batch=Batch(3), group=GroupLimits(concurrency=1), executor="process")
    mine: WorkerKeywords = {"concurrency": 2}
    Worker("q", send, auto_start=False, **mine)
    queue.worker(concurrency=2, name="w", auto_start=False)(send)
    queue.worker(job_name="send", retry_on=(ConnectionError,))(send)
    (await queue.worker(send)(await queue.add("x"))).upper()
    Worker("q", {"send": send, "*": send}, retry_on=OSError)
    JobOptions(**computed)


def kept(options: JobOptions, keep: Keep, limiter: Limiter, repeat: Repeat) -> list[float | None]:
    delays: list[float] = [options.delay, limiter.duration]
    if options.backoff is not None:
        delays.append(options.backoff.delay)
    return [*delays, options.timeout, keep.age, repeat.every]


async def wrong(queue: Queue, numbers: list[int]) -> None:
    await queue.add("x", atempts=3)  # refused: "atempts"
    await queue.add("x", attempts="3")  # refused: "attempts"
    await queue.add("x", remove_on_complete=1000)  # refused: "remove_on_complete"
    await queue.add("x", fail_parent_on_child_failure="Fail")  # refused: "fail_parent
    await queue.add_bulk([{"name": "x", "atempts": 3}])  # refused: "atempts"
    await queue.add_bulk({"name": "x", "atempts": n} for n in numbers)  # refused: "atempts"
    await queue.add_bulk([{"nam": "x"}])  # refused: "nam"
    await queue.add_bulk([{"data": 1}])  # refused: "name"
    await queue.schedule("5s", "x", atempts=3)  # refused: "atempts"
    await queue.schedule("5s", "x", delay=3)  # refused: "delay"
    await queue.now("x", delay=3)  # refused: "delay"
    await queue.now("x", atempts=3)  # refused: "atempts"
    await queue.every("5s", "x", atempts=3)  # refused: "atempts"
    await queue.every("5s", "x", tz="UTC")  # refused: "tz"
    await queue.cron("* * * * *", "x", atempts=3)  # refused: "atempts"
    await queue.add_frame(None, "x", atempts=3)  # type: ignore[arg-type]  # refused: "atempts"
    await queue.add_frame(None, "x", job_id="a")  # type: ignore[arg-type]  # refused: "job_id"
    await queue.upsert_job_scheduler("i", Repeat(every=5), "x", atempts=3)  # refused: "atempts"
    Queue("q", default_job_options={"atempts": 3})  # refused: "default_job_options"
    Queue("q", default_job_options={"job_id": "a"})  # refused: "default_job_options"
    FlowJob("x", "q", opts={"atempts": 3})  # refused: "opts"
    Worker("q", send, concurency=2)  # refused: "concurency"
    Worker("q", send, limiter=(10, 1))  # refused: "limiter"
    queue.worker(job_nam="x")  # refused: "job_nam"
    Worker("q", send, retry_on="ConnectionError")  # refused: "retry_on"
    queue.worker(concurency=2)  # refused: "concurency"
    JobOptions(atempts=3)  # refused: "atempts"
    Backoff("linear", 1)  # refused: "Backoff"
    Keep(1000)  # refused: "Keep"
"""
REFUSED = re.compile(r"# refused: (.*)$")


@pytest.fixture(scope="module")
def told(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[int, str]:
    """What ``mypy --strict`` says of the program, by line."""
    program = tmp_path_factory.mktemp("typed") / "program.py"
    program.write_text(PROGRAM, encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", str(program)]
    ran = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False)
    assert ran.stderr == ""
    found: dict[int, str] = {}
    for line in ran.stdout.splitlines():
        match = re.search(r"program\.py:(\d+): (error|note): (.*)", line)
        assert match, line
        number = int(match[1])
        found[number] = f"{found.get(number, '')}\n{match[3]}".strip()
    return found


LINES = PROGRAM.splitlines()
WRONG = {
    number: match[1] for number, line in enumerate(LINES, 1) if (match := REFUSED.search(line))
}


@pytest.mark.parametrize("number", WRONG, ids=lambda number: LINES[number - 1].strip())
def test_a_wrong_program_is_refused(number: int, told: dict[int, str]) -> None:
    assert WRONG[number] in told.get(number, "")


def test_right_programs_pass(told: dict[int, str]) -> None:
    assert {LINES[number - 1]: said for number, said in told.items() if number not in WRONG} == {}


# -- one table ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keywords", "names"),
    [
        (JobKeywords, option_names(JobOptions)),
        (WorkerKeywords, option_names(WorkerOptions)),
        (BulkJob, option_names(JobOptions) | {"name", "data", "opts"}),
        (UndelayedKeywords, option_names(JobOptions) - {"delay", "repeat"}),
        (SharedKeywords, option_names(JobOptions) - {"job_id", "repeat"}),
        (
            RunKeywords,
            option_names(JobOptions) - {"delay", "repeat", "job_id", "deduplication"},
        ),
        (
            CronKeywords,
            RunKeywords.__annotations__.keys()
            | {"job_id"}
            | (option_names(Repeat) - {"every", "cron"}),
        ),
        (EveryKeywords, CronKeywords.__annotations__.keys() - {"tz"}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_keywords_and_options_are_the_same(keywords: Any, names: frozenset[str]) -> None:
    assert get_type_hints(keywords).keys() == names


@pytest.mark.parametrize("kind", [JobOptions, WorkerOptions])
def test_what_is_kept_is_of_its_type(kind: Any) -> None:
    """A default is normal already."""
    made = kind()
    for name in option_names(kind):
        assert kind(**{name: getattr(made, name)}) == made


# -- at run time --------------------------------------------------------------------------------

OPEN = MemoryStore()
QUEUE = Queue("emails", store=OPEN)


@pytest.mark.parametrize(
    ("call", "hint"),
    [
        (lambda: QUEUE.add("x", atempts=3), "'atempts'; did you mean 'attempts'"),  # type: ignore[call-arg]
        (lambda: QUEUE.add_bulk([{"name": "x", "atempts": 3}]), "did you mean 'attempts'"),  # type: ignore[typeddict-unknown-key]
        (lambda: QUEUE.schedule(5, "x", atempts=3), "did you mean 'attempts'"),  # type: ignore[call-arg]
        (lambda: QUEUE.now("x", atempts=3), "did you mean 'attempts'"),  # type: ignore[call-arg]
        (lambda: QUEUE.every(5, "x", atempts=3), "did you mean 'attempts'"),  # type: ignore[call-arg]
        (lambda: QUEUE.every(5, "x", start_dat=3), "did you mean 'start_date'"),  # type: ignore[call-arg]
        (lambda: QUEUE.now("x", delay=5), "now takes no delay: schedule"),  # type: ignore[call-arg]
        (lambda: QUEUE.upsert_job_scheduler("a", Repeat(5), "x", job_id="b"), "first argument"),  # type: ignore[call-arg]
        (lambda: QUEUE.obliterate(force="no"), "force must be True or False, not 'no'"),  # type: ignore[arg-type]
        (lambda: QUEUE.cron("* * * * *", "x", tzz="UTC"), "did you mean 'tz'"),  # type: ignore[call-arg]
    ],
)
@pytest.mark.asyncio
async def test_a_wrong_name_is_told_with_the_right_one(call: Callable[[], Any], hint: str) -> None:
    with pytest.raises(TypeError, match=hint):
        await call()


def test_a_wrong_name_of_a_workers_option_is_told_with_the_right_one() -> None:
    with pytest.raises(TypeError, match="'concurency'; did you mean 'concurrency'"):
        Worker("emails", print, store=OPEN, concurency=2)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="'concurency'; did you mean 'concurrency'"):
        QUEUE.worker(concurency=2)  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("function", "keywords"),
    [
        (Queue.add, JobKeywords),
        (Queue.schedule, UndelayedKeywords),
        (Queue.now, UndelayedKeywords),
        (Queue.every, EveryKeywords),
        (Queue.cron, CronKeywords),
        (Queue.add_frame, SharedKeywords),
        (Queue.upsert_job_scheduler, RunKeywords),
        (Queue.worker, WorkerKeywords),
        (Worker, WorkerKeywords),
        (JobOptions, JobKeywords),
    ],
)
def test_what_looks_at_a_running_function_sees_its_options(
    function: Callable[..., Any], keywords: Any
) -> None:
    parameters = inspect.signature(function).parameters
    assert keywords.__annotations__.keys() <= parameters.keys()
    kinds = {parameters[name].kind for name in keywords.__annotations__}
    assert kinds == {inspect.Parameter.KEYWORD_ONLY}
    assert inspect.Parameter.VAR_KEYWORD not in {one.kind for one in parameters.values()}
