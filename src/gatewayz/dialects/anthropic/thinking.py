"""How much to think, both ways: `thinking` and `output_config.effort`.

A request of this dialect is written as it came. One of another dialect is written as the model's
family takes it: a budget in tokens up to Claude 4.5, adaptive from 4.6 on.
"""

from typing import Any

from msgspec import Struct

from gatewayz.core.requests import ChatRequest, Effort
from gatewayz.dialects.anthropic.models import ClaudeFamily
from gatewayz.dialects.anthropic.wire import NAME
from gatewayz.dialects.kit.dropped import Dropped
from gatewayz.dialects.kit.fields import Fields

MIN_BUDGET = 1_024
"""Tokens; 'at least 1024 and less than max_tokens'."""
BUDGETS = {
    "minimal": 1_024,
    "low": 2_048,
    "medium": 8_192,
    "high": 16_384,
    "xhigh": 31_999,
    "max": 31_999,
}
"""Effort → tokens to think with."""
DEFAULT_BUDGET = 8_192
EFFORT_WORDS = {
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "xhigh",
    "max": "max",
}
"""Effort → `output_config.effort`."""
EFFORT_LADDER = ("low", "medium", "high", "xhigh")
OFF = "none"
ANSWER_TOKENS = 4_096
"""Room for the answer after the budget is used up, where the client gave no limit."""
THINKING_TYPES = frozenset({"enabled", "adaptive", "disabled"})


def effort_from_wire(fields: Fields, effort: str) -> Effort | None:
    """`thinking`, with the effort word of `output_config`.

    What the canon has no word for stays in the fields. Example:
    `{"type": "enabled", "budget_tokens": 2_048}` → `Effort(budget=2_048, enabled=True)`.
    """
    thinking = fields.object("thinking")
    if thinking is None:
        return Effort(effort=effort) if effort else None

    inner = Fields(thinking, fields.path_inside("thinking"))
    kind = inner.text("type") or inner.raise_missing("type")
    budget = inner.integer("budget_tokens", 1) if kind == "enabled" else None
    if kind == "enabled" and budget is None:
        inner.raise_missing("budget_tokens")

    hidden = inner.rest.get("display") == "omitted"
    if kind not in THINKING_TYPES:
        inner.rest["type"] = kind
    if hidden:
        del inner.rest["display"]
    if inner.rest:
        fields.rest["thinking"] = inner.rest
    return Effort(effort=effort, budget=budget, enabled=kind != "disabled", hidden=hidden)


class ThinkingConfig(Struct, frozen=True):
    """What a request says of thinking: `thinking`, the effort word, and the limit of the answer.

    Example: `ThinkingConfig({"type": "enabled", "budget_tokens": 2_048}, "", max_tokens=4_096)`.
    """

    thinking: dict[str, Any] | None
    effort: str
    max_tokens: int

    @property
    def enabled(self) -> bool:
        return self.thinking is not None and self.thinking.get("type") != "disabled"


def thinking_config(
    request: ChatRequest, family: ClaudeFamily, max_output: int | None, dropped: Dropped
) -> ThinkingConfig:
    """How this request thinks, as its model takes it.

    `max_output` is the catalogue's limit, in tokens.
    """
    effort, limit = request.reasoning, _max_tokens(request, family, max_output)
    if request.dialect == NAME:
        thinking = _thinking_to_wire(effort, request.extra.get("thinking") or {})
        return ThinkingConfig(thinking, effort.effort if effort is not None else "", limit)
    if effort is None:
        return ThinkingConfig(None, "", limit)

    off = effort.enabled is False or effort.effort == OFF
    if family.thinking == "none" or (off and not family.can_disable_thinking):
        dropped.add("reasoning_effort")
        return ThinkingConfig(None, "", limit)
    if off:
        return ThinkingConfig({"type": "disabled"}, "", limit)
    if family.thinking == "adaptive":
        thinking = {"type": "adaptive", "display": "omitted" if effort.hidden else "summarized"}
        return ThinkingConfig(thinking, _effort_word(effort), limit)
    limit = _max_tokens_with_budget(request, effort, limit, max_output)
    return _budget_config(effort, limit, dropped)


def _max_tokens(request: ChatRequest, family: ClaudeFamily, max_output: int | None) -> int:
    if request.max_output is None:
        return max_output or family.max_output
    if request.dialect == NAME or max_output is None:
        return request.max_output
    return min(request.max_output, max_output)


def _thinking_to_wire(effort: Effort | None, rest: dict[str, Any]) -> dict[str, Any] | None:
    if effort is None or (effort.enabled is None and effort.budget is None and not rest):
        return None
    if effort.budget is not None:
        wire: dict[str, Any] = {"type": "enabled", "budget_tokens": effort.budget}
    else:
        wire = {"type": "disabled" if effort.enabled is False else "adaptive"}
    return wire | ({"display": "omitted"} if effort.hidden else {}) | rest


def _effort_word(effort: Effort) -> str:
    if effort.budget is None:
        return EFFORT_WORDS.get(effort.effort, "")
    return next((word for word in EFFORT_LADDER if effort.budget <= BUDGETS[word]), "max")


def _budget_from_effort(effort: Effort) -> int:
    if effort.budget is not None:
        return effort.budget
    return BUDGETS.get(effort.effort, DEFAULT_BUDGET)


def _max_tokens_with_budget(
    request: ChatRequest, effort: Effort, limit: int, max_output: int | None
) -> int:
    """The limit with room for the budget, where the client gave none."""
    if request.max_output is not None:
        return limit
    with_room = max(limit, _budget_from_effort(effort) + ANSWER_TOKENS)
    return with_room if max_output is None else min(with_room, max_output)


def _budget_config(effort: Effort, limit: int, dropped: Dropped) -> ThinkingConfig:
    budget = max(_budget_from_effort(effort), MIN_BUDGET)
    if effort.budget is None:
        # A word says how hard to think, not how much: it leaves room for the answer.
        budget = min(budget, max(limit * 3 // 4, MIN_BUDGET))
    budget = min(budget, limit - 1)
    if budget < MIN_BUDGET:
        dropped.add("reasoning_effort")
        return ThinkingConfig(None, "", limit)
    display = {"display": "omitted"} if effort.hidden else {}
    return ThinkingConfig({"type": "enabled", "budget_tokens": budget, **display}, "", limit)
