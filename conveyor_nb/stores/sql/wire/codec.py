"""Rows to records and back, for one kind of database: the one place that knows all the columns.

Rows are sequences in the order of the columns that stand here; other columns of the same tables
are the business of whoever writes these.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec.json
from msgspec.structs import astuple, fields

from conveyor_nb.core.errors import UnsupportedError
from conveyor_nb.core.job_scheduler import JobScheduler
from conveyor_nb.core.model import (
    ACTIVE,
    COMPLETED,
    EPOCH,
    FAILED,
    AttemptRecord,
    JobData,
    JobState,
    StoreEvent,
)
from conveyor_nb.core.options.job_options import JobOptions
from conveyor_nb.core.rows import ChildRow, Key
from conveyor_nb.core.worker_info import WorkerCommand, WorkerInfo, WorkerStatus
from conveyor_nb.stores.sql.wire import attempts, events, exact, options, payloads
from conveyor_nb.stores.sql.wire.instants import from_milliseconds, to_milliseconds

__all__ = ["Codec", "codec_for", "texts_of"]

_MOST_OPTIONS = 256
_STATES = {state.value: state for state in JobState}


def _same(value: Any) -> Any:
    return value


class Codec:
    """What the columns of one database hold of records.

    Args:
        instant: a time as the database holds it.
        datetime: and back.
        flag: ``True`` and ``False`` as the database holds them.
        freeze: what rows hold of a payload, see ``Rows.freeze``.
        unpickles: whether payloads that are pickles are read.
        quotes_text: whether a payload that is text is written as JSON in JSON. Conveyor reads
            what comes from a server as text once more, and one that is no JSON then fails all
            reads that it is among.
        fractions: whether the columns of priorities and progress hold fractions.
    """

    job_columns = (
        *("id", "queue_name", "name", "data", "state", "attempts_made", "progress"),
        *("returnvalue", "failed_reason", "opts", "deduplication_key", "logs", "stacktrace"),
        *("created_at", "processed_at", "completed_at", "failed_at", "delay_until"),
        *("lock_until", "locked_by", "parent_id", "parent_queue_name"),
        *("pending_children_count", "cancelled_at", "group_id", "discarded", "children_ids"),
        *("attempt_logs", "priority", "seq", "conveyor_nb_data", "conveyor_nb_returnvalue"),
        *("conveyor_nb_progress", "conveyor_nb_fence", "conveyor_nb_scheduler"),
        "conveyor_nb_planned_at",
    )
    child_columns = (
        *("parent_queue_name", "parent_id", "queue_name", "id", "settled", "why"),
        *("returnvalue", "exact_returnvalue", "awaited"),
    )
    scheduler_columns = (
        *("queue_name", "id", "repeat", "name", "data", "exact_data", "opts", "runs"),
        *("last_run", "next_run", "pending_job_id", "paused"),
    )
    worker_columns = (
        *("id", "queue_name", "name", "concurrency", "status", "started_at", "last_seen"),
    )
    command_columns = (
        *("worker_id", "told_status", "told_concurrency", "told_timeout", "given_at"),
    )

    def __init__(
        self,
        *,
        instant: Callable[[datetime | None], Any],
        datetime: Callable[[Any], datetime | None],
        flag: Callable[[bool], Any],
        freeze: Callable[[Any, str], Any],
        unpickles: bool,
        quotes_text: bool,
        fractions: bool,
    ) -> None:
        self.instant, self.datetime, self.flag, self.freeze = instant, datetime, flag, freeze
        self._unpickles, self._quotes_text, self._fractions = unpickles, quotes_text, fractions
        self._options: dict[int, tuple[JobOptions, str]] = {}

    # -- jobs ---------------------------------------------------------------------------------

    def job(self, row: Sequence[Any]) -> JobData:
        """The record of a job's row, whoever wrote it."""
        # fmt: off
        (
            job_id, queue_name, name, data, state_name, attempts_made, progress,
            returnvalue, failed_reason, opts, key, logs, stacktrace,
            created_at, processed_at, completed_at, failed_at, delay_until,
            lock_until, locked_by, parent_id, parent_queue_name,
            pending, cancelled_at, group_id, discarded, children_ids,
            attempt_logs, priority, seq, exact_data, exact_returnvalue,
            exact_progress, fence, scheduler_id, planned_at,
        ) = row
        # fmt: on
        instant = self.datetime
        created_at = instant(created_at) or EPOCH
        processed_at = instant(processed_at)
        completed_at, failed_at = instant(completed_at), instant(failed_at)
        cancelled_at, lock_until = instant(cancelled_at), instant(lock_until)
        state = _STATES.get(state_name)
        taken_at = processed_at or created_at
        if state is None:  # a word that no program of ours or of theirs knows
            state, failed_reason = FAILED, f"its state {state_name!r} is none"
        if state is ACTIVE:
            if lock_until is None:  # released by a program of Conveyor that died then
                lock_until = taken_at
        elif state is COMPLETED:
            completed_at = completed_at or taken_at
        elif state is FAILED:
            failed_at = failed_at or cancelled_at or taken_at
        else:  # programs of Conveyor leave it when they retry a job
            cancelled_at = None
        records = attempts.as_held(
            attempts.from_items(attempt_logs), state, locked_by, taken_at, fence or 0
        )
        if exact_progress is not None and round(exact_progress) == progress:
            progress = exact_progress
        return JobData(
            job_id,
            name,
            queue_name,
            self.kept(data, exact_data),
            state,
            attempts_made,
            _whole(progress),
            None if returnvalue is None else self.kept(returnvalue, exact_returnvalue),
            failed_reason,
            options.to_options(opts),
            key,
            texts_of(logs),
            texts_of(stacktrace),
            created_at,
            processed_at,
            completed_at,
            failed_at,
            instant(delay_until),
            lock_until,
            locked_by,
            parent_id,
            parent_queue_name,
            pending,
            cancelled_at,
            group_id,
            bool(discarded),
            texts_of(children_ids),
            records,
            _whole(priority),
            abs(seq or 0),
            scheduler_id,
            instant(planned_at),
        )

    def new_row(self, job: JobData) -> Sequence[Any]:
        """All columns of a new job."""
        # fmt: off
        (
            job_id, name, queue_name, data, state, attempts_made, progress,
            returnvalue, failed_reason, opts, key, logs, stacktrace,
            created_at, processed_at, completed_at, failed_at, delay_until,
            lock_until, locked_by, parent_id, parent_queue_name,
            pending, cancelled_at, group_id, discarded, children_ids,
            records, priority, sequence, scheduler_id, planned_at,
        ) = astuple(job)
        # fmt: on
        instant, texts, text = self.instant, _texts, _text
        kept, exact_data = self.payload(data)
        returned, exact_returnvalue = self._result(returnvalue)
        shown_progress, exact_progress = self._progress(progress)
        return (
            job_id,
            queue_name,
            name,
            kept,
            state.value,
            attempts_made,
            shown_progress,
            returned,
            text(failed_reason),
            self.options(opts),
            key,
            texts(logs),
            texts(stacktrace),
            instant(created_at),
            instant(processed_at),
            instant(completed_at),
            instant(failed_at),
            instant(delay_until),
            instant(lock_until),
            locked_by,
            parent_id,
            parent_queue_name,
            pending,
            instant(cancelled_at),
            group_id,
            self.flag(discarded),
            texts(children_ids),
            attempts.to_items(records),
            self._priority(priority),
            -sequence if opts.lifo else sequence,
            exact_data,
            exact_returnvalue,
            exact_progress,
            _fence(records),
            scheduler_id,
            instant(planned_at),
        )

    def changed(self, before: JobData, after: JobData) -> dict[str, Any]:
        """The columns that have another value now."""
        row: dict[str, Any] = {}
        for put, old, new in zip(_PUT, astuple(before), astuple(after), strict=True):
            if old is not new:
                put(self, row, new)
        if before.state is not after.state:
            # what a reader took for absent, see ``job``, must not come back with another state
            row["cancelled_at"] = self.instant(after.cancelled_at)
        return row

    def options(self, opts: JobOptions) -> str:
        """Options as JSON: written once for all jobs that have the same object."""
        known = self._options.get(id(opts))
        if known is None or known[0] is not opts:
            if len(self._options) >= _MOST_OPTIONS:
                self._options.clear()
            known = self._options[id(opts)] = (opts, options.from_options(opts))
        return known[1]

    def payload(self, kept: Any) -> tuple[str, bytes | None]:
        """The two columns of a payload."""
        text, beside = payloads.to_json(kept)
        if self._quotes_text and text[0] == '"':
            text = msgspec.json.encode(text).decode()
        return text, beside

    def kept(self, text: str, beside: bytes | None) -> Any:
        """What rows hold of a payload, from its two columns."""
        first = text[:1]
        if first == '"' and self._quotes_text:
            text = _unquoted(text)
        if beside is not None:
            return payloads.Packed(text, beside, self._unpickles)
        if first in "{[":
            return payloads.Packed(text)
        try:
            return payloads.from_json(text)
        except ValueError:
            return payloads.Packed(text)  # which says so when it is read

    def number(self, value: float) -> float:
        """A number as the columns of priorities and progress hold it."""
        return value if self._fractions else round(value)

    def _priority(self, value: float) -> float:
        kept = self.number(value)
        if kept != value:  # it would be served out of turn
            raise UnsupportedError("priority", value, "fractional priorities")
        return kept

    def _progress(self, value: float) -> tuple[float, float | None]:
        """The two columns of a progress."""
        kept = self.number(value)
        return kept, None if kept == value else value

    def _result(self, value: Any) -> tuple[str | None, bytes | None]:
        """The two columns of what a job returned."""
        return (None, None) if value is None else self.payload(value)

    # -- what else there is -------------------------------------------------------------------

    def child_row(self, parent: Key, child: Key, row: ChildRow) -> Sequence[Any]:
        """What a parent knows of a child."""
        returnvalue = (None, None) if row.returnvalue is None else self.payload(row.returnvalue)
        flag = self.flag
        why = None if row.why is None else exact.clean(row.why)
        return (*parent, *child, flag(row.settled), why, *returnvalue, flag(row.awaited))

    def child(self, row: Sequence[Any]) -> tuple[Key, ChildRow]:
        """A child, and what its parent knows of it."""
        _, _, queue_name, job_id, settled, why, returnvalue, exact, awaited = row
        kept = None if returnvalue is None else self.kept(returnvalue, exact)
        return (queue_name, job_id), ChildRow(bool(settled), why, kept, bool(awaited))

    def scheduler_row(self, one: JobScheduler) -> Sequence[Any]:
        """A scheduler's row."""
        return (
            one.queue_name,
            one.id,
            options.from_repeat(one.repeat),
            one.name,
            *self.payload(one.data),
            self.options(one.opts),
            one.runs,
            self.instant(one.last_run),
            self.instant(one.next_run),
            one.pending_job_id,
            self.flag(one.paused),
        )

    def scheduler(self, row: Sequence[Any]) -> JobScheduler:
        """The record of a scheduler's row."""
        queue_name, id, repeat, name, data, exact_data, opts, runs, last, upcoming, job, paused = (
            row
        )
        return JobScheduler(
            id,
            queue_name,
            options.to_repeat(repeat),
            name,
            self.kept(data, exact_data),
            options.to_options(opts),
            runs,
            self.datetime(last),
            self.datetime(upcoming),
            job,
            bool(paused),
        )

    def worker_row(self, worker: WorkerInfo) -> Sequence[Any]:
        """A worker's row."""
        return (
            worker.id,
            worker.queue_name,
            worker.name,
            worker.concurrency,
            worker.status.value,
            self.instant(worker.started_at),
            self.instant(worker.last_seen),
        )

    def worker(self, row: Sequence[Any]) -> WorkerInfo:
        """The record of a worker's row, and that of its command, without the worker's id."""
        id, queue_name, name, concurrency, status, started_at, last_seen, *command = row
        told_status, told_concurrency, told_timeout, given_at = command
        told = WorkerCommand(told_status, told_concurrency, told_timeout, self.datetime(given_at))
        return WorkerInfo(
            id,
            name,
            queue_name,
            concurrency,
            WorkerStatus(status),
            self.datetime(started_at) or EPOCH,
            self.datetime(last_seen),
            told or None,
        )

    def command_row(self, worker_id: str, command: WorkerCommand) -> Sequence[Any]:
        """The row of what a worker was told."""
        status = None if command.status is None else str(command.status)
        given_at = self.instant(command.given_at)
        return (worker_id, status, command.concurrency, command.timeout, given_at)

    def events(self, told: Sequence[StoreEvent]) -> str:
        """Events as one text."""
        return events.to_events(told)

    def read_events(self, text: str) -> list[StoreEvent]:
        """The events that a text tells of."""
        return events.from_events(text)


# -- fields to columns ------------------------------------------------------------------------

_Put = Callable[[Codec, dict[str, Any], Any], None]


def _plain(column: str) -> _Put:
    def put(codec: Codec, row: dict[str, Any], value: Any) -> None:
        row[column] = value

    return put


def _instant(column: str) -> _Put:
    def put(codec: Codec, row: dict[str, Any], value: Any) -> None:
        row[column] = codec.instant(value)

    return put


def _put_priority(codec: Codec, row: dict[str, Any], value: float) -> None:
    row["priority"] = codec._priority(value)


def _texts(value: Sequence[str]) -> str:
    return exact.texts_to_json(value) if value else "[]"


def _list(column: str) -> _Put:
    def put(codec: Codec, row: dict[str, Any], value: Sequence[str]) -> None:
        row[column] = _texts(value)

    return put


def _text(value: str | None) -> str | None:
    return None if value is None else exact.clean(value)


def _put_reason(codec: Codec, row: dict[str, Any], value: str | None) -> None:
    row["failed_reason"] = _text(value)


def _put_data(codec: Codec, row: dict[str, Any], value: Any) -> None:
    row["data"], row["conveyor_nb_data"] = codec.payload(value)


def _put_returnvalue(codec: Codec, row: dict[str, Any], value: Any) -> None:
    row["returnvalue"], row["conveyor_nb_returnvalue"] = codec._result(value)


def _put_state(codec: Codec, row: dict[str, Any], value: JobState) -> None:
    row["state"] = value.value


def _put_progress(codec: Codec, row: dict[str, Any], value: float) -> None:
    row["progress"], row["conveyor_nb_progress"] = codec._progress(value)


def _put_options(codec: Codec, row: dict[str, Any], value: JobOptions) -> None:
    row["opts"] = codec.options(value)


def _put_discarded(codec: Codec, row: dict[str, Any], value: bool) -> None:
    row["discarded"] = codec.flag(value)


def _put_attempts(codec: Codec, row: dict[str, Any], value: Sequence[AttemptRecord]) -> None:
    row["attempt_logs"], row["conveyor_nb_fence"] = attempts.to_items(value), _fence(value)


def _fence(records: Sequence[AttemptRecord]) -> int:
    """The number of the last attempt that a worker of ours began."""
    return records[-1].attempt if records else 0


def _put_sequence(codec: Codec, row: dict[str, Any], value: int) -> None:
    """Nothing: a job keeps its place for life, and its sign is up to its options."""


_SPECIAL: Mapping[str, _Put] = {
    "data": _put_data,
    "returnvalue": _put_returnvalue,
    "state": _put_state,
    "progress": _put_progress,
    "opts": _put_options,
    "failed_reason": _put_reason,
    "logs": _list("logs"),
    "stacktrace": _list("stacktrace"),
    "children_ids": _list("children_ids"),
    "discarded": _put_discarded,
    "attempt_logs": _put_attempts,
    "priority": _put_priority,
    "sequence": _put_sequence,
    "scheduler_id": _plain("conveyor_nb_scheduler"),
    "planned_at": _instant("conveyor_nb_planned_at"),
}


def _put_of(name: str) -> _Put:
    if name in _SPECIAL:
        return _SPECIAL[name]
    return _instant(name) if name.endswith(("_at", "_until")) else _plain(name)


_PUT = tuple(_put_of(field.name) for field in fields(JobData))
"""What writes each field of a job, in their order."""


def _whole(value: float) -> float:
    """A number that is whole as an ``int``, as people write it."""
    return int(value) if type(value) is float and value.is_integer() else value


def texts_of(text: str) -> tuple[str, ...]:
    """The texts of an array."""
    if text == "[]":
        return ()
    try:
        found = payloads.from_json(text)
    except ValueError:
        return ()
    if type(found) is not list:
        return ()
    return tuple(one if type(one) is str else str(one) for one in found)


def _unquoted(text: str) -> str:
    """The JSON of a payload that is text: of one that we wrote the text itself is JSON."""
    inner: str = payloads.from_json(text)
    try:
        is_ours = type(payloads.from_json(inner)) is str
    except ValueError:
        return text
    return inner if is_ours else text


# -- the databases ----------------------------------------------------------------------------


def codec_for(dialect: str, payloads_as: str = "json", *, fractions: bool = True) -> Codec:
    """The codec of a database.

    Args:
        dialect: ``"sqlite"`` or ``"postgres"``.
        payloads_as: ``"json"``: payloads are JSON-like values and Python's plain types;
            ``"pickle"``: all that can be pickled, too.
        fractions: whether the columns of priorities and progress hold fractions.
    """
    is_file = dialect == "sqlite"
    unpickles = payloads_as == "pickle"
    return Codec(
        instant=to_milliseconds if is_file else _same,
        datetime=from_milliseconds if is_file else _same,
        flag=int if is_file else _same,
        freeze=payloads.pack_or_pickle if unpickles else payloads.pack,
        unpickles=unpickles,
        quotes_text=not is_file,
        fractions=fractions,
    )
