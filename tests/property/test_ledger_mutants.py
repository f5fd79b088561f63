"""The laws are worth something: each of these mistakes, made on purpose in the ledger, breaks one of them."""

import asyncio
import inspect
import types

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from gatewayz.core.clock import SystemClock
from gatewayz.core.money import Nanos
from gatewayz.ledger import pages
from gatewayz.store.sql import postgres_ledger
from gatewayz.store.sql.books import StoreBooks
from gatewayz.store.sql.checking import violations
from gatewayz.store.sql.database import Database
from gatewayz.store.sql.journal import DiskJournal
from tests.property.test_ledger_laws import machine
from tests.support.keepers import PureKeeper
from tests.support.money import account, call_of, outcome_of

MISTAKES = {
    "a call is settled twice": ("if order.call in self.settled:", "if False:"),
    "an event moves twice": ("if order.id in self.moved:", "if False:"),
    "what is held can be held again": (
        "amount > wallet.spendable:",
        "amount > wallet.spendable + wallet.held:",
    ),
    "promo is given back though it was used": (
        "promo_used = min(hold.promo, cost)",
        "promo_used = 0",
    ),
    "the rest is not given back": ("paid=wallet.paid + paid_back,", "paid=wallet.paid,"),
    "the hold stays open": ("del self.holds[call]", "pass"),
    "a cost above the hold is forgotten": ("if over > 0:", "if False:"),
    "a wallet is emptied below its floor": (
        "paid = min(max(wallet.paid - wallet.floor, 0), over - promo)",
        "paid = over - promo",
    ),
    "a refund takes what is not there": (
        "taken = min(-order.amount, there)",
        "taken = -order.amount",
    ),
    "an extension is not written down": (
        "promo=hold.promo + promo, paid=hold.paid + paid",
        "promo=hold.promo, paid=hold.paid",
    ),
    "paid before promo": (
        "promo = min(wallet.promo, amount)\n        paid",
        "promo = 0\n        paid",
    ),
    "a refused hold changes the wallet": (
        "refused = self._refused(order.account, order.amount, order.budgets)\n        if refused is not None:",
        'refused = self._refused(order.account, order.amount, order.budgets)\n        if refused is not None and not self._take(order.account, 1, order.call, "hold", order.call):',
    ),
}


def mutated(before: str, after: str) -> type[pages.Pages]:
    source = inspect.getsource(pages)
    assert before in source
    module = types.ModuleType("gatewayz.ledger.mutated")
    exec(compile(source.replace(before, after), "mutated", "exec"), module.__dict__)
    return module.Pages


class MutatedKeeper(PureKeeper):
    def __init__(self, of: type[pages.Pages]) -> None:
        super().__init__()
        self.pages = of(self.clock.date_ms, "mutated")


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_the_ledger_is_caught(mistake):
    of = mutated(*MISTAKES[mistake])
    search = settings(
        max_examples=400,
        stateful_step_count=40,
        phases=[Phase.generate],
        report_multiple_bugs=False,
    )
    with pytest.raises((AssertionError, KeyError, ExceptionGroup)):
        run_state_machine_as_test(machine(lambda: MutatedKeeper(of)), settings=search)


async def test_balances_that_are_read_without_a_lock_are_caught(databases, tmp_path):
    """Two replicas on PostgreSQL; SQLite has one writer whatever is asked."""
    location = databases.fresh("postgresql", tmp_path)
    source = inspect.getsource(postgres_ledger)
    assert source.count(" FOR UPDATE") == 1
    module = types.ModuleType("gatewayz.store.sql.mutated")
    exec(compile(source.replace(" FOR UPDATE", ""), "mutated", "exec"), module.__dict__)
    database, clock = Database(location), SystemClock()
    replicas = [module.PostgresLedger(location, clock) for _ in range(2)]
    books = [
        StoreBooks(ledger, DiskJournal(tmp_path, name, lambda message: None), clock, name)
        for ledger, name in zip(replicas, "ab", strict=True)
    ]
    await account(database, books[0], "payer", paid=1_000_000)
    for _ in range(50):
        calls = [call_of("payer") for _ in range(20)]
        holds = await asyncio.gather(
            *(books[number % 2].hold(call, Nanos(100)) for number, call in enumerate(calls))
        )
        await asyncio.gather(
            *(
                books[number % 2].settle(call, hold, outcome_of(60))
                for number, (call, hold) in enumerate(zip(calls, holds, strict=True))
            )
        )
        if await violations(database, clock.wall_ms()):
            break
    found = {one.check for one in await violations(database, clock.wall_ms())}
    for ledger in replicas:
        await ledger.close()
    await database.close()
    assert "balance_is_its_transfers" in found
