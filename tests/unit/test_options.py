"""Options: what each one takes, and one clear error for everything else."""

from __future__ import annotations

import dataclasses
import math
import pickle
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest

from conveyor_nb import (
    Backoff,
    Batch,
    Deduplication,
    Group,
    GroupLimits,
    JobOptions,
    Keep,
    Limiter,
    Repeat,
)
from conveyor_nb.core.options.backoff import BackoffType
from conveyor_nb.core.options.declaring import option_names
from conveyor_nb.core.options.job_options import ChildFailurePolicy
from conveyor_nb.core.options.worker_options import WorkerOptions
from conveyor_nb.core.values.checks import check_name, to_instant

NOON = datetime(2027, 1, 1, 12, tzinfo=UTC)
NAIVE = datetime(2027, 1, 1, 12)
NOT_NUMBERS: list[Any] = ["3", None, True, [1], 1j]
NOT_COUNTS: list[Any] = [*NOT_NUMBERS, 1.5, 2.0]
NOT_DURATIONS: list[Any] = [[], True, b"1s"]
BAD_DURATIONS: list[Any] = [-1, math.nan, math.inf, "soon", "-5s", timedelta(seconds=-1)]
NOT_FLAGS: list[Any] = [None, 0, 1, "yes"]
NOT_TEXT: list[Any] = [5, b"x", ["x"]]
BAD_NAMES = ["", "x" * 256, "a\nb", "a\x00b", "tab\t", "\x7f", "\x85"]

BAD_CRON_LINES = """
|soon|* * * *|* * * * * * * *|60 * * * *|* 24 * * *|* * 32 * *|* * * 13 *|* * * * 8|*/0 * * * *
|a b c d e|@daily
""".replace("\n", "").split("|")

Case = tuple[Callable[[Any], object], list[Any], type[Exception] | tuple[type[Exception], ...], str]

CASES: dict[str, Case] = {
    "attempts": (lambda v: JobOptions(attempts=v), NOT_COUNTS, TypeError, "attempts"),
    "attempts below 1": (lambda v: JobOptions(attempts=v), [0, -1], ValueError, "attempts"),
    "backoff": (lambda v: JobOptions(backoff=v), NOT_DURATIONS, TypeError, "backoff"),
    "backoff's value": (lambda v: JobOptions(backoff=v), BAD_DURATIONS, ValueError, "backoff"),
    "delay": (lambda v: JobOptions(delay=v), [None, *NOT_DURATIONS], TypeError, "delay"),
    "delay's value": (lambda v: JobOptions(delay=v), BAD_DURATIONS, ValueError, "delay"),
    "priority": (lambda v: JobOptions(priority=v), NOT_NUMBERS, TypeError, "priority"),
    "priority's value": (
        lambda v: JobOptions(priority=v),
        [math.nan, math.inf, -math.inf],
        ValueError,
        "priority",
    ),
    "lifo": (lambda v: JobOptions(lifo=v), NOT_FLAGS, TypeError, "lifo"),
    "timeout": (lambda v: JobOptions(timeout=v), NOT_DURATIONS, TypeError, "timeout"),
    "timeout's value": (
        lambda v: JobOptions(timeout=v),
        [0, *BAD_DURATIONS],
        ValueError,
        "timeout",
    ),
    "deduplication": (
        lambda v: JobOptions(deduplication=v),
        ["key", True, {"key": "x"}],
        TypeError,
        "deduplication",
    ),
    "job_id": (lambda v: JobOptions(job_id=v), NOT_TEXT, TypeError, "job_id"),
    "remove_on_complete": (
        lambda v: JobOptions(remove_on_complete=v),
        [None, [], {"age": 1}],
        TypeError,
        "remove_on_complete",
    ),
    "remove_on_complete's value": (
        lambda v: JobOptions(remove_on_complete=v),
        BAD_DURATIONS,
        ValueError,
        "remove_on_complete",
    ),
    "remove_on_fail": (
        lambda v: JobOptions(remove_on_fail=v),
        [None, [], {"age": 1}],
        TypeError,
        "remove_on_fail",
    ),
    "remove_on_fail's value": (
        lambda v: JobOptions(remove_on_fail=v),
        BAD_DURATIONS,
        ValueError,
        "remove_on_fail",
    ),
    "repeat": (lambda v: JobOptions(repeat=v), ["1h", 5, {"every": 5}], TypeError, "repeat"),
    "group": (lambda v: JobOptions(group=v), ["x", 5, {"id": "x"}], TypeError, "group"),
    "fail_parent_on_child_failure": (
        lambda v: JobOptions(fail_parent_on_child_failure=v),
        ["Fail", "", "explode", True, None, ["fail"]],
        ValueError,
        "fail_parent_on_child_failure must be one of 'fail', 'ignore', 'remove'",
    ),
    "backoff type": (
        lambda v: Backoff(v),
        ["linear", "", None, 5, ["fixed"]],
        ValueError,
        "backoff type must be one of 'fixed', 'exponential', 'custom'",
    ),
    "backoff delay": (lambda v: Backoff(delay=v), [None, []], TypeError, "backoff delay"),
    "backoff delay's value": (
        lambda v: Backoff("exponential", v),
        BAD_DURATIONS,
        ValueError,
        "backoff delay",
    ),
    "strategy": (lambda v: Backoff("custom", strategy=v), [None, 5, "f"], TypeError, "strategy"),
    "jitter": (
        lambda v: Backoff("exponential", 1, jitter=v),
        ["fully", "", True, 0.5, ["full"]],
        ValueError,
        "backoff jitter must be one of 'full'",
    ),
    "jitter of a strategy": (
        lambda v: Backoff("custom", strategy=float, jitter=v),
        ["full"],
        ValueError,
        "goes with type 'fixed' or 'exponential'",
    ),
    "key": (lambda v: Deduplication(key=v), NOT_TEXT, TypeError, "deduplication key"),
    "hash": (lambda v: Deduplication(hash=v), NOT_FLAGS, TypeError, "deduplication hash"),
    "ttl": (
        lambda v: Deduplication(key="k", ttl=v),
        NOT_DURATIONS,
        TypeError,
        "deduplication ttl",
    ),
    "ttl's value": (
        lambda v: Deduplication(key="k", ttl=v),
        [0, "0s", *BAD_DURATIONS],
        ValueError,
        "deduplication ttl",
    ),
    "age": (lambda v: Keep(age=v), NOT_DURATIONS, TypeError, "keep age"),
    "age's value": (lambda v: Keep(age=v), BAD_DURATIONS, ValueError, "keep age"),
    "count": (lambda v: Keep(age=1, count=v), ["3", True, 1.5], TypeError, "keep count"),
    "count below 0": (lambda v: Keep(count=v), [-1], ValueError, "keep count"),
    "every": (lambda v: Repeat(every=v), NOT_DURATIONS, TypeError, "repeat every"),
    "every's value": (
        lambda v: Repeat(every=v),
        [0, "0s", 1e-7, *BAD_DURATIONS],
        ValueError,
        "repeat every",
    ),
    "cron": (lambda v: Repeat(cron=v), [5, b"* * * * *", ["*"]], TypeError, "repeat cron"),
    "cron's value": (
        lambda v: Repeat(cron=v),
        BAD_CRON_LINES,
        ValueError,
        "repeat cron",
    ),
    "tz": (lambda v: Repeat(cron="* * * * *", tz=v), [5, UTC, b"UTC"], TypeError, "repeat tz"),
    "tz's value": (
        lambda v: Repeat(cron="* * * * *", tz=v),
        ["", "Mars/Olympus", "Europe", "../etc/passwd", "/etc/passwd", "UTC\x00"],
        ValueError,
        "repeat tz",
    ),
    "limit": (lambda v: Repeat(every=1, limit=v), ["3", True, 1.5], TypeError, "repeat limit"),
    "limit below 1": (lambda v: Repeat(every=1, limit=v), [0, -1], ValueError, "repeat limit"),
    "start_date": (
        lambda v: Repeat(every=1, start_date=v),
        ["2027-01-01", 5, NOON.date()],
        TypeError,
        "repeat start_date",
    ),
    "end_date": (
        lambda v: Repeat(every=1, end_date=v),
        ["2027-01-01", 5, NOON.date()],
        TypeError,
        "repeat end_date",
    ),
    "group id": (lambda v: Group(v), [*NOT_TEXT, None], TypeError, "group id"),
    "max_size": (lambda v: Group("x", v), ["3", True, 1.5], TypeError, "group max_size"),
    "max_size below 1": (lambda v: Group("x", v), [0, -1], ValueError, "group max_size"),
    "max": (lambda v: Limiter(v, 1), NOT_COUNTS, TypeError, "limiter max"),
    "max below 1": (lambda v: Limiter(v, 1), [0, -1], ValueError, "limiter max"),
    "duration": (lambda v: Limiter(1, v), [None, *NOT_DURATIONS], TypeError, "limiter duration"),
    "duration's value": (
        lambda v: Limiter(1, v),
        [0, *BAD_DURATIONS],
        ValueError,
        "limiter duration",
    ),
    "concurrency": (
        lambda v: GroupLimits(concurrency=v),
        ["3", True, 1.5],
        TypeError,
        "group concurrency",
    ),
    "concurrency below 1": (
        lambda v: GroupLimits(concurrency=v),
        [0, -1],
        ValueError,
        "group concurrency",
    ),
    "limiter": (lambda v: GroupLimits(limiter=v), [5, (1, 2)], TypeError, "group limiter"),
    "worker's concurrency": (
        lambda v: WorkerOptions(concurrency=v),
        [*NOT_COUNTS, 0],
        (TypeError, ValueError),
        "concurrency",
    ),
    "max_global_concurrency": (
        lambda v: WorkerOptions(max_global_concurrency=v),
        ["3", True, 1.5, 0],
        (TypeError, ValueError),
        "max_global_concurrency",
    ),
    "lock_duration": (
        lambda v: WorkerOptions(lock_duration=v),
        [0, None, *NOT_DURATIONS, *BAD_DURATIONS],
        (TypeError, ValueError),
        "lock_duration",
    ),
    "stalled_interval": (
        lambda v: WorkerOptions(stalled_interval=v),
        [0, None, *NOT_DURATIONS, *BAD_DURATIONS],
        (TypeError, ValueError),
        "stalled_interval",
    ),
    "worker's lifo": (lambda v: WorkerOptions(lifo=v), NOT_FLAGS, TypeError, "lifo"),
    "worker's limiter": (
        lambda v: WorkerOptions(limiter=v),
        [5, (10, "1s")],
        TypeError,
        "limiter must be a Limiter",
    ),
    "batch": (lambda v: WorkerOptions(batch=v), [5, True], TypeError, "batch must be a Batch"),
    "worker's group": (
        lambda v: WorkerOptions(group=v),
        ["x", Group("x")],
        TypeError,
        "group must be a GroupLimits",
    ),
    "worker name": (lambda v: WorkerOptions(name=v), NOT_TEXT, TypeError, "worker name"),
    "size": (lambda v: Batch(v), NOT_COUNTS, TypeError, "batch size"),
    "size below 1": (lambda v: Batch(v), [0, -1], ValueError, "batch size"),
}

PAIRS = [(name, value) for name, case in CASES.items() for value in case[1]]


@pytest.mark.parametrize(("name", "value"), PAIRS, ids=[f"{name}: {v!r:.40}" for name, v in PAIRS])
def test_a_bad_value_is_refused_by_name_and_shown(name: str, value: object) -> None:
    build, _, error, what = CASES[name]
    with pytest.raises(error) as caught:
        build(value)
    message = str(caught.value)
    assert what in message
    assert repr(value) in message or str(value) in message
    assert "\n" not in message


NAMES_OF: dict[str, Callable[[str], object]] = {
    "job_id": lambda v: JobOptions(job_id=v),
    "group id": lambda v: Group(v),
    "deduplication key": lambda v: Deduplication(key=v),
    "queue name": lambda v: check_name(v, what="queue name"),
}


@pytest.mark.parametrize("what", NAMES_OF)
@pytest.mark.parametrize("value", BAD_NAMES, ids=repr)
def test_a_name_has_1_to_255_characters_and_no_control_characters(what: str, value: str) -> None:
    with pytest.raises(ValueError, match=what):
        NAMES_OF[what](value)


@pytest.mark.parametrize("value", ["x", "x" * 255, "two words", "ünï \u200d ✉", "a/b:c", "__all__"])
@pytest.mark.parametrize("what", NAMES_OF)
def test_any_other_text_is_a_name(what: str, value: str) -> None:
    NAMES_OF[what](value)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Deduplication(), "either key='...' or hash=True"),
        (lambda: Deduplication(key="k", hash=True), "either key='...' or hash=True"),
        (lambda: Keep(), "age=, count= or both"),
        (lambda: Repeat(), "either every= or cron="),
        (lambda: Repeat(every=1, cron="* * * * *"), "either every= or cron="),
        (lambda: Repeat(every=1, tz="UTC"), "tz goes with cron="),
        (lambda: Repeat(every=1, start_date=NOON, end_date=NOON - timedelta(1)), "is before"),
        (lambda: Backoff("fixed", 1, strategy=lambda n: n), "goes with type 'custom'"),
    ],
)
def test_options_that_do_not_go_together_are_told(
    build: Callable[[], object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize("name", ["start_date", "end_date"])
def test_an_instant_without_a_time_zone_is_an_error_and_not_a_guess(name: str) -> None:
    dates: dict[str, Any] = {name: NAIVE}
    with pytest.raises(ValueError, match=f"repeat {name} 2027-01-01T12:00:00 has no time zone"):
        Repeat(every=1, **dates)


# -- what is kept -----------------------------------------------------------------------------


def test_the_defaults_are_those_of_the_contract() -> None:
    assert dataclasses.asdict(JobOptions()) == {
        "attempts": 1,
        "backoff": None,
        "delay": 0.0,
        "priority": 0,
        "lifo": False,
        "timeout": None,
        "deduplication": None,
        "job_id": None,
        "remove_on_complete": False,
        "remove_on_fail": False,
        "repeat": None,
        "group": None,
        "fail_parent_on_child_failure": "fail",
    }


def test_durations_are_kept_as_seconds() -> None:
    options = JobOptions(delay="2m", timeout=timedelta(hours=1), backoff="3s", remove_on_fail="1d")
    assert (options.delay, options.timeout) == (120.0, 3_600.0)
    assert options.backoff == Backoff(BackoffType.FIXED, 3.0)
    assert options.remove_on_fail == Keep(age=86_400.0)
    assert Deduplication(key="k", ttl="1m").ttl == 60.0
    assert Limiter(1, "1m").duration == 60.0
    assert Repeat(every="1m").every == 60.0


def test_a_worker_keeps_its_durations_as_seconds() -> None:
    options = WorkerOptions(lock_duration="1m", stalled_interval=timedelta(minutes=2), name="w")
    assert (options.lock_duration, options.stalled_interval) == (60.0, 120.0)


@pytest.mark.parametrize("word", BackoffType)
def test_the_name_of_a_backoff_alone_is_told_what_it_lacks(word: BackoffType) -> None:
    with pytest.raises(ValueError, match=f"Backoff\\('{word}', '1s'\\)"):
        JobOptions(backoff=str(word))


def test_words_are_kept_as_members() -> None:
    assert JobOptions(fail_parent_on_child_failure="ignore").fail_parent_on_child_failure is (
        ChildFailurePolicy.IGNORE
    )
    assert Backoff("exponential", 1).type is BackoffType.EXPONENTIAL


def test_instants_are_kept_in_utc() -> None:
    paris = timezone(timedelta(hours=1))
    repeat = Repeat(every=1, start_date=NOON.astimezone(paris), end_date=NOON)
    assert repeat.start_date == NOON
    assert repeat.start_date is not None
    assert repeat.start_date.tzinfo is UTC
    assert to_instant(NOON.astimezone(paris)).tzinfo is UTC


@pytest.mark.parametrize("value", [True, False, Keep(count=0), Keep(age=5, count=2)], ids=repr)
def test_a_rule_of_keeping_is_kept_as_it_is(value: bool | Keep) -> None:
    options = JobOptions(remove_on_complete=value, remove_on_fail=value)
    assert options.remove_on_complete is options.remove_on_fail is value


def test_options_can_not_be_changed() -> None:
    options = JobOptions()
    with pytest.raises(dataclasses.FrozenInstanceError):
        options.attempts = 2  # type: ignore[misc]


def test_options_show_on_one_line_what_differs_from_the_defaults() -> None:
    def wait_longer(attempts: int) -> int:
        return attempts

    options = JobOptions(
        attempts=3,
        backoff=Backoff("custom", strategy=wait_longer),
        delay=0,
        remove_on_complete=Keep(age="1h", count=1000),
        repeat=Repeat(cron="0 9 * * 1-5", tz="Europe/Paris", limit=3),
        job_id="x" * 255,
    )
    assert repr(JobOptions()) == "JobOptions()"
    assert repr(JobOptions(fail_parent_on_child_failure="ignore")) == (
        "JobOptions(fail_parent_on_child_failure='ignore')"
    )
    told = repr(options)
    assert told.startswith("JobOptions(attempts=3, backoff=Backoff(type='custom', strategy=")
    assert "strategy=wait_longer), job_id='xxxxxx" in told
    assert "remove_on_complete=Keep(age=3600.0, count=1000)" in told
    assert "repeat=Repeat(cron='0 9 * * 1-5', limit=3, tz='Europe/Paris'))" in told
    assert len(told) < 400


WHOLE = JobOptions(
    attempts=3,
    backoff=Backoff("exponential", "1s", jitter="full"),
    delay="2m",
    priority=1.5,
    lifo=True,
    timeout=timedelta(minutes=1),
    deduplication=Deduplication("k", ttl="1h"),
    job_id="a",
    remove_on_complete="1d",
    remove_on_fail=Keep(count=3),
    repeat=Repeat(cron="0 9 * * *", tz="Europe/Paris", start_date=NOON),
    group=Group("g", 3),
    fail_parent_on_child_failure="ignore",
)
WHOLE_WORKER = WorkerOptions(
    concurrency=3,
    limiter=Limiter(10, "1m"),
    lock_duration="1m",
    batch=Batch(3),
    group=GroupLimits(1, Limiter(1, "1s")),
    name="w",
)


@pytest.mark.parametrize("options", [WHOLE, WHOLE_WORKER], ids=["job", "worker"])
def test_options_made_of_what_is_kept_are_the_same(options: Any) -> None:
    kind: Any = type(options)
    kept = {name: getattr(options, name) for name in option_names(kind)}
    assert kind(**kept) == options
    assert hash(kind(**kept)) == hash(options)
    assert dataclasses.replace(options) == options
    assert msgspec.json.decode(msgspec.json.encode(options)).keys() == kept.keys()


def test_options_can_be_pickled() -> None:
    options = JobOptions(
        attempts=3,
        backoff=Backoff("exponential", 1),
        deduplication=Deduplication(hash=True),
        repeat=Repeat(cron="* * * * *", tz="Europe/Paris"),
        group=Group("x", 3),
    )
    assert pickle.loads(pickle.dumps(options)) == options


# -- on top of defaults -----------------------------------------------------------------------


def test_an_unknown_option_is_named_with_the_nearest_one() -> None:
    with pytest.raises(TypeError, match="unknown job option 'atempts'; did you mean 'attempts'"):
        JobOptions.of({"atempts": 3})
    with pytest.raises(TypeError, match="unknown job option 'zzz'; known are: attempts, backoff"):
        JobOptions.of({"zzz": 3})


def test_given_options_win_over_defaults() -> None:
    defaults = JobOptions(attempts=3, delay=5)
    assert JobOptions.of({"attempts": 1}, defaults=defaults) == JobOptions(attempts=1, delay=5)
    assert JobOptions.of({}, defaults=defaults) == defaults
    assert JobOptions.of({}) == JobOptions()
    assert JobOptions.of({"lifo": True}) == JobOptions(lifo=True)


def test_given_options_are_checked_on_top_of_defaults_too() -> None:
    with pytest.raises(ValueError, match="attempts"):
        JobOptions.of({"attempts": 0}, defaults=JobOptions(delay=5))


def test_whole_options_go_over_defaults_where_they_differ_from_the_plain_ones() -> None:
    defaults = JobOptions(attempts=3, delay=5)
    assert JobOptions(delay=1).over(defaults) == JobOptions(attempts=3, delay=1)
    assert JobOptions().over(defaults) == defaults


def test_options_can_be_taken_back() -> None:
    options = JobOptions(job_id="a", delay=5, attempts=2)
    assert options.without("job_id", "delay") == JobOptions(attempts=2)
