"""Columns that hold JSON text: lists of texts, limits by name."""

from typing import Any

import msgspec

from gatewayz.core.renamed import current_limits


def json_text(value: Any) -> str:
    """A value as such a column holds it."""
    return msgspec.json.encode(value).decode()


def parse_texts(text: str) -> tuple[str, ...]:
    """A list of texts. Raises `msgspec.DecodeError` for anything else."""
    return msgspec.json.decode(text, type=tuple[str, ...])


def parse_limits(text: str) -> dict[str, int]:
    """Limits by today's names, whichever version wrote them. Raises `msgspec.DecodeError`."""
    return current_limits(msgspec.json.decode(text, type=dict[str, int]))
