"""What people hand to a queue, checked and turned into what a store takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from conveyor_nb.core.job_scheduler import JobScheduler
from conveyor_nb.core.model import ALL_NAMES, JobData
from conveyor_nb.core.options.job_options import OPTION_NAMES, JobOptions
from conveyor_nb.core.options.repeat import Repeat
from conveyor_nb.core.values.canonical_json import canonical_json, sha256_of
from conveyor_nb.core.values.checks import MAX_NAME_LENGTH, check_name, reject_unknown
from conveyor_nb.core.values.text import shown

__all__ = [
    "bulk_job",
    "new_job",
    "new_scheduler",
    "paused_name",
    "scheduler_id_for",
    "to_options",
]

_BULK_KEYS = OPTION_NAMES | {"name", "data", "opts"}
_NOT_FOR_RUNS = ("repeat", "job_id", "delay", "deduplication")
_ID_DIGITS = 12
"""How many digits of a hash tell the schedules of one job name apart."""


def new_job(queue_name: str, name: str, data: Any, opts: JobOptions) -> JobData:
    """Build what a store is to save; the store gives it an id if the options don't."""
    return JobData(
        id=opts.job_id or "",
        name=check_name(name, what="job name"),
        queue_name=queue_name,
        data=data,
        opts=opts,
        deduplication_key=_deduplication_key(data, opts) if opts.deduplication else None,
        group_id=opts.group.id if opts.group else None,
    )


def bulk_job(
    queue_name: str,
    item: Mapping[str, Any],
    position: int,
    defaults: JobOptions,
    options_of: Callable[[Mapping[str, Any]], JobOptions],
) -> JobData:
    """Build a job from an item of ``add_bulk``; an error names the item by its position.

    Args:
        queue_name: the queue.
        item: what ``add_bulk`` was given for the job.
        position: the item's, from 0.
        defaults: the queue's options.
        options_of: those options with others on top; the same object for the same ones.
    """
    if not isinstance(item, Mapping):
        raise TypeError(
            f"item {position} must be a mapping such as {{'name': 'send', 'data': {{...}}}}, "
            f"not {shown(item)}"
        )
    try:
        reject_unknown(item, _BULK_KEYS, what="key")
        if "name" not in item:
            raise TypeError("it has no 'name'")
        own = {key: value for key, value in item.items() if key in OPTION_NAMES}
        if item.get("opts") is None:
            opts = options_of(own) if own else defaults
        else:
            opts = JobOptions.of(own, defaults=to_options(item["opts"], defaults))
        if opts.repeat is not None:
            raise ValueError("repeat goes with add, not with add_bulk")
        return new_job(queue_name, item["name"], item.get("data"), opts)
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"item {position} of add_bulk: {error}") from error


def new_scheduler(
    queue_name: str, scheduler_id: str, repeat: Repeat, name: str, data: Any, opts: JobOptions
) -> JobScheduler:
    """Build what a store is to save for a repeating job."""
    if not isinstance(repeat, Repeat):
        raise TypeError(
            f"repeat must be a Repeat, for instance Repeat(every='5m'), not {shown(repeat)}"
        )
    if opts.delay or opts.deduplication:
        raise ValueError(
            "a repeating job takes no delay and no deduplication; "
            "Repeat(start_date=...) says when it begins"
        )
    return JobScheduler(
        id=check_name(scheduler_id, what="scheduler id"),
        queue_name=queue_name,
        repeat=repeat,
        name=check_name(name, what="job name"),
        data=data,
        opts=opts.without(*_NOT_FOR_RUNS),
    )


def scheduler_id_for(name: str, data: Any, opts: JobOptions) -> str:
    """The id of the scheduler that ``add(..., repeat=...)`` makes: of the job's name and payload.

    The rule is no part of it: the same call again with another one, as when a cell is edited and
    runs again, means the same scheduler.

    Raises:
        TypeError: the payload is not JSON, and no ``job_id`` is given.
    """
    if opts.job_id is not None:
        return opts.job_id
    check_name(name, what="job name")
    try:
        payload = canonical_json(data)
    except TypeError as error:
        raise TypeError(
            f"the schedule of {shown(name)} needs an id of its own: {error}; give job_id='...', "
            "or use upsert_job_scheduler('...', ...)"
        ) from error
    digest = sha256_of(f"{canonical_json(name)} {payload}")[:_ID_DIGITS]
    return f"{name[: MAX_NAME_LENGTH - _ID_DIGITS - 1]}:{digest}"


def to_options(given: JobOptions | Mapping[str, Any] | None, defaults: JobOptions) -> JobOptions:
    """Options given as an object or a mapping, on top of ``defaults``."""
    if given is None:
        return defaults
    if isinstance(given, JobOptions):
        return given.over(defaults)
    if isinstance(given, Mapping):
        return JobOptions.of(given, defaults=defaults)
    raise TypeError(f"job options must be a JobOptions or a mapping, not {shown(given)}")


def paused_name(job_name: str | None) -> str:
    """What a store notes as paused: the job name, or that of the whole queue."""
    return ALL_NAMES if job_name is None else check_name(job_name, what="job name")


def _deduplication_key(data: Any, opts: JobOptions) -> str:
    rule = opts.deduplication
    assert rule is not None
    if rule.key is not None:
        return rule.key
    try:
        return sha256_of(canonical_json(data))
    except TypeError as error:
        raise TypeError(
            f"deduplication by hash needs a JSON payload: {error}; give Deduplication(key=...)"
        ) from error
