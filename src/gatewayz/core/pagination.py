"""Lists in pages: so many rows after a cursor, in the order of a key that names each row.

What is added meanwhile moves nothing: a page begins after a row, not after so many of them.
"""

from typing import Any

from msgspec import Struct


class Cursor(Struct, frozen=True, kw_only=True):
    """Which page: at most `limit` rows after the one that `after` names; empty: from the beginning.

    Example: Cursor(after="01JE8Z3K2M5N7P9QRSTVWXYZ00", limit=20, newest_first=True)
    """

    after: str = ""
    limit: int = 100
    newest_first: bool = False


class Page(Struct, frozen=True):
    """Rows by column name, and the cursor of the last one if there are more.

    Example: Page([{"id": "acme", "name": "Acme Ltd"}], next="acme")
    """

    rows: list[dict[str, Any]]
    next: str = ""
