"""A tape in a file, compared with another one, and as a diagram."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from conveyor_nb import (
    Backoff,
    Deduplication,
    FlowJob,
    FlowProducer,
    Group,
    Job,
    JobData,
    Keep,
    MemoryStore,
    Queue,
    Tape,
    VirtualClock,
    Worker,
)
from conveyor_nb.stores.tapes.lines import lines_of
from conveyor_nb.stores.tapes.moments import as_of
from conveyor_nb.stores.tapes.plain import plain

Program = Callable[[Queue, VirtualClock], Awaitable[object]]


def recorded(program: Program, handler: Callable[[Job], Any], *, limit: int = 10_000) -> Tape:
    """What a program does with a queue whose worker has two slots."""

    async def run() -> Tape:
        clock = VirtualClock()
        async with MemoryStore(clock=clock, ids="sequential", seed=1) as store:
            queue = Queue("emails", store=store)
            with store.record(limit=limit) as tape:
                async with Worker("emails", handler, store=store, concurrency=2):
                    await program(queue, clock)
            return tape

    return asyncio.run(run())


async def send(job: Job) -> object:
    await job.log("begins")
    await job.sleep(job.data if isinstance(job.data, int) else 1)
    await job.log("ends")
    if job.name == "bad":
        raise ValueError("no mail; <b>")
    return {"took": job.data, "when": job.processed_at}


slowly = Backoff("custom", strategy=lambda *_: 1.0)


async def much(queue: Queue, clock: VirtualClock) -> None:
    """Something of everything."""
    await queue.pause("send")
    await queue.add("send", 1, priority=2, group=Group("a"), timeout="1h")
    await queue.resume("send")
    await queue.add("bad", 2, attempts=2, backoff=Backoff("exponential", "2s"))
    await queue.add("later", {"a": [1, (2, 3)], 4: {5}}, delay="5s", remove_on_complete=True)
    await queue.add("keyed", object, deduplication=Deduplication("k", ttl=5))
    await queue.add("kept", 0.5, remove_on_fail=Keep(count=3), backoff=slowly)
    await FlowProducer(store=queue.store).add(
        FlowJob("sum", "sums", children=[FlowJob("send", "emails", 1)])
    )
    await queue.every("10s", "ping", job_id="ping")
    await clock.advance("25s")


def test_a_tape_comes_back_from_its_file(tmp_path: Path) -> None:
    tape = recorded(much, send)
    path = tape.save(tmp_path / "run.jsonl")

    again = Tape.load(path)

    assert again == tape
    assert again.difference(tape) is None
    assert (again.began, again.ended, again.limit) == (tape.began, tape.ended, tape.limit)
    assert [event.type for event in again.events] == [event.type for event in tape.events]
    assert again.story == tape.story
    for mine, theirs in zip(again.jobs, tape.jobs, strict=True):
        assert mine.state == theirs.state
        assert mine.opts.priority == theirs.opts.priority
        assert mine.opts.deduplication == theirs.opts.deduplication
        assert mine.opts.remove_on_fail == theirs.opts.remove_on_fail
        assert mine.opts.group == theirs.opts.group
        assert mine.logs == theirs.logs
        assert [one.slot for one in mine.attempt_logs] == [one.slot for one in theirs.attempt_logs]
        assert [one.error for one in mine.attempt_logs] == [
            one.error for one in theirs.attempt_logs
        ]
    delayed = next(one for one in again.events if one.type == "job:delayed")
    assert delayed.data == next(one for one in tape.events if one.type == "job:delayed").data
    for left_out in ("Traceback", "lock_until", "sequence"):
        assert left_out not in path.read_text(encoding="utf-8")
    assert again.save(tmp_path / "again.jsonl").read_bytes() == path.read_bytes()


def test_text_with_any_end_of_a_line_comes_back_from_its_file(tmp_path: Path) -> None:
    ends = "a\u0085b\u2028c\u2029d\r\ne\x1cf"

    async def program(queue: Queue, clock: VirtualClock) -> None:
        await queue.add("send", ends)

    tape = recorded(program, send)
    again = Tape.load(tape.save(tmp_path / "run.jsonl"))
    assert again == tape
    assert again.job("emails-1").data == ends


def test_a_job_whose_attempts_are_gone_comes_back_from_its_file(tmp_path: Path) -> None:
    """As over a slow store, if a job of its id was added when it was removed."""
    of_one = of(0)
    added, *_, ended = [moment for moment in of_one.moments if moment.job is not None]
    tape = Tape("emails", of_one.began)
    for moment in (ended, added):
        tape.put(moment)
    again = Tape.load(tape.save(tmp_path / "run.jsonl"))
    assert again == tape
    assert [len(moment.job.attempt_logs) for moment in again.moments if moment.job] == [1, 0]


def test_a_line_has_what_is_new() -> None:
    async def program(queue: Queue, clock: VirtualClock) -> None:
        await queue.add("send", 1)
        await clock.advance("2s")

    tape = recorded(program, send)
    told = [json.loads(line) for line in lines_of(tape)]
    logs = [line["now"] for line in told if line.get("event") == "job:log"]
    assert logs == [{"logs": ["begins"]}, {"logs": {"more": ["ends"]}}]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda lines: [], "is no tape: it is empty"),
        (lambda lines: ["{"], "is no tape: line 1: it is no JSON (Expecting property name"),
        (lambda lines: ["[1]"], "is no tape: line 1: it should be an object, not [1]"),
        (lambda lines: ['{"a": 1}'], "is no tape: line 1: it has no 'tape'"),
        (lambda lines: ['{"tape": 9}'], "is no tape: line 1: it is of version 9, and this reads 1"),
        (lambda lines: lines[:-1], "is not a whole tape: it should have"),
        (lambda lines: [*lines[:-1], '{"event": "x"}'], ": it has no 'at'"),
        (lambda lines: [*lines[:-1], '{"at": "noon", "event": "x"}'], "Invalid isoformat string"),
        (
            lambda lines: [line.replace('"waiting"', '"asleep"') for line in lines],
            "line 2: 'asleep' is not a valid JobState",
        ),
        (
            lambda lines: [line.replace('"created_at"', '"made_at"') for line in lines],
            "no job has a field 'made_at'",
        ),
    ],
)
def test_a_bad_file_is_refused_with_one_clear_error(
    change: Callable[[list[str]], list[str]], told: str, tmp_path: Path
) -> None:
    async def program(queue: Queue, clock: VirtualClock) -> None:
        await queue.add("bad", 1, attempts=2)
        await clock.advance("5s")

    path = recorded(program, send).save(tmp_path / "run.jsonl")
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join(change(lines)), encoding="utf-8")
    with pytest.raises(ValueError, match=r"run\.jsonl") as caught:
        Tape.load(path)
    assert told in str(caught.value)


def test_a_file_of_bytes_and_a_wrong_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "run.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="it is not text in UTF-8"):
        Tape.load(tmp_path / "run.jsonl")
    with pytest.raises(ValueError, match=r"such as run\.jsonl"):
        recorded(much, send).save(tmp_path / "run.txt")


def of(*seconds: int, name: str = "send", pause: bool = False, **options: Any) -> Tape:
    """The tape of some jobs."""

    async def program(queue: Queue, clock: VirtualClock) -> None:
        if pause:
            await queue.pause()
        for one in seconds:
            await queue.add(name, one, **options)
        await clock.advance("20s")

    return recorded(program, send)


def test_a_difference_is_told_in_words() -> None:
    assert of(1, 2).difference(of(1, 3)) == (
        "Event 2 is different.\n"
        "  alike: 00:00:00 job:waiting emails-1 send\n"
        "  both: 00:00:00 job:waiting emails-2 send\n"
        "    payload: 2 in this tape, 3 in the other"
    )
    other = of(1, name="bad").difference(of(1))
    assert other is not None
    assert "name: 'bad' in this tape, 'send' in the other" in other
    longer = of(1).difference(of(1, 1))
    assert longer is not None
    assert "this tape:  00:00:00 worker:started emails" in longer
    assert "the other:  00:00:00 job:waiting emails-2 send" in longer


def test_a_tape_that_goes_on_says_so() -> None:
    short, long = of(pause=True), of(1, pause=True)
    told = short.difference(long)
    assert told is not None
    assert "  this tape:  " in told
    assert "  the other:  00:00:00 job:waiting emails-1 send" in told
    part = Tape(None, long.began, long.start)
    for moment in long.moments[:3]:
        part.put(moment)
    assert part.ended is None
    told = part.difference(long)
    assert told is not None
    assert told.splitlines()[-1].startswith("  only the other tape goes on: ")


def test_what_a_tape_began_with_is_compared_first() -> None:
    async def run(name: str) -> Tape:
        async with MemoryStore(clock=VirtualClock(), ids="sequential") as store:
            queue = Queue("emails", store=store)
            await queue.add(name)
            with queue.record() as tape:
                await queue.pause()
            return tape

    told = asyncio.run(run("a")).difference(asyncio.run(run("b")))
    assert told == (
        "They begin with something different: job emails-1: "
        "name: 'a' in this tape, 'b' in the other"
    )


def test_a_tape_is_compared_with_a_tape() -> None:
    with pytest.raises(TypeError, match=r"a tape is compared with a Tape, not 'run\.jsonl'"):
        of(1).difference("run.jsonl")  # type: ignore[arg-type]
    assert of(1) != "run.jsonl"


def test_a_sequence_diagram_tells_of_each_way() -> None:
    diagram = of(1, name="bad", attempts=2, backoff="2s").to_mermaid()
    assert diagram.splitlines() == [
        "sequenceDiagram",
        "    participant you as your code",
        "    participant q1 as emails",
        "    participant s1 as emails slot 1",
        "    you->>q1: add emails-1 bad",
        "    q1->>s1: emails-1",
        "    s1--xq1: emails-1 failed: ValueError: no mail#59; #60;b#62;",
        "    Note over q1: emails-1 again in 2s",
        "    q1->>s1: emails-1, attempt 2",
        "    s1--xq1: emails-1 failed: ValueError: no mail#59; #60;b#62;",
    ]


def test_a_sequence_diagram_is_capped_and_says_so() -> None:
    diagram = of(*[1] * 30).to_mermaid(limit=20)
    assert len(diagram.splitlines()) == 5 + 20 + 1
    assert diagram.endswith("Note over you,q1: 70 more events left out")


def test_values_are_plain_and_the_same_each_time() -> None:
    assert plain({"a": 1.0, "b": float("nan"), "c": "\ud800"}) == {
        "a": 1,
        "b": {"repr": "nan"},
        "c": "\\ud800",
    }
    assert plain(object()) == plain(object())
    names = [f"{number:x}" for number in range(40)]
    assert plain({"to": set(names)}) == {"to": {"set": sorted(names)}}
    assert plain(frozenset([(1, "b"), (1, "a")])) == {"frozenset": [[1, "a"], [1, "b"]]}
    nested: list[Any] = []
    nested.append(nested)
    json.dumps(plain(nested))


def test_a_job_that_was_read_too_late_is_as_it_was() -> None:
    """A store in a database has gone on when the job of an event is read."""
    tape = recorded(much, send)
    last = tape.job("emails-2")
    assert [one.outcome for one in last.attempt_logs] == ["failed", "failed"]
    seen: JobData | None = None
    for moment in tape.moments:
        if moment.event.job_id == "emails-2":
            seen = as_of(moment.event, last, seen)
            then = moment.job
            assert seen is not None
            assert then is not None
            assert (seen.state, seen.returnvalue) == (then.state, then.returnvalue)
            assert [one.outcome for one in seen.attempt_logs] == [
                one.outcome for one in then.attempt_logs
            ], moment.event
            assert seen.failed_at == then.failed_at
            if then.state == "delayed":
                assert seen.delay_until == then.delay_until


def test_of_a_job_that_can_not_be_read_the_event_tells() -> None:
    tape = recorded(much, send)
    moments = [one for one in tape.moments if one.event.job_id == "emails-2"]
    seen = moments[0].job
    for moment in moments[1:]:
        seen = as_of(moment.event, None, seen)
        assert seen is not None
        assert moment.job is not None
        assert seen.state == moment.job.state
