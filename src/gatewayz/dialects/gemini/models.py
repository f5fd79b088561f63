"""What Gemini's models differ in, as a table: the first family whose pattern is found in the id holds.

Sources: ai.google.dev/gemini-api/docs/thinking (budgets, levels), …/openai (what an effort means), …/structured-output,
…/function-calling (multimodal results), …/thought-signatures.
"""

import re
from typing import Literal

from msgspec import Struct


class Family(Struct, frozen=True, kw_only=True):
    """Models that behave alike. Budgets in tokens; `off` is the budget that turns thinking off, where it can be."""

    pattern: str = ""
    thinking: Literal["none", "budget", "level"] = "none"
    least: int = 1
    most: int = 24_576
    off: int | None = None
    levels: tuple[str, ...] = ()
    json_schema: bool = False
    """JSON Schema is taken as it is, under `responseJsonSchema` and `parametersJsonSchema`."""
    json_with_tools: bool = False
    media_in_results: bool = False
    """`functionResponse` may hold images; otherwise they stand beside it."""
    demands_signatures: bool = False
    """A function call of the current turn without a signature is refused."""
    instructed: bool = True
    """There is a system instruction; otherwise it is said at the beginning of the conversation."""


def _third(pattern: str, *levels: str) -> Family:
    return Family(
        pattern=pattern,
        thinking="level" if levels else "none",
        levels=levels,
        json_schema=True,
        json_with_tools=True,
        media_in_results=True,
        demands_signatures=True,
    )


FAMILIES: tuple[Family, ...] = (
    Family(pattern=r"gemini-2\.5-.*(image|tts|live|audio)"),
    Family(pattern=r"gemini-2\.5-pro", thinking="budget", least=128, most=32_768, json_schema=True),
    Family(
        pattern=r"gemini-2\.5-flash-lite", thinking="budget", least=512, off=0, json_schema=True
    ),
    Family(pattern=r"gemini-2\.5", thinking="budget", off=0, json_schema=True),
    Family(pattern=r"gemini-[12]\."),
    # 'Developer instruction is not enabled for models/gemma-3-27b-it'.
    Family(pattern=r"gemma-[123]", instructed=False),
    _third(r"gemini-([3-9]|\d\d).*(image|tts|live|audio)"),
    _third(r"gemini-3-pro", "low", "high"),
    _third(r"gemini-([3-9]|\d\d)[\d.]*-pro|gemini-pro-latest", "low", "medium", "high"),
    _third(r"gemini-([3-9]|\d\d)|gemini-flash(-lite)?-latest", "minimal", "low", "medium", "high"),
)
OTHER = Family()
"""Open models and those that nobody knows yet: nothing is assumed of them."""


def family_of(upstream_id: str) -> Family:
    """The family of a model."""
    return next((family for family in FAMILIES if re.search(family.pattern, upstream_id)), OTHER)
