"""What the workers of the demo do: the jobs of its queue are letters."""

from __future__ import annotations

from conveyor_nb.job import Job

__all__ = ["LETTER_TAKES", "deliver"]

LETTER_TAKES = 0.7
"""Seconds."""


async def deliver(job: Job) -> str:
    """Take a letter to whom it is for."""
    await job.sleep(LETTER_TAKES)
    return f"delivered to {job.data['to']}"
