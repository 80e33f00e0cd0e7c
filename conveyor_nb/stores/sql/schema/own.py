"""What we need beyond the shared tables: columns, tables and indexes of our own, in numbered steps.

A step is never changed once it has been released; what is needed later is another step.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

__all__ = ["STEPS", "VERSION", "OwnStep"]


class OwnStep(NamedTuple):
    """One numbered step. What it makes may be there already, from a take-over that was cut short.

    Args:
        name: what it is about.
        columns: of ``conveyor_jobs``: by name what they are declared as.
        statements: what makes tables, indexes of these, and rows that have to be there.
        indexes: indexes of ``conveyor_jobs``: by name what they are on. Where others work with
            that table meanwhile they are made without holding them up.
        only: statements for one kind of database.
    """

    name: str
    columns: Mapping[str, str]
    statements: tuple[str, ...]
    indexes: Mapping[str, str]
    only: Mapping[str, tuple[str, ...]]


_FIRST = OwnStep(
    "jobs, groups, limits, schedulers, workers, metrics",
    columns={
        # a payload or a result that JSON alone can't keep
        "conveyor_nb_data": "{bytes}",
        "conveyor_nb_returnvalue": "{bytes}",
        # the exact progress, where that of the shared column is a whole number
        "conveyor_nb_progress": "{real}",
        # the number of the attempt that a worker of ours began last
        "conveyor_nb_fence": "BIGINT NOT NULL DEFAULT 0",
        # grows with each job that comes to another state by us
        "conveyor_nb_moved": "BIGINT",
        "conveyor_nb_expires_at": "{instant}",
        "conveyor_nb_counted": "INTEGER",
        "conveyor_nb_scheduler": "TEXT",
        "conveyor_nb_planned_at": "{instant}",
    },
    statements=(
        """
        CREATE TABLE IF NOT EXISTS conveyor_nb_counters (
            name TEXT PRIMARY KEY,
            value BIGINT NOT NULL
        )
        """,
        """
        INSERT INTO conveyor_nb_counters (name, value)
            VALUES ('moved', 0)
            ON CONFLICT (name) DO NOTHING
        """,
        """
        CREATE TABLE IF NOT EXISTS conveyor_nb_queues (
            name TEXT PRIMARY KEY,
            numbers BIGINT NOT NULL DEFAULT 0,
            listed {flag} NOT NULL DEFAULT {true},
            limit_count BIGINT,
            limit_seconds {real},
            group_limit_count BIGINT,
            group_limit_seconds {real}
        )
        """,
        """
        CREATE TABLE IF NOT EXISTS conveyor_nb_groups (
            queue_name TEXT NOT NULL,
            group_id TEXT NOT NULL,
            came BIGINT NOT NULL DEFAULT 0,
            served BIGINT NOT NULL DEFAULT 0,
            busy BIGINT NOT NULL DEFAULT 0,
            PRIMARY KEY (queue_name, group_id)
        )
        """,
        """
        CREATE INDEX IF NOT EXISTS conveyor_nb_idx_turns
            ON conveyor_nb_groups (queue_name, served, came) WHERE came > 0
        """,
        """
        CREATE TABLE IF NOT EXISTS conveyor_nb_starts (
            queue_name TEXT NOT NULL,
            group_id TEXT NOT NULL,
            started_at {instant} NOT NULL
        )
        """,
        """
        CREATE INDEX IF NOT EXISTS conveyor_nb_idx_starts
            ON conveyor_nb_starts (queue_name, group_id, started_at)
        """,
        """
        CREATE TABLE IF NOT EXISTS conveyor_nb_children (
            parent_queue_name TEXT NOT NULL,
            parent_id TEXT NOT NULL,
            queue_name TEXT NOT NULL,
            id TEXT NOT NULL,
            position BIGINT NOT NULL,
            settled {flag} NOT NULL DEFAULT {false},
            why TEXT,
            returnvalue {json},
            exact_returnvalue {bytes},
            awaited {flag} NOT NULL DEFAULT {false},
            PRIMARY KEY (parent_queue_name, parent_id, queue_name, id)
        )
        """,
        """
        CREATE TABLE IF NOT EXISTS conveyor_nb_schedulers (
            queue_name TEXT NOT NULL,
            id TEXT NOT NULL,
            position BIGINT NOT NULL,
            repeat {json} NOT NULL,
            name TEXT NOT NULL,
            data {json} NOT NULL,
            exact_data {bytes},
            opts {json} NOT NULL,
            runs BIGINT NOT NULL DEFAULT 0,
            last_run {instant},
            next_run {instant},
            pending_job_id TEXT,
            paused {flag} NOT NULL DEFAULT {false},
            PRIMARY KEY (queue_name, id)
        )
        """,
        """
        CREATE TABLE IF NOT EXISTS conveyor_nb_workers (
            id TEXT PRIMARY KEY,
            queue_name TEXT NOT NULL,
            name TEXT NOT NULL,
            concurrency BIGINT NOT NULL,
            status TEXT NOT NULL,
            started_at {instant} NOT NULL,
            last_seen {instant},
            position BIGINT NOT NULL
        )
        """,
        """
        CREATE TABLE IF NOT EXISTS conveyor_nb_metrics (
            queue_name TEXT NOT NULL,
            period TEXT NOT NULL,
            start {instant} NOT NULL,
            completed BIGINT NOT NULL DEFAULT 0,
            failed BIGINT NOT NULL DEFAULT 0,
            processing {bytes},
            waiting {bytes},
            PRIMARY KEY (queue_name, period, start)
        )
        """,
    ),
    indexes={
        "conveyor_nb_idx_added": "(queue_name, abs(seq))",
        "conveyor_nb_idx_settled": (
            "(queue_name, state, conveyor_nb_moved) WHERE state IN ('completed', 'failed')"
        ),
        "conveyor_nb_idx_counted": (
            "(queue_name, state, conveyor_nb_moved) WHERE conveyor_nb_counted = 1"
        ),
        "conveyor_nb_idx_lines": (
            "(queue_name, group_id, priority, seq) WHERE state = 'waiting' AND group_id IS NOT NULL"
        ),
        "conveyor_nb_idx_expires": (
            "(conveyor_nb_expires_at) WHERE conveyor_nb_expires_at IS NOT NULL"
        ),
    },
    only={
        # processes of one machine tell each other by events, and a job's place is a number of our
        # own; a server has notifications, and sequences
        "sqlite": (
            """
            INSERT INTO conveyor_nb_counters (name, value)
                SELECT 'sequence', coalesce(max(abs(seq)), 0) FROM conveyor_jobs WHERE TRUE
                ON CONFLICT (name) DO NOTHING
            """,
            """
            CREATE TABLE IF NOT EXISTS conveyor_nb_events (
                id INTEGER PRIMARY KEY AUTOINCREMENT,
                at {instant} NOT NULL,
                source TEXT NOT NULL,
                events TEXT NOT NULL
            )
            """,
        ),
    },
)

_COMMANDS = OwnStep(
    "commands to workers",
    columns={},
    statements=(
        """
        CREATE TABLE IF NOT EXISTS conveyor_nb_commands (
            worker_id TEXT PRIMARY KEY,
            told_status TEXT,
            told_concurrency BIGINT,
            told_timeout {real},
            given_at {instant}
        )
        """,
    ),
    indexes={},
    only={},
)

STEPS = (_FIRST, _COMMANDS)
VERSION = len(STEPS)
