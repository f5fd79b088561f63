"""How much to think, in Gemini's words: a budget in tokens up to Gemini 2.5, a level from Gemini 3 on."""

from typing import Any

from gatewayz.core.requests import Effort
from gatewayz.dialects.gemini.loses import Lost
from gatewayz.dialects.gemini.models import Family

DYNAMIC = -1
"""A budget that leaves it to the model."""
BUDGETS = {"minimal": 1_024, "low": 1_024, "medium": 8_192, "high": 24_576}
"""What an effort comes to in tokens (ai.google.dev/gemini-api/docs/openai, "Thinking")."""
LEVELS = ("minimal", "low", "medium", "high")


def thinking_to_wire(effort: Effort | None, family: Family, lost: Lost) -> dict[str, Any] | None:
    """`thinkingConfig`; nothing where nothing was asked. Thoughts are shown to whoever asked for thinking."""
    if effort is None:
        return None
    if family.thinking == "none":
        lost.add("reasoning_effort")
        return None
    if effort.enabled is False or effort.effort == "none":
        return _off(family, lost)
    config: dict[str, Any] = {} if effort.hidden else {"includeThoughts": True}
    return config | (
        _level(effort, family) if family.thinking == "level" else _budget(effort, family)
    )


def _off(family: Family, lost: Lost) -> dict[str, Any]:
    """Thinking turned off, or the least of it where it cannot be."""
    if family.off is not None:
        return {"thinkingBudget": family.off}
    lost.add("reasoning_effort")
    return (
        {"thinkingLevel": family.levels[0]}
        if family.thinking == "level"
        else {"thinkingBudget": family.least}
    )


def _budget(effort: Effort, family: Family) -> dict[str, Any]:
    if effort.budget is None and not effort.effort:
        return {"thinkingBudget": DYNAMIC}
    wanted = effort.budget if effort.budget is not None else BUDGETS.get(effort.effort, family.most)
    return {"thinkingBudget": min(max(wanted, family.least), family.most)}


def _level(effort: Effort, family: Family) -> dict[str, Any]:
    word = effort.effort
    if effort.budget is not None:
        word = next((name for name, budget in BUDGETS.items() if effort.budget <= budget), "high")
    if not word:
        return {}
    wanted = LEVELS.index(word) if word in LEVELS else len(LEVELS)
    enough = [level for level in family.levels if LEVELS.index(level) >= wanted]
    return {"thinkingLevel": enough[0] if enough else family.levels[-1]}
