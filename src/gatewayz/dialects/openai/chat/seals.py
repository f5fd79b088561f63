"""Where OpenAI-shaped wires hide provider-bound state, and how it is tagged and opened.

OpenRouter and its kin: `reasoning_details[].signature` and encrypted `data`; Gemini's OpenAI
surface: `extra_content.google.thought_signature`.
"""

import base64
from collections.abc import Sequence
from typing import Any

import msgspec

from gatewayz.core.events import Kind
from gatewayz.core.seal import seal
from gatewayz.dialects.kit import json_seals
from gatewayz.dialects.kit.jsontext import decode_json, encode_json

SEAL_FIELDS = frozenset({"signature", "thought_signature", "encrypted_content"})


def _is_seal(holder: dict[str, Any], key: str) -> bool:
    return key in SEAL_FIELDS or (key == "data" and holder.get("type") == "reasoning.encrypted")


def tag_seals(value: Any, provider: str) -> Any:
    """A copy in which every seal carries the name of its provider."""
    return json_seals.tag_seals(value, provider, _is_seal)


def untag_seals(value: Any, provider: str) -> Any:
    """A copy with the seals opened for `provider`.

    A list loses the items with a seal of another provider; any other value is `None` with one.
    """
    return json_seals.untag_seals(value, provider, _is_seal)


def seal_field(seal: str) -> dict[str, Any]:
    """The field in which a text or a tool call carries its seal on Gemini's OpenAI surface."""
    return {"extra_content": {"google": {"thought_signature": seal}}}


def take_seal(fields: dict[str, Any]) -> str:
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

    A thought's text was sent before; `length` tells how many of its characters this seal is for.
    """
    if kind is Kind.REASONING:
        return {
            "reasoning_details": [
                {"type": "reasoning.text", "text": "", "signature": seal, "length": length}
            ]
        }
    return seal_field(seal)


GROWING_FIELDS = frozenset({"text", "summary", "data"})
DETAILS_PREFIX = "details:"
"""Begins a list of reasoning details that is sealed as one text, for clients of other dialects."""


def seal_details(details: Sequence[Any], provider: str) -> str:
    """Reasoning details as one seal; empty when none of them is bound to the provider."""
    objects = [item for item in details if isinstance(item, dict)]
    if not any(_is_seal(item, key) for item in objects for key in item):
        return ""
    text = base64.b64encode(encode_json(_join_details(objects))).decode()
    return seal(provider, DETAILS_PREFIX + text)


def open_details(details: Sequence[dict[str, Any]], provider: str) -> list[dict[str, Any]]:
    """The details that `provider` may read, as it made them."""
    opened: list[dict[str, Any]] = []
    for item in untag_seals(list(details), provider):
        texts = (value for value in item.values() if isinstance(value, str))
        packed = next((text for text in texts if text.startswith(DETAILS_PREFIX)), None)
        opened += [item] if packed is None else _unpack_details(packed)
    return opened


def _unpack_details(text: str) -> list[dict[str, Any]]:
    try:
        value = decode_json(base64.b64decode(text.removeprefix(DETAILS_PREFIX)))
    except (ValueError, msgspec.DecodeError):
        return []
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _join_details(details: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Pieces of the same detail as one: their texts add up, of the rest the last one holds."""
    joined: list[dict[str, Any]] = []
    for item in details:
        last = joined[-1] if joined else {}
        is_next_piece = item.get("index") is not None and (
            (last.get("type"), last.get("index")) == (item.get("type"), item.get("index"))
        )
        if not is_next_piece:
            joined.append(dict(item))
            continue
        for key, value in item.items():
            before = last.get(key)
            grows = key in GROWING_FIELDS and isinstance(before, str) and isinstance(value, str)
            last[key] = before + value if grows else value
    return joined
