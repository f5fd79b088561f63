"""Rows of call records for tests of the ledger, which looks at ids and costs only."""

from gatewayz.store.sql.ledger.records import RECORD_COLUMNS
from gatewayz.store.sql.tables import CALLS


def call_row(call: str, account: str, cost: int) -> tuple:
    known = {"id": call, "account_id": account, "cost": cost}
    return tuple(known.get(name, _empty_value(name)) for name in RECORD_COLUMNS)


def _empty_value(name: str) -> object:
    column = CALLS.columns[name]
    if column.nullable:
        return None
    return {"TEXT": "", "BOOLEAN": False}.get(str(column.type), 0)
