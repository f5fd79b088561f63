"""What Claude models differ in, as a table: the first family whose pattern is found in the id holds.

Sources: platform.claude.com/docs/en/build-with-claude/thinking, …/structured-outputs, …/about-claude/models, and the
profiles of pydantic-ai.
"""

import re
from typing import Literal

from msgspec import Struct


class Family(Struct, frozen=True, kw_only=True):
    """Models that behave alike. `limit`: the most output tokens that every model of the family can give."""

    pattern: str = ""
    thinking: Literal["none", "budget", "adaptive"] = "budget"
    stops_thinking: bool = True
    """Thinking can be turned off."""
    samples: bool = True
    """Temperature and its kin are taken; newer models refuse them."""
    json_schema: bool = True
    """`output_config.format` is understood."""
    forced: bool = True
    """`tool_choice` any and tool are taken."""
    limit: int = 32_000


FAMILIES: tuple[Family, ...] = (
    Family(
        pattern=r"claude-(fable|mythos)",
        thinking="adaptive",
        stops_thinking=False,
        samples=False,
        forced=False,
    ),
    Family(
        pattern=r"claude-3-(opus|sonnet|haiku)", thinking="none", json_schema=False, limit=4_096
    ),
    Family(
        pattern=r"claude-3[-.]5|claude-2|claude-instant",
        thinking="none",
        json_schema=False,
        limit=4_096,
    ),
    Family(pattern=r"claude-3[-.]7|claude-(opus|sonnet)-4(-2025|-0|@|$)", json_schema=False),
    Family(pattern=r"claude-(opus-4[-.]1|(opus|sonnet|haiku)-4[-.]5)"),
    Family(pattern=r"claude-(opus|sonnet|haiku)-4[-.]6", thinking="adaptive"),
    Family(pattern=r"claude-", thinking="adaptive", samples=False),
)
OTHER = Family(json_schema=False, limit=4_096)
"""Models of others behind the same wire, and ids that tell nothing: the oldest forms are understood everywhere."""


def family_of(upstream_id: str) -> Family:
    """The family of a model."""
    return next((family for family in FAMILIES if re.search(family.pattern, upstream_id)), OTHER)
