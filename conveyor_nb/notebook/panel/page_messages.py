"""What a page may send to a panel, checked once, where it comes in.

A page is a program of its own, maybe an old or a broken one: whatever it sends is input, and may be
wrong. What passes here is of the right kind and of a bounded size.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from conveyor_nb.core.values.text import one_line

__all__ = ["MOST_PAYLOAD", "Message", "read_message"]

MOST_PAYLOAD = 100_000
"""So many characters a payload may have that is written on a page."""

Count = Annotated[int, Meta(ge=0, le=2**53 - 1)]
Name = Annotated[str, Meta(max_length=255)]
Text = Annotated[str, Meta(max_length=500)]
Payload = Annotated[str, Meta(max_length=MOST_PAYLOAD)]
Options = Annotated[dict[Name, Text], Meta(max_length=20)]
Ids = Annotated[tuple[Name, ...], Meta(max_length=1_000)]
Instant = Annotated[float, Meta(ge=-62_135_596_800, le=253_402_300_799)]
"""Seconds since 1970, of the years 1 to 9999."""

Token = Annotated[str, Meta(max_length=64, pattern=r"\A[!-~]*\Z")]


class Message(Struct, frozen=True):
    """What a page sends: what is to be done, and to what.

    Args:
        do: what is to be done: one of what ``View.asks`` and ``View.acts`` of the views name,
            ``tab`` and ``queue``; or ``hello``, ``drawn``, ``rest`` and ``bye``, for the panel
            itself. The view that does it checks the values below once more, against what it shows.
        view: which view of which page it is from.
        n: the message's number there, for the answer; ``None``: it wants none.
        frame: which frame was drawn.
        page: which page of the table is to be shown, counted from 0.
        state: of which state, all if it is empty; likewise ``type``, of events.
        id: of which job; likewise ``worker``, by its name.
        tab: which tab is to be shown; likewise ``queue``, all if it is empty.
        text: what stands in the jobs that are looked for; likewise their ``name``, ``group``,
            ``flow`` (its parent's id) and ``schedule``, each any if it is empty.
        sort: by what the table is sorted.
        attempt: which attempt of the job, counted from 1.
        rule: what a schedule is to run by; likewise ``tz``, its time zone.
        act: what is to be done with many jobs, or with the queue.
        ids: with which jobs.
        all: whether with all that the table shows, on whatever page.
        question: which question is answered.
        grace: for how long they have been as they are, or since when there are those that are
            looked for, as a duration.
        since: from which instant on those were added that are looked for, ``None``: from any;
            likewise ``until`` which one.
        data: the payload of a job that is added or changed, as JSON; ``None``: as it is.
        options: its options by name, as they were typed.
        narrow: whether the page has little room from left to right.
        slots: how many jobs a worker is to run at once.
        span: how much time is to be shown, such as ``minute``.
        by: by what jobs on a belt are told apart, such as ``name``.
    """

    do: Name
    view: Token = ""
    n: Count | None = None
    frame: Count = 0
    page: Count = 0
    state: Name = ""
    type: Name = ""
    id: Name = ""
    worker: Name = ""
    tab: Name = ""
    queue: Name = ""
    text: Text = ""
    name: Name = ""
    group: Name = ""
    flow: Name = ""
    schedule: Name = ""
    sort: Name = ""
    attempt: Count = 0
    rule: Name = ""
    tz: Name = ""
    act: Name = ""
    ids: Ids = ()
    all: bool = False
    question: Count = 0
    grace: Name = ""
    since: Instant | None = None
    until: Instant | None = None
    data: Payload | None = None
    options: Options = {}
    narrow: bool = False
    slots: Annotated[int, Meta(ge=1, le=10_000)] = 1
    span: Name = ""
    by: Name = ""


def read_message(content: object) -> Message:
    """A message from its content, which may be anything.

    Raises:
        ValueError: it is not a message.

    >>> read_message({"do": "drawn", "view": "v1", "frame": 3}).frame
    3
    >>> read_message({"do": "bye", "n": "3"})
    Traceback (most recent call last):
    ...
    ValueError: not a message of a page: {'do': 'bye', 'n': '3'} (Expected `int | null`, got `str` \
- at `$.n`)
    """
    try:
        return msgspec.convert(content, Message)
    except msgspec.ValidationError as error:
        raise ValueError(f"not a message of a page: {one_line(content)} ({error})") from None
