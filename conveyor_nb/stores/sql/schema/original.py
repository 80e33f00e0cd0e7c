"""The tables that are shared with Conveyor, as its schema of version 10 has them.

In a database that we make they differ in what no program of either kind minds: priorities and
progress may be fractions, and an index is for those rows alone that it is asked about.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["MIGRATION_NAMES", "TABLES", "TYPES", "VERSION"]

MIGRATION_NAMES = (
    "initial_schema",
    "add_parent_child_fields",
    "add_cancelled_at",
    "add_groups",
    "add_stacktrace",
    "add_discarded",
    "add_rate_limits",
    "add_attempt_logs",
    "add_metrics",
    "add_children_ids",
)
"""What Conveyor calls its migrations. Those of a database that we make are recorded, each by its
number from 1, or Conveyor would make them once more, and fail."""

VERSION = len(MIGRATION_NAMES)

TYPES: Mapping[str, Mapping[str, str]] = {
    "sqlite": {
        "json": "TEXT",
        "instant": "INTEGER",
        "now": "(CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER))",
        "flag": "INTEGER",
        "false": "0",
        "true": "1",
        "bytes": "BLOB",
        "real": "REAL",
        "number": "INTEGER",  # which keeps a fraction as it is
        "sequence": "INTEGER",
    },
    "postgres": {
        "json": "JSONB",
        "instant": "TIMESTAMPTZ",
        "now": "now()",
        "flag": "BOOLEAN",
        "false": "FALSE",
        "true": "TRUE",
        "bytes": "BYTEA",
        "real": "DOUBLE PRECISION",
        "number": "DOUBLE PRECISION",
        "sequence": "BIGSERIAL",
    },
}
"""What the statements here and in ``own`` call types and values, for each kind of database."""

TABLES = (
    """
    CREATE TABLE conveyor_migrations (
        version INTEGER PRIMARY KEY,
        name TEXT NOT NULL,
        applied_at {instant} NOT NULL DEFAULT {now}
    )
    """,
    """
    CREATE TABLE conveyor_jobs (
        id TEXT NOT NULL,
        queue_name TEXT NOT NULL,
        name TEXT NOT NULL,
        data {json} NOT NULL DEFAULT '{{}}',
        state TEXT NOT NULL DEFAULT 'waiting',
        attempts_made INTEGER NOT NULL DEFAULT 0,
        progress {number} NOT NULL DEFAULT 0,
        returnvalue {json},
        failed_reason TEXT,
        opts {json} NOT NULL DEFAULT '{{}}',
        deduplication_key TEXT,
        logs {json} NOT NULL DEFAULT '[]',
        priority {number} NOT NULL DEFAULT 0,
        seq {sequence},
        created_at {instant} NOT NULL DEFAULT {now},
        processed_at {instant},
        completed_at {instant},
        failed_at {instant},
        delay_until {instant},
        lock_until {instant},
        locked_by TEXT,
        parent_id TEXT,
        parent_queue_name TEXT,
        pending_children_count INTEGER NOT NULL DEFAULT 0,
        cancelled_at {instant},
        group_id TEXT,
        stacktrace {json} NOT NULL DEFAULT '[]',
        discarded {flag} NOT NULL DEFAULT {false},
        attempt_logs {json} NOT NULL DEFAULT '[]',
        children_ids {json} NOT NULL DEFAULT '[]',
        PRIMARY KEY (queue_name, id)
    )
    """,
    "CREATE INDEX idx_fetch ON conveyor_jobs (queue_name, state, priority, seq)",
    """
    CREATE INDEX idx_delayed ON conveyor_jobs (queue_name, state, delay_until)
        WHERE state = 'delayed'
    """,
    """
    CREATE INDEX idx_dedup ON conveyor_jobs (queue_name, deduplication_key)
        WHERE deduplication_key IS NOT NULL
    """,
    """
    CREATE INDEX idx_stalled ON conveyor_jobs (queue_name, state, lock_until)
        WHERE state = 'active'
    """,
    """
    CREATE INDEX idx_parent ON conveyor_jobs (parent_queue_name, parent_id)
        WHERE parent_id IS NOT NULL
    """,
    """
    CREATE INDEX idx_group ON conveyor_jobs (queue_name, group_id, state)
        WHERE group_id IS NOT NULL
    """,
    """
    CREATE TABLE conveyor_paused_names (
        queue_name TEXT NOT NULL,
        job_name TEXT NOT NULL,
        PRIMARY KEY (queue_name, job_name)
    )
    """,
    """
    CREATE TABLE conveyor_group_cursors (
        queue_name TEXT NOT NULL,
        group_id TEXT NOT NULL,
        last_served_at {instant} NOT NULL,
        PRIMARY KEY (queue_name, group_id)
    )
    """,
    """
    CREATE TABLE conveyor_rate_limits (
        queue_name TEXT NOT NULL,
        fetched_at {instant} NOT NULL
    )
    """,
    "CREATE INDEX idx_rate_limit ON conveyor_rate_limits (queue_name, fetched_at)",
    """
    CREATE TABLE conveyor_metrics (
        queue_name TEXT NOT NULL,
        job_name TEXT NOT NULL DEFAULT '__all__',
        period_start {instant} NOT NULL,
        granularity TEXT NOT NULL,
        completed_count INTEGER NOT NULL DEFAULT 0,
        failed_count INTEGER NOT NULL DEFAULT 0,
        total_process_ms BIGINT NOT NULL DEFAULT 0,
        min_process_ms INTEGER,
        max_process_ms INTEGER,
        PRIMARY KEY (queue_name, job_name, period_start, granularity)
    )
    """,
    """
    CREATE INDEX idx_metrics_query
        ON conveyor_metrics (queue_name, granularity, period_start)
    """,
)
"""What makes an empty database one of Conveyor's; to be formatted with :data:`TYPES`."""
