"""The clocks: what they show, when they call back, and in which order."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from conveyor_nb import ScaledClock, SystemClock, VirtualClock
from conveyor_nb.clocks.clock import Clock, _turn, checkpoint, undisturbed
from conveyor_nb.clocks.timer import Timer

START = datetime(2027, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def after(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


class Calls(list[tuple[str, float]]):
    """What was called, and when."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def note(self, name: str) -> Callable[[], None]:
        return lambda: self.append((name, (self._clock.now() - START).total_seconds()))


# -- virtual ----------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_a_virtual_clock_stands_still(clock: VirtualClock) -> None:
    assert clock.now() == START
    await checkpoint()
    assert clock.now() == START
    assert repr(clock) == "<VirtualClock at 2027-01-01T00:00:00+00:00>"


@pytest.mark.asyncio
async def test_what_has_time_is_done_once_when_the_clock_stands_still_again(
    clock: VirtualClock,
) -> None:
    told: list[float] = []
    began = clock.now()

    def tell() -> None:
        told.append((clock.now() - began).total_seconds())
        clock.call_at_leisure(30, tell)

    clock.call_at_leisure(30, tell)
    clock.call_at_leisure(30, lambda: told.append(-1)).cancel()
    clock.call_later(40, lambda: told.append(0))
    await clock.advance(29)
    assert told == []
    await clock.advance(3_600)
    assert told == [0, 3_629]
    await clock.advance(31)
    assert told == [0, 3_629, 3_660]


def test_a_virtual_clock_starts_when_it_is_told() -> None:
    paris = timezone(timedelta(hours=1))
    clock = VirtualClock(datetime(2027, 6, 1, tzinfo=paris))
    assert clock.now() == datetime(2027, 5, 31, 23, tzinfo=UTC)
    assert clock.now().tzinfo is UTC


@pytest.mark.parametrize(
    ("start", "error"),
    [(datetime(2027, 1, 1), ValueError), ("2027-01-01", TypeError), (0, TypeError)],
)
def test_a_start_that_is_no_instant_is_refused(start: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="start"):
        VirtualClock(start)
    with pytest.raises(error, match="start"):
        ScaledClock(2, start=start)


@pytest.mark.asyncio
async def test_timers_are_called_in_the_order_they_fall_due(clock: VirtualClock) -> None:
    calls = Calls(clock)
    for name, seconds in {"c": 3, "a": 1, "d": 3, "b": 2.5, "later": 9}.items():
        clock.call_later(seconds, calls.note(name))
    await clock.advance(5)
    assert calls == [("a", 1), ("b", 2.5), ("c", 3), ("d", 3)]
    assert clock.now() == after(5)
    await clock.advance("4s")
    assert calls[-1] == ("later", 9)


@pytest.mark.asyncio
async def test_a_timer_is_called_at_its_instant_and_not_before(clock: VirtualClock) -> None:
    calls = Calls(clock)
    clock.call_at(after(10), calls.note("it"))
    await clock.advance(9.999999)
    assert calls == []
    await clock.advance(0.000001)
    assert calls == [("it", 10)]


@pytest.mark.asyncio
async def test_a_timer_for_the_past_is_called_with_the_next_turn(clock: VirtualClock) -> None:
    await clock.advance(10)
    calls = Calls(clock)
    clock.call_at(after(1), calls.note("late"))
    assert calls == []
    await clock.advance(0)
    assert calls == [("late", 10)]


@pytest.mark.asyncio
async def test_a_timer_that_is_cancelled_is_not_called(clock: VirtualClock) -> None:
    calls = Calls(clock)
    timers = [clock.call_later(1, calls.note(name)) for name in "abc"]
    timers[1].cancel()
    await clock.advance(1)
    assert [name for name, _ in calls] == ["a", "c"]
    for timer in timers:
        timer.cancel()


@pytest.mark.asyncio
async def test_a_timer_may_cancel_one_of_the_same_instant(clock: VirtualClock) -> None:
    calls = Calls(clock)
    clock.call_later(1, lambda: second.cancel())
    second = clock.call_later(1, calls.note("second"))
    await clock.advance(1)
    assert calls == []


@pytest.mark.asyncio
async def test_a_timer_set_by_a_timer_is_called_in_the_same_advance(clock: VirtualClock) -> None:
    calls = Calls(clock)

    def again() -> None:
        calls.note("tick")()
        clock.call_later(2, again)

    clock.call_later(2, again)
    await clock.advance(7)
    assert calls == [("tick", 2), ("tick", 4), ("tick", 6)]


@pytest.mark.asyncio
async def test_everything_settles_before_the_next_timer(clock: VirtualClock) -> None:
    calls = Calls(clock)

    async def walk(name: str) -> None:
        for _ in range(20):
            await checkpoint()
        calls.note(f"{name} walked")()

    tasks: list[asyncio.Task[None]] = []
    clock.call_later(1, lambda: tasks.append(asyncio.ensure_future(walk("first"))))
    clock.call_later(2, calls.note("second"))
    await clock.advance(2)
    assert calls == [("first walked", 1), ("second", 2)]


@pytest.mark.asyncio
async def test_sleepers_wake_at_their_time(clock: VirtualClock) -> None:
    calls = Calls(clock)

    async def nap(name: str, *seconds: float) -> None:
        for one in seconds:
            await clock.sleep(one)
            calls.note(name)()

    naps = asyncio.gather(nap("a", 2, 2, 2), nap("b", 3, "1s"))  # type: ignore[arg-type]
    await clock.advance(6)
    await naps
    assert calls == [("a", 2), ("b", 3), ("a", 4), ("b", 4), ("a", 6)]


@pytest.mark.asyncio
async def test_a_sleep_of_no_time_only_gives_way(clock: VirtualClock) -> None:
    turns: list[str] = []
    task = asyncio.ensure_future(asyncio.to_thread(turns.append, "thread"))
    asyncio.get_running_loop().call_soon(turns.append, "other")
    await clock.sleep(0)
    assert "other" in turns
    assert clock.now() == START
    await task


@pytest.mark.asyncio
async def test_a_sleeper_that_is_cancelled_leaves_no_timer(clock: VirtualClock) -> None:
    nap = asyncio.ensure_future(clock.sleep("1 hour"))
    await checkpoint()
    nap.cancel()
    await asyncio.wait([nap])
    assert nap.cancelled()
    assert [timer for timer in clock._timers if not timer.cancelled] == []


@pytest.mark.asyncio
@pytest.mark.parametrize("duration", [-1, "soon", math.nan, "-1s"], ids=repr)
async def test_time_goes_forward_only(clock: VirtualClock, duration: Any) -> None:
    with pytest.raises(ValueError, match="advance"):
        await clock.advance(duration)
    assert clock.now() == START


@pytest.mark.asyncio
async def test_a_fault_in_a_timer_reaches_who_advances(clock: VirtualClock) -> None:
    calls = Calls(clock)
    clock.call_later(1, lambda: 1 / 0)
    clock.call_later(2, calls.note("after"))
    with pytest.raises(ZeroDivisionError):
        await clock.advance(5)
    await clock.advance(5)
    assert [name for name, _ in calls] == ["after"]


@pytest.mark.asyncio
async def test_two_may_wait_for_quiet_at_once(clock: VirtualClock) -> None:
    await asyncio.gather(clock.settle(), clock.settle(), clock.settle())
    await asyncio.gather(clock.advance(1), clock.settle())
    assert clock.now() == after(1)


# -- work in threads --------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_time_waits_for_work_in_threads(clock: VirtualClock) -> None:
    go, seen = threading.Event(), Calls(clock)

    async def work() -> None:
        with clock.off_loop():
            await asyncio.to_thread(go.wait)
        seen.note("worked")()

    task = asyncio.ensure_future(work())
    await checkpoint()
    clock.call_later(1, seen.note("timer"))
    advance = asyncio.ensure_future(clock.advance(2))
    for _ in range(20):
        await checkpoint()
    assert seen == []
    go.set()
    await advance
    await task
    assert seen == [("worked", 0), ("timer", 1)]


@pytest.mark.asyncio
async def test_time_does_not_wait_for_work_that_waits_for_the_loop(clock: VirtualClock) -> None:
    calls = Calls(clock)
    clock.call_later(1, calls.note("timer"))
    with clock.off_loop(), clock.back_on_loop():
        await clock.advance(1)
    assert calls == [("timer", 1)]


@pytest.mark.asyncio
async def test_the_patience_with_threads_has_an_end(clock: VirtualClock) -> None:
    clock.patience = 0.001
    with clock.off_loop():
        await clock.advance(1)
    assert clock.now() == after(1)


@pytest.mark.asyncio
async def test_work_off_the_loop_is_over_when_it_raises(clock: VirtualClock) -> None:
    with pytest.raises(RuntimeError, match="in the thread"), clock.off_loop():
        raise RuntimeError("in the thread")
    await clock.advance(1)
    assert clock.now() == after(1)


# -- waiting ----------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_a_wait_ends_with_its_future(clock: VirtualClock) -> None:
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    wait = asyncio.ensure_future(clock.wait(future, 10))
    await clock.advance(5)
    assert not wait.done()
    future.set_result(1)
    assert await wait is True
    assert [timer for timer in clock._timers if not timer.cancelled] == []


@pytest.mark.asyncio
async def test_a_wait_ends_with_its_timeout(clock: VirtualClock) -> None:
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    wait = asyncio.ensure_future(clock.wait(future, 10))
    await clock.advance(10)
    assert await wait is False
    assert not future.done()
    future.set_result(1)


@pytest.mark.asyncio
async def test_a_wait_for_what_is_done_takes_no_turn(clock: VirtualClock) -> None:
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    future.set_result(1)
    assert await clock.wait(future, None) is True


@pytest.mark.asyncio
async def test_a_wait_does_not_ask_for_the_result(clock: VirtualClock) -> None:
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    wait = asyncio.ensure_future(clock.wait(future, None))
    await checkpoint()
    future.set_exception(RuntimeError("mine"))
    assert await wait is True
    assert isinstance(future.exception(), RuntimeError)


@pytest.mark.asyncio
async def test_a_wait_in_real_time_ends_though_the_clock_stands_still(clock: VirtualClock) -> None:
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    assert await clock.wait_in_real_time(future, 60) is False
    asyncio.get_running_loop().call_soon(future.set_result, 1)
    assert await clock.wait_in_real_time(future, None) is True


@pytest.mark.asyncio
async def test_a_wait_in_real_time_has_patience_with_threads(clock: VirtualClock) -> None:
    go = threading.Event()
    clock.patience = 0.001

    async def work() -> None:
        with clock.off_loop():
            await asyncio.to_thread(go.wait)

    task = asyncio.ensure_future(work())
    await checkpoint()
    asyncio.get_running_loop().call_later(0.01, go.set)
    assert await clock.wait_in_real_time(task, "1 hour") is True


# -- timer ------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_a_timer_fires_once_at_its_instant(clock: VirtualClock) -> None:
    calls = Calls(clock)
    timer = Timer(clock, calls.note("fire"))
    timer.set(after(5))
    await clock.advance(20)
    assert calls == [("fire", 5)]


@pytest.mark.asyncio
async def test_a_timer_has_one_instant(clock: VirtualClock) -> None:
    calls = Calls(clock)
    timer = Timer(clock, calls.note("fire"))
    for seconds in (5, 3, 9):
        timer.set(after(seconds))
    await clock.advance(20)
    assert calls == [("fire", 9)]


@pytest.mark.asyncio
@pytest.mark.parametrize("how", ["cancel", "None"])
async def test_a_timer_can_be_called_off(clock: VirtualClock, how: str) -> None:
    calls = Calls(clock)
    timer = Timer(clock, calls.note("fire"))
    timer.set(after(5))
    if how == "cancel":
        timer.cancel()
    else:
        timer.set(None)
    await clock.advance(20)
    assert calls == []
    timer.set(after(30))
    await clock.advance(20)
    assert calls == [("fire", 30)]


@pytest.mark.asyncio
async def test_a_timer_that_is_set_twice_for_one_instant_fires_once(clock: VirtualClock) -> None:
    calls = Calls(clock)
    timer = Timer(clock, calls.note("fire"))
    timer.set(after(5))
    timer.set(after(5))
    await clock.advance(6)
    assert calls == [("fire", 5)]


@pytest.mark.asyncio
async def test_a_timer_for_the_past_fires_with_the_next_turn(clock: VirtualClock) -> None:
    await clock.advance(10)
    calls = Calls(clock)
    Timer(clock, calls.note("fire")).set(after(5))
    assert calls == []
    await clock.advance(0)
    assert calls == [("fire", 10)]


@pytest.mark.asyncio
async def test_a_timer_may_be_set_by_its_own_firing(clock: VirtualClock) -> None:
    calls = Calls(clock)

    def fire() -> None:
        calls.note("fire")()
        timer.set(clock.now() + 2 * SECOND)

    timer = Timer(clock, fire)
    timer.set(after(2))
    await clock.advance(7)
    assert calls == [("fire", 2), ("fire", 4), ("fire", 6)]


# -- real and scaled --------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_the_system_clock_calls_back_in_order() -> None:
    clock, called = SystemClock(), ["nothing"]
    done: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    clock.call_later("2ms", lambda: done.set_result("second"))
    clock.call_later("1ms", lambda: called.append("first"))
    clock.call_later("1ms", lambda: called.append("never")).cancel()
    called.append(await done)
    assert called == ["nothing", "first", "second"]
    assert repr(clock) == "<SystemClock>"


@pytest.mark.asyncio
async def test_the_system_clock_never_calls_early() -> None:
    clock = SystemClock()
    before = clock.now()
    await clock.sleep(0.002)
    assert clock.now() - before >= timedelta(milliseconds=1)


@pytest.mark.asyncio
async def test_a_scaled_clock_runs_so_much_faster() -> None:
    clock = ScaledClock(100_000, start=START)
    assert repr(clock) == "<ScaledClock x100000>"
    real = SystemClock().now()
    await clock.sleep("5 minutes")
    assert clock.now() >= after(299)
    passed = (SystemClock().now() - real).total_seconds()
    assert passed < (clock.now() - START).total_seconds() / 1_000


def test_a_scaled_clock_starts_now_if_it_is_not_told() -> None:
    before = SystemClock().now()
    assert before <= ScaledClock(1).now()
    assert ScaledClock(2, start=START).now() >= START


@pytest.mark.parametrize(
    ("speed", "error"),
    [
        *[(speed, ValueError) for speed in (0, -1, math.nan, math.inf)],
        *[(speed, TypeError) for speed in ("60", None, True)],
    ],
)
def test_a_speed_is_a_number_above_zero(speed: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="speed") as caught:
        ScaledClock(speed)
    assert repr(speed) in str(caught.value)


# -- turns of the loop ------------------------------------------------------------------------


def test_nobody_is_overdue_where_no_loop_runs() -> None:
    assert not any(SystemClock().overdue() for _ in range(3))


@pytest.mark.parametrize("clock", [SystemClock(), ScaledClock(60)], ids=repr)
def test_who_works_on_and_on_is_overdue_until_the_loop_has_turned(clock: Clock) -> None:
    async def work() -> list[bool]:
        told = [clock.overdue()]
        while not clock.overdue():
            pass
        told += [clock.overdue(), clock.overdue()]
        await checkpoint()
        await checkpoint()
        return [*told, clock.overdue()]

    for _ in range(2):  # each loop begins anew
        assert asyncio.run(work()) == [False, True, True, False]


def test_what_a_loop_that_is_closed_has_left_does_not_count_for_the_next() -> None:
    clock = SystemClock()

    async def work_to_the_end() -> None:
        while not clock.overdue():
            pass

    async def begin() -> bool:
        return clock.overdue()

    asyncio.run(work_to_the_end())
    _turn.of = asyncio.new_event_loop()  # as if its last callback had not come
    _turn.of.close()
    assert not asyncio.run(begin())


def test_the_turns_of_two_threads_are_counted_apart() -> None:
    clock = SystemClock()

    async def work(at_work: threading.Barrier) -> bool:
        told = False
        for _ in range(3):  # each begins its turn while the other is in the middle of its own
            at_work.wait(30)
            await checkpoint()
            clock.overdue()
            at_work.wait(30)
            began = time.perf_counter()
            while not (told := clock.overdue()) and time.perf_counter() < began + 1:
                pass
        return told

    at_work = threading.Barrier(2)
    with ThreadPoolExecutor(2) as pool:
        assert all(pool.map(lambda _: asyncio.run(work(at_work)), range(2)))


def test_a_virtual_clock_counts_for_the_same_on_every_run() -> None:
    clock = VirtualClock()
    told = [clock.overdue() for _ in range(250)]
    assert [number for number, overdue in enumerate(told, 1) if overdue] == [100, 200]


@pytest.mark.parametrize("clock", [SystemClock(), VirtualClock()], ids=repr)
def test_whoever_is_undisturbed_is_never_overdue(clock: Clock) -> None:
    async def work() -> bool:
        while not clock.overdue():
            pass
        with undisturbed():
            return any(clock.overdue() for _ in range(250))

    assert not asyncio.run(work())
