"""What Gemini's models differ in, as a table: the first family whose pattern matches the id holds.

Sources: ai.google.dev/gemini-api/docs/thinking (budgets, levels), …/openai (what an effort means),
…/structured-output, …/function-calling (multimodal results), …/thought-signatures.
"""

import re
from typing import Literal

from msgspec import Struct


class GeminiFamily(Struct, frozen=True, kw_only=True):
    """Models that behave alike.

    Budgets in tokens; `off_budget` turns thinking off, where it can be.
    Example: `GeminiFamily(pattern="gemini-2", thinking="budget", off_budget=0)`.
    """

    pattern: str = ""
    thinking: Literal["none", "budget", "level"] = "none"
    min_budget: int = 1
    max_budget: int = 24_576
    off_budget: int | None = None
    levels: tuple[str, ...] = ()
    json_schema: bool = False
    """JSON Schema is taken as it is, under `responseJsonSchema` and `parametersJsonSchema`."""
    json_with_tools: bool = False
    media_in_results: bool = False
    """`functionResponse` may hold images; otherwise they stand beside it."""
    demands_signatures: bool = False
    """A function call of the current turn without a signature is refused."""
    has_system_instruction: bool = True
    """There is a system instruction; otherwise it stands at the beginning of the conversation."""


def _gemini_3(pattern: str, *levels: str) -> GeminiFamily:
    return GeminiFamily(
        pattern=pattern,
        thinking="level" if levels else "none",
        levels=levels,
        json_schema=True,
        json_with_tools=True,
        media_in_results=True,
        demands_signatures=True,
    )


FAMILIES: tuple[GeminiFamily, ...] = (
    GeminiFamily(pattern=r"gemini-2\.5-.*(image|tts|live|audio)"),
    GeminiFamily(
        pattern=r"gemini-2\.5-pro",
        thinking="budget",
        min_budget=128,
        max_budget=32_768,
        json_schema=True,
    ),
    GeminiFamily(
        pattern=r"gemini-2\.5-flash-lite",
        thinking="budget",
        min_budget=512,
        off_budget=0,
        json_schema=True,
    ),
    GeminiFamily(pattern=r"gemini-2\.5", thinking="budget", off_budget=0, json_schema=True),
    GeminiFamily(pattern=r"gemini-[12]\."),
    # 'Developer instruction is not enabled for models/gemma-3-27b-it'.
    GeminiFamily(pattern=r"gemma-[123]", has_system_instruction=False),
    _gemini_3(r"gemini-([3-9]|\d\d).*(image|tts|live|audio)"),
    _gemini_3(r"gemini-3-pro", "low", "high"),
    _gemini_3(r"gemini-([3-9]|\d\d)[\d.]*-pro|gemini-pro-latest", "low", "medium", "high"),
    _gemini_3(
        r"gemini-([3-9]|\d\d)|gemini-flash(-lite)?-latest", "minimal", "low", "medium", "high"
    ),
)
DEFAULT_FAMILY = GeminiFamily()
"""Open models and those that nobody knows yet: nothing is assumed of them."""


def family_of(upstream_id: str) -> GeminiFamily:
    """The family of a model, by the provider's id of it."""
    return next(
        (family for family in FAMILIES if re.search(family.pattern, upstream_id)), DEFAULT_FAMILY
    )
