"""The ledger on SQLite: a thread owns the connection and carries out a batch of orders at a time.

The synchronous driver, because through an asynchronous one a row costs 250 microseconds and here 7.
Rows go in by statements of many rows: each step of a statement gives the interpreter's lock away,
and getting it back costs.
"""

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Sequence
from functools import cache

from gatewayz.core.calls import new_ulid
from gatewayz.core.clock import Clock
from gatewayz.core.faults import Fault
from gatewayz.dialects.kit.jsontext import encode_json
from gatewayz.ledger.batch import LedgerBatch
from gatewayz.ledger.orders import Order, OrderResult
from gatewayz.store.sql.database import BUSY_MS, PRAGMAS, store_unavailable
from gatewayz.store.sql.ledger.batch_rows import (
    BUDGET_COLUMNS,
    GRANT_COLUMNS,
    HOLD_COLUMNS,
    TRANSFER_COLUMNS,
    WALLET_COLUMNS,
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

ROWS_AT_ONCE = (64, 32, 16, *range(12, 0, -1))
"""Sizes of the statements that insert, so that a few compiled ones serve every batch."""
CACHED_STATEMENTS = 128
ORDER_ERRORS = (
    sqlite3.IntegrityError,
    sqlite3.DataError,
    sqlite3.ProgrammingError,
    sqlite3.NotSupportedError,
)
"""What is wrong with an order, as against what is wrong with the file."""
IN_VALUES = "IN (SELECT value FROM json_each(?))"


class SqliteLedger:
    """Carries out batches in a thread of its own, from the moment it is made.

    The thread opens the file when the first batch comes, and again after it broke; `close` waits
    for the batch under way.
    """

    def __init__(self, path: str, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._work: queue.SimpleQueue[
            tuple[Sequence[Order], asyncio.Future[list[OrderResult]]] | None
        ] = queue.SimpleQueue()
        self._texts = SharedTexts()
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)
        self._thread.start()

    async def commit(self, orders: Sequence[Order]) -> list[OrderResult]:
        """Carries the batch out and commits it. Faults: `unavailable` for a file out of use."""
        future: asyncio.Future[list[OrderResult]] = self._loop.create_future()
        self._work.put((orders, future))
        return await future

    async def close(self) -> None:
        self._work.put(None)
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        connection: sqlite3.Connection | None = None
        while (item := self._work.get()) is not None:
            orders, future = item
            try:
                connection = connection or _connect(self._path)
                results = run_batch(connection, orders, self._clock.wall_ms(), self._texts)
            # Around a worker: whoever waits must hear of it, and the thread go on.
            except Exception as error:  # noqa: BLE001
                if connection is not None:
                    connection.close()
                connection = None
                self._set_result(future, error)
            else:
                self._set_result(future, results)
        if connection is not None:
            connection.close()

    def _set_result(
        self, future: "asyncio.Future[list[OrderResult]]", result: "list[OrderResult] | Exception"
    ) -> None:
        try:
            self._loop.call_soon_threadsafe(_resolve, future, result)
        except RuntimeError:
            # The loop has ended; what was committed stands, and nobody waits to hear of it.
            return


def _resolve(
    future: "asyncio.Future[list[OrderResult]]", result: "list[OrderResult] | Exception"
) -> None:
    if future.done():
        return
    if isinstance(result, sqlite3.DatabaseError) and not isinstance(result, ORDER_ERRORS):
        future.set_exception(store_unavailable(result))
    elif isinstance(result, Exception):
        refused = Fault("internal", "The store refused what was booked.", detail=str(result))
        future.set_exception(refused)
    else:
        future.set_result(result)


def _connect(path: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path,
        isolation_level=None,
        timeout=BUSY_MS / 1000,
        cached_statements=CACHED_STATEMENTS,
        check_same_thread=True,
    )
    for pragma in PRAGMAS:
        connection.execute(pragma)
    return connection


def run_batch(
    connection: sqlite3.Connection, orders: Sequence[Order], now_ms: int, texts: SharedTexts
) -> list[OrderResult]:
    """Carries a batch out in one transaction. Raises `sqlite3.Error`, with nothing done."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        batch = read_batch(connection, orders, now_ms)
        results = batch.apply(orders)
        stored = _write_batch(connection, batch, texts)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    texts.confirm(stored)
    return results


def read_batch(connection: sqlite3.Connection, orders: Sequence[Order], now_ms: int) -> LedgerBatch:
    """What a batch needs to know, inside its transaction."""
    batch, keys = LedgerBatch(now_ms, new_ulid()), keys_to_read(orders)
    for row in _select_in(connection, SELECT_WALLETS, keys.accounts):
        batch.wallets[row[0]] = wallet_from(row)
    for row in _select_in(connection, SELECT_HOLDS, keys.calls):
        batch.holds[row[0]] = hold_from(row)
    settled = _select_in(connection, SELECT_CALLS, calls_to_settle(orders))
    batch.settled_calls.update(row[0] for row in settled)

    held_budgets = (subject for hold in batch.holds.values() for subject in hold.budgets)
    subjects = sorted({*keys.budgets, *held_budgets})
    for row in _select_in(connection, SELECT_BUDGETS, subjects):
        batch.budgets[row[0]] = budget_from(row)

    batch.grants = grants_from(_select_in(connection, SELECT_GRANTS, ending_grants(batch)))
    moved = _select_in(connection, SELECT_TRANSFERS, keys.moves)
    batch.applied_moves.update(row[0] for row in moved)
    for call, side in keys.refunds:
        charge = connection.execute(SELECT_CHARGE, (side, call, side, side)).fetchone()
        batch.charges[call, side] = charge[0]
    return batch


SELECT_WALLETS = f"SELECT {', '.join(WALLET_COLUMNS)} FROM wallets WHERE account_id"
SELECT_HOLDS = f"SELECT {', '.join(HOLD_COLUMNS)} FROM holds WHERE call_id"
SELECT_CALLS = "SELECT id FROM calls WHERE id"
SELECT_BUDGETS = f"SELECT {', '.join(BUDGET_COLUMNS)} FROM budgets WHERE subject"
SELECT_GRANTS = "SELECT account_id, id, amount, expires_ms FROM grants WHERE account_id"
SELECT_TRANSFERS = "SELECT id FROM transfers WHERE id"
SELECT_CHARGE = """
SELECT COALESCE(SUM(CASE WHEN debit = ? THEN amount ELSE -amount END), 0) FROM transfers
WHERE call_id = ? AND (debit = ? OR credit = ?)
AND EXISTS (SELECT 1 FROM calls WHERE calls.id = call_id)
"""


def _select_in(connection: sqlite3.Connection, select: str, values: list[str]) -> list[Row]:
    """The rows of a statement that ends in a column, where the column is one of the values."""
    if not values:
        return []
    statement = f"{select} {IN_VALUES}"
    return connection.execute(statement, (encode_json(values).decode(),)).fetchall()


def _write_batch(
    connection: sqlite3.Connection, batch: LedgerBatch, texts: SharedTexts
) -> list[str]:
    """Writes all that has changed; the ids of the texts that were stored."""
    rows = rows_to_write(batch, texts)
    for account, paid, promo, held, promo_until_ms in rows.wallets:
        connection.execute(UPDATE_WALLET, (paid, promo, held, promo_until_ms, account))
    for subject, period_ms, spent, held in rows.budgets:
        connection.execute(UPDATE_BUDGET, (period_ms, spent, held, subject))
    _insert(connection, "transfers", TRANSFER_COLUMNS, rows.transfers)
    _insert(connection, "holds", HOLD_COLUMNS, rows.holds, "OR REPLACE ")
    _insert(connection, "grants", GRANT_COLUMNS, rows.grants)
    _insert(connection, "calls", CALL_COLUMNS, rows.calls)
    _insert(connection, "call_texts", ("id", "text"), rows.texts, "OR IGNORE ")
    for row in rows.sums:
        connection.execute(ADD_SUM, row)
    if rows.ended:
        connection.execute(DELETE_HOLDS, (encode_json(rows.ended).decode(),))
    for account, key, call, state, answer, expires_ms in rows.replays:
        connection.execute(UPDATE_REPLAY, (state, answer, expires_ms, account, key, call))
    return [name for name, _ in rows.texts]


UPDATE_WALLET = """
UPDATE wallets SET paid = ?, promo = ?, held = ?, promo_until_ms = ? WHERE account_id = ?
"""
UPDATE_BUDGET = "UPDATE budgets SET period_ms = ?, spent = ?, held = ? WHERE subject = ?"
DELETE_HOLDS = f"DELETE FROM holds WHERE call_id {IN_VALUES}"
ADD_SUM = f"""
INSERT INTO usage_models ({", ".join(SUM_COLUMNS)}) VALUES ({", ".join("?" * len(SUM_COLUMNS))})
ON CONFLICT ({", ".join(SUM_KEY)}) DO UPDATE SET {ADD_TO_SUM}
"""
UPDATE_REPLAY = """
UPDATE idempotency SET state = ?, answer = ?, expires_ms = ?
WHERE account_id = ? AND key = ? AND call_id = ?
"""


@cache
def _insert_text(table: str, columns: tuple[str, ...], count: int, how: str) -> str:
    row = f"({', '.join('?' * len(columns))})"
    return f"INSERT {how}INTO {table} ({', '.join(columns)}) VALUES {', '.join([row] * count)}"


def _insert(
    connection: sqlite3.Connection,
    table: str,
    columns: tuple[str, ...],
    rows: list[Row],
    how: str = "",
) -> None:
    start = 0
    for size in ROWS_AT_ONCE:
        while len(rows) - start >= size:
            values = [cell for row in rows[start : start + size] for cell in row]
            connection.execute(_insert_text(table, columns, size, how), values)
            start += size
