"""Events as other processes hear of them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec.structs import replace

from conveyor_nb.core.event_data import EVENT_DATA
from conveyor_nb.core.model import (
    EventType,
    JobState,
    StoreEvent,
)
from conveyor_nb.stores.sql.wire.codec import codec_for
from conveyor_nb.stores.sql.wire.events import (
    MOST_BYTES,
    channel_of,
    from_events,
    from_notice,
    from_notification,
    to_events,
    to_notices,
    to_notification,
    with_row,
)
from conveyor_nb.testing.events import fault_of_data
from tests.wire_values import (
    NOW,
    original_row,
)

# -- events ---------------------------------------------------------------------------------

DELAYED = {"name": "send", "previous": JobState.ACTIVE, "delay_until": NOW, "reason": "later"}
TOLD = [
    StoreEvent(EventType.DELAYED, "emails", "a", DELAYED, NOW),
    StoreEvent(EventType.WAITING, "emails", "b", {"name": "send", "previous": None}, NOW),
    StoreEvent(
        EventType.PROGRESS, "é", "c", {"name": "n", "worker_id": "w", "progress": 12.5}, NOW
    ),
    StoreEvent(EventType.PAUSED, "emails", None, {"job_name": "__all__"}, NOW),
    StoreEvent("custom:thing", "emails", None, {"x": [1, {"y": None}]}, NOW),
]


def test_events_come_back_as_they_were() -> None:
    codec = codec_for("sqlite")
    back = codec.read_events(codec.events(TOLD))
    assert back == TOLD
    assert type(back[0].data["previous"]) is JobState
    assert type(back[0].type) is EventType
    assert [fault_of_data(one) for one in back[:4]] == [None] * 4


def test_results_are_not_told_to_other_processes() -> None:
    codec = codec_for("sqlite")
    data = {"name": "n", "previous": JobState.ACTIVE, "worker_id": "w", "returnvalue": object()}
    done = StoreEvent(EventType.COMPLETED, "q", "a", data, NOW)
    (back,) = codec.read_events(codec.events([done]))
    assert "returnvalue" not in back.data
    ((notice, _),) = to_notices([done], "me", 1)
    assert "returnvalue" not in from_notice(notice).events[0].data


def test_a_text_of_no_characters_is_told_all_the_same() -> None:
    line = StoreEvent(EventType.LOG, "q", "a", {"name": "n", "line": "a\ud800\0"}, NOW)
    (back,) = from_events(to_events([line]))
    assert back.data["line"] == "a\ufffd\ufffd"


def test_stores_tell_each_other_many_events_at_once() -> None:
    ((payload, count),) = to_notices(TOLD, "me", 7, counts=(1, 3, 2))
    assert count == len(TOLD)
    assert from_notice(payload) == ("me", 7, TOLD, {}, (1, 3, 2))


@pytest.mark.parametrize("size", [1, 9_000])
def test_the_result_of_a_job_that_is_gone_is_told_if_there_is_room(size: int) -> None:
    codec = codec_for("postgres")
    data = {"name": "n", "previous": JobState.ACTIVE, "worker_id": "w"}
    done = [StoreEvent(EventType.COMPLETED, "q", job_id, data, NOW) for job_id in "ab"]
    result = codec.payload(codec.freeze(("x" * size, b"y"), "result"))
    notices = to_notices(done, "me", 1, {("q", "a"): result})
    assert all(len(payload.encode()) <= MOST_BYTES for payload, _ in notices)
    told = from_notice(notices[0][0])
    assert told.results == ({("q", "a"): result} if size == 1 else {})
    if size != 1:
        done[0] = replace(done[0], data={**data, "lost": True})
    assert told.events == done


@pytest.mark.parametrize("letter", ["x", "é", "😀", '"', "\n"])
def test_a_notice_is_never_longer_than_a_server_takes(letter: str) -> None:
    data: dict[str, Any] = {"name": letter * 255, "worker_id": "w" * 255}
    data |= {"attempts_made": 1, "attempts": 2, "delay": 0.0, "reason": letter * 10_000}
    event = StoreEvent(EventType.RETRYING, letter * 255, letter * 255, data, NOW)
    huge = StoreEvent("custom:thing", "q", None, {"x": ["x" * 10_000]}, NOW)
    notices = to_notices([*TOLD, event, *(TOLD * 40), huge, event], "me", 10)
    assert all(len(payload.encode()) <= MOST_BYTES for payload, _ in notices)
    assert [from_notice(payload).number for payload, _ in notices] == list(
        range(10, 10 + len(notices))
    )
    back = [one for payload, _ in notices for one in from_notice(payload).events]
    assert sum(count for _, count in notices) == len(back) == 3 + 41 * len(TOLD)
    assert back[: len(TOLD)] == TOLD
    cut = back[len(TOLD)]
    assert (cut.queue_name, cut.job_id) == (event.queue_name, event.job_id)
    assert "left out" in cut.data["reason"]
    assert fault_of_data(cut) is None


# -- events of and for Conveyor -------------------------------------------------------------


@pytest.mark.parametrize("event", TOLD[:4])
def test_conveyor_is_told_in_its_words(event: StoreEvent) -> None:
    payload = to_notification(event, "me")
    assert payload is not None
    told = json.loads(payload)
    progress = {"data"} if event.type == EventType.PROGRESS else set()
    assert told.keys() == {"type", "queueName", "jobId", "timestamp", "_src"} | progress
    assert told["timestamp"].startswith("2027-01-02T03:04:05.678")
    assert told.get("data") == (12.5 if progress else None)
    assert from_notification(payload) is None  # by a store of ours, which tells others itself


def test_conveyor_is_not_told_what_it_does_not_know() -> None:
    assert to_notification(TOLD[4], "me") is None
    line = StoreEvent(EventType.LOG, "q", "a", {"name": "n", "line": "x"}, NOW)
    assert to_notification(line, "me") is None


@pytest.mark.parametrize("length", [1, 54, 55, 255])
def test_a_queue_whose_name_is_too_long_for_a_channel_has_none(length: int) -> None:
    channel = channel_of("q" * length)
    assert channel == (f"conveyor:{'q' * length}" if length <= 54 else None)
    assert channel_of("é" * 30) is None


def test_what_conveyor_tells_is_heard() -> None:
    payload = '{"type":"job:progress","queueName":"emails","jobId":"a","data":40,'
    payload += '"timestamp":"2027-01-02T03:04:05.678Z","_src":"other"}'
    told = from_notification(payload)
    assert told is not None
    assert told.event == StoreEvent(EventType.PROGRESS, "emails", "a", {"progress": 40}, NOW)
    assert not told.is_whole
    bare = from_notification('{"type":"queue:paused","queueName":"emails"}')
    assert bare is not None
    assert bare.event.job_id is None
    odd = from_notification('{"type":"odd","queueName":"emails","timestamp":"soon"}')
    assert odd is not None
    assert odd.is_whole


@pytest.mark.parametrize("payload", ["", "7", "{", "[]", "{}", '{"type":7}'])
def test_a_notification_that_is_no_event_is_a_fault(payload: str) -> None:
    with pytest.raises(ValueError, match=r"event|JSON|Expecting"):
        from_notification(payload)


@pytest.mark.parametrize("kind", sorted(EVENT_DATA))
@pytest.mark.parametrize("is_there", [True, False])
def test_the_row_tells_the_rest_of_what_conveyor_tells(kind: EventType, is_there: bool) -> None:
    job = codec_for("postgres").job(
        original_row("postgres", state="active", locked_by="worker-1", lock_until=NOW)
    )
    event = StoreEvent(kind, "emails", "a", {}, NOW)
    whole = with_row(event, job if is_there else None)
    beyond = (EventType.RETRYING, EventType.LOG, EventType.MISSED)  # it knows none of these
    assert fault_of_data(whole) is None or kind in beyond
    assert whole.data.get("name", "send") == (
        "send" if is_there or "name" not in whole.data else ""
    )
