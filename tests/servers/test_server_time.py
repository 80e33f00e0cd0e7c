"""All go by the server's time, however far their machines' clocks are off."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from conveyor_nb import PgStore, Queue, SystemClock
from conveyor_nb.clocks.clock import REAL_TIME
from tests.postgres import new_schema

pytestmark = pytest.mark.asyncio


@contextlib.contextmanager
def machine_off_by(seconds: float) -> Iterator[None]:
    """Let the clock of this machine be off."""
    with pytest.MonkeyPatch.context() as patch:
        off = timedelta(seconds=seconds)
        patch.setattr(REAL_TIME, "_wall", lambda: datetime.now(UTC) + off)
        REAL_TIME.start_over()
        yield
    REAL_TIME.start_over()  # it would not go back by itself


@pytest.mark.parametrize("seconds", [40, -40, 0.02])
async def test_a_clock_that_is_off_takes_no_job_from_a_worker_that_is_alive(
    seconds: float, postgres_dsn: str
) -> None:
    schema = new_schema()
    async with PgStore(postgres_dsn, schema=schema) as right:
        await Queue("emails", store=right).add("send")
        assert (await right.fetch_jobs("emails", "w", 30)).jobs
        with machine_off_by(seconds):
            async with PgStore(postgres_dsn, schema=schema) as off:
                assert await off.get_stalled_jobs("emails") == []
                apart = abs((off.clock.now() - datetime.now(UTC)).total_seconds())
                assert apart < 1
                later = await Queue("emails", store=off).add("send", delay="1 hour")
                due = later.delay_until
                assert due is not None
                assert abs((due - datetime.now(UTC)).total_seconds() - 3600) < 1
                found = [one.detail for one in await off.findings() if one.what.startswith("clock")]
                assert len(found) == (abs(seconds) == 40)
                assert all(re.match(r"it is (40|39\.\d)s (ahead of|behind)", one) for one in found)


async def test_a_clock_of_ones_own_is_gone_by(postgres_dsn: str) -> None:
    clock = SystemClock(lambda: datetime(2030, 1, 1, tzinfo=UTC))
    async with PgStore(postgres_dsn, schema=new_schema(), clock=clock) as store:
        job = await Queue("emails", store=store).add("send")
        assert job.created_at.year == 2030
