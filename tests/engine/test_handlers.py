"""What can be a handler, and what is told of what can't."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any
from unittest.mock import AsyncMock

import pytest

from conveyor_nb import Job, MemoryStore, Queue, Worker

Start = Callable[..., Worker]


async def send(job: Job) -> str:
    return "sent"


async def send_by(way: str, job: Job) -> str:
    return way


class Mailer:
    def send(self, job: Job) -> str:
        return "sent"

    async def send_soon(self, job: Job) -> str:
        return "sent soon"

    @classmethod
    async def send_all(cls, job: Job) -> str:
        return "all sent"

    def parts(self, job: Job) -> Iterator[int]:
        yield 1


class Sender:
    async def __call__(self, job: Job) -> str:
        return "sent by an object"


class PartSender:
    def __call__(self, job: Job) -> Iterator[int]:
        yield 1


def parts(job: Job) -> Iterator[int]:
    yield 1


async def soon_parts(job: Job) -> AsyncIterator[int]:
    yield 1


@pytest.mark.parametrize(
    ("handler", "result"),
    [
        (send, "sent"),
        (Mailer().send, "sent"),
        (Mailer().send_soon, "sent soon"),
        (Mailer.send_all, "all sent"),
        (Sender(), "sent by an object"),
        (functools.partial(send_by, "pigeon"), "pigeon"),
        (lambda job: send(job), "sent"),
        (staticmethod(send), "sent"),
        (AsyncMock(return_value=3), 3),
        (print, None),
    ],
)
@pytest.mark.asyncio
async def test_whatever_takes_a_job_is_a_handler(
    handler: Any, result: object, queue: Queue, start: Start
) -> None:
    start(handler)
    job = await queue.add("send")
    assert await job.wait_until_finished() == result


@pytest.mark.parametrize(
    "handler",
    [
        parts,
        soon_parts,
        Mailer().parts,
        PartSender(),
        functools.partial(parts),
        lambda job: (yield),
    ],
)
@pytest.mark.asyncio
async def test_a_generator_is_refused(handler: Any, store: MemoryStore) -> None:
    with pytest.raises(TypeError, match=r"is a generator.*`return`"):
        Worker("emails", handler, store=store)
    assert await store.list_workers() == []


@pytest.mark.parametrize(
    ("handler", "told"),
    [
        (Mailer, r"handler Mailer is a class; give .* Mailer\(\)\.run"),
        (int, "handler int is a class"),
        (Mailer.__dict__["send_all"], "must be a function that takes the job, not <classmethod"),
        ("send", "must be a function that takes the job, not 'send'"),
        (lambda: 0, "<lambda> must take exactly one argument, the job"),
        (lambda job, to: 0, "<lambda> must take exactly one argument, the job"),
        (functools.partial(send_by), "handler send_by must take exactly one argument"),
    ],
)
@pytest.mark.asyncio
async def test_what_cant_be_called_with_a_job_is_refused(
    handler: Any, told: str, store: MemoryStore
) -> None:
    with pytest.raises(TypeError, match=told):
        Worker("emails", handler, store=store)


@pytest.mark.asyncio
async def test_a_handler_that_was_called_is_refused_with_no_warning_beside_it(
    queue: Queue, store: MemoryStore
) -> None:
    job = await queue.add("send")
    called: Any = send(job)
    with pytest.raises(TypeError, match=r"not what a call .*: send in place of send\("):
        Worker("emails", called, store=store)
    called_too: Any = send(job)
    with pytest.raises(TypeError, match=r"not what a call .*: send in place of send\("):
        queue.worker(called_too)
    assert inspect.getcoroutinestate(called_too) == "CORO_CLOSED"
    assert inspect.getcoroutinestate(called) == "CORO_CLOSED", "else Python warns of it too"
