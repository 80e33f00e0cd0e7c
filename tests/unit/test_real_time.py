"""The machine's clock is set, or the machine sleeps: time never goes back, and timers notice."""

from __future__ import annotations

import asyncio
import functools
import itertools
from collections.abc import Callable
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conveyor_nb import ScaledClock, SystemClock
from tests.machine import HOUR, NOON, Machine, run


@pytest.fixture
def machine() -> Machine:
    return Machine()


# -- the instant ----------------------------------------------------------------------------


def test_it_follows_the_machine_forward(machine: Machine) -> None:
    clock = machine.clock()
    assert clock.now() == NOON
    machine.pass_by(5)
    assert clock.now() == NOON + timedelta(seconds=5)
    machine.set(8 * HOUR)
    assert clock.now() == NOON + 8 * HOUR + timedelta(seconds=5)


def test_set_back_it_goes_on_slower_until_the_machine_has_caught_up(machine: Machine) -> None:
    clock = machine.clock()
    assert clock.now() == NOON
    machine.set(-HOUR)
    assert clock.now() == NOON
    for second in range(1, 35_990):
        machine.pass_by(1)
        now = clock.now()
        if second % 600 == 0:
            assert now - NOON == timedelta(seconds=second * 0.9)
        assert now > machine.wall
    machine.pass_by(20)
    assert clock.now() == machine.wall, "after ten hours"


def test_set_back_while_nobody_asks_it_is_the_machines_as_soon_as_that_is_later(
    machine: Machine,
) -> None:
    clock = machine.clock()
    assert clock.now() == NOON
    machine.set(-HOUR)
    machine.pass_by(3_601)
    assert clock.now() == machine.wall


def test_set_back_twice_and_then_right(machine: Machine) -> None:
    clock = machine.clock()
    for _ in range(2):
        before = clock.now()
        machine.set(-HOUR)
        assert clock.now() == before
        machine.pass_by(100)
        assert clock.now() == before + timedelta(seconds=90)
    machine.set(2 * HOUR)
    assert clock.now() == machine.wall
    machine.pass_by(5)
    before = clock.now()
    machine.set(-HOUR)
    assert clock.now() == before
    machine.pass_by(10)
    assert clock.now() == before + timedelta(seconds=9)


@given(st.lists(st.tuples(st.floats(0, 10_000), st.floats(-10_000, 10_000)), max_size=30))
def test_whatever_is_done_to_the_machine_time_goes_on(steps: list[tuple[float, float]]) -> None:
    machine = Machine()
    clock = machine.clock()
    before = clock.now()
    for passed, by in steps:
        machine.set(timedelta(seconds=by))
        machine.pass_by(passed)
        now = clock.now()
        assert now >= before
        assert now >= machine.wall
        before = now


# -- timers ---------------------------------------------------------------------------------


def rings(
    machine: Machine, delays: list[float], after: float, what: Callable[[], None]
) -> list[tuple[float, float]]:
    """When timers ring, in even seconds: what is done ``after`` some seconds included."""
    began = machine.even
    heard: list[tuple[float, float]] = []

    async def work() -> None:
        clock = machine.clock()
        over = asyncio.Event()

        def ring(delay: float) -> None:
            heard.append((delay, round(machine.even - began, 2)))
            if len(heard) == len(delays):
                over.set()

        for delay in delays:
            clock.call_later(delay, functools.partial(ring, delay))
        asyncio.get_running_loop().call_later(after, what)
        await over.wait()
        assert not clock._watches, "nothing looks at the time when there is no timer"

    run(machine, work())
    return heard


def test_what_is_due_when_a_machine_wakes_up_runs_at_once_and_in_order(machine: Machine) -> None:
    delays = [3_600, 60, 600, 40_000, 0.5]
    heard = rings(machine, delays, 10.2, lambda: machine.set(8 * HOUR))
    assert [delay for delay, _ in heard] == [0.5, 60, 600, 3_600, 40_000]
    at = dict(heard)
    assert all(10.2 <= at[delay] <= 11.3 for delay in (60, 600, 3_600))
    assert at[40_000] == pytest.approx(40_000 - 8 * 3_600, abs=0.01)


def test_a_clock_that_is_set_back_does_not_hold_up_what_is_due(machine: Machine) -> None:
    heard = rings(machine, [60, 600], 30, lambda: machine.set(-HOUR))
    assert dict(heard)[60] == pytest.approx(30 + 30 / 0.9, abs=1.2)
    assert dict(heard)[600] == pytest.approx(30 + 570 / 0.9, abs=1.2)


def test_a_timer_never_rings_early_by_its_clock(machine: Machine) -> None:
    async def work() -> None:
        clock = machine.clock()
        due = clock.now() + timedelta(seconds=100)
        ringing = asyncio.get_running_loop().create_future()
        clock.call_at(due, lambda: ringing.set_result(clock.now()))
        machine.set(timedelta(seconds=-50))
        assert await ringing >= due

    run(machine, work())


def test_a_timer_that_is_called_off_does_not_ring_when_the_time_jumps(machine: Machine) -> None:
    async def work() -> list[str]:
        clock = machine.clock()
        rung: list[str] = []
        timers = [clock.call_later(600, lambda: rung.append("rung")) for _ in range(3)]
        kept = clock.call_later(700, lambda: rung.append("kept"))
        for timer in timers:
            timer.cancel()
        machine.set(HOUR)
        await clock.sleep(5)
        kept.cancel()
        kept.cancel()
        return rung

    assert run(machine, work()) == ["kept"]


def test_a_loop_that_is_closed_is_not_looked_after(machine: Machine) -> None:
    clock = machine.clock()

    async def work() -> None:
        clock.call_later(600, lambda: None)

    for _ in range(3):
        run(machine, work())
    assert len(clock._watches) == 1


def test_a_scaled_clock_goes_on_evenly(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.monotonic", lambda: machine.even)
    clock = ScaledClock(60, start=NOON)
    for by in (-HOUR, 8 * HOUR, timedelta()):
        machine.set(by)
        machine.pass_by(1)
    assert clock.now() == NOON + timedelta(minutes=3)


def test_instants_of_several_calls_never_go_back() -> None:
    clock = SystemClock()
    instants = [clock.now() for _ in range(1_000)]
    assert all(one <= other for one, other in itertools.pairwise(instants))
