"""Where Anthropic's wire holds provider-bound state, and how it is tagged and opened.

Signatures of thinking, the data of redacted thinking, and the encrypted parts of server tools' results and citations:
all are opaque and must come back as they were, to who made them.
"""

from typing import Any

from gatewayz.core.seal import PREFIX
from gatewayz.dialects import sealing

SEALED = frozenset({"signature", "encrypted_content", "encrypted_index", "encrypted_stdout"})
MAX_PROVIDER = 96
"""Characters of who made a seal."""
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


CARRIED = "for:"
"""What stands before the seal of a text or a tool call, which travels in a block of redacted thinking of its own."""


def is_redacted(seal: str) -> bool:
    """Whether a seal holds redacted thinking, and no signature."""
    return f".{REDACTED}" in seal[: len(PREFIX) + MAX_PROVIDER + len(REDACTED) + 1]


def carried(call_id: str, seal: str) -> str:
    """The seal of a block that has no place for one, as the data of a block beside it; `call_id` is a tool call's."""
    return f"{CARRIED}{call_id}:{seal}"


def brought(data: str) -> tuple[str, str] | None:
    """The call that a carried seal is for (empty for the text before it), and the seal; nothing for other data."""
    if not data.startswith(CARRIED):
        return None
    call_id, found, seal = data.removeprefix(CARRIED).partition(f":{PREFIX}")
    return (call_id, PREFIX + seal) if found else None
