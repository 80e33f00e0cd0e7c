"""``%conveyor store``: the session goes on with another store."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from conveyor_nb import MemoryStore, Queue, default_store, open_store, set_default_store
from conveyor_nb.notebook.panel.widget import close_panels, dashboard
from conveyor_nb.stores.sql.sqlite.store import SqliteStore

if TYPE_CHECKING:
    from .conftest import Kernel


def test_a_session_goes_on_in_a_file(kernel: Kernel, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'queue.db'}"
    kernel.do("%conveyor add emails send")

    assert kernel.do(f"%conveyor store {url}").out == "<SqliteStore: 0 jobs in 0 queues>\n"

    kernel.do("%%worker emails\nreturn job.data")
    kernel.do('%conveyor add emails send {"to": "ada"} --job-id a')
    kernel.do("%conveyor wait emails")
    assert "emails" in kernel.do("%conveyor status").out
    assert kernel.do("%conveyor store").out == "<SqliteStore: 1 job in 1 queue>\n"

    async def look() -> object:
        async with open_store(url, read_only=True) as store:
            job = await store.get_job("emails", "a")
            return job and job.returnvalue

    assert asyncio.run(look()) == {"to": "ada"}, "another process sees it"

    said = kernel.do("%conveyor store memory:").out
    assert said == "<MemoryStore: 0 jobs in 0 queues>; run your %%worker cells again\n"


def test_what_it_opened_ends_with_the_extension(kernel: Kernel, tmp_path: Path) -> None:
    threads = "[one.name for one in __import__('threading').enumerate() if 'Sqlite' in one.name]"
    kernel.do(f"%conveyor store sqlite:///{tmp_path / 'queue.db'}\n%conveyor add emails send")
    assert kernel.value(threads) != []

    kernel.do("%reload_ext conveyor_nb")
    kernel.do("from conveyor_nb.notebook.shell import session")
    kernel.do("for one in list(session._closing): await one")

    assert kernel.value(threads) == []
    assert kernel.do("%conveyor store").out == "<MemoryStore: 0 jobs in 0 queues>\n"


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("mysql://a:secret@b/c", "not 'mysql://a:...@b/c'"),
        ("sqlite:////no/such/folder/queue.db", "there is no such folder"),
        ("memory: --read-only", "so it can't be opened read-only"),
    ],
)
def test_a_store_that_can_not_be_opened_is_a_mistake(typed: str, told: str, kernel: Kernel) -> None:
    said = kernel.run(f"%conveyor store {typed}").err
    assert said.startswith("%conveyor store: ")
    assert told in said
    assert "secret" not in said
    assert "MemoryStore" in kernel.do("%conveyor store").out, "the store stays"


@pytest.fixture
def no_default() -> Iterator[None]:
    """As if no store had been asked for yet."""
    before = default_store()
    set_default_store(None)
    yield
    set_default_store(before)


@pytest.mark.usefixtures("no_default")
def test_the_environment_may_name_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONVEYOR_STORE", f"sqlite:///{tmp_path / 'queue.db'}")
    store = default_store()
    assert isinstance(store, SqliteStore)
    assert default_store() is store

    set_default_store(None)
    monkeypatch.setenv("CONVEYOR_STORE", "nowhere")
    with pytest.raises(ValueError, match="not 'nowhere'"):
        default_store()


@pytest.mark.asyncio
async def test_the_panel_of_a_store_that_is_read_only_is_so_too(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'queue.db'}"
    async with open_store(url) as store, Queue("emails", store=store) as emails:
        await emails.add("send")
    async with open_store(url, read_only=True) as store:
        panel = dashboard(store)
        try:
            assert panel.is_read_only
            assert not dashboard(MemoryStore()).is_read_only
        finally:
            close_panels()
