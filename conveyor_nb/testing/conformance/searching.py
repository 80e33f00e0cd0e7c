"""Searches over the jobs of a queue, or of all: by conditions, by name, by payload, in pages."""

# ruff: noqa: D102 (the name of a test says what it shows)

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from conveyor_nb.clocks.virtual import VirtualClock
from conveyor_nb.core.model import JobPage, JobState
from conveyor_nb.stores.interface import StoreInterface
from conveyor_nb.testing.conformance.base import StoreTests
from conveyor_nb.testing.events import capture_events
from conveyor_nb.testing.steps import QUEUE, add, add_all, complete, fail, take

__all__ = ["SearchingTests"]

REPORTS = "reports"


def ids(page: JobPage) -> list[str]:
    """The ids of a page that shows all that was found."""
    assert page.total == len(page.jobs)
    return [job.id for job in page.jobs]


async def add_some(store: StoreInterface, clock: VirtualClock) -> None:
    """One job a minute, in two queues; the first two have settled."""
    await add(store, "a", name="send")
    await complete(store, await take(store))
    await clock.advance("1 minute")
    await add(store, "b", name="send")
    await fail(store, await take(store))
    await clock.advance("1 minute")
    await add(store, "c", name="log", delay=3600)
    await clock.advance("1 minute")
    await add(store, "x", name="send", queue=REPORTS)
    await clock.advance("1 minute")
    await add(store, "d", name="send", priority=-1)


class SearchingTests(StoreTests):
    """Searches, as every store does it."""

    # -- by conditions ------------------------------------------------------------------------

    async def test_there_is_nothing_to_find(self, store: StoreInterface) -> None:
        nothing = JobPage([], 0)
        for queue in (None, "nowhere"):
            assert await store.search_jobs(queue) == nothing
            assert await store.search_by_name(queue, "send") == nothing
            assert await store.search_by_payload(queue, {}) == nothing
        assert await store.list_queues() == []

    async def test_without_a_condition_every_job_is_found(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        await add_some(store, clock)
        assert ids(await store.search_jobs()) == ["a", "b", "c", "d", "x"]
        assert ids(await store.search_jobs(QUEUE)) == ["a", "b", "c", "d"]
        assert ids(await store.search_jobs(REPORTS)) == ["x"]

    @pytest.mark.parametrize(
        ("states", "found"),
        [
            ([JobState.COMPLETED], "a"),
            ([JobState.WAITING], "dx"),
            ({JobState.FAILED, JobState.DELAYED}, "bc"),
            (list(JobState), "abcdx"),
            ([JobState.ACTIVE], ""),
            ([], ""),
        ],
    )
    async def test_jobs_are_found_by_state(
        self, store: StoreInterface, clock: VirtualClock, states: list[JobState], found: str
    ) -> None:
        await add_some(store, clock)
        assert ids(await store.search_jobs(states=states)) == list(found)

    async def test_jobs_are_found_by_the_whole_name(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        await add_some(store, clock)
        assert ids(await store.search_jobs(name="send")) == ["a", "b", "d", "x"]
        assert ids(await store.search_jobs(name="log")) == ["c"]
        for other in ("sen", "Send", ""):
            assert ids(await store.search_jobs(name=other)) == []

    @pytest.mark.parametrize(
        ("first", "last", "found"),
        [(1, None, "bcdx"), (None, 1, "ab"), (1, 3, "bcx"), (2, 2, "c"), (1.5, 1.9, "")],
    )
    async def test_jobs_are_found_by_when_they_were_created(
        self,
        store: StoreInterface,
        clock: VirtualClock,
        first: float | None,
        last: float | None,
        found: str,
    ) -> None:
        begin = clock.now()

        def at(minutes: float | None) -> datetime | None:
            return None if minutes is None else begin + timedelta(minutes=minutes)

        await add_some(store, clock)
        page = await store.search_jobs(created_from=at(first), created_to=at(last))
        assert ids(page) == list(found)

    async def test_conditions_hold_together(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        begin = clock.now()
        await add_some(store, clock)
        page = await store.search_jobs(
            QUEUE,
            states=[JobState.WAITING, JobState.COMPLETED, JobState.FAILED],
            name="send",
            created_from=begin + timedelta(seconds=30),
            created_to=begin + timedelta(minutes=3),
        )
        assert ids(page) == ["b"]

    # -- in pages -----------------------------------------------------------------------------

    @pytest.mark.parametrize("start", [0, 2, 5, 9])
    @pytest.mark.parametrize("end", [0, 3, 6, 9, None])
    async def test_a_page_tells_how_many_there_are_in_all(
        self, store: StoreInterface, start: int, end: int | None
    ) -> None:
        names = list("abcdef")
        await add_all(store, *names, data={"to": "ada"})
        await add(store, "other", name="log")
        for page in (
            await store.search_jobs(QUEUE, name="send", start=start, end=end),
            await store.search_by_name(QUEUE, "send", start, end),
            await store.search_by_payload(QUEUE, {"to": "ada"}, start, end),
        ):
            assert [job.id for job in page.jobs] == names[start:end]
            assert page.total == 6

    async def test_a_page_has_a_hundred_jobs_unless_told(self, store: StoreInterface) -> None:
        await add_all(store, *(f"job-{n}" for n in range(101)), data={"to": "ada"})
        for page in (
            await store.search_jobs(),
            await store.search_by_name(QUEUE, "send"),
            await store.search_by_payload(None, {"to": "ada"}),
        ):
            assert (len(page.jobs), page.total) == (100, 101)

    async def test_pages_go_on_from_queue_to_queue(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        await add_some(store, clock)
        pages = [await store.search_jobs(start=start, end=start + 2) for start in (0, 2, 4)]
        assert [[job.id for job in page.jobs] for page in pages] == [["a", "b"], ["c", "d"], ["x"]]
        assert {page.total for page in pages} == {5}

    # -- by name ------------------------------------------------------------------------------

    @pytest.mark.parametrize(
        ("text", "found"),
        [
            ("mail", "ab"),
            ("MAIL", "ab"),
            ("Send-", "a"),
            ("%", "d"),
            ("straße", "c"),
            ("STRASSE", "c"),
            ("", "abcd"),
        ],
    )
    async def test_jobs_are_found_by_a_part_of_the_name(
        self, store: StoreInterface, text: str, found: str
    ) -> None:
        for job_id, name in zip("abcd", ["send-Mail", "mailbox", "Straße", "100 %"], strict=True):
            await add(store, job_id, name=name)
        assert ids(await store.search_by_name(QUEUE, text)) == list(found)
        assert ids(await store.search_by_name(None, text)) == list(found)
        assert ids(await store.search_by_name(REPORTS, text)) == []

    # -- by payload ---------------------------------------------------------------------------

    @pytest.mark.parametrize(
        ("fields", "found"),
        [
            ({"to": "ada"}, "ab"),
            ({"to": "ada", "tries": 2}, "b"),
            ({"to": "Ada"}, ""),
            ({"tags": ["x", "y"]}, "c"),
            ({"tags": ["x"]}, ""),
            ({"cc": None}, "c"),
            ({"missing": None}, ""),
            ({}, "abc"),
        ],
    )
    async def test_jobs_are_found_by_fields_of_their_payload(
        self, store: StoreInterface, fields: dict[str, Any], found: str
    ) -> None:
        await add(store, "a", data={"to": "ada"})
        await add(store, "b", data={"to": "ada", "tries": 2})
        await add(store, "c", data={"to": "grace", "tags": ["x", "y"], "cc": None})
        await add(store, "d", data="to ada")
        await add(store, "e", data=["to", "ada"])
        await add(store, "f")
        await add(store, "x", data={"to": "ada"}, queue=REPORTS)
        assert ids(await store.search_by_payload(QUEUE, fields)) == list(found)
        everywhere = ids(await store.search_by_payload(None, fields))
        assert everywhere[: len(found)] == list(found)
        in_reports = not fields or fields == {"to": "ada"}
        assert everywhere[len(found) :] == (["x"] if in_reports else [])

    @pytest.mark.parametrize(
        ("text", "found"),
        [
            ("ada", "abh"),
            ("ADA@", "ab"),
            ("straße", "c"),
            ("STRASSE", "c"),
            ("tries", "b"),
            ("2", "bd"),
            ("deep", "e"),
            ("true", "b"),
            ("", "abcdefgh"),
            ("nobody", ""),
        ],
    )
    async def test_jobs_are_found_by_a_text_in_their_payload(
        self, store: StoreInterface, text: str, found: str
    ) -> None:
        await add(store, "a", data={"to": "Ada@example.org"})
        await add(store, "b", data={"to": ["ada@example.org"], "tries": 2, "urgent": True})
        await add(store, "c", data="Straße 7")
        await add(store, "d", data=[1, 2.5])
        await add(store, "e", data={"a": [{"b": ({"c": "a deep one"},)}]})
        await add(store, "f")
        await add(store, "g", data={"when": timedelta(seconds=8)})
        await add(store, "h", data={"lovelace, ada": None})
        await add(store, "x", data="ada", queue=REPORTS)
        assert ids(await store.search_jobs(QUEUE, text=text)) == list(found)
        everywhere = await store.search_jobs(text=text)
        assert everywhere.total == len(found) + (text in ("ada", ""))
        assert ids(await store.search_jobs(QUEUE, text=text, name="log")) == []

    async def test_a_text_to_search_for_is_a_text(self, store: StoreInterface) -> None:
        for wrong in (5, ["ada"], b"ada"):
            with pytest.raises(TypeError, match="text to search for must be text, not"):
                await store.search_jobs(QUEUE, text=wrong)  # type: ignore[arg-type]

    # -- newest first -------------------------------------------------------------------------

    async def test_those_that_were_added_last_come_first(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        for job_id, queue in zip("abcdef", [QUEUE, REPORTS] * 3, strict=True):
            await add(store, job_id, data={"to": "ada"}, queue=queue)
            await clock.advance(1)
        orders: list[tuple[str | None, str]] = [(None, "fedcba"), (QUEUE, "eca"), ("nowhere", "")]
        for wanted, newest in orders:
            for start, end in ((0, None), (0, 2), (1, 3), (4, 9), (9, None)):
                at: Any = {"start": start, "end": end, "newest_first": True}
                for page in (
                    await store.search_jobs(wanted, **at),
                    await store.search_jobs(wanted, text="ada", **at),
                    await store.search_by_name(wanted, "send", **at),
                    await store.search_by_payload(wanted, {"to": "ada"}, **at),
                ):
                    assert [job.id for job in page.jobs] == list(newest[start:end])
                    assert page.total == len(newest)

    @pytest.mark.parametrize("state", [None, *JobState])
    @pytest.mark.parametrize(("start", "end"), [(0, None), (0, 2), (1, 3), (2, 9), (9, None)])
    async def test_lists_of_every_state_have_a_newest_end(
        self,
        store: StoreInterface,
        clock: VirtualClock,
        state: JobState | None,
        start: int,
        end: int | None,
    ) -> None:
        await add_some(store, clock)
        await add_all(store, "p1", "p2", priority=1)
        await add_all(store, "o1", "o2", name="other")
        await add(store, "l1", delay=50)
        await add(store, "l2", delay=40)
        in_order = await store.list_jobs(QUEUE, state)
        newest = await store.list_jobs(QUEUE, state, start, end, newest_first=True)
        assert newest == in_order[::-1][start:end]

    async def test_newest_first_is_a_yes_or_a_no(self, store: StoreInterface) -> None:
        with pytest.raises(TypeError, match="newest_first must be True or False"):
            await store.list_jobs(QUEUE, newest_first="yes")  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="newest_first must be True or False"):
            await store.search_jobs(QUEUE, newest_first=1)  # type: ignore[arg-type]

    # -- either way ---------------------------------------------------------------------------

    async def test_a_search_gives_copies_and_tells_nobody(self, store: StoreInterface) -> None:
        saved = await add(store, "a", data={"to": ["ada"]})
        async with capture_events(store, None) as events:
            for page in (
                await store.search_jobs(),
                await store.search_by_name(None, "send"),
                await store.search_by_payload(None, {"to": ["ada"]}),
            ):
                [job] = page.jobs
                assert job == saved
                job.data["to"].append("mine")
        assert await store.get_job(QUEUE, "a") == saved
        assert events == []
