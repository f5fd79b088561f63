"""What Claude models differ in, as a table: the first family whose pattern matches the id holds.

Sources: platform.claude.com/docs/en/build-with-claude/thinking, …/structured-outputs,
…/about-claude/models, and the profiles of pydantic-ai.
"""

import re
from typing import Literal

from msgspec import Struct


class ClaudeFamily(Struct, frozen=True, kw_only=True):
    """Models that behave alike.

    `max_output`: tokens that every model of the family can answer with.

    Example: `ClaudeFamily(pattern=r"claude-2", thinking="none", max_output=4_096)`.
    """

    pattern: str = ""
    thinking: Literal["none", "budget", "adaptive"] = "budget"
    can_disable_thinking: bool = True
    """Thinking can be turned off."""
    accepts_sampling: bool = True
    """Temperature and its kin are taken; newer models refuse them."""
    json_schema: bool = True
    """`output_config.format` is understood."""
    accepts_forced_tools: bool = True
    """`tool_choice` any and tool are taken."""
    max_output: int = 32_000


FAMILIES: tuple[ClaudeFamily, ...] = (
    ClaudeFamily(
        pattern=r"claude-(fable|mythos)",
        thinking="adaptive",
        can_disable_thinking=False,
        accepts_sampling=False,
        accepts_forced_tools=False,
    ),
    ClaudeFamily(
        pattern=r"claude-3-(opus|sonnet|haiku)",
        thinking="none",
        json_schema=False,
        max_output=4_096,
    ),
    ClaudeFamily(
        pattern=r"claude-3[-.]5|claude-2|claude-instant",
        thinking="none",
        json_schema=False,
        max_output=4_096,
    ),
    ClaudeFamily(pattern=r"claude-3[-.]7|claude-(opus|sonnet)-4(-2025|-0|@|$)", json_schema=False),
    ClaudeFamily(pattern=r"claude-(opus-4[-.]1|(opus|sonnet|haiku)-4[-.]5)"),
    ClaudeFamily(pattern=r"claude-(opus|sonnet|haiku)-4[-.]6", thinking="adaptive"),
    ClaudeFamily(pattern=r"claude-", thinking="adaptive", accepts_sampling=False),
)
DEFAULT_FAMILY = ClaudeFamily(json_schema=False, max_output=4_096)
"""Other models behind the same wire, and ids that tell nothing: everyone knows the oldest forms."""


def family_of(upstream_id: str) -> ClaudeFamily:
    """The family of a model, by the provider's id of it."""
    return next(
        (family for family in FAMILIES if re.search(family.pattern, upstream_id)), DEFAULT_FAMILY
    )
