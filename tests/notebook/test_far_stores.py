"""What is shown of a store that can't be read without waiting."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from pandas.testing import assert_frame_equal

from conveyor_nb import (
    Job,
    MemoryStore,
    Queue,
    ReadTimeoutError,
    StoreInterface,
    VirtualClock,
    Worker,
    progress,
)
from conveyor_nb.notebook import render
from conveyor_nb.notebook.panel.page_messages import Message
from conveyor_nb.notebook.panel.queue_view import TABS, QueueView
from conveyor_nb.notebook.panel.queues_view import STORE_TABS, QueuesView
from conveyor_nb.notebook.panel.widget import close_panels, panel_of
from conveyor_nb.stores import read_now
from conveyor_nb.stores.reads import Reads, SynchronousReads
from tests.bytes_store import BytesStore
from tests.far_store import FarStore

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Kernel


async def fill(store: StoreInterface) -> None:
    """Put jobs in several states into two queues of a store, and pause something."""

    async def send_or_fail(job: Job) -> str:
        if job.name == "bad":
            raise ConnectionError("no answer")
        return "sent"

    emails, images = Queue("emails", store=store), Queue("images", store=store)
    await emails.add("send", {"to": "ada"})
    await emails.add("bad")
    async with Worker("emails", send_or_fail, store=store) as worker:
        await worker.run_until_idle()
    await emails.add("send", {"to": "bob"}, delay="1h")
    await images.add("resize")
    await images.pause()
    await emails.pause("send")


@pytest_asyncio.fixture
async def near() -> AsyncIterator[MemoryStore]:
    """A store that answers at once."""
    async with MemoryStore(clock=VirtualClock(), ids="sequential") as store:
        await fill(store)
        yield store


@pytest.fixture
def far(near: MemoryStore) -> FarStore:
    """The same store, seen from afar."""
    return FarStore(near)


@pytest_asyncio.fixture(params=["far", "bytes"])
async def distant(
    request: pytest.FixtureRequest, far: FarStore
) -> AsyncIterator[FarStore | BytesStore]:
    """Each kind of store that takes time, with the same in it."""
    if request.param == "far":
        yield far
        return
    async with BytesStore(clock=VirtualClock(), ids="sequential") as store:
        await fill(store)
        yield store


@pytest.mark.asyncio
async def test_a_store_in_memory_is_read_without_a_thread(
    near: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read_now, "Thread", None)
    assert isinstance(near, SynchronousReads)
    assert repr(near) == "<MemoryStore: 4 jobs in 2 queues>"
    assert len(near.to_frame()) == 4
    assert "resize" in Queue("images", store=near)._repr_mimebundle_()["text/html"]


@pytest.mark.asyncio
async def test_what_is_shown_is_the_same_for_a_store_that_takes_time(
    near: MemoryStore, distant: FarStore | BytesStore
) -> None:
    assert not isinstance(distant, SynchronousReads)
    kind = type(distant).__name__
    threads = threading.active_count()
    for name in ("emails", "images", "none"):
        here, there = Queue(name, store=near), Queue(name, store=distant)
        assert repr(there) == repr(here)
        assert there._repr_mimebundle_() == here._repr_mimebundle_()
        assert_frame_equal(there.to_frame(), here.to_frame())
        assert_frame_equal(there.to_frame("failed"), here.to_frame("failed"))
        assert_frame_equal(await there.to_frame_async(), here.to_frame())
    assert repr(distant) == f"<{kind}: 4 jobs in 2 queues>"
    assert_frame_equal(distant.to_frame(), near.to_frame())
    page = near._repr_mimebundle_()["text/html"]
    assert distant._repr_mimebundle_()["text/html"] == page.replace("MemoryStore", kind)
    assert threading.active_count() == threads, "who was asked is gone"


@pytest.fixture
def in_kernel(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(render, "_can_be_live", lambda: True)
    yield
    close_panels()


@pytest.mark.asyncio
@pytest.mark.usefixtures("in_kernel")
async def test_a_panel_reads_by_awaiting_alone(
    near: MemoryStore, distant: FarStore | BytesStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = distant.asked if isinstance(distant, FarStore) else []
    asked.clear()
    here, there = panel_of(Queue("emails", store=near)), panel_of(Queue("emails", store=distant))
    assert here.head["name"] == "emails"
    assert there.head == {}, "nothing is there before it was awaited"
    assert asked == [], "and nothing is begun that nobody awaits"
    told = repr(distant)
    monkeypatch.setattr(read_now, "Thread", None)
    views = [QueueView(Queue("emails", store=store)) for store in (near, distant)]
    for tab in TABS:
        for view in views:
            await view.do("open", id="emails-2")
            await view.do("tab", tab=tab)
        assert await views[0].read() == await views[1].read()
    of_stores = [QueuesView(store) for store in (near, distant)]
    for tab in STORE_TABS[::-1]:
        for of_store in of_stores:
            of_store.take(Message("tab", tab=tab))
        overviews = [await of_store.read() for of_store in of_stores]
        assert overviews[0].get("events") == overviews[1].get("events")
    assert overviews[0]["queues"].pop("store") == "MemoryStore: 4 jobs in 2 queues"
    assert overviews[1]["queues"].pop("store") == told.strip("<>")
    assert overviews[0] == overviews[1]
    assert repr(there) == "<Panel of queue emails>", "it is logged when a store fails"
    await there._send_frame(1)
    assert there.head["store"].startswith(type(distant).__name__), "it has a namesake by now"
    assert {**there.head, "store": ""} == here.head


async def send(job: Job) -> str:
    return "sent"


@pytest.mark.asyncio
async def test_what_is_awaited_of_a_store_that_takes_time_takes_no_thread(
    distant: FarStore | BytesStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read_now, "Thread", None)
    queue = Queue("images", store=distant)
    assert isinstance(distant.clock, VirtualClock)
    ends = await asyncio.gather(
        queue.join("1s"), distant.clock.advance("2s"), return_exceptions=True
    )
    assert "<Queue images: 1 waiting, paused> still has work" in str(ends[0])
    jobs = await queue.get_jobs()
    async with Worker("images", send, store=distant):
        await queue.resume()
        assert [job.returnvalue async for job in progress(jobs)] == ["sent"]
    assert list((await queue.to_frame_async())["returnvalue"]) == ["sent"]


# -- stores that don't answer ------------------------------------------------------------------


class NeedsItsLoop(FarStore):
    """Answers only when the loop it was made on has had a turn."""

    def __init__(self, near: MemoryStore) -> None:
        super().__init__(near)
        self._loop = asyncio.get_running_loop()

    async def get_job_counts(self, queue_name: str) -> Any:
        ask = self.near.get_job_counts(queue_name)
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(ask, self._loop))

    async def list_queues(self) -> Any:
        await self.get_job_counts("emails")
        return await super().list_queues()

    async def list_jobs(self, *given: Any, **options: Any) -> Any:
        await self.get_job_counts("emails")
        return await super().list_jobs(*given, **options)


@pytest.mark.asyncio
async def test_a_store_that_needs_the_loop_which_stands_still_is_given_up(
    near: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read_now, "GLANCE", 0.02)
    monkeypatch.setattr("conveyor_nb.notebook.to_frame._PATIENCE", 0.02)
    store = NeedsItsLoop(near)
    queue = Queue("emails", store=store)
    told = "did not answer within 0.02 s"
    assert repr(queue) == f"<Queue emails: in a NeedsItsLoop that {told}>"
    monkeypatch.setattr(read_now, "_BRIEFLY", 0.02)
    assert repr(store) == f"<NeedsItsLoop: {told}>"
    assert f"its store, a NeedsItsLoop, {told}" in queue._repr_mimebundle_()["text/html"]
    with pytest.raises(ReadTimeoutError, match=f"a NeedsItsLoop {told}; .*to_frame_async"):
        queue.to_frame()
    assert len(await queue.to_frame_async()) == 3, "on its loop it answers"


class Stuck(FarStore):
    """Blocks the thread that asks it, and hears of no cancelling."""

    def __init__(self, near: MemoryStore) -> None:
        super().__init__(near)
        self.released = threading.Event()
        self.begun = 0

    async def get_job_counts(self, queue_name: str) -> Any:
        self.begun += 1
        self.released.wait()
        return await super().get_job_counts(queue_name)


@pytest.mark.asyncio
async def test_only_one_thread_at_a_time_waits_for_a_store_that_is_stuck(
    near: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read_now, "GLANCE", 0.02)
    store = Stuck(near)
    queues = [Queue(name, store=store) for name in ("emails", "images", "others")]
    texts = {repr(queue).partition(": ")[2] for queue in queues}
    assert len(texts) == 2, "the first look is given its time, the others are not even begun"
    assert all(text.startswith("in a Stuck that did not answer") for text in texts)
    assert store.begun == 1
    store.released.set()
    waiting = [one for one in threading.enumerate() if one.name == "reader of a Stuck"]
    for thread in waiting:
        thread.join()
    monkeypatch.setattr(read_now, "_BRIEFLY", 60)
    assert repr(queues[1]) == "<Queue images: 1 waiting, paused>"


@pytest.mark.asyncio
async def test_a_store_that_lets_one_wait_in_vain_is_waited_for_briefly_after_that(
    near: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read_now, "GLANCE", 0.02)
    monkeypatch.setattr(read_now, "_BRIEFLY", 0.01)
    queue = Queue("emails", store=NeedsItsLoop(near))
    limits = [repr(queue).rpartition("within ")[2] for _ in range(3)]
    assert limits == ["0.02 s>", "0.01 s>", "0.01 s>"]


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError("no route"), "can't be read now: OSError: no route"),
        (TimeoutError("its own"), "can't be read now: TimeoutError: its own"),
        (SystemExit(3), "can't be read now: RuntimeError: the read ended by SystemExit(3)"),
        (asyncio.CancelledError(), "can't be read now: RuntimeError: the read ended by "),
    ],
)
@pytest.mark.asyncio
async def test_a_store_that_raises_is_shown_to(
    far: FarStore, error: BaseException, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise error

    for name in ("get_job_counts", "list_queues", "list_jobs"):
        monkeypatch.setattr(far, name, fail)
    queue = Queue("emails", store=far)
    for one in (queue, far):
        assert told in repr(one)
        assert "can&#x27;t be read now" in one._repr_mimebundle_()["text/html"]
        with pytest.raises((OSError, RuntimeError)):
            one.to_frame()


@pytest.mark.asyncio
async def test_a_store_may_open_a_connection_for_the_loop_that_asks(
    near: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[object] = []

    class Connected(FarStore):
        @asynccontextmanager
        async def reader(self) -> AsyncIterator[Reads]:
            loop = asyncio.get_running_loop()
            used.append(loop is not main)
            try:
                yield self.near
            finally:
                used.append("closed")

    main = asyncio.get_running_loop()
    queue = Queue("images", store=Connected(near))
    assert repr(queue) == "<Queue images: 1 waiting, paused>"
    assert used == [True, "closed"]

    async def never(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(near, "get_job_counts", never)
    monkeypatch.setattr(read_now, "GLANCE", 0.02)
    assert "did not answer" in repr(queue)
    for thread in [one for one in threading.enumerate() if one.name.startswith("reader of a")]:
        thread.join()
    assert used == [True, "closed"] * 2, "also when it was given up"


# -- in a kernel -------------------------------------------------------------------------------

SETUP = """
import sys
sys.path.insert(0, {checkout!r})
from tests.bytes_store import BytesStore
from tests.far_store import FarStore
from conveyor_nb import *
options = dict(clock=VirtualClock(), ids="sequential")
set_default_store({store})
"""


@pytest.fixture(params=["FarStore(MemoryStore(**options))", "BytesStore(**options)"])
def far_kernel(request: pytest.FixtureRequest, kernel: Kernel, checkout: Path) -> Iterator[Kernel]:
    """A kernel whose default store takes time to answer."""
    kernel.do(SETUP.format(checkout=str(checkout), store=request.param))
    yield kernel
    kernel.do("set_default_store(None)")


def test_every_command_works_over_a_store_that_takes_time(far_kernel: Kernel) -> None:
    do = far_kernel.do
    assert do("%conveyor add emails send {}").out == (
        "emails (a new queue): job emails-1 is waiting\n"
    )
    do("%conveyor add emails send {} --delay 1h\n%conveyor add images resize {}")
    assert "nobody works on images" in do("%conveyor status").out
    assert "images" in do("%conveyor").text
    assert "images" not in do("%conveyor status emails").out
    assert do("found = %conveyor queues\nlist(found.waiting)").text == "[1, 1]"
    assert do("found = %conveyor jobs\nlist(found.index)").text == (
        "['emails-1', 'emails-2', 'images-1']"
    )
    assert "emails-2" in do("%conveyor jobs emails --state delayed").text
    assert "delayed" in do("%conveyor job emails-2").text
    assert do("%conveyor watch emails").text == "<Queue emails: 1 waiting, 1 delayed>"
    assert "is paused" in do("%conveyor pause emails").out
    assert "goes on" in do("%conveyor resume emails").out
    do("%%worker emails\nreturn 'sent'")
    assert "nothing to do now" in do("%conveyor wait emails").out
    assert (
        "there is no queue 'emials'; did you mean" in far_kernel.run("%conveyor drain emials").err
    )
    assert "emails" in do("%conveyor workers").text
    assert "1 job removed" in do("%conveyor drain images").out


def test_tab_offers_what_a_store_that_takes_time_tells(far_kernel: Kernel) -> None:
    far_kernel.do("%conveyor add emails send {}")
    assert "%conveyor pause emails" in far_kernel.complete("%conveyor pause em")
    assert "%conveyor job emails-1" in far_kernel.complete("%conveyor job em")


def test_a_line_that_can_not_be_awaited_begins_nothing(far_kernel: Kernel) -> None:
    far_kernel.do("queue = Queue('emails')\ndef add():\n    %conveyor add emails send {}\n")
    asked = "getattr(queue.store, 'asked', [])"
    far_kernel.do(f"{asked}.clear()")
    assert "this has to wait; put the line at the top of a cell" in far_kernel.run("add()").err
    assert far_kernel.value(asked) == []
    assert far_kernel.value("await queue.count()") == 0
    line = "(lambda: get_ipython().run_line_magic('conveyor', '-h'))()"
    assert "Show the dashboard" in far_kernel.do(line).text, "what asks no store needs no waiting"


def test_a_display_in_a_kernel_is_a_plain_call(far_kernel: Kernel) -> None:
    far_kernel.do("queue = Queue('emails')\nawait queue.add('send')")
    ran = far_kernel.do("queue")
    assert ran.text == "<Queue emails: 1 waiting>"
    assert "emails-1" in ran.shown[-1]["text/html"]
    assert far_kernel.do("queue.store.to_frame().index[0]").text == "'emails-1'"
