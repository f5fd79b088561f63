"""What is begun when it is needed never ends by an error either: it tells, and goes on with the rest."""

import asyncio
import socket
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from gatewayz.cli.serve import supervisor
from gatewayz.cli.serve.supervisor import Supervisor, WorkerProcess
from gatewayz.cli.serve.supervisor_link import SupervisorLink
from gatewayz.cli.serve.worker_channel import (
    LENGTH,
    Alive,
    CountsReport,
    CountsRequest,
    FromWorker,
    StartWorker,
    ToWorker,
    open_channel,
)
from gatewayz.control.auth.key_cache import KeyCache
from gatewayz.core.ceiling import Ceiling
from gatewayz.core.facts import Warned
from gatewayz.core.faults import Fault
from gatewayz.core.keys import RANDOM_BYTES, key_from_random
from gatewayz.core.money import Nanos
from gatewayz.core.secrets import Secret
from gatewayz.ledger.orders import HoldOrder, OrderResult, SettleOrder
from gatewayz.observe.metrics_snapshot import MetricsSnapshot
from gatewayz.settings import load_settings
from gatewayz.store.secret import Peppers
from gatewayz.store.sql.database import Database
from gatewayz.store.sql.ledger import books, unsaved
from gatewayz.store.sql.ledger.books import StoreBooks
from tests.support.clocks import ManualClock

ERRORS = [
    RuntimeError("nobody expected this"),
    ZeroDivisionError("division by zero"),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
    AssertionError(),
]
each_error = pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
KEYS = [key_from_random(bytes([number]) * RANDOM_BYTES) for number in range(3)]


async def turn_until(predicate):
    async with asyncio.timeout(30):
        while not predicate():
            await asyncio.sleep(0.001)


class OddLedger:
    """Carries nothing out: what a call is named for happens to its order."""

    def __init__(self):
        self.done = []
        self.errors = {}

    async def commit(self, orders):
        for order in orders:
            if error := self.errors.pop(order.call, None):
                raise error
        self.done += [order.call for order in orders]
        return [OrderResult() for order in orders if order.call != "no result"]

    async def close(self):
        pass


def books_over(ledger, told):
    return StoreBooks(ledger, SimpleNamespace(has_room=False), ManualClock(), "me", told.append)


def hold_order(call):
    return HoldOrder(call=call, account="acme", ceiling=Ceiling(Nanos(1)), deadline_ms=1)


@each_error
async def test_a_hold_that_cannot_be_given_back_keeps_no_other(error):
    ledger, told = OddLedger(), list[str]()
    store_books = books_over(ledger, told)
    ledger.errors["odd"] = error
    store_books._release_later(hold_order("odd"))
    await turn_until(lambda: not store_books.unconfirmed_holds)
    for call in ("first", "second"):
        store_books._release_later(hold_order(call))
    await turn_until(lambda: not store_books.unconfirmed_holds)
    assert ledger.done == ["first", "second"]
    assert len(told) == 1
    assert "odd is left to its expiry" in told[0]


async def test_a_store_that_is_away_is_asked_again_for_each_hold():
    ledger, told = OddLedger(), list[str]()
    store_books = books_over(ledger, told)
    for call in ("first", "second"):
        ledger.errors[call] = Fault("unavailable", "The store is away.")
        store_books._release_later(hold_order(call))
    assert 0 < books.RELEASE_RETRY_S <= 1
    await turn_until(lambda: not store_books.unconfirmed_holds)
    assert sorted(ledger.done) == ["first", "second"]
    assert told == []


@each_error
async def test_a_settlement_that_is_refused_does_not_keep_the_store_away(error):
    ledger, told = OddLedger(), list[str]()
    waiting = books_over(ledger, told).unsaved
    order = SettleOrder(call="odd", account="acme", cost=Nanos(0), rows=())
    ledger.errors["odd"] = error
    waiting.keep(SettleOrder(call="kept", account="acme", cost=Nanos(0), rows=()))
    waiting.note_away(order, "it does not answer")
    assert waiting.is_away
    assert unsaved.ASK_AGAIN_S <= 1
    await turn_until(lambda: not waiting.is_away and not len(waiting))
    assert ledger.done == ["kept"]
    assert "was refused" in told[1]
    await waiting.close()


async def test_a_batch_without_a_result_for_each_order_fails_and_the_next_is_carried_out():
    commits = books_over(OddLedger(), []).commits
    with pytest.raises(Fault):
        await commits.put(hold_order("no result"))
    assert await commits.put(hold_order("next")) == OrderResult()


class OddDatabase(Database):
    """A store in which each transaction fails by the error of its turn."""

    def __init__(self, *errors):
        self.errors = list(errors)

    @asynccontextmanager
    async def begin(self, *, reading=False, frozen=False):
        raise self.errors.pop(0)
        yield


@each_error
async def test_whoever_waits_for_a_key_hears_of_any_error(error):
    away = Fault("unavailable", "The store does not answer.")
    database = OddDatabase(error, away, error)
    keys = KeyCache(database, Peppers((Secret("installation"),)), ManualClock(), Secret(""))
    for key in KEYS:
        with pytest.raises(Fault) as refused:
            await keys.principal(key)
        assert refused.value.kind == "unavailable"
    assert database.errors == []
    assert keys._waiting == {}
    await keys.close()


async def test_a_change_of_keys_that_could_not_be_read_is_read_later():
    database = OddDatabase(ZeroDivisionError("division by zero"))
    keys = KeyCache(database, Peppers((Secret("installation"),)), ManualClock(), Secret(""))
    keys._revision = 7
    with pytest.raises(ZeroDivisionError):
        await keys.poll()
    assert keys._revision == -1


@pytest.mark.parametrize(
    "content", [b"", b"\xc1", b"{}", msgspec.msgpack.encode({"type": "Nothing"}), b"\xff" * 40]
)
async def test_a_worker_that_says_what_nobody_understands_is_gone(content):
    ours, theirs = socket.socketpair()
    channel, other = await open_channel(ours, FromWorker), await open_channel(theirs, ToWorker)
    other.send(Alive())
    other.send_encoded(content)
    assert await channel.receive() == Alive()
    assert await channel.receive() is None
    assert LENGTH.size == 4
    channel.close()
    other.close()


class OddSupervisor(Supervisor):
    """One whose workers cannot be started: each start fails by the next error."""

    def __init__(self, loaded, errors):
        super().__init__(loaded, ("127.0.0.1", 0), None)
        self.errors = list(errors)
        self.told = []

    async def _spawn_worker(self, number):
        if not self.errors:
            self._stop()
            raise OSError("enough")
        raise self.errors.pop(0)

    def _emit(self, fact):
        self.told.append(fact.message)


async def test_a_worker_whose_start_fails_is_started_again_whatever_the_error(tmp_path):
    odd = OddSupervisor(load_settings("", {"data_dir": str(tmp_path)}), ERRORS[:2])
    odd._first_worker_ready.set()
    odd._served_at = asyncio.get_running_loop().time()
    await asyncio.wait_for(odd._run_slot(2), 60)
    assert odd.errors == []
    assert [told for told in odd.told if "nobody expected this" in told or "division" in told]
    assert supervisor.FIRST_RESTART_WAIT_S <= 1


async def test_the_watch_over_the_workers_goes_on_after_an_error(tmp_path):
    odd = OddSupervisor(load_settings("", {"data_dir": str(tmp_path)}), ())
    looks: list[int] = []

    class Looked:
        number, ready = 1, True

        @property
        def silent_s(self):
            looks.append(0)
            raise RuntimeError("nobody expected this")

    odd._workers[1] = cast(WorkerProcess, Looked())
    odd._tasks.repeat("workers", odd._end_silent_workers, supervisor.LOOK_EVERY_S)
    await turn_until(lambda: len(looks) >= 2)
    await odd._tasks.stop()
    assert "RuntimeError: nobody expected this" in odd.told[0]


async def test_a_worker_whose_counts_cannot_be_had_says_that_it_is_alive(tmp_path):
    loaded = load_settings("", {"data_dir": str(tmp_path)})
    ours, theirs = socket.socketpair()
    channel, other = await open_channel(ours, ToWorker), await open_channel(theirs, FromWorker)
    told, snapshots = list[Warned](), [MetricsSnapshot()]

    def snapshot():
        return snapshots.pop()

    assembly: Any = SimpleNamespace(
        bus=SimpleNamespace(flush=lambda: None, emit=told.append),
        metrics=SimpleNamespace(snapshot=snapshot),
        server=SimpleNamespace(should_exit=False),
    )
    start = StartWorker(loaded=loaded, worker=1, workers=1, listening=0, prints_banner=False)
    link = SupervisorLink(channel, start)
    commands = asyncio.get_running_loop().create_task(link._receive_commands(assembly))
    for _ in range(2):
        other.send(CountsRequest())
    assert await other.receive() == CountsReport(MetricsSnapshot())
    assert await other.receive() == Alive()
    assert "IndexError" in told[0].message
    assert not assembly.server.should_exit
    commands.cancel()
    channel.close()
    other.close()
