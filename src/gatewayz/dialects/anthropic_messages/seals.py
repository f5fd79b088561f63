"""Where Anthropic's wire holds provider-bound state, and how it is tagged and opened.

Signatures of thinking, the data of redacted thinking, and the encrypted parts of server tools' results and citations:
all are opaque and must come back as they were, to who made them.
"""

from typing import Any

from gatewayz.dialects import sealing

SEALED = frozenset({"signature", "encrypted_content", "encrypted_index", "encrypted_stdout"})
REDACTED = "redacted:"
"""What stands before the data of redacted thinking inside its seal, so that it is not taken for a signature."""


def _is_seal(holder: dict[str, Any], key: str) -> bool:
    return key in SEALED or (key == "data" and holder.get("type") == "redacted_thinking")


def tagged(value: Any, provider: str) -> Any:
    """A copy in which every seal carries the name of its provider."""
    return sealing.tagged(value, provider, _is_seal)


def untagged(value: Any, provider: str) -> Any:
    """A copy with the seals opened for `provider`; nothing at all when one in it is a stranger's."""
    return sealing.untagged(value, provider, _is_seal)
