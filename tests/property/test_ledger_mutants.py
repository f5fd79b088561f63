"""The laws are worth something: each of these mistakes, made on purpose, breaks one of them."""

import asyncio
import inspect
import types

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from gatewayz.core.ceiling import Ceiling
from gatewayz.core.clock import SystemClock
from gatewayz.core.money import Nanos
from gatewayz.ledger import batch, shortfall
from gatewayz.store.sql.database import Database
from gatewayz.store.sql.ledger import postgres
from gatewayz.store.sql.ledger.books import StoreBooks
from gatewayz.store.sql.ledger.journal import DiskJournal
from gatewayz.store.sql.ledger.reconcile import violations
from tests.property.test_ledger_laws import machine
from tests.support.ledger_harness import PureLedgerHarness
from tests.support.money import call_of, open_account, outcome_of

MISTAKES = {
    "a call is settled twice": ("if order.call in self.settled_calls:", "if False:"),
    "an event moves twice": ("if order.id in self.applied_moves:", "if False:"),
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
    "a cost above the hold is forgotten": ("if overrun > 0:", "if False:"),
    "a wallet is emptied below its floor": (
        "paid = min(max(wallet.paid - wallet.floor, 0), overrun - promo)",
        "paid = overrun - promo",
    ),
    "a refund takes what is not there": (
        "taken = min(-order.amount, available)",
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
        "refusal = find_shortfall(wallet, budgets, order.ceiling)\n        if refusal is not None:",
        "refusal = find_shortfall(wallet, budgets, order.ceiling)\n"
        "        if refusal is not None and not self._hold_from_wallet("
        "order.account, 1, order.call, 'hold', order.call):",
    ),
    "a budget bounds no range": (
        "budget.limit - budget.spent - budget.held for budget in budgets]",
        "2**62 for budget in budgets]",
    ),
    "what others hold is free to a range": (
        "amounts.append(wallet.spendable)",
        "amounts.append(wallet.spendable + wallet.held)",
    ),
    "a range is always held in full": (
        "amount = order.ceiling.amount(free)",
        "amount = order.ceiling.largest",
    ),
    "a range is never more than its least": (
        "amount = order.ceiling.amount(free)",
        "amount = order.ceiling.smallest",
    ),
}


def mutate(module: types.ModuleType, before: str, after: str) -> types.ModuleType:
    """The module with one text in the place of another, where it has it."""
    source = inspect.getsource(module)
    mutated = types.ModuleType("gatewayz.ledger.mutated")
    exec(compile(source.replace(before, after), "mutated", "exec"), mutated.__dict__)
    return mutated


def mutated_batch(before: str, after: str) -> type[batch.LedgerBatch]:
    assert before in inspect.getsource(batch) + inspect.getsource(shortfall)
    mutated = mutate(batch, before, after)
    decisions = mutate(shortfall, before, after)
    vars(mutated)["find_shortfall"] = decisions.find_shortfall
    vars(mutated)["free_amount"] = decisions.free_amount
    return mutated.LedgerBatch


class MutatedHarness(PureLedgerHarness):
    def __init__(self, batch_class: type[batch.LedgerBatch]) -> None:
        super().__init__()
        self.batch = batch_class(self.clock.date_ms, "mutated")


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_the_ledger_is_caught(mistake):
    batch_class = mutated_batch(*MISTAKES[mistake])
    search = settings(
        max_examples=400,
        stateful_step_count=40,
        phases=[Phase.generate],
        report_multiple_bugs=False,
    )
    with pytest.raises((AssertionError, KeyError, ExceptionGroup)):
        run_state_machine_as_test(machine(lambda: MutatedHarness(batch_class)), settings=search)


async def test_balances_that_are_read_without_a_lock_are_caught(databases, tmp_path):
    """Two replicas on PostgreSQL; SQLite has one writer whatever is asked."""
    location = databases.create_migrated("postgresql", tmp_path)
    assert inspect.getsource(postgres).count(" FOR UPDATE") == 1
    mutated = mutate(postgres, " FOR UPDATE", "")
    database, clock = Database(location), SystemClock()
    replicas = [mutated.PostgresLedger(location, clock) for _ in range(2)]
    books = [
        StoreBooks(ledger, DiskJournal(tmp_path, name, lambda message: None), clock, name)
        for ledger, name in zip(replicas, "ab", strict=True)
    ]
    await open_account(database, books[0], "payer", paid=1_000_000)
    for _ in range(50):
        calls = [call_of("payer") for _ in range(20)]
        holds = await asyncio.gather(
            *(
                books[number % 2].hold(call, Ceiling(Nanos(100)))
                for number, call in enumerate(calls)
            )
        )
        await asyncio.gather(
            *(
                books[number % 2].settle(call, hold, outcome_of(60))
                for number, (call, hold) in enumerate(zip(calls, holds, strict=True))
            )
        )
        if await violations(database, clock.wall_ms()):
            break
    checks = {violation.check for violation in await violations(database, clock.wall_ms())}
    for ledger in replicas:
        await ledger.close()
    await database.close()
    assert "balance_is_its_transfers" in checks
