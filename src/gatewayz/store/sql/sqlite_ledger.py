"""The ledger on SQLite: one thread owns the connection and carries out one batch of orders at a time.

The synchronous driver, because through an asynchronous one a row costs 250 microseconds and here 7. Rows go in by
statements of many rows: each step of a statement gives the interpreter's lock away, and getting it back costs.
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
from gatewayz.dialects.jsontext import encoded
from gatewayz.ledger.orders import Done, Order
from gatewayz.ledger.pages import Pages
from gatewayz.store.sql.database import BUSY_MS, PRAGMAS, RETRY_S
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

ROWS_AT_ONCE = (64, 32, 16, *range(12, 0, -1))
"""Sizes of the statements that insert, so that a few compiled ones serve every batch."""
CACHED_STATEMENTS = 128
REFUSED = (
    sqlite3.IntegrityError,
    sqlite3.DataError,
    sqlite3.ProgrammingError,
    sqlite3.NotSupportedError,
)
"""What is wrong with an order, as against what is wrong with the file."""
AMONG = "IN (SELECT value FROM json_each(?))"


class SqliteLedger:
    """Carries out batches. `start` opens the file; `close` waits for the batch under way."""

    def __init__(self, path: str, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._work: queue.SimpleQueue[tuple[Sequence[Order], asyncio.Future[list[Done]]] | None] = (
            queue.SimpleQueue()
        )
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)
        self._thread.start()

    async def commit(self, orders: Sequence[Order]) -> list[Done]:
        """Carries the batch out and commits it. Faults: `unavailable` when the file cannot be used."""
        future: asyncio.Future[list[Done]] = self._loop.create_future()
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
                connection = connection or _connected(self._path)
                dones = carried_out(connection, orders, self._clock.wall_ms())
            except Exception as error:  # noqa: BLE001 - around a worker: whoever waits must hear, and the thread go on
                if connection is not None:
                    connection.close()
                connection = None
                self._tell(future, error)
            else:
                self._tell(future, dones)
        if connection is not None:
            connection.close()

    def _tell(self, future: "asyncio.Future[list[Done]]", result: "list[Done] | Exception") -> None:
        try:
            self._loop.call_soon_threadsafe(_resolve, future, result)
        except RuntimeError:
            # The loop has ended; what was committed stands, and nobody waits to hear of it.
            return


def _resolve(future: "asyncio.Future[list[Done]]", result: "list[Done] | Exception") -> None:
    if future.done():
        return
    if isinstance(result, sqlite3.DatabaseError) and not isinstance(result, REFUSED):
        future.set_exception(
            Fault("unavailable", f"The store cannot be used: {result}", retry_after_s=RETRY_S)
        )
    elif isinstance(result, Exception):
        future.set_exception(Fault("internal", f"The store refused what was booked: {result}"))
    else:
        future.set_result(result)


def _connected(path: str) -> sqlite3.Connection:
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


def carried_out(connection: sqlite3.Connection, orders: Sequence[Order], now_ms: int) -> list[Done]:
    """Carries a batch out in one transaction. Raises `sqlite3.Error`, with nothing done."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        pages = read(connection, orders, now_ms)
        dones = pages.carry_out(orders)
        _write(connection, pages)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return dones


def read(connection: sqlite3.Connection, orders: Sequence[Order], now_ms: int) -> Pages:
    """What a batch needs to know, inside its transaction."""
    pages, want = Pages(now_ms, new_ulid()), wanted(orders)
    for row in _among(
        connection,
        f"SELECT {', '.join(WALLET_COLUMNS)} FROM wallets WHERE account_id",
        want.accounts,
    ):
        pages.wallets[row[0]] = wallet_from(row)
    for row in _among(
        connection, f"SELECT {', '.join(HOLD_COLUMNS)} FROM holds WHERE call_id", want.calls
    ):
        pages.holds[row[0]] = hold_from(row)
    pages.settled.update(
        row[0] for row in _among(connection, "SELECT id FROM calls WHERE id", settled_calls(orders))
    )
    subjects = sorted(
        {*want.budgets, *(subject for hold in pages.holds.values() for subject in hold.budgets)}
    )
    for row in _among(
        connection, f"SELECT {', '.join(BUDGET_COLUMNS)} FROM budgets WHERE subject", subjects
    ):
        pages.budgets[row[0]] = budget_from(row)
    pages.grants = grants_from(_among(connection, SELECT_GRANTS, ending_grants(pages)))
    pages.moved.update(
        row[0] for row in _among(connection, "SELECT id FROM transfers WHERE id", want.moves)
    )
    for call, side in want.refunds:
        pages.charged[call, side] = connection.execute(
            CHARGED, (side, call, side, side)
        ).fetchone()[0]
    return pages


SELECT_GRANTS = "SELECT account_id, id, amount, expires_ms FROM grants WHERE account_id"
CHARGED = (
    "SELECT COALESCE(SUM(CASE WHEN debit = ? THEN amount ELSE -amount END), 0) FROM transfers "
    "WHERE call_id = ? AND (debit = ? OR credit = ?) AND EXISTS (SELECT 1 FROM calls WHERE calls.id = call_id)"
)


def _among(connection: sqlite3.Connection, select: str, values: list[str]) -> list[Row]:
    return (
        connection.execute(f"{select} {AMONG}", (encoded(values).decode(),)).fetchall()
        if values
        else []
    )


def _write(connection: sqlite3.Connection, pages: Pages) -> None:
    rows = written(pages)
    for account, paid, promo, held, until in rows.wallets:
        connection.execute(UPDATE_WALLET, (paid, promo, held, until, account))
    for subject, period_ms, spent, held in rows.budgets:
        connection.execute(UPDATE_BUDGET, (period_ms, spent, held, subject))
    _insert(connection, "transfers", TRANSFER_COLUMNS, rows.transfers)
    _insert(connection, "holds", HOLD_COLUMNS, rows.holds, "OR REPLACE ")
    _insert(connection, "grants", GRANT_COLUMNS, rows.grants)
    _insert(connection, "calls", CALL_COLUMNS, rows.calls)
    _insert(connection, "attempts", ATTEMPT_COLUMNS, rows.attempts)
    for row in rows.days:
        connection.execute(ADD_DAY, row)
    if rows.ended:
        connection.execute(
            f"DELETE FROM holds WHERE call_id {AMONG}", (encoded(rows.ended).decode(),)
        )
    for account, key, call, state, answer, until in rows.replays:
        connection.execute(UPDATE_REPLAY, (state, answer, until, account, key, call))


UPDATE_WALLET = (
    "UPDATE wallets SET paid = ?, promo = ?, held = ?, promo_until_ms = ? WHERE account_id = ?"
)
UPDATE_BUDGET = "UPDATE budgets SET period_ms = ?, spent = ?, held = ? WHERE subject = ?"
ADD_DAY = (
    f"INSERT INTO usage_days ({', '.join(DAY_COLUMNS)}) VALUES ({', '.join('?' * len(DAY_COLUMNS))}) "
    f"ON CONFLICT (account_id, key_id, day) DO UPDATE SET {ADDED}"
)
UPDATE_REPLAY = "UPDATE idempotency SET state = ?, answer = ?, expires_ms = ? WHERE account_id = ? AND key = ? AND call_id = ?"


@cache
def _insert_text(table: str, columns: tuple[str, ...], count: int, how: str) -> str:
    one = f"({', '.join('?' * len(columns))})"
    return f"INSERT {how}INTO {table} ({', '.join(columns)}) VALUES {', '.join([one] * count)}"


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
