"""How much to think, both ways: `thinking` and `output_config.effort`.

A request of this dialect is spelled as it came. One of another dialect is spelled as the model's family takes it:
a budget in tokens up to Claude 4.5, adaptive from 4.6 on.
"""

from typing import Any

from msgspec import Struct

from gatewayz.core.requests import ChatRequest, Effort
from gatewayz.dialects.anthropic_messages.loses import NAME, Lost
from gatewayz.dialects.anthropic_messages.models import Family
from gatewayz.dialects.fields import Fields

LEAST_BUDGET = 1_024
BUDGETS = {
    "minimal": 1_024,
    "low": 2_048,
    "medium": 8_192,
    "high": 16_384,
    "xhigh": 31_999,
    "max": 31_999,
}
DEFAULT_BUDGET = 8_192
WORDS = {
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "xhigh",
    "max": "max",
}
LADDER = ("low", "medium", "high", "xhigh")
OFF = "none"
ROOM_TO_ANSWER = 4_096
"""What a client that gave no limit may still read after the budget is thought through."""


def effort_from_wire(fields: Fields, effort: str) -> Effort | None:
    """`thinking`, with the effort word of `output_config`; what the canon has no word for stays in the fields."""
    given = fields.object("thinking")
    if given is None:
        return Effort(effort=effort) if effort else None
    inner = Fields(given, fields.inside("thinking"))
    kind = inner.text("type") or inner.missing("type")
    budget = inner.integer("budget_tokens", 1) if kind == "enabled" else None
    if kind == "enabled" and budget is None:
        inner.missing("budget_tokens")
    hidden = inner.rest.get("display") == "omitted"
    if kind not in KINDS:
        inner.rest["type"] = kind
    if hidden:
        del inner.rest["display"]
    if inner.rest:
        fields.rest["thinking"] = inner.rest
    return Effort(effort=effort, budget=budget, enabled=kind != "disabled", hidden=hidden)


KINDS = frozenset({"enabled", "adaptive", "disabled"})


class Thought(Struct, frozen=True):
    """What a request says of thinking: `thinking`, the effort word, and the limit of the answer."""

    thinking: dict[str, Any] | None
    effort: str
    limit: int

    @property
    def on(self) -> bool:
        return self.thinking is not None and self.thinking.get("type") != "disabled"


def thought_of(request: ChatRequest, family: Family, most: int | None, lost: Lost) -> Thought:
    """How this request thinks, as its model takes it; `most` is the catalogue's limit of output tokens."""
    effort, limit = request.reasoning, _limit(request, family, most)
    if request.dialect == NAME:
        said = _own(effort, request.extra.get("thinking") or {})
        return Thought(said, effort.effort if effort is not None else "", limit)
    if effort is None:
        return Thought(None, "", limit)
    off = effort.enabled is False or effort.effort == OFF
    if family.thinking == "none" or (off and not family.stops_thinking):
        lost.add("reasoning_effort")
        return Thought(None, "", limit)
    if off:
        return Thought({"type": "disabled"}, "", limit)
    if family.thinking == "adaptive":
        thinking = {"type": "adaptive", "display": "omitted" if effort.hidden else "summarized"}
        return Thought(thinking, _word(effort), limit)
    return _budgeted(effort, _roomy(request, effort, limit, most), lost)


def _limit(request: ChatRequest, family: Family, most: int | None) -> int:
    if request.max_output is None:
        return most or family.limit
    return (
        request.max_output
        if request.dialect == NAME or most is None
        else min(request.max_output, most)
    )


def _own(effort: Effort | None, rest: dict[str, Any]) -> dict[str, Any] | None:
    if effort is None or (effort.enabled is None and effort.budget is None and not rest):
        return None
    if effort.budget is not None:
        wire: dict[str, Any] = {"type": "enabled", "budget_tokens": effort.budget}
    else:
        wire = {"type": "disabled" if effort.enabled is False else "adaptive"}
    return wire | ({"display": "omitted"} if effort.hidden else {}) | rest


def _word(effort: Effort) -> str:
    if effort.budget is None:
        return WORDS.get(effort.effort, "")
    return next((word for word in LADDER if effort.budget <= BUDGETS[word]), "max")


def _wanted(effort: Effort) -> int:
    return (
        effort.budget if effort.budget is not None else BUDGETS.get(effort.effort, DEFAULT_BUDGET)
    )


def _roomy(request: ChatRequest, effort: Effort, limit: int, most: int | None) -> int:
    """The limit with room for the budget, where the client gave none."""
    if request.max_output is not None:
        return limit
    roomy = max(limit, _wanted(effort) + ROOM_TO_ANSWER)
    return roomy if most is None else min(roomy, most)


def _budgeted(effort: Effort, limit: int, lost: Lost) -> Thought:
    budget = min(max(_wanted(effort), LEAST_BUDGET), limit - 1)
    if budget < LEAST_BUDGET:
        lost.add("reasoning_effort")
        return Thought(None, "", limit)
    shown = {"display": "omitted"} if effort.hidden else {}
    return Thought({"type": "enabled", "budget_tokens": budget, **shown}, "", limit)
