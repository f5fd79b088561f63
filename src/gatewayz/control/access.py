"""Access: whose keys, tokens and calls somebody may see, as a condition on rows."""

from typing import Any

from msgspec import Struct
from sqlalchemy import ColumnElement, Select, select

from gatewayz.store.sql.tables import API_KEYS


class OwnerFilter(Struct, frozen=True):
    """Whose rows: an account's (everybody's if it is empty), and of these a person's or a key's.

    Example: OwnerFilter("acme", user="01JE8Z3K2M5N7P9QRSTVWXYZ00")
    """

    account: str
    user: str = ""
    key: str = ""

    def restrict(
        self, statement: Select[Any], account: ColumnElement[str], key: ColumnElement[str]
    ) -> Select[Any]:
        """Only these rows of a table whose columns `account` and `key` say whose they are."""
        if self.account:
            statement = statement.where(account == self.account)
        if self.user:
            return statement.where(key.in_(self._keys_of_user()))
        return statement.where(key == self.key) if self.key else statement

    def _keys_of_user(self) -> Select[Any]:
        return select(API_KEYS.c.id).where(
            API_KEYS.c.account_id == self.account, API_KEYS.c.user_id == self.user
        )
