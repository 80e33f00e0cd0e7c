"""The events of a tape as a DataFrame."""

from __future__ import annotations

from operator import attrgetter

from pandas import DataFrame

from conveyor_nb.core.event_words import event_text
from conveyor_nb.core.model import AttemptRecord
from conveyor_nb.notebook.columns import (
    COUNT_OR_NONE,
    INSTANT,
    TEXT,
    Column,
    in_one_go,
    index_of,
    made_of,
)
from conveyor_nb.notebook.frames import STATES
from conveyor_nb.stores.tapes.moments import Moment
from conveyor_nb.stores.tapes.tape import Tape

__all__ = ["tape_frame"]


def _of_event(key: str) -> Column:
    return Column(key, lambda moment: moment.event.data.get(key), TEXT)


def _of_attempt(moment: Moment) -> AttemptRecord | None:
    """The attempt that a job was in, or that ended; a job that waits again is in none."""
    job = moment.job
    if job is None or not job.attempt_logs or "worker_id" not in moment.event.data:
        return None
    return job.attempt_logs[-1]


_COLUMNS: tuple[Column, ...] = (
    Column("timestamp", attrgetter("event.timestamp"), INSTANT),
    Column("type", attrgetter("event.type"), TEXT),
    Column("queue_name", attrgetter("event.queue_name"), TEXT),
    _of_event("name"),
    Column("state", lambda moment: moment.job and moment.job.state, STATES),
    _of_event("worker_id"),
    Column("slot", lambda moment: (one := _of_attempt(moment)) and one.slot, COUNT_OR_NONE),
    Column("attempt", lambda moment: (one := _of_attempt(moment)) and one.attempt, COUNT_OR_NONE),
    Column("told", lambda moment: event_text(moment.event), TEXT),
)


def tape_frame(tape: Tape) -> DataFrame:
    """One row for each event: see ``Tape.to_frame``."""
    moments = list(tape.moments)
    index = index_of([moment.event.job_id for moment in moments], "id")
    return in_one_go(made_of(moments, _COLUMNS, index=index))
