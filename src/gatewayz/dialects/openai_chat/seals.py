"""Where OpenAI-shaped wires hide provider-bound state, and how it is tagged and opened.

OpenRouter and its kin: `reasoning_details[].signature` and encrypted `data`; Gemini's OpenAI surface:
`extra_content.google.thought_signature`.
"""

import base64
from collections.abc import Sequence
from typing import Any

import msgspec

from gatewayz.core.events import Kind
from gatewayz.core.seal import sealed
from gatewayz.dialects import sealing
from gatewayz.dialects.jsontext import decoded, encoded

SEALED = frozenset({"signature", "thought_signature", "encrypted_content"})


def _is_seal(holder: dict[str, Any], key: str) -> bool:
    return key in SEALED or (key == "data" and holder.get("type") == "reasoning.encrypted")


def tagged(value: Any, provider: str) -> Any:
    """A copy in which every seal carries the name of its provider."""
    return sealing.tagged(value, provider, _is_seal)


def untagged(value: Any, provider: str) -> Any:
    """A copy with the seals opened for `provider`; nothing at all when one in it is a stranger's."""
    return sealing.untagged(value, provider, _is_seal)


def signed(seal: str) -> dict[str, Any]:
    """The field in which a text or a tool call carries its seal, as Gemini's OpenAI surface spells it."""
    return {"extra_content": {"google": {"thought_signature": seal}}}


def taken(fields: dict[str, Any]) -> str:
    """Takes that field out of `fields` when it holds a seal and nothing else."""
    match fields.get("extra_content"):
        case {"google": {"thought_signature": str(seal), **google}, **rest} if (
            not google and not rest
        ):
            del fields["extra_content"]
            return seal
    return ""


def seal_to_wire(kind: Kind, seal: str, length: int) -> dict[str, Any]:
    """The field of a message, a delta or a tool call that carries a block's seal.

    A thought's text was said already; `length` tells how many of its characters this seal is for.
    """
    if kind is Kind.REASONING:
        return {
            "reasoning_details": [
                {"type": "reasoning.text", "text": "", "signature": seal, "length": length}
            ]
        }
    return signed(seal)


DETAILS = "details:"
"""What stands before a whole list of reasoning details, sealed as one text for a client of another dialect."""


def sealed_details(details: Sequence[Any], provider: str) -> str:
    """Reasoning details as one seal; empty when none of them is bound to the provider."""
    objects = [item for item in details if isinstance(item, dict)]
    if not any(_is_seal(item, key) for item in objects for key in item):
        return ""
    text = base64.b64encode(encoded(_joined(objects))).decode()
    return sealed(provider, DETAILS + text)


def opened_details(details: Sequence[dict[str, Any]], provider: str) -> list[dict[str, Any]]:
    """The details that `provider` may read, as it made them."""
    found: list[dict[str, Any]] = []
    for item in untagged(list(details), provider):
        whole = next(
            (
                value
                for value in item.values()
                if isinstance(value, str) and value.startswith(DETAILS)
            ),
            None,
        )
        found += [item] if whole is None else _unpacked(whole)
    return found


def _unpacked(text: str) -> list[dict[str, Any]]:
    try:
        value = decoded(base64.b64decode(text.removeprefix(DETAILS)))
    except (ValueError, msgspec.DecodeError):
        return []
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _joined(details: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Pieces of the same detail as one: their texts add up, of the rest the last one holds."""
    found: list[dict[str, Any]] = []
    for item in details:
        same = found and (found[-1].get("type"), found[-1].get("index")) == (
            item.get("type"),
            item.get("index"),
        )
        if not same or item.get("index") is None:
            found.append(dict(item))
            continue
        last = found[-1]
        for key, value in item.items():
            grows = (
                key in {"text", "summary", "data"}
                and isinstance(last.get(key), str)
                and isinstance(value, str)
            )
            last[key] = last[key] + value if grows else value
    return found
