"""A background task never ends by an error: it reports, waits and goes on, and its age is known."""

import asyncio

import pytest

from gatewayz.core.facts import Warned
from gatewayz.core.faults import Fault
from gatewayz.engine import background
from gatewayz.engine.background import STALLED_S, WorkerTasks

ERRORS = [
    RuntimeError("nobody expected this"),
    ZeroDivisionError("division by zero"),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
    OSError(28, "No space left on device"),
]


async def turn_until(predicate):
    async with asyncio.timeout(10):
        while not predicate():
            await asyncio.sleep(0)


@pytest.fixture
async def facts():
    return []


@pytest.fixture
async def tasks(facts):
    tasks = WorkerTasks(facts.append)
    yield tasks
    await tasks.stop()


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
async def test_an_error_is_reported_and_the_next_turn_comes(tasks, facts, error):
    turns: list[int] = []

    async def work():
        turns.append(len(turns))
        if len(turns) == 1:
            raise error

    wake = asyncio.Event()
    wake.set()
    tasks.repeat("loop", work, 600.0, wake=wake)
    await turn_until(lambda: len(turns) == 1 and facts)
    wake.set()
    await turn_until(lambda: len(turns) == 2)
    (fact,) = facts
    assert isinstance(fact, Warned)
    assert fact.subject == "background"
    assert fact.message.startswith(f"loop: {type(error).__name__}: ")


async def test_an_error_that_comes_again_is_reported_more_and_more_rarely(tasks, facts):
    turns, wake = [], asyncio.Event()

    async def work():
        turns.append(0)
        raise RuntimeError("again")

    tasks.repeat("loop", work, 600.0, at_once=True, wake=wake)
    for turn in range(1, 21):
        await turn_until(lambda turn=turn: len(turns) == turn and not wake.is_set())
        await asyncio.sleep(0)
        wake.set()
    assert len(facts) == 5
    assert "16 times in a row" in facts[-1].message


async def test_a_fault_goes_to_the_loops_own_report(tasks, facts):
    faults: list[Fault] = []

    async def work():
        raise Fault("unavailable", "The store does not answer.")

    tasks.repeat("loop", work, 600.0, faults.append, at_once=True)
    await turn_until(lambda: faults)
    assert [fault.kind for fault in faults] == ["unavailable"]
    assert facts == []


async def test_after_an_error_a_loop_waits_even_if_it_else_would_not(tasks):
    turns = []

    async def work():
        turns.append(0)
        raise RuntimeError("again")

    tasks.repeat("loop", work, lambda: 0.0, at_once=True)
    await turn_until(lambda: turns)
    for _ in range(1_000):
        await asyncio.sleep(0)
    assert len(turns) == 1
    assert background.MIN_WAIT_S >= 1


async def test_a_loop_that_ends_no_turn_stands_still(tasks):
    async def work():
        await asyncio.sleep(3_600)

    tasks.repeat("loop", work, 10.0, at_once=True)
    tasks.repeat("waits", work, 10.0)
    await asyncio.sleep(0)
    assert tasks.list_stalled() == []
    assert set(tasks.ages_s()) == {"loop", "waits"}
    for loop in tasks._loops.values():
        loop.turned_at -= STALLED_S + 11
    assert tasks.list_stalled() == ["loop", "waits"]
    await tasks.stop()
    assert tasks.ages_s() == {}
