"""How much to think: a budget in tokens up to Gemini 2.5, a level from Gemini 3 on."""

from typing import Any

from gatewayz.core.requests import Effort
from gatewayz.dialects.gemini.models import GeminiFamily
from gatewayz.dialects.kit.dropped import Dropped

DYNAMIC = -1
"""A budget that leaves it to the model."""
BUDGETS = {"minimal": 1_024, "low": 1_024, "medium": 8_192, "high": 24_576}
"""What an effort comes to in tokens (ai.google.dev/gemini-api/docs/openai, "Thinking")."""
LEVELS = ("minimal", "low", "medium", "high")


def thinking_to_wire(
    effort: Effort | None, family: GeminiFamily, dropped: Dropped
) -> dict[str, Any] | None:
    """`thinkingConfig`; nothing where nothing was asked.

    Thoughts are shown to whoever asked for thinking.
    Example: `{"includeThoughts": True, "thinkingBudget": 8_192}`.
    """
    if effort is None:
        return None
    if family.thinking == "none":
        dropped.add("reasoning_effort")
        return None
    if effort.enabled is False or effort.effort == "none":
        return _thinking_off(family, dropped)

    config: dict[str, Any] = {} if effort.hidden else {"includeThoughts": True}
    if family.thinking == "level":
        return config | _thinking_level(effort, family)
    return config | _thinking_budget(effort, family)


def _thinking_off(family: GeminiFamily, dropped: Dropped) -> dict[str, Any]:
    """Thinking turned off, or the least of it where it cannot be."""
    if family.off_budget is not None:
        return {"thinkingBudget": family.off_budget}
    dropped.add("reasoning_effort")
    if family.thinking == "level":
        return {"thinkingLevel": family.levels[0]}
    return {"thinkingBudget": family.min_budget}


def _thinking_budget(effort: Effort, family: GeminiFamily) -> dict[str, Any]:
    if effort.budget is None and not effort.effort:
        return {"thinkingBudget": DYNAMIC}
    budget = effort.budget
    if budget is None:
        budget = BUDGETS.get(effort.effort, family.max_budget)
    return {"thinkingBudget": min(max(budget, family.min_budget), family.max_budget)}


def _thinking_level(effort: Effort, family: GeminiFamily) -> dict[str, Any]:
    word = effort.effort
    if effort.budget is not None:
        word = next((name for name, budget in BUDGETS.items() if effort.budget <= budget), "high")
    if not word:
        return {}

    # The least level of the model that is as much as was asked for, or its highest.
    rank = LEVELS.index(word) if word in LEVELS else len(LEVELS)
    enough = [level for level in family.levels if LEVELS.index(level) >= rank]
    return {"thinkingLevel": enough[0] if enough else family.levels[-1]}
