"""A date that jumps ends nothing that is a duration: holds, claims and heartbeats go by a clock that only goes forward."""

from contextlib import asynccontextmanager

import pytest
from msgspec.structs import replace
from sqlalchemy import delete, insert, select

from gatewayz.control.idempotency import SqlClaims
from gatewayz.control.owner_watch import DateWatch, OwnerWatch
from gatewayz.control.upkeep import Upkeep
from gatewayz.core.calls import new_ulid
from gatewayz.core.ceiling import Ceiling
from gatewayz.core.clock import SteadyClock, SystemClock
from gatewayz.core.facts import Fact, Warned
from gatewayz.core.faults import Fault
from gatewayz.core.money import Nanos
from gatewayz.core.secrets import Secret
from gatewayz.ledger.values import DEADLINE_GRACE_S, OWNER_SILENT_S
from gatewayz.observe.metrics import Metrics
from gatewayz.ports.replays import Claim
from gatewayz.store.secret import load_peppers
from gatewayz.store.sql.database import Database
from gatewayz.store.sql.tables import HOLDS, IDEMPOTENCY, OWNERS
from tests.support.clocks import ManualClock
from tests.support.money import ProcessBooks, call_of, open_account, open_process_books

HOUR_S = 3_600
JUMPS_S = [HOUR_S, -HOUR_S, 25 * HOUR_S, -366 * 24 * HOUR_S]
CALL_S = 600


class Machine:
    """A process of its own over the store, whose date can jump."""

    def __init__(self, books: ProcessBooks, database: Database, clock: ManualClock) -> None:
        self.clock, self.books = clock, books
        self.facts: list[Fact] = []
        self.upkeep = Upkeep(
            database, books.commits, books.journal, clock, books.owner, self.facts.append
        )

    async def hold(self, account: str) -> str:
        call = replace(call_of(account), deadline=self.clock.now() + CALL_S)
        await self.books.hold(call, Ceiling(Nanos(100)))
        return call.id

    def jump(self, by_s: float) -> None:
        self.clock.date_ms += round(by_s * 1000)

    async def turn(self, seconds: float) -> None:
        """One turn of its loops, so many seconds after the last."""
        self.clock.advance(seconds)
        await self.upkeep.beat()
        await self.upkeep.expire()


@asynccontextmanager
async def machine(location, database, folder, owner):
    """A process of this name, with its books open."""
    clock = ManualClock(SystemClock().wall_ms())
    async with open_process_books(location, folder / owner, owner, clock) as books:
        yield Machine(books, database, clock)


@pytest.fixture
async def here(location, database, tmp_path):
    async with machine(location, database, tmp_path, "here") as one:
        yield one


@pytest.fixture
async def there(location, database, tmp_path):
    async with machine(location, database, tmp_path, "there") as one:
        yield one


async def held_calls(database):
    async with database.begin(reading=True) as connection:
        return set((await connection.execute(select(HOLDS.c.call_id))).scalars())


@pytest.mark.parametrize("jump_s", JUMPS_S)
async def test_live_holds_stay_when_a_date_jumps_and_go_when_time_passes(
    store, database, here, there, jump_s
):
    await open_account(database, store.books, "payer", paid=10_000)
    await here.turn(0)
    await there.turn(0)
    own, other = await here.hold("payer"), await there.hold("payer")

    here.jump(jump_s)
    for _ in range(2 * OWNER_SILENT_S // 10):
        await here.turn(10)
        await there.turn(10)
    assert await held_calls(database) == {own, other}

    # The call of each is long past its deadline by the clock that only goes forward.
    await here.turn(CALL_S + DEADLINE_GRACE_S)
    assert own not in await held_calls(database)
    await there.turn(CALL_S + DEADLINE_GRACE_S)
    assert await held_calls(database) == set()


@pytest.mark.parametrize("jump_s", JUMPS_S)
async def test_a_process_that_is_silent_is_dead_after_a_minute_whatever_its_date(
    store, database, here, there, jump_s
):
    await open_account(database, store.books, "payer", paid=10_000)
    dead = there
    dead.jump(jump_s)
    await dead.turn(0)
    call = await dead.hold("payer")

    for _ in range(OWNER_SILENT_S // 10):
        await here.turn(10)
    assert await held_calls(database) == {call}
    await here.turn(10)
    assert await held_calls(database) == set()

    # One that was only frozen goes on, as a process that is alive.
    later = await dead.hold("payer")
    await dead.turn(10)
    await here.turn(10)
    assert await held_calls(database) == {later}


@pytest.mark.parametrize("jump_s", JUMPS_S)
async def test_a_jump_is_told_once(here, jump_s):
    await here.turn(10)
    here.jump(jump_s)
    await here.turn(10)
    await here.turn(10)
    warnings = [fact for fact in here.facts if isinstance(fact, Warned)]
    assert [fact.subject for fact in warnings] == ["clock"]
    assert f"{jump_s:+.0f} s" in warnings[0].message

    metrics = Metrics()
    metrics.on_facts(here.facts)
    assert metrics.snapshot().counters["gatewayz_warnings"] == {("clock",): 1.0}


@pytest.mark.parametrize("jump_s", JUMPS_S)
async def test_a_running_claim_stays_when_the_date_jumps(database, here, tmp_path, jump_s):
    await here.turn(0)
    peppers = load_peppers(tmp_path, Secret(""))
    claims = SqlClaims(database, peppers, here.clock, "here")
    others = SqlClaims(database, peppers, SystemClock(), "there")

    def claim() -> Claim:
        until_ms = here.clock.wall_ms() + CALL_S * 1000
        return Claim(
            account="payer", key="once", fingerprint="f", request=new_ulid(), until_ms=until_ms
        )

    assert await claims.acquire(claim()) is None
    here.jump(jump_s)
    await here.turn(10)
    for other in (claims, others):
        with pytest.raises(Fault) as refused:
            await other.acquire(claim())
        assert refused.value.kind == "in_flight"

    # Its time passes, or whoever runs it dies: then the next request has the key.
    async with database.begin() as connection:
        await connection.execute(delete(OWNERS).where(OWNERS.c.id == "here"))
    assert await others.acquire(claim()) is None
    async with database.begin() as connection:
        await connection.execute(delete(IDEMPOTENCY))
        await connection.execute(insert(OWNERS).values(id="here", started_ms=1, beat_ms=1))
    assert await claims.acquire(claim()) is None
    here.clock.advance(CALL_S + DEADLINE_GRACE_S + 1)
    assert await claims.acquire(claim()) is None


def test_a_steady_date_goes_on_with_the_time_and_not_with_the_date():
    clock = ManualClock()
    steady, before = SteadyClock(clock), clock.date_ms
    clock.date_ms += HOUR_S * 1000
    assert steady.wall_ms() == before
    clock.advance(2.5)
    assert (steady.wall_ms(), steady.now()) == (before + 2_500, clock.now())


def test_clocks_that_are_adjusted_by_little_do_not_jump():
    clock = ManualClock()
    watch = DateWatch(clock)
    for adjusted_ms in (0, 4_000, -4_900):
        clock.advance(10)
        clock.date_ms += adjusted_ms
        assert watch.read_jump_s() == 0.0


def test_an_owner_that_beats_is_not_silent_and_one_that_left_is_forgotten():
    clock = ManualClock()
    watch = OwnerWatch(clock)
    for turn in range(20):
        assert watch.find_silent([("beats", turn)]) == []
        clock.advance(OWNER_SILENT_S - 1)
    assert watch.find_silent([]) == []
    clock.advance(OWNER_SILENT_S)
    assert watch.find_silent([("beats", 19)]) == []
    clock.advance(OWNER_SILENT_S)
    assert watch.find_silent([("beats", 19)]) == [("beats", 19)]
