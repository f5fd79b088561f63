"""Quirks of thinking: how effort is sent, and how earlier thoughts come back."""

import re
from collections.abc import Callable, Sequence
from typing import Any

from gatewayz.dialects.anthropic.thinking import BUDGETS
from gatewayz.providers.body_step import Body, value_for_model
from gatewayz.providers.spec import Quirks

EFFORT_LADDER = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
"""OpenAI's and Anthropic's words for how much to think, from nothing to most."""
EFFORT_NONE = "none"
HISTORY_FIELDS = ("reasoning_content", "reasoning_details", "reasoning")
THINK_TAGS = "think_tags"


def rewrite_reasoning_history(body: Body, quirks: Quirks, model: str) -> None:
    """Earlier thoughts where the model wants them back: in a field, in its text between tags, or
    nowhere.
    """
    said = [message for message in body["messages"] if message["role"] == "assistant"]
    if not said:
        return
    field = value_for_model(quirks.reasoning_history_by_model, model) or quirks.reasoning_history
    for message in said:
        thought = message.get("reasoning_content")
        kept = field
        if field == THINK_TAGS and message.get("reasoning_details") and _splits_reasoning(quirks):
            kept = "reasoning_details"
        for name in HISTORY_FIELDS:
            if name != kept:
                message.pop(name, None)
        if kept == "reasoning" and thought:
            message["reasoning"] = thought
        if kept == THINK_TAGS and thought:
            message["content"] = _with_think_tags(thought, message.get("content"))


def _splits_reasoning(quirks: Quirks) -> bool:
    """Whether the provider is asked to say its thoughts in `reasoning_details`, and takes them so."""
    return bool(quirks.extra_body.get("reasoning_split"))


def _with_think_tags(thought: str, content: Any) -> Any:
    """A text with its thought before it, as the model's template has written it."""
    # The line breaks around the tags are the template's, and may have stayed with the thought.
    head = "<think>\n" + thought.strip("\n") + "\n</think>\n\n"
    if isinstance(content, list):
        return [{"type": "text", "text": head}, *content]
    return head + (content or "")


def switch_off_lost_thoughts(body: Body, quirks: Quirks, model: str) -> tuple[str, ...]:
    """No thinking in this call, where a call of a tool has lost its thought and the provider refuses
    that ("The `reasoning_content` in the thinking mode must be passed back to the API"). An
    invented one is refused too.
    """
    if not quirks.thoughts_required or not re.search(quirks.thoughts_required, model):
        return ()
    if not any(
        message.get("tool_calls") and not message.get("reasoning_content")
        for message in body["messages"]
        if message["role"] == "assistant"
    ):
        return ()
    body["thinking"] = {"type": "disabled"}
    return ("reasoning_effort",)


def map_reasoning(body: Body, quirks: Quirks, model: str) -> tuple[str, ...]:
    """Effort and details in the provider's own fields, its word for the effort the nearest it knows."""
    reasoning = body.pop("reasoning", {})
    asked: str = body.pop("reasoning_effort", "") or reasoning.get("effort", "")
    details = _take_thinking_details(body)
    if not asked and not reasoning:
        return ()

    words = value_for_model(quirks.effort_by_model, model)
    effort = words.get(asked, words.get("*", asked)) if asked and words is not None else asked
    fields = REASONING_ENCODERS[quirks.reasoning_send](effort, reasoning)
    sent = _use_known_word(fields, quirks, model) if words is None else effort
    if details and quirks.reasoning_send == "thinking_type":
        fields["thinking"] = {**details, **fields["thinking"]}
    body |= fields
    return ("reasoning_effort",) if asked and sent and sent != asked else ()


def _take_thinking_details(body: Body) -> Body:
    """What a client has said in `thinking` beside what the canon has words for.

    Example: Moonshot's `{"keep": "all"}`. A form that is not known here stays.
    """
    thinking = body.get("thinking")
    if not isinstance(thinking, dict) or "type" in thinking:
        return {}
    del body["thinking"]
    return thinking


def _use_known_word(fields: Body, quirks: Quirks, model: str) -> str:
    """Puts the nearest word that the model knows in place of the effort; returns it."""
    known = value_for_model(quirks.efforts_by_model, model) or quirks.efforts
    for holder, name in ((fields, "reasoning_effort"), (fields.get("reasoning"), "effort")):
        if isinstance(holder, dict) and name in holder:
            holder[name] = nearest_effort(holder[name], known)
            return str(holder[name])
    return ""


def nearest_effort(word: str, known: Sequence[str]) -> str:
    """The word of `known` that is nearest; one that stands on no ladder is passed on.

    Only `none` switches thinking off, and it is nobody's neighbour.

    Example: `nearest_effort("max", ("low", "medium", "high"))` → `"high"`.
    """
    if word in known or word not in EFFORT_LADDER or not known:
        return word
    place = EFFORT_LADDER.index(word)
    steps = {
        name: abs(EFFORT_LADDER.index(name) - place)
        for name in known
        if name in EFFORT_LADDER and name != EFFORT_NONE
    }
    return min(steps, key=lambda name: steps[name], default=word)


def effort_from_budget(budget: int) -> str:
    """The word whose usual budget is the first that is large enough.

    Example: `effort_from_budget(2_000)` → `"low"`.
    """
    return next((word for word, tokens in BUDGETS.items() if budget <= tokens), "max")


def _is_thinking_on(effort: str, reasoning: Body) -> bool:
    return effort != EFFORT_NONE and reasoning.get("enabled") is not False


def _effort_only(effort: str, reasoning: Body) -> Body:
    if not effort and reasoning.get("max_tokens"):
        effort = effort_from_budget(reasoning["max_tokens"])
    default = EFFORT_NONE if reasoning.get("enabled") is False else "medium"
    return {"reasoning_effort": effort or default}


def _none_or_high(effort: str, reasoning: Body) -> Body:
    return {"reasoning_effort": "high" if _is_thinking_on(effort, reasoning) else EFFORT_NONE}


def _reasoning_object(effort: str, reasoning: Body) -> Body:
    return {"reasoning": reasoning | ({"effort": effort} if effort else {})}


def _thinking_type(effort: str, reasoning: Body) -> Body:
    return {"thinking": {"type": "enabled" if _is_thinking_on(effort, reasoning) else "disabled"}}


def _enable_thinking(effort: str, reasoning: Body) -> Body:
    thinking = {"enable_thinking": _is_thinking_on(effort, reasoning)}
    budget = reasoning.get("max_tokens")
    return thinking | ({"thinking_budget": budget} if budget else {})


def _template_kwargs(effort: str, reasoning: Body) -> Body:
    is_on = _is_thinking_on(effort, reasoning)
    named = {"reasoning_effort": effort} if effort and effort != EFFORT_NONE else {}
    return {"chat_template_kwargs": {"enable_thinking": is_on, "thinking": is_on}} | named


def _together(effort: str, reasoning: Body) -> Body:
    is_on = _is_thinking_on(effort, reasoning)
    named = {"reasoning_effort": effort} if effort and is_on else {}
    return {"reasoning": {"enabled": is_on}} | named


REASONING_ENCODERS: dict[str, Callable[[str, Body], Body]] = {
    "none": lambda _effort, _reasoning: {},
    "reasoning_effort": _effort_only,
    "reasoning_effort_none_high": _none_or_high,
    "reasoning_object": _reasoning_object,
    "thinking_type": _thinking_type,
    "enable_thinking": _enable_thinking,
    "template_kwargs": _template_kwargs,
    "together": _together,
}
"""`reasoning_send` → how effort and details become the provider's own fields."""
