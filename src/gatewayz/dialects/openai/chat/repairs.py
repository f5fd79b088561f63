"""Repairs of a source: a chunk or body decoded, changed in the named places, encoded again.

Everything else in it stays as its provider sent it.
"""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from gatewayz.dialects.kit.jsontext import decode_json, encode_json

REMOVE = object()
Repair = tuple[str, Any]
"""A field of the delta and its new value; `REMOVE` takes it out.

Example: `("role", "assistant")`.
"""


class ChoiceRepairs(Struct):
    """What to change in one choice, found by its position in the source."""

    position: int
    delta: list[Repair]
    finish_reason: str | None = None
    index: int | None = None


def repair_source(
    source: bytes,
    key: str,
    choices: Sequence[ChoiceRepairs],
    *,
    strip_usage: bool,
    usage: Any = None,
) -> bytes:
    """The source, repaired; `key` is `delta` or `message`.

    `usage` replaces the provider's report.
    """
    document: dict[str, Any] = decode_json(source)
    if strip_usage or usage is not None:
        document["usage"] = usage
    for repairs in choices:
        choice = document["choices"][repairs.position]
        if repairs.finish_reason is not None:
            choice["finish_reason"] = repairs.finish_reason
        if strip_usage:
            choice.pop("usage", None)
        if repairs.index is not None:
            choice["index"] = repairs.index
        if not isinstance(choice.get(key), dict):
            # Clients read no chunk without one; some put a whole message in its place.
            choice[key] = choice.pop("message", None) or {}
        _repair_delta(choice[key], repairs.delta)
    return encode_json(document)


def _repair_delta(delta: dict[str, Any], repairs: list[Repair]) -> None:
    for name, value in repairs:
        if value is REMOVE:
            delta.pop(name, None)
        elif name == "tool_calls":
            _repair_calls(delta["tool_calls"], value)
        else:
            delta[name] = value


def _repair_calls(calls: list[dict[str, Any]], repairs: dict[int, dict[str, Any]]) -> None:
    for position, fields in repairs.items():
        call = calls[position]
        for name, value in fields.items():
            if value is REMOVE:
                call.pop(name, None)
                (call.get("function") or {}).pop("name", None)
            elif name in {"arguments", "name"}:
                call["function"] = {**(call.get("function") or {}), name: value}
            else:
                call[name] = value
