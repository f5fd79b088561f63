"""Rows of call records for tests of the ledger, which looks at ids and costs only."""

from gatewayz.store.sql.records import CALL_COLUMNS
from gatewayz.store.sql.tables import CALLS


def call_row(call: str, account: str, cost: int) -> tuple:
    given = {"id": call, "account_id": account, "cost": cost}
    return tuple(given.get(name, _nothing(name)) for name in CALL_COLUMNS)


def _nothing(name: str) -> object:
    column = CALLS.columns[name]
    if column.nullable:
        return None
    return {"TEXT": "", "BOOLEAN": False}.get(str(column.type), 0)
