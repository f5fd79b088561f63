"""Where Anthropic's wire holds provider-bound state, and how it is sealed and opened.

Signatures of thinking, the data of redacted thinking, and the encrypted parts of server tools'
results and citations: all are opaque and must come back as they were, to the provider that made
them. A seal of another dialect, on a text or a tool call, travels in a block of its own.
"""

from typing import Any

from gatewayz.core.seal import PREFIX
from gatewayz.dialects.kit import json_seals

SEAL_FIELDS = frozenset({"signature", "encrypted_content", "encrypted_index", "encrypted_stdout"})
MAX_PROVIDER_CHARACTERS = 96
"""Characters of the provider's id inside a seal."""
REDACTED_PREFIX = "redacted:"
"""Stands before the data of redacted thinking inside its seal: it is not taken for a signature."""


def _is_seal(holder: dict[str, Any], key: str) -> bool:
    return key in SEAL_FIELDS or (key == "data" and holder.get("type") == "redacted_thinking")


def tag_seals(value: Any, provider: str) -> Any:
    """A copy in which every seal carries the name of `provider`, which made it."""
    return json_seals.tag_seals(value, provider, _is_seal)


def untag_seals(value: Any, provider: str) -> Any:
    """A copy with the seals opened for `provider`; `None` when another made one of them."""
    return json_seals.untag_seals(value, provider, _is_seal)


CARRIER_PREFIX = "for:"
"""Stands before the seal of a text or a call in the block of thinking that carries it."""


def is_redacted(seal: str) -> bool:
    """Whether a seal holds redacted thinking, and no signature."""
    return (
        f".{REDACTED_PREFIX}"
        in seal[: len(PREFIX) + MAX_PROVIDER_CHARACTERS + len(REDACTED_PREFIX) + 1]
    )


def carrier_from_seal(call_id: str, seal: str) -> str:
    """The seal of a block that has no place for one, as the data of a block beside it.

    `call_id` is a tool call's, or empty. Example: `for:toolu_1:gwz.google.c2ln`.
    """
    return f"{CARRIER_PREFIX}{call_id}:{seal}"


def seal_from_carrier(data: str) -> tuple[str, str] | None:
    """The call that a seal is for, and the seal; `None` for other data.

    Without a call it is for the text before it.
    """
    if not data.startswith(CARRIER_PREFIX):
        return None
    call_id, separator, seal = data.removeprefix(CARRIER_PREFIX).partition(f":{PREFIX}")
    return (call_id, PREFIX + seal) if separator else None
