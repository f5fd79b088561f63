"""Sources, mended: a chunk or body decoded, changed in the named places, and spelled again with all else kept."""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from gatewayz.dialects.jsontext import decoded, encoded
from gatewayz.dialects.openai_chat.hear import REMOVE, Mend


class ChoiceMends(Struct):
    """What to change in one choice, found by its position in the source."""

    position: int
    delta: list[Mend]
    finish_reason: str | None = None


def mended(
    source: bytes, key: str, choices: Sequence[ChoiceMends], *, strip_usage: bool, usage: Any = None
) -> bytes:
    """The source with the mends made; `key` is `delta` or `message`. `usage` stands in for the provider's report."""
    document: dict[str, Any] = decoded(source)
    if strip_usage or usage is not None:
        document["usage"] = usage
    for mends in choices:
        choice = document["choices"][mends.position]
        if mends.finish_reason is not None:
            choice["finish_reason"] = mends.finish_reason
        if strip_usage:
            choice.pop("usage", None)
        if mends.delta:
            if not isinstance(choice.get(key), dict):
                choice[key] = {}
            _mend_delta(choice[key], mends.delta)
    return encoded(document)


def _mend_delta(delta: dict[str, Any], mends: list[Mend]) -> None:
    for name, value in mends:
        if value is REMOVE:
            delta.pop(name, None)
        elif name == "tool_calls":
            _mend_calls(delta["tool_calls"], value)
        else:
            delta[name] = value


def _mend_calls(calls: list[dict[str, Any]], mends: dict[int, dict[str, Any]]) -> None:
    for position, mend in mends.items():
        call = calls[position]
        for name, value in mend.items():
            if value is REMOVE:
                call.pop(name, None)
                (call.get("function") or {}).pop("name", None)
            elif name == "arguments":
                call["function"] = {**(call.get("function") or {}), "arguments": value}
            else:
                call[name] = value
