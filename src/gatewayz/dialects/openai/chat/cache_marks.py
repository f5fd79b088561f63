"""Where `caching: auto` marks a conversation of chat, for models behind it that cache by mark.

Source: openrouter.ai/docs/features/prompt-caching, "Anthropic Claude": marks stand on text parts.
"""

from typing import Any

from gatewayz.dialects.kit.cache_marks import add_cache_marks

SYSTEM_ROLES = frozenset({"system", "developer"})
USER_ROLES = frozenset({"user", "tool"})


def mark_conversation(body: dict[str, Any]) -> None:
    """Marks the system's prompt, the tools, and the last two turns of the user."""
    messages = body["messages"]
    leading = 0
    while leading < len(messages) and messages[leading]["role"] in SYSTEM_ROLES:
        leading += 1
    system = messages[leading - 1] if leading else None

    # Results of tools that follow each other are one turn.
    turns = [
        message
        for message, after in zip(messages, [*messages[1:], None], strict=True)
        if message["role"] in USER_ROLES
        and (after is None or after["role"] not in USER_ROLES)
        and message.get("content")
    ]
    add_cache_marks(body, turns, system, "content")
