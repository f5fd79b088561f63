"""Accounts with money, and calls to pay for, straight in the store."""

from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import insert

from gatewayz.control.keys import KeySpec, create_key
from gatewayz.control.transactions import ControlTransaction
from gatewayz.control.upkeep import Upkeep
from gatewayz.core.calls import Call, Outcome, Principal, new_ulid
from gatewayz.core.clock import Clock, SystemClock
from gatewayz.core.money import Nanos
from gatewayz.core.requests import ChatRequest
from gatewayz.core.secrets import Secret
from gatewayz.ledger.orders import MoveOrder
from gatewayz.ledger.values import OWNER_SILENT_S, Billing
from gatewayz.store.secret import load_peppers
from gatewayz.store.sql.database import Database, Location
from gatewayz.store.sql.ledger.books import StoreBooks
from gatewayz.store.sql.ledger.journal import DiskJournal
from gatewayz.store.sql.ledger.postgres import PostgresLedger
from gatewayz.store.sql.ledger.sqlite import SqliteLedger
from gatewayz.store.sql.tables import ACCOUNTS, WALLETS

USD = 10**9


async def open_account(
    database: Database,
    books: StoreBooks,
    name: str,
    *,
    paid: int = 0,
    billing: str = "prepaid",
    floor: int = 0,
) -> str:
    """An account with `paid` nanos in its wallet."""
    async with database.begin() as connection:
        await connection.execute(
            insert(ACCOUNTS).values(id=name, name=name, billing=billing, status="active")
        )
        await connection.execute(
            insert(WALLETS).values(account_id=name, billing=billing, floor=floor)
        )
    if paid:
        await top_up(books, name, paid)
    return name


async def issue_key(database: Database, name: str, data_dir: Path, **fields: Any) -> str:
    """An API key of the account, under the secret of this data directory."""
    transaction = ControlTransaction(
        database, SystemClock(), load_peppers(data_dir, Secret("")), "test"
    )
    key, _ = await create_key(transaction, KeySpec(account=name, name="test", **fields))
    return key


class LaterClock(SystemClock):
    """The same moment, later; `passed_s` more by both clocks once it is set."""

    def __init__(self, by_s: int) -> None:
        self.by_ms = by_s * 1000
        self.passed_s = 0.0

    def now(self) -> float:
        return super().now() + self.passed_s

    def wall_ms(self) -> int:
        return super().wall_ms() + self.by_ms + round(self.passed_s * 1000)


async def expire_after_silence(upkeep: Upkeep, clock: LaterClock) -> None:
    """Lets the upkeep watch the others for as long as it takes to say that they are dead."""
    await upkeep.expire()
    clock.passed_s += OWNER_SILENT_S
    await upkeep.expire()


async def top_up(books: StoreBooks, name: str, amount: int) -> None:
    result = await books.commits.put(
        MoveOrder(
            id=f"topup:{new_ulid()}",
            account=name,
            kind="topup",
            counter="cash:bank",
            amount=Nanos(amount),
        )
    )
    assert result.fault is None


def call_of(
    name: str,
    *,
    billing: Billing = "prepaid",
    budgets: tuple[str, ...] = (),
    request: ChatRequest | None = None,
) -> Call:
    now = SystemClock()
    request = request or ChatRequest(dialect="openai_chat", model="family/model", messages=())
    return Call(
        id=new_ulid(),
        endpoint="/v1/chat/completions",
        request=request,
        principal=Principal(name, "key", billing=billing, budgets=budgets),
        received_at=now.now(),
        received_ms=now.wall_ms(),
        deadline=now.now() + 600,
    )


def outcome_of(cost: int) -> Outcome:
    return Outcome(served="provider", model="family/model", upstream_id="model", cost=Nanos(cost))


class ProcessBooks(StoreBooks):
    """Books with the journal beside them, and what that has warned of."""

    journal: DiskJournal
    warned: list[str]


@asynccontextmanager
async def open_process_books(
    location: Location, data_dir: Path, owner: str, clock: Clock | None = None
):
    """The books as another process of the same installation has them."""
    clock = clock or SystemClock()
    ledger = (
        PostgresLedger(location, clock)
        if location.kind == "postgresql"
        else SqliteLedger(location.path, clock)
    )
    warned: list[str] = []
    journal = DiskJournal(data_dir, owner, warned.append)
    books = ProcessBooks(ledger, journal, clock, owner)
    books.journal, books.warned = journal, warned
    try:
        yield books
    finally:
        await books.finish()
        await ledger.close()
        journal.close()
