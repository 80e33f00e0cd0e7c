"""Options, jobs, schedules and workers as a database holds them, there and back."""

from __future__ import annotations

import json
from dataclasses import replace as replace_of
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from conveyor_nb import Backoff, Deduplication, Group, Keep, Repeat
from conveyor_nb.core import freezing
from conveyor_nb.core.errors import UnsupportedError
from conveyor_nb.core.job_scheduler import JobScheduler
from conveyor_nb.core.model import (
    AttemptRecord,
    AttemptStatus,
    JobData,
    JobState,
)
from conveyor_nb.core.options.job_options import JobOptions
from conveyor_nb.core.rows import ChildRow
from conveyor_nb.core.worker_info import WorkerCommand, WorkerInfo, WorkerStatus
from conveyor_nb.stores.sql.wire import options
from conveyor_nb.stores.sql.wire.codec import Codec, codec_for
from conveyor_nb.stores.sql.wire.instants import from_milliseconds, to_milliseconds
from tests.wire_values import (
    DIALECTS,
    NOW,
    as_jsonb,
    instants,
    job_options,
    jobs,
    kept,
    maybe,
    plain_values,
    repeats,
    same,
)


@settings(deadline=None)
@given(opts=job_options)
def test_options_come_back_as_they_were(opts: JobOptions) -> None:
    text = options.from_options(opts)
    assert options.to_options(text) == opts
    assert options.to_options(as_jsonb(text)) == opts


def test_options_are_written_in_the_words_of_conveyor() -> None:
    opts = JobOptions(
        attempts=3,
        backoff=Backoff("exponential", "1s"),
        delay="5 minutes",
        priority=-1,
        lifo=True,
        timeout=30,
        deduplication=Deduplication(key="k", ttl="1 day"),
        job_id="mine",
        remove_on_complete="1 hour",
        remove_on_fail=Keep(age=60, count=5),
        group=Group("g", 2),
        fail_parent_on_child_failure="remove",
    )
    assert json.loads(options.from_options(opts)) == {
        "attempts": 3,
        "backoff": {"type": "exponential", "delay": 1000},
        "delay": 300_000,
        "priority": -1,
        "lifo": True,
        "timeout": 30_000,
        "deduplication": {"key": "k", "ttl": 86_400_000},
        "jobId": "mine",
        "removeOnComplete": 3_600_000,
        "failParentOnChildFailure": "remove",
        "group": {"id": "g", "maxSize": 2},
        "conveyor_nb": {"removeOnFail": {"age": 60_000, "count": 5}},
    }
    jittered = JobOptions(backoff=Backoff("exponential", "1s", jitter="full"))
    assert json.loads(options.from_options(jittered)) == {
        "backoff": {"type": "exponential", "delay": 1000},
        "conveyor_nb": {"jitter": "full"},
    }
    assert options.from_options(JobOptions()) == "{}"
    assert json.loads(options.from_options(JobOptions(remove_on_complete=True))) == {
        "removeOnComplete": True
    }


@pytest.mark.parametrize(
    ("written", "opts"),
    [
        ({"delay": "5 minutes"}, JobOptions(delay=300)),
        ({"delay": "1.5h", "attempts": 3}, JobOptions(delay=5_400, attempts=3)),
        ({"repeat": {"every": "10s", "limit": 4}}, JobOptions(repeat=Repeat(10, limit=4))),
        (
            {"repeat": {"cron": "0 9 * * *", "startDate": "2027-01-02T03:04:05.678Z", "tz": "UTC"}},
            JobOptions(repeat=Repeat(cron="0 9 * * *", start_date=NOW, tz="UTC")),
        ),
        ({"backoff": {"type": "custom", "delay": 250}}, JobOptions(backoff=0.25)),
        ({"backoff": {"type": "fixed"}}, JobOptions(backoff=0)),
        ({"deduplication": {"hash": True}}, JobOptions(deduplication=Deduplication(hash=True))),
        (
            {"deduplication": {"hash": True, "key": "k"}},
            JobOptions(deduplication=Deduplication(key="k")),
        ),
        ({"removeOnFail": False, "removeOnComplete": True}, JobOptions(remove_on_complete=True)),
        ({"removeOnComplete": 60_000}, JobOptions(remove_on_complete="1m")),
        ({"unknown": {"deep": 1}, "priority": 2}, JobOptions(priority=2)),
        # what can't be read counts as not given, and hides nothing else
        ({"backoff": 500, "conveyor_nb": {"jitter": ["full"]}}, JobOptions(backoff=0.5)),
        ({"conveyor_nb": {"jitter": "full"}, "priority": 1}, JobOptions(priority=1)),
        ({"attempts": 0, "delay": "soon", "timeout": 0, "lifo": True}, JobOptions(lifo=True)),
        ({"repeat": {"cron": "never"}, "group": {}, "backoff": []}, JobOptions()),
        ({"deduplication": {}, "removeOnFail": "x", "jobId": 7, "priority": None}, JobOptions()),
        ({"failParentOnChildFailure": "explode", "conveyor_nb": 1}, JobOptions()),
        (["no", "options"], JobOptions()),
    ],
)
def test_options_of_others_are_read_as_well_as_can_be(written: Any, opts: JobOptions) -> None:
    assert options.to_options(json.dumps(written)) == opts


def test_options_that_are_no_json_are_none() -> None:
    assert options.to_options("{") == JobOptions()


@pytest.mark.parametrize("dialect", DIALECTS)
@settings(max_examples=60, deadline=None)
@given(job=jobs())
def test_a_job_comes_back_as_it_was(dialect: str, job: JobData) -> None:
    codec = codec_for(dialect)
    row = codec.new_row(job)
    back = codec.job(kept(codec, row))
    assert back == job
    seq = row[Codec.job_columns.index("seq")]
    assert (seq < 0) is (job.opts.lifo and job.sequence > 0)


@pytest.mark.parametrize("dialect", DIALECTS)
@settings(max_examples=40, deadline=None)
@given(before=jobs(), after=jobs())
def test_the_columns_that_changed_make_a_row_the_new_one(
    dialect: str, before: JobData, after: JobData
) -> None:
    codec = codec_for(dialect)
    after = replace(after, sequence=before.sequence, opts=before.opts)
    row = dict(zip(Codec.job_columns, codec.new_row(before), strict=True))
    row |= codec.changed(before, after)
    assert codec.job(kept(codec, [row[name] for name in Codec.job_columns])) == after
    assert codec.changed(before, before) == {}


def test_only_what_changed_is_written() -> None:
    codec = codec_for("sqlite")
    job = JobData("a", "send", "emails", codec.freeze({"x": 1}, "data"), created_at=NOW)
    assert codec.changed(job, replace(job, progress=12.5)) == {
        "progress": 12.5,
        "conveyor_nb_progress": None,
    }
    taken = AttemptRecord(1, "w", NOW)
    changed = codec.changed(job, replace(job, state=JobState.ACTIVE, attempt_logs=(taken,)))
    assert changed.keys() == {"state", "attempt_logs", "conveyor_nb_fence", "cancelled_at"}
    assert changed["conveyor_nb_fence"] == 1


def test_where_columns_hold_whole_numbers_the_exact_progress_stands_beside() -> None:
    codec = codec_for("postgres", fractions=False)
    job = JobData("a", "send", "emails", created_at=NOW, progress=12.5, priority=2.0)
    row = dict(zip(Codec.job_columns, codec.new_row(job), strict=True))
    assert (row["progress"], row["conveyor_nb_progress"], row["priority"]) == (12, 12.5, 2)
    assert type(row["priority"]) is int
    assert codec.job(list(row.values())) == job
    assert codec.job(list((row | {"progress": 40}).values())).progress == 40  # another's report


def test_where_columns_hold_whole_numbers_a_fractional_priority_is_refused() -> None:
    codec = codec_for("postgres", fractions=False)
    with pytest.raises(UnsupportedError, match=r"priority 0\.5"):
        codec.new_row(JobData("a", "send", "emails", priority=0.5))


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_text_that_no_database_takes_is_mended(dialect: str) -> None:
    codec, odd, mended = codec_for(dialect), "a\0b\udcff", "a\ufffdb\ufffd"
    record = AttemptRecord(1, "w", NOW, NOW, AttemptStatus.FAILED, odd, odd, (odd,))
    job = JobData("a", "send", "emails", created_at=NOW, failed_reason=odd, logs=(odd,))
    job = replace(job, stacktrace=(odd,), attempt_logs=(record,))
    back = codec.job(kept(codec, codec.new_row(job)))
    assert (back.failed_reason, back.logs, back.stacktrace) == (mended, (mended,), (mended,))
    (back_record,) = back.attempt_logs
    assert back_record == replace(record, error=mended, stacktrace=mended, logs=(mended,))


@settings(deadline=None)
@given(when=instants)
def test_a_time_in_milliseconds_is_exact(when: datetime) -> None:
    value = to_milliseconds(when)
    assert from_milliseconds(value) == when
    assert (type(value) is int) is (when.microsecond % 1_000 == 0)


# -- what else there is ---------------------------------------------------------------------


@pytest.mark.parametrize("dialect", DIALECTS)
@settings(max_examples=40, deadline=None)
@given(opts=job_options, repeat=repeats, data=plain_values, last=maybe, paused=st.booleans())
def test_a_scheduler_comes_back_as_it_was(
    dialect: str, opts: JobOptions, repeat: Repeat, data: Any, last: Any, paused: bool
) -> None:
    codec = codec_for(dialect)
    frozen = codec.freeze(data, "data")
    one = JobScheduler("s", "q", repeat, "send", frozen, opts, 3, last, NOW, "job", paused)
    back = codec.scheduler(kept(codec, codec.scheduler_row(one), Codec.scheduler_columns))
    assert same(freezing.thaw(back.data), data)
    assert replace(back, data=None) == replace(one, data=None)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("returnvalue", [None, "sent", {"n": 1}, (1, 2)])
def test_a_child_comes_back_as_it_was(dialect: str, returnvalue: Any) -> None:
    codec = codec_for(dialect)
    row = ChildRow(True, "why", codec.freeze(returnvalue, "it"), True)
    written = codec.child_row(("q", "p"), ("r", "c"), row)
    assert len(written) == len(Codec.child_columns)
    assert codec.child(kept(codec, written, Codec.child_columns)) == (("r", "c"), row)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_worker_comes_back_as_it_was(dialect: str) -> None:
    codec = codec_for(dialect)
    worker = WorkerInfo("w-1", "w", "emails", 3, WorkerStatus.PAUSED, NOW, NOW)
    told = WorkerCommand("closed", 5, timeout=1.5, given_at=NOW)
    row = codec.worker_row(worker)
    for command in (None, told):
        beside = [None] * 4 if command is None else codec.command_row("w-1", command)[1:]
        back = codec.worker((*row, *beside))
        assert (back, back.last_seen) == (replace_of(worker, command=command), NOW)
