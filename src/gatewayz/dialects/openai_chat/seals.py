"""Where OpenAI-shaped wires hide provider-bound state, and how it is tagged and opened.

OpenRouter and its kin: `reasoning_details[].signature` and encrypted `data`; Gemini's OpenAI surface:
`extra_content.google.thought_signature`.
"""

from typing import Any

from gatewayz.core.events import Kind
from gatewayz.core.seal import opened, sealed

SEALED = frozenset({"signature", "thought_signature", "encrypted_content"})


def _is_seal(holder: dict[str, Any], key: str) -> bool:
    return key in SEALED or (key == "data" and holder.get("type") == "reasoning.encrypted")


def tagged(value: Any, provider: str) -> Any:
    """A copy in which every seal carries the name of its provider."""
    if isinstance(value, list):
        return [tagged(item, provider) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: sealed(provider, inner)
        if isinstance(inner, str) and inner and _is_seal(value, key)
        else tagged(inner, provider)
        for key, inner in value.items()
    }


def untagged(value: Any, provider: str) -> Any:
    """A copy with the seals opened for `provider`; nothing at all when one in it is a stranger's."""
    if isinstance(value, list):
        kept = [untagged(item, provider) for item in value]
        return [item for item in kept if item is not None]
    if not isinstance(value, dict):
        return value
    result: dict[str, Any] = {}
    for key, inner in value.items():
        if isinstance(inner, str) and inner and _is_seal(value, key):
            plain = opened(provider, inner)
            if plain is None:
                return None
            result[key] = plain
        else:
            below = untagged(inner, provider)
            if below is None and inner is not None:
                return None
            result[key] = below
    return result


def signed(seal: str) -> dict[str, Any]:
    """The field in which a text or a tool call carries its seal, as Gemini's OpenAI surface spells it."""
    return {"extra_content": {"google": {"thought_signature": seal}}}


def taken(fields: dict[str, Any]) -> str:
    """Takes that field out of `fields` when it holds a seal and nothing else."""
    match fields.get("extra_content"):
        case {"google": {"thought_signature": str(seal), **google}, **rest} if not google and not rest:
            del fields["extra_content"]
            return seal
    return ""


def seal_to_wire(kind: Kind, seal: str) -> dict[str, Any]:
    """The field of a message, a delta or a tool call that carries a block's seal."""
    if kind is Kind.REASONING:
        return {"reasoning_details": [{"type": "reasoning.text", "text": "", "signature": seal}]}
    return signed(seal)
