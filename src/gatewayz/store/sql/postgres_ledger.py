"""The ledger on PostgreSQL: one connection, one batch of orders a transaction, decisions in Python.

The wallets of a batch are locked in the order of their ids, so two replicas never wait for each other in a circle;
whatever belongs to an account is read after its wallet is locked. Rows travel as arrays.
"""

import asyncio
from collections.abc import Sequence
from functools import cache
from typing import Any

import asyncpg
from sqlalchemy import BigInteger, Boolean, Integer, LargeBinary, Text

from gatewayz.core.calls import new_ulid
from gatewayz.core.clock import Clock
from gatewayz.core.faults import Fault
from gatewayz.ledger.orders import Done, Order
from gatewayz.ledger.pages import Pages
from gatewayz.store.sql.database import CONNECT_S, RETRY_S, STATEMENT_S, Location
from gatewayz.store.sql.pagework import (
    BUDGET_COLUMNS,
    GRANT_COLUMNS,
    HOLD_COLUMNS,
    TRANSFER_COLUMNS,
    WALLET_COLUMNS,
    Row,
    budget_from,
    ending_grants,
    grants_from,
    hold_from,
    settled_calls,
    wallet_from,
    wanted,
    written,
)
from gatewayz.store.sql.records import ADDED, ATTEMPT_COLUMNS, CALL_COLUMNS, DAY_COLUMNS
from gatewayz.store.sql.tables import METADATA

TRIES = 4
"""Of a batch that PostgreSQL broke off for a deadlock or a serialization."""
PASSING = ("40001", "40P01", "55P03")
TYPES: dict[type, str] = {
    Text: "text",
    BigInteger: "bigint",
    Integer: "integer",
    Boolean: "boolean",
    LargeBinary: "bytea",
}
NUL, REPLACEMENT = "\x00", "�"
"""PostgreSQL's text cannot hold a NUL, which clients may send."""


class PostgresLedger:
    """Carries out batches on a connection of its own, which is made anew when it breaks."""

    def __init__(self, location: Location, clock: Clock) -> None:
        self._location = location
        self._clock = clock
        self._connection: Any = None

    async def commit(self, orders: Sequence[Order]) -> list[Done]:
        """Carries the batch out and commits it. Faults: `unavailable` when the store is away."""
        for last in (*(False,) * (TRIES - 1), True):
            try:
                return await self._tried(orders)
            except asyncpg.PostgresError as error:
                if error.sqlstate in PASSING and not last:
                    continue
                raise self._refused(error) from error
            except (OSError, TimeoutError, asyncpg.InterfaceError) as error:
                await self._forget()
                raise _away(error) from error
            except asyncio.CancelledError:
                # What the server made of it is not known on this connection any more.
                await self._forget()
                raise
        return []

    async def _tried(self, orders: Sequence[Order]) -> list[Done]:
        connection = await self.connected()
        async with connection.transaction():
            pages = await _read(connection, orders, self._clock.wall_ms())
            dones = pages.carry_out(orders)
            await _write(connection, pages)
        return dones

    async def connected(self) -> Any:
        """The connection, made anew where it is broken. Raises what asyncpg raises."""
        if self._connection is None or self._connection.is_closed():
            more: dict[str, Any] = {"statement_cache_size": 0} if self._location.pooler else {}
            self._connection = await asyncpg.connect(
                self._location.dsn, timeout=CONNECT_S, command_timeout=STATEMENT_S, **more
            )
        return self._connection

    def _refused(self, error: asyncpg.PostgresError) -> Fault:
        if isinstance(error, asyncpg.IntegrityConstraintViolationError | asyncpg.DataError):
            return Fault("internal", f"The store refused what was booked: {error}")
        return _away(error)

    async def _forget(self) -> None:
        broken, self._connection = self._connection, None
        if broken is not None:
            broken.terminate()

    async def close(self) -> None:
        if self._connection is not None and not self._connection.is_closed():
            await self._connection.close(timeout=CONNECT_S)


def _away(error: BaseException) -> Fault:
    return Fault(
        "unavailable",
        f"The store cannot be used: {error or type(error).__name__}",
        retry_after_s=RETRY_S,
    )


async def _read(connection: Any, orders: Sequence[Order], now_ms: int) -> Pages:
    pages, want = Pages(now_ms, new_ulid()), wanted(orders)
    for row in await connection.fetch(LOCK_WALLETS, want.accounts):
        pages.wallets[row[0]] = wallet_from(tuple(row))
    if want.calls:
        for row in await connection.fetch(_select("holds", HOLD_COLUMNS, "call_id"), want.calls):
            pages.holds[row[0]] = hold_from(tuple(row))
        settled = settled_calls(orders)
        if settled:
            pages.settled.update(
                row[0] for row in await connection.fetch(_select("calls", ("id",), "id"), settled)
            )
    subjects = sorted(
        {*want.budgets, *(subject for hold in pages.holds.values() for subject in hold.budgets)}
    )
    if subjects:
        for row in await connection.fetch(_select("budgets", BUDGET_COLUMNS, "subject"), subjects):
            pages.budgets[row[0]] = budget_from(tuple(row))
    ending = ending_grants(pages)
    if ending:
        columns = ("account_id", "id", "amount", "expires_ms")
        pages.grants = grants_from(
            await connection.fetch(_select("grants", columns, "account_id"), ending)
        )
    if want.moves:
        pages.moved.update(
            row[0] for row in await connection.fetch(_select("transfers", ("id",), "id"), want.moves)
        )  # fmt: skip
    for call, side in want.refunds:
        pages.charged[call, side] = await connection.fetchval(CHARGED, call, side)
    return pages


LOCK_WALLETS = f"SELECT {', '.join(WALLET_COLUMNS)} FROM wallets WHERE account_id = ANY($1::text[]) ORDER BY account_id FOR UPDATE"
CHARGED = (
    "SELECT COALESCE(SUM(CASE WHEN debit = $2 THEN amount ELSE -amount END), 0)::bigint FROM transfers "
    "WHERE call_id = $1 AND (debit = $2 OR credit = $2) AND EXISTS (SELECT 1 FROM calls WHERE calls.id = call_id)"
)


async def _write(connection: Any, pages: Pages) -> None:
    rows = written(pages)
    await _arrays(connection, UPDATE_WALLETS, 5, rows.wallets)
    await _arrays(connection, UPDATE_BUDGETS, 4, rows.budgets)
    if rows.ended:
        await connection.execute("DELETE FROM holds WHERE call_id = ANY($1::text[])", rows.ended)
    for table, columns, found in (
        ("transfers", TRANSFER_COLUMNS, rows.transfers),
        ("holds", HOLD_COLUMNS, rows.holds),
        ("grants", GRANT_COLUMNS, rows.grants),
        ("calls", CALL_COLUMNS, rows.calls),
        ("attempts", ATTEMPT_COLUMNS, rows.attempts),
    ):
        await _arrays(connection, _insert(table, columns), len(columns), found)
    await _arrays(connection, ADD_DAYS, len(DAY_COLUMNS), rows.days)
    await _arrays(connection, UPDATE_REPLAYS, 6, rows.replays)


async def _arrays(connection: Any, statement: str, width: int, rows: list[Row]) -> None:
    if rows:
        columns = list(zip(*rows, strict=True)) if rows else [()] * width
        await connection.execute(statement, *(_plain(column) for column in columns))


def _plain(column: tuple[Any, ...]) -> list[Any]:
    return [
        cell.replace(NUL, REPLACEMENT) if type(cell) is str and NUL in cell else cell
        for cell in column
    ]


UPDATE_WALLETS = """
UPDATE wallets SET paid = new.paid, promo = new.promo, held = new.held, promo_until_ms = new.until
FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[])
    AS new(account_id, paid, promo, held, until)
WHERE wallets.account_id = new.account_id
"""
UPDATE_BUDGETS = """
UPDATE budgets SET period_ms = new.period_ms, spent = new.spent, held = new.held
FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[]) AS new(subject, period_ms, spent, held)
WHERE budgets.subject = new.subject
"""
UPDATE_REPLAYS = """
UPDATE idempotency SET state = new.state, answer = new.answer, expires_ms = new.until
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bytea[], $6::bigint[])
    AS new(account_id, key, call_id, state, answer, until)
WHERE idempotency.account_id = new.account_id AND idempotency.key = new.key AND idempotency.call_id = new.call_id
"""


@cache
def _select(table: str, columns: tuple[str, ...], among: str) -> str:
    return f"SELECT {', '.join(columns)} FROM {table} WHERE {among} = ANY($1::text[])"


@cache
def _insert(table: str, columns: tuple[str, ...]) -> str:
    known = METADATA.tables[table].columns
    arrays = [
        f"${number}::{TYPES[type(known[name].type)]}[]" for number, name in enumerate(columns, 1)
    ]
    replaced = ", ".join(f"{name} = EXCLUDED.{name}" for name in columns if name != "call_id")
    conflict = f" ON CONFLICT (call_id) DO UPDATE SET {replaced}" if table == "holds" else ""
    return f"INSERT INTO {table} ({', '.join(columns)}) SELECT * FROM unnest({', '.join(arrays)}){conflict}"


ADD_DAYS = f"{_insert('usage_days', DAY_COLUMNS)} ON CONFLICT (account_id, key_id, day) DO UPDATE SET {ADDED}"
