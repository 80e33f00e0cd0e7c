"""What is known of a job: its fields, which can be read and not set."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from operator import attrgetter
from types import MappingProxyType
from typing import Any

from conveyor_nb.core.freezing import freeze, thaw
from conveyor_nb.core.locks import still_at_work
from conveyor_nb.core.model import (
    ACTIVE,
    FAILED,
    WAITING_CHILDREN,
    AttemptRecord,
    JobData,
    JobState,
)
from conveyor_nb.core.options.declaring import part_of
from conveyor_nb.core.options.job_options import JobOptions
from conveyor_nb.core.values.text import inline, one_line, shown

__all__ = ["NO_COPIES", "JobFields"]

NO_COPIES: Mapping[str, Any] = MappingProxyType({})


def _refusal(name: str) -> Callable[[JobFields, object], None]:
    def refuse(job: JobFields, value: object) -> None:
        raise AttributeError(
            f"job.{name} is read-only; a job is changed by its methods, "
            "for instance await job.update_data(...)"
        )

    return refuse


def _field(name: str) -> Any:
    """A read-only view of a field of the job's data."""
    return property(attrgetter(f"_data.{name}"), _refusal(name))


def _payload(name: str) -> Any:
    """A read-only view of a payload: the same copy of it each time, made when it is first read."""

    def read(job: JobFields) -> Any:
        copies = job._copies
        if name not in copies:
            job._copies = copies = {**copies, name: getattr(job._data, name)}
        return copies[name]

    return property(read, _refusal(name))


@part_of("Job")
class JobFields:
    """The fields of a job as it was when it was last read; see ``Job``."""

    id: str = _field("id")
    name: str = _field("name")
    queue_name: str = _field("queue_name")
    data: Any = _payload("data")
    state: JobState = _field("state")
    attempts_made: int = _field("attempts_made")
    progress: float = _field("progress")
    returnvalue: Any = _payload("returnvalue")
    failed_reason: str | None = _field("failed_reason")
    opts: JobOptions = _field("opts")
    priority: float = _field("priority")
    deduplication_key: str | None = _field("deduplication_key")
    logs: tuple[str, ...] = _field("logs")
    stacktrace: tuple[str, ...] = _field("stacktrace")
    created_at: datetime = _field("created_at")
    processed_at: datetime | None = _field("processed_at")
    completed_at: datetime | None = _field("completed_at")
    failed_at: datetime | None = _field("failed_at")
    delay_until: datetime | None = _field("delay_until")
    lock_until: datetime | None = _field("lock_until")
    locked_by: str | None = _field("locked_by")
    parent_id: str | None = _field("parent_id")
    parent_queue_name: str | None = _field("parent_queue_name")
    pending_children_count: int = _field("pending_children_count")
    cancelled_at: datetime | None = _field("cancelled_at")
    group_id: str | None = _field("group_id")
    discarded: bool = _field("discarded")
    children_ids: tuple[str, ...] = _field("children_ids")
    attempt_logs: tuple[AttemptRecord, ...] = _field("attempt_logs")
    attempts_left_out: int = _field("attempts_left_out")
    scheduler_id: str | None = _field("scheduler_id")
    planned_at: datetime | None = _field("planned_at")

    _data: JobData
    _copies: Mapping[str, Any] = NO_COPIES

    def __repr__(self) -> str:
        return f"<Job {inline(self.id)} {shown(self.name)}: {self._summary()}>"

    def _summary(self) -> str:
        held = f"; {self.held}" if self.held else ""
        if self.state is FAILED:
            return f"failed, {one_line(self.failed_reason or '')}{held}"
        if self.state is WAITING_CHILDREN and self.failed_reason is not None:
            return f"waiting-children, {one_line(self.failed_reason)}"
        if self.state is ACTIVE and self.held:
            return f"active, {one_line(self.held)}"
        if self.state is ACTIVE and self.progress:
            return f"active, {self.progress:g} %"
        return str(self.state)

    @property
    def held(self) -> str | None:
        """Why the job was to stop, if its handler is still at work; else ``None``."""
        return still_at_work(self.state, self.locked_by, self.attempt_logs)

    def to_dict(self) -> dict[str, Any]:
        """The fields of the job by name.

        ``opts`` is a ``JobOptions``, instants are datetimes; payload and result are copies.
        """
        fields = {name: getattr(self._data, name) for name in JobData.__struct_fields__}
        # a copy of the payload as this object shows it, as a handler may have worked in it
        return fields | {"data": thaw(freeze(self.data, "data"))}

    def _show(self, data: JobData) -> None:
        self._data = data
        self._copies = NO_COPIES
