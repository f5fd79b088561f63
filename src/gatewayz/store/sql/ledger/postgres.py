"""The ledger on PostgreSQL: one connection, one batch of orders a transaction, decisions in Python.

The wallets of a batch are locked in the order of their ids, so two replicas never wait for each
other in a circle; whatever belongs to an account is read after its wallet is locked. Rows travel as
arrays.
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
from gatewayz.ledger.batch import LedgerBatch
from gatewayz.ledger.orders import Order, OrderResult
from gatewayz.store.sql.database import CONNECT_S, STATEMENT_S, Location, store_unavailable
from gatewayz.store.sql.ledger.batch_rows import (
    BUDGET_COLUMNS,
    GRANT_COLUMNS,
    HOLD_COLUMNS,
    TRANSFER_COLUMNS,
    WALLET_COLUMNS,
    BatchKeys,
    Row,
    budget_from,
    calls_to_settle,
    ending_grants,
    grants_from,
    hold_from,
    keys_to_read,
    rows_to_write,
    wallet_from,
)
from gatewayz.store.sql.ledger.compact import SharedTexts
from gatewayz.store.sql.ledger.records import ADD_TO_SUM, CALL_COLUMNS, SUM_COLUMNS, SUM_KEY
from gatewayz.store.sql.nul import without_nul
from gatewayz.store.sql.tables import METADATA

MAX_TRIES = 4
"""Of a batch that PostgreSQL broke off for a deadlock or a serialization."""
RETRYABLE_SQLSTATES = ("40001", "40P01", "55P03")
"""Serialization failure, deadlock, lock not available: the same batch again may go through."""
TYPES: dict[type, str] = {
    Text: "text",
    BigInteger: "bigint",
    Integer: "integer",
    Boolean: "boolean",
    LargeBinary: "bytea",
}


class PostgresLedger:
    """Carries out batches on a connection of its own, which is made anew when it breaks."""

    def __init__(self, location: Location, clock: Clock) -> None:
        self._location = location
        self._clock = clock
        self._texts = SharedTexts()
        self._connection: Any = None

    async def commit(self, orders: Sequence[Order]) -> list[OrderResult]:
        """Carries the batch out and commits it. Faults: `unavailable` when the store is away."""
        for last in (*(False,) * (MAX_TRIES - 1), True):
            try:
                return await self._run_batch(orders)
            except asyncpg.PostgresError as error:
                if error.sqlstate in RETRYABLE_SQLSTATES and not last:
                    continue
                raise self._fault_from_error(error) from error
            except (OSError, TimeoutError, asyncpg.InterfaceError) as error:
                await self._discard_connection()
                raise store_unavailable(error, self._location) from error
            except asyncio.CancelledError:
                # What the server made of it is not known on this connection any more.
                await self._discard_connection()
                raise
        return []

    async def _run_batch(self, orders: Sequence[Order]) -> list[OrderResult]:
        connection = await self.connect()
        async with connection.transaction():
            batch = await _read_batch(connection, orders, self._clock.wall_ms())
            results = batch.apply(orders)
            stored = await _write_batch(connection, batch, self._texts)
        self._texts.confirm(stored)
        return results

    async def connect(self) -> Any:
        """The connection, made anew where it is broken. Raises what asyncpg raises."""
        if self._connection is None or self._connection.is_closed():
            # Behind a pooler the next statement may go to a server that knows no statement of ours.
            options: dict[str, Any] = {"statement_cache_size": 0} if self._location.pooler else {}
            self._connection = await asyncpg.connect(
                self._location.dsn, timeout=CONNECT_S, command_timeout=STATEMENT_S, **options
            )
        return self._connection

    def _fault_from_error(self, error: asyncpg.PostgresError) -> Fault:
        if isinstance(error, asyncpg.IntegrityConstraintViolationError | asyncpg.DataError):
            return Fault("internal", "The store refused what was booked.", detail=str(error))
        return store_unavailable(error, self._location)

    async def _discard_connection(self) -> None:
        broken, self._connection = self._connection, None
        if broken is not None:
            broken.terminate()

    async def close(self) -> None:
        if self._connection is not None and not self._connection.is_closed():
            await self._connection.close(timeout=CONNECT_S)


async def _read_batch(connection: Any, orders: Sequence[Order], now_ms: int) -> LedgerBatch:
    batch, keys = LedgerBatch(now_ms, new_ulid()), keys_to_read(orders)
    # The wallets first: whatever else belongs to these accounts changes only under their locks.
    for row in await connection.fetch(LOCK_WALLETS, keys.accounts):
        batch.wallets[row[0]] = wallet_from(tuple(row))

    if keys.calls:
        for row in await connection.fetch(_select("holds", HOLD_COLUMNS, "call_id"), keys.calls):
            batch.holds[row[0]] = hold_from(tuple(row))
        settling = calls_to_settle(orders)
        if settling:
            rows = await connection.fetch(_select("calls", ("id",), "id"), settling)
            batch.settled_calls.update(row[0] for row in rows)

    held_budgets = (subject for hold in batch.holds.values() for subject in hold.budgets)
    subjects = sorted({*keys.budgets, *held_budgets})
    if subjects:
        for row in await connection.fetch(_select("budgets", BUDGET_COLUMNS, "subject"), subjects):
            batch.budgets[row[0]] = budget_from(tuple(row))

    await _read_money_moves(connection, batch, keys)
    return batch


async def _read_money_moves(connection: Any, batch: LedgerBatch, keys: BatchKeys) -> None:
    """Grants that have ended, movements that were made before, charges to be refunded."""
    ending = ending_grants(batch)
    if ending:
        columns = ("account_id", "id", "amount", "expires_ms")
        rows = await connection.fetch(_select("grants", columns, "account_id"), ending)
        batch.grants = grants_from(rows)
    if keys.moves:
        rows = await connection.fetch(_select("transfers", ("id",), "id"), keys.moves)
        batch.applied_moves.update(row[0] for row in rows)
    for call, side in keys.refunds:
        batch.charges[call, side] = await connection.fetchval(SELECT_CHARGE, call, side)


LOCK_WALLETS = f"""
SELECT {", ".join(WALLET_COLUMNS)} FROM wallets
WHERE account_id = ANY($1::text[]) ORDER BY account_id FOR UPDATE
"""
SELECT_CHARGE = """
SELECT COALESCE(SUM(CASE WHEN debit = $2 THEN amount ELSE -amount END), 0)::bigint FROM transfers
WHERE call_id = $1 AND (debit = $2 OR credit = $2)
AND EXISTS (SELECT 1 FROM calls WHERE calls.id = call_id)
"""


async def _write_batch(connection: Any, batch: LedgerBatch, texts: SharedTexts) -> list[str]:
    """Writes all that has changed; the ids of the texts that were stored."""
    rows = rows_to_write(batch, texts)
    await _execute_arrays(connection, UPDATE_WALLETS, rows.wallets)
    await _execute_arrays(connection, UPDATE_BUDGETS, rows.budgets)
    if rows.ended:
        await connection.execute("DELETE FROM holds WHERE call_id = ANY($1::text[])", rows.ended)
    for table, columns, new_rows in (
        ("transfers", TRANSFER_COLUMNS, rows.transfers),
        ("holds", HOLD_COLUMNS, rows.holds),
        ("grants", GRANT_COLUMNS, rows.grants),
        ("calls", CALL_COLUMNS, rows.calls),
        ("call_texts", ("id", "text"), rows.texts),
    ):
        await _execute_arrays(connection, _insert(table, columns), new_rows)
    await _execute_arrays(connection, ADD_SUMS, rows.sums)
    await _execute_arrays(connection, UPDATE_REPLAYS, rows.replays)
    return [name for name, _ in rows.texts]


async def _execute_arrays(connection: Any, statement: str, rows: list[Row]) -> None:
    """A statement over all rows at once, each column of them as an array."""
    if rows:
        columns = zip(*rows, strict=True)
        await connection.execute(statement, *(without_nul(column) for column in columns))


UPDATE_WALLETS = """
UPDATE wallets SET paid = new.paid, promo = new.promo, held = new.held, promo_until_ms = new.until
FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[])
    AS new(account_id, paid, promo, held, until)
WHERE wallets.account_id = new.account_id
"""
UPDATE_BUDGETS = """
UPDATE budgets SET period_ms = new.period_ms, spent = new.spent, held = new.held
FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[])
    AS new(subject, period_ms, spent, held)
WHERE budgets.subject = new.subject
"""
UPDATE_REPLAYS = """
UPDATE idempotency SET state = new.state, answer = new.answer, expires_ms = new.until
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bytea[], $6::bigint[])
    AS new(account_id, key, call_id, state, answer, until)
WHERE idempotency.account_id = new.account_id AND idempotency.key = new.key
AND idempotency.call_id = new.call_id
"""


@cache
def _select(table: str, columns: tuple[str, ...], among: str) -> str:
    return f"SELECT {', '.join(columns)} FROM {table} WHERE {among} = ANY($1::text[])"


@cache
def _insert(table: str, columns: tuple[str, ...]) -> str:
    known = METADATA.tables[table].columns
    names = ", ".join(columns)
    arrays = ", ".join(
        f"${number}::{TYPES[type(known[name].type)]}[]" for number, name in enumerate(columns, 1)
    )
    statement = f"INSERT INTO {table} ({names}) SELECT * FROM unnest({arrays})"
    if table == "call_texts":
        return f"{statement} ON CONFLICT (id) DO NOTHING"
    if table != "holds":
        return statement

    # Only a hold changes in place, when it is extended.
    replaced = ", ".join(f"{name} = EXCLUDED.{name}" for name in columns if name != "call_id")
    return f"{statement} ON CONFLICT (call_id) DO UPDATE SET {replaced}"


ADD_SUMS = f"""
{_insert("usage_models", SUM_COLUMNS)}
ON CONFLICT ({", ".join(SUM_KEY)}) DO UPDATE SET {ADD_TO_SUM}
"""
