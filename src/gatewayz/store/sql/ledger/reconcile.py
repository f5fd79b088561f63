"""Reconciliation: what must be true of the books, and every place where it is not.

Each check is one statement that returns the violations themselves, so an empty answer is the proof.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncConnection

from gatewayz.core.calls import first_ulid
from gatewayz.core.clock import DAY_MS
from gatewayz.ledger.values import DEADLINE_GRACE_S
from gatewayz.store.sql.database import Database
from gatewayz.store.sql.ledger.journal import FOLDER, REJECTED
from gatewayz.store.sql.revisions import FIRST_DAY, get_revision

STALE_HOLD_S = DEADLINE_GRACE_S + 120
"""A hold this long past its deadline should have been expired twice over."""
MAX_SHOWN = 50


class Violation(Struct, frozen=True):
    """One thing that is not as it must be: which check says so, and of what.

    Example: Violation("held_is_open_holds", "acme", "what is held differs … by 4200")
    """

    check: str
    subject: str
    says: str


CHECKS: dict[str, tuple[str, str]] = {
    "sum_is_zero": (
        "the wallets, what is held and the other sides of all transfers sum to {0}, not to zero",
        """
        SELECT 'the books', total FROM (SELECT
            (SELECT COALESCE(SUM(paid + promo + held), 0) FROM wallets)
          - (SELECT COALESCE(SUM(CASE WHEN credit LIKE 'wallet:%' OR credit LIKE 'held:%'
             THEN amount ELSE 0 END), 0) FROM transfers)
          + (SELECT COALESCE(SUM(CASE WHEN debit LIKE 'wallet:%' OR debit LIKE 'held:%'
             THEN amount ELSE 0 END), 0) FROM transfers) AS total) AS sums WHERE total <> 0
        """,
    ),
    "balance_is_its_transfers": (
        "the balance differs from its transfers by {0}",
        """
        SELECT name, kept - COALESCE(moved, 0) FROM (
            SELECT 'wallet:' || account_id || ':paid' AS name, paid AS kept FROM wallets
            UNION ALL SELECT 'wallet:' || account_id || ':promo', promo FROM wallets
            UNION ALL SELECT 'held:' || account_id, held FROM wallets) AS balances
        LEFT JOIN (
            SELECT side, SUM(amount) AS moved FROM (
                SELECT credit AS side, amount FROM transfers
                UNION ALL SELECT debit, -amount FROM transfers) AS sides GROUP BY side) AS sums
        ON sums.side = balances.name WHERE kept <> COALESCE(moved, 0)
        """,
    ),
    "held_is_open_holds": (
        "what is held differs from the open holds by {0}",
        """
        SELECT wallets.account_id, held - COALESCE(open, 0) FROM wallets
        LEFT JOIN (
            SELECT account_id, SUM(promo + paid) AS open FROM holds GROUP BY account_id) AS sums
        ON sums.account_id = wallets.account_id WHERE held <> COALESCE(open, 0)
        """,
    ),
    "cost_is_usage_transfers": (
        "the call's cost and its transfers differ by {0}",
        """
        SELECT id, cost - COALESCE(moved, 0) FROM calls LEFT JOIN (
            SELECT call_id, SUM(amount) AS moved FROM transfers
            WHERE kind IN ('usage', 'overrun', 'writeoff') GROUP BY call_id) AS sums
        ON sums.call_id = calls.id WHERE cost <> COALESCE(moved, 0)
        UNION ALL SELECT call_id, -SUM(amount) FROM transfers
        WHERE kind IN ('usage', 'overrun', 'writeoff') AND call_id >= 'FIRST_CALL'
        AND NOT EXISTS (SELECT 1 FROM calls WHERE calls.id = transfers.call_id) GROUP BY call_id
        """,
    ),
    "days_are_their_calls": (
        "what is booked for a day of a key differs from its calls by {0} "
        "calls, tokens and nano-dollars",
        """
        SELECT account_id || '/' || key_id || '/' || day || '/' || model || '/' || provider, off
        FROM (
            SELECT account_id, day, key_id, model, provider,
                ABS(SUM(calls)) + ABS(SUM(failed))
                + ABS(SUM(input_tokens)) + ABS(SUM(output_tokens)) + ABS(SUM(cost)) AS off
            FROM (
                SELECT account_id, day, key_id, model, provider,
                    calls, failed, input_tokens, output_tokens, cost
                FROM usage_models WHERE day >= WHOLE_DAY
                UNION ALL SELECT account_id, received_ms / 86400000, key_id, model, provider,
                    -COUNT(*), -SUM(CASE WHEN fault <> '' THEN 1 ELSE 0 END),
                    -SUM(input_tokens), -SUM(output_tokens), -SUM(cost)
                FROM calls WHERE received_ms / 86400000 >= WHOLE_DAY
                GROUP BY account_id, received_ms / 86400000, key_id, model, provider) AS both_sides
            GROUP BY account_id, day, key_id, model, provider) AS sums
        WHERE off <> 0
        """,
    ),
    "refund_is_within_its_charge": (
        "more was refunded than the call was charged, by {0}",
        """
        SELECT call_id, back - charged FROM (
            SELECT call_id, SUM(CASE WHEN kind = 'refund_call' THEN amount ELSE 0 END) AS back,
                SUM(CASE WHEN kind IN ('usage', 'overrun', 'writeoff')
                    THEN amount ELSE 0 END) AS charged
            FROM transfers WHERE call_id <> '' GROUP BY call_id) AS sums WHERE back > charged
        """,
    ),
    "no_wallet_is_overdrawn": (
        "calls took the wallet {0} below its floor",
        """
        SELECT account_id, floor - paid FROM wallets
        WHERE billing <> 'house' AND paid < floor AND EXISTS (
            SELECT 1 FROM transfers WHERE transfers.account_id = wallets.account_id
            AND debit = 'wallet:' || wallets.account_id || ':paid'
            AND kind IN ('hold', 'extend', 'usage', 'overrun')
            ) AND NOT EXISTS (
            SELECT 1 FROM transfers WHERE transfers.account_id = wallets.account_id
            AND kind IN ('adjust', 'chargeback', 'refund'))
        """,
    ),
    "margin_is_not_negative": (
        "the call cost {0} more at its provider than it was charged",
        """
        SELECT id, CAST(CAST(upstream_cost AS NUMERIC) * 1000000000 AS BIGINT) - cost FROM calls
        JOIN wallets ON wallets.account_id = calls.account_id
        WHERE upstream_cost <> '' AND billing <> 'house'
        AND CAST(upstream_cost AS NUMERIC) * 1000000000 > cost + 1
        """,
    ),
    "no_hold_is_stale": (
        "the hold is {0} ms past its deadline",
        "SELECT call_id, NOW - deadline_ms FROM holds WHERE deadline_ms < NOW - STALE",
    ),
    "a_call_is_billed_once": (
        "the call has {0} usage transfers out of what was held",
        """
        SELECT call_id, COUNT(*) FROM transfers WHERE kind = 'usage' AND debit LIKE 'held:%'
        GROUP BY call_id HAVING COUNT(*) > 1
        """,
    ),
    "budget_held_is_open_holds": (
        "a budget holds {0} less than nothing",
        "SELECT subject, -held FROM budgets WHERE held < 0",
    ),
}
"""By name: what to say of a violation, and the statement that finds (subject, by how much)."""
SNAPSHOT_CHECKS = tuple(name for name in CHECKS if name != "no_hold_is_stale")
"""What must hold of a snapshot too: its holds grow old, and the next start gives them back."""


def statement_of(check: str, now_ms: int, first_day: int = 0) -> str:
    """The statement of a check, as of a moment. Records of days before `first_day` are deleted."""
    # A call has its id a moment before its time is taken: it may be of the day before.
    whole_day = first_day + 1 if first_day else 0
    words = {
        "NOW": str(now_ms),
        "STALE": str(STALE_HOLD_S * 1000),
        "WHOLE_DAY": str(whole_day),
        "FIRST_CALL": first_ulid(first_day * DAY_MS),
    }
    return re.sub("|".join(words), lambda word: words[word[0]], CHECKS[check][1])


async def violations(database: Database, now_ms: int, names: Sequence[str] = ()) -> list[Violation]:
    """Everything that is not as it must be; all checks unless some are named.

    Faults: `unavailable`.
    """
    async with database.begin(reading=True) as connection:
        return await violations_in(connection, now_ms, names)


async def violations_in(
    connection: AsyncConnection, now_ms: int, names: Sequence[str] = ()
) -> list[Violation]:
    """The same in a transaction that is open."""
    found: list[Violation] = []
    first_day = await get_revision(connection, FIRST_DAY)
    for name in names or CHECKS:
        says, _ = CHECKS[name]
        rows = await connection.exec_driver_sql(statement_of(name, now_ms, first_day))
        found += [
            Violation(name, subject, says.format(amount))
            for subject, amount in map(tuple, rows.fetchmany(MAX_SHOWN))
        ]
    return found


def journal_violations(data_dir: Path) -> list[Violation]:
    """Settlements that the store refused and that lie beside it."""
    path = data_dir / FOLDER / REJECTED
    if not path.is_file() or not path.stat().st_size:
        return []
    count = path.read_bytes().count(b"\n")
    return [
        Violation(
            "no_settlement_is_rejected", str(path), f"{count} settlement(s) could not be booked"
        )
    ]
