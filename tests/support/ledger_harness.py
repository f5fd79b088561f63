"""Whoever can carry out a batch of orders, for the laws of the ledger: batches in memory, SQLite, PostgreSQL."""

import asyncio
import sqlite3
from collections.abc import Sequence
from typing import Any

from gatewayz.core.clock import SystemClock
from gatewayz.ledger.batch import LedgerBatch
from gatewayz.ledger.orders import ExpireGrantsOrder, Order, OrderResult, ReleaseOrder
from gatewayz.ledger.values import Budget, OpenHold, Wallet
from gatewayz.store.sql.database import Location
from gatewayz.store.sql.ledger import sqlite
from gatewayz.store.sql.ledger.batch_rows import BUDGET_COLUMNS, budget_from
from gatewayz.store.sql.ledger.compact import SharedTexts
from gatewayz.store.sql.ledger.postgres import PostgresLedger
from gatewayz.store.sql.ledger.reconcile import CHECKS, statement_of

MONEY_TABLES = (
    "wallets",
    "transfers",
    "holds",
    "budgets",
    "grants",
    "calls",
    "call_texts",
    "usage_models",
)


class FixedClock(SystemClock):
    """The date is what the test says."""

    def __init__(self) -> None:
        self.date_ms = 1_800_000_000_000

    def wall_ms(self) -> int:
        return self.date_ms


class PureLedgerHarness:
    """A batch that is never closed: the decisions without a database."""

    def __init__(self) -> None:
        self.clock = FixedClock()
        self.batch = LedgerBatch(self.clock.date_ms, "pure")

    def open_account(self, wallet: Wallet) -> None:
        self.batch.wallets[wallet.account] = wallet

    def open_budget(self, budget: Budget) -> None:
        self.batch.budgets[budget.subject] = budget

    def budget(self, subject: str) -> Budget:
        return self.batch.budgets[subject]

    def commit(self, orders: Sequence[Order]) -> list[OrderResult]:
        self.batch.now_ms = self.clock.date_ms
        return self.batch.apply(orders)

    def wallet(self, account: str) -> Wallet:
        return self.batch.wallets[account]

    def holds(self) -> dict[str, OpenHold]:
        return dict(self.batch.holds)

    def violations(self) -> list[Any]:
        balances: dict[str, int] = {}
        for one in self.batch.transfers:
            balances[one.debit] = balances.get(one.debit, 0) - one.amount
            balances[one.credit] = balances.get(one.credit, 0) + one.amount
        wrong: list[Any] = [("sum", sum(balances.values()))] if sum(balances.values()) else []
        wrong += [("nothing moves", one) for one in self.batch.transfers if one.amount <= 0]
        ids = [one.id for one in self.batch.transfers]
        wrong += (
            [("id twice", one) for one in set(ids) if ids.count(one) > 1]
            if len(ids) != len(set(ids))
            else []
        )
        for name, wallet in self.batch.wallets.items():
            held = sum(hold.amount for hold in self.batch.holds.values() if hold.account == name)
            sides = {
                f"wallet:{name}:paid": wallet.paid,
                f"wallet:{name}:promo": wallet.promo,
                f"held:{name}": wallet.held,
            }
            wrong += [
                (side, amount, balances.get(side, 0))
                for side, amount in sides.items()
                if amount != balances.get(side, 0)
            ]
            wrong += [("held", name, wallet.held, held)] if wallet.held != held else []
        return wrong

    def close(self) -> None:
        """Nothing is open."""


class SqliteLedgerHarness:
    """The ledger's own statements on a file, without its thread."""

    def __init__(self, location: Location) -> None:
        self.clock = FixedClock()
        self.connection = sqlite3.connect(location.path, isolation_level=None)
        self.connection.execute("PRAGMA synchronous=OFF")
        self.texts = SharedTexts()
        for table in MONEY_TABLES:
            self.connection.execute(f"DELETE FROM {table}")

    def open_account(self, wallet: Wallet) -> None:
        self.connection.execute(
            "INSERT INTO wallets (account_id, billing, paid, promo, held, floor) VALUES (?, ?, 0, 0, 0, ?)",
            (wallet.account, wallet.billing, wallet.floor),
        )

    def open_budget(self, budget: Budget) -> None:
        self.connection.execute(
            "INSERT INTO budgets (subject, account_id, limit_nanos, period) VALUES (?, ?, ?, ?)",
            (budget.subject, budget.account, budget.limit, budget.period),
        )

    def budget(self, subject: str) -> Budget:
        statement = f"SELECT {', '.join(BUDGET_COLUMNS)} FROM budgets WHERE subject = ?"
        return budget_from(self.connection.execute(statement, (subject,)).fetchone())

    def commit(self, orders: Sequence[Order]) -> list[OrderResult]:
        return sqlite.run_batch(self.connection, orders, self.clock.date_ms, self.texts)

    def wallet(self, account: str) -> Wallet:
        return sqlite.read_batch(
            self.connection, [ExpireGrantsOrder(account=account)], self.clock.date_ms
        ).wallets[account]

    def holds(self) -> dict[str, OpenHold]:
        calls = [row[0] for row in self.connection.execute("SELECT call_id FROM holds")]
        return sqlite.read_batch(
            self.connection,
            [ReleaseOrder(call=call, account="") for call in calls],
            self.clock.date_ms,
        ).holds

    def violations(self) -> list[Any]:
        return [
            (name, *row)
            for name in CHECKS
            if name != "no_hold_is_stale"
            for row in self.connection.execute(statement_of(name, self.clock.date_ms))
        ]

    def close(self) -> None:
        self.connection.close()


class PostgresLedgerHarness:
    """The ledger on a real PostgreSQL, one loop a harness."""

    def __init__(self, location: Location) -> None:
        self.clock = FixedClock()
        self.loop = asyncio.new_event_loop()
        self.ledger = PostgresLedger(location, self.clock)
        self._run("TRUNCATE " + ", ".join(MONEY_TABLES))

    def _run(self, statement: str, *parameters: Any) -> list[Any]:
        async def run() -> list[Any]:
            connection = await self.ledger.connect()
            return [tuple(row) for row in await connection.fetch(statement, *parameters)]

        return self.loop.run_until_complete(run())

    def open_account(self, wallet: Wallet) -> None:
        self._run(
            "INSERT INTO wallets (account_id, billing, floor) VALUES ($1, $2, $3)",
            wallet.account,
            wallet.billing,
            wallet.floor,
        )

    def open_budget(self, budget: Budget) -> None:
        self._run(
            "INSERT INTO budgets (subject, account_id, limit_nanos, period) VALUES ($1, $2, $3, $4)",
            budget.subject, budget.account, budget.limit, budget.period,
        )  # fmt: skip

    def budget(self, subject: str) -> Budget:
        statement = f"SELECT {', '.join(BUDGET_COLUMNS)} FROM budgets WHERE subject = $1"
        return budget_from(self._run(statement, subject)[0])

    def commit(self, orders: Sequence[Order]) -> list[OrderResult]:
        return self.loop.run_until_complete(self.ledger.commit(orders))

    def wallet(self, account: str) -> Wallet:
        columns = "billing, paid, promo, held, floor, promo_until_ms"
        billing, paid, promo, held, floor, until = self._run(
            f"SELECT {columns} FROM wallets WHERE account_id = $1", account
        )[0]
        return Wallet(
            account=account,
            billing=billing,
            paid=paid,
            promo=promo,
            held=held,
            floor=floor,
            promo_until_ms=until,
        )

    def holds(self) -> dict[str, OpenHold]:
        rows = self._run("SELECT call_id, account_id, promo, paid FROM holds")
        return {
            call: OpenHold(call=call, account=account, promo=promo, paid=paid)
            for call, account, promo, paid in rows
        }

    def violations(self) -> list[Any]:
        return [
            (name, *row)
            for name in CHECKS
            if name != "no_hold_is_stale"
            for row in self._run(statement_of(name, self.clock.date_ms))
        ]

    def close(self) -> None:
        self.loop.run_until_complete(self.ledger.close())
        self.loop.close()


def open_ledger_harness(location: Location) -> "SqliteLedgerHarness | PostgresLedgerHarness":
    return (
        PostgresLedgerHarness(location)
        if location.kind == "postgresql"
        else SqliteLedgerHarness(location)
    )
