"""NUL characters: clients may send them, SQLite stores them, PostgreSQL's text cannot hold them."""

from collections.abc import Iterable
from typing import Any

NUL, REPLACEMENT = "\x00", "\ufffd"


def without_nul(cells: Iterable[Any]) -> list[Any]:
    """The cells of a row or a column, with U+FFFD in the place of each NUL in a text."""
    return [
        cell.replace(NUL, REPLACEMENT) if type(cell) is str and NUL in cell else cell
        for cell in cells
    ]
