"""What commands print: tables and fields for people, JSON for programs, notes beside the result."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

TWINS = {"_nanos": "_usd", "_ms": ""}
"""Ending of an integer's name → ending of the text that says the same to people."""


def print_table(
    rows: Sequence[Mapping[str, Any]], *, as_json: bool, columns: Sequence[str] = ()
) -> None:
    """Prints rows as JSON with all that they have, or as lines of some columns, each cell whole."""
    if as_json:
        print(json.dumps(list(rows), indent=2, default=list))
        return
    if not rows:
        print("There are none.")
        return

    names = columns or _readable_columns(rows[0])
    lines = [
        [name.replace("_", " ") for name in names],
        *([_cell_text(row[name]) for name in names] for row in rows),
    ]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = [cell.ljust(width) for cell, width in zip(line, widths, strict=True)]
        print("  ".join(cells).rstrip())


def print_fields(row: Mapping[str, Any], *, as_json: bool) -> None:
    """Prints one thing: as JSON, or a line for each of its parts."""
    if as_json:
        print(json.dumps(row, indent=2, default=list))
        return
    names = _readable_columns(row)
    width = max(map(len, names))
    for name in names:
        print(f"{name.replace('_', ' '):{width}}  {_cell_text(row[name])}")


def print_note(text: str) -> None:
    """Says something to people, on standard error: standard output is the result alone."""
    Console(stderr=True, highlight=False, markup=False, soft_wrap=True).print(text, style="dim")


def _readable_columns(row: Mapping[str, Any]) -> list[str]:
    """The names without the integers of amounts and moments that stand beside in words."""
    return [
        name
        for name in row
        if not any(
            name.endswith(ending) and name.removesuffix(ending) + twin in row
            for ending, twin in TWINS.items()
        )
    ]


def _cell_text(value: Any) -> str:
    """A value as people read it: never as Python writes it."""
    match value:
        case None | "":
            return "–"
        case bool():
            return "yes" if value else "no"
        case Mapping():
            return "; ".join(_field_text(name, inner) for name, inner in value.items()) or "–"
        case list() | tuple() | set() | frozenset():
            between = "; " if any(isinstance(inner, Mapping) for inner in value) else ", "
            return between.join(_cell_text(inner) for inner in value) or "–"
    return str(value)


def _field_text(name: str, value: Any) -> str:
    mark = ": " if isinstance(value, Mapping | list | tuple | set | frozenset) else "="
    return f"{name.replace('_', ' ')}{mark}{_cell_text(value)}"
