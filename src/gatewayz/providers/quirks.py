"""Quirks, applied: each named oddity is one function that changes the body before it is sent.

Most steps know the body that the `openai_chat` role encodes: the limit under `max_tokens`, effort
under `reasoning_effort` and `reasoning`, earlier thinking under `reasoning_content` and
`reasoning_details`. Bodies of other dialects only have fields added, taken out and renamed.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from gatewayz.core.conversation import Image
from gatewayz.core.requests import ChatRequest, Request
from gatewayz.dialects.kit.image_header import nearest_aspect_ratio
from gatewayz.dialects.kit.jsontext import encode_json
from gatewayz.providers.spec import Quirks

Body = dict[str, Any]
T = TypeVar("T")
REASONING_MODEL = re.compile(r"^(.*/)?(o[0-9]|gpt-5(?!.*-chat)|grok-.*reasoning|grok-[4-9])")
DEFAULT_LIMIT_TOKENS = 4_096
HISTORY_FIELDS = ("reasoning_content", "reasoning_details", "reasoning")
SCHEMA_INSTRUCTION = (
    "Answer with a JSON object that follows this JSON Schema, and with nothing else:\n"
)
EFFORT_NONE = "none"


def _rename_output_limit(body: Body, quirks: Quirks, model: str) -> None:
    if quirks.always_send_limit:
        body.setdefault("max_tokens", DEFAULT_LIMIT_TOKENS)
    field = quirks.max_tokens_field
    if field == "by_model":
        field = "max_completion_tokens" if REASONING_MODEL.match(model) else "max_tokens"
    if field != "max_tokens" and "max_tokens" in body:
        body[field] = body.pop("max_tokens")


def _map_developer_role(body: Body, quirks: Quirks, model: str) -> None:
    if quirks.developer_role == "keep":
        return
    for message in body["messages"]:
        if message["role"] == "developer":
            message["role"] = "system"


def _rewrite_reasoning_history(body: Body, quirks: Quirks, model: str) -> None:
    for message in body["messages"]:
        if message["role"] != "assistant":
            continue
        thought = message.get("reasoning_content")
        for name in HISTORY_FIELDS:
            if name != quirks.reasoning_history:
                message.pop(name, None)
        if quirks.reasoning_history == "reasoning" and thought:
            message["reasoning"] = thought


def _simplify_messages(body: Body, quirks: Quirks, model: str) -> None:
    for message in body["messages"]:
        for name in quirks.drop_message_fields:
            message.pop(name, None)
        content = message.get("content")
        if not quirks.flatten_content or not isinstance(content, list):
            continue
        if all(part.get("type") == "text" for part in content):
            message["content"] = "\n".join(part["text"] for part in content)


def _map_tool_choice(body: Body, quirks: Quirks, model: str) -> None:
    choice = body.get("tool_choice")
    if choice == "required" and quirks.tool_choice_required:
        body["tool_choice"] = quirks.required_word
    elif (choice == "required" or isinstance(choice, dict)) and not quirks.tool_choice_required:
        body["tool_choice"] = "auto"


def _map_response_format(body: Body, quirks: Quirks, model: str) -> None:
    match quirks.json_mode, body.get("response_format"):
        case "json_object", {"type": "json_schema", "json_schema": dict(named_schema)}:
            schema_text = encode_json(named_schema.get("schema") or {}).decode()
            instruction = {"role": "system", "content": SCHEMA_INSTRUCTION + schema_text}
            body["messages"] = [instruction, *body["messages"]]
            body["response_format"] = {"type": "json_object"}
        case "json_schema_only", {"type": "json_object"}:
            schema = {"name": "answer", "schema": {"type": "object"}}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}


def _map_reasoning(body: Body, quirks: Quirks, model: str) -> None:
    reasoning = body.pop("reasoning", {})
    effort = body.pop("reasoning_effort", "") or reasoning.get("effort", "")
    if not effort and not reasoning:
        return
    efforts = value_for_model(quirks.effort_by_model, model)
    if effort and efforts is not None:
        effort = efforts.get(effort, efforts.get("*", effort))
    body |= REASONING_ENCODERS[quirks.reasoning_send](effort, reasoning)


def _is_thinking_on(effort: str, reasoning: Body) -> bool:
    return effort != EFFORT_NONE and reasoning.get("enabled") is not False


def _effort_only(effort: str, reasoning: Body) -> Body:
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


def _clamp_temperature(body: Body, quirks: Quirks, model: str) -> None:
    if quirks.temperature_range is not None and "temperature" in body:
        low, high = quirks.temperature_range
        body["temperature"] = min(max(body["temperature"], low), high)


def _drop_stream_options(body: Body, quirks: Quirks, model: str) -> None:
    if quirks.stream_usage == "always":
        body.pop("stream_options", None)


def _add_extra_body(body: Body, quirks: Quirks, model: str) -> None:
    body |= quirks.extra_body
    body |= value_for_model(quirks.extra_body_by_model, model) or {}
    if body.get("tools") and body.get("stream"):
        body |= quirks.extra_body_with_streamed_tools


def _drop_fields(body: Body, quirks: Quirks, model: str) -> None:
    names = {*quirks.drop, *(value_for_model(quirks.drop_by_model, model) or ())}
    if quirks.drop_when_reasoning and (REASONING_MODEL.match(model) or "reasoning_effort" in body):
        names |= set(quirks.drop_when_reasoning)
    if quirks.allow_only:
        names |= body.keys() - set(quirks.allow_only)
    for name in names:
        body.pop(name, None)


def _rename_fields(body: Body, quirks: Quirks, model: str) -> None:
    for old, new in quirks.rename.items():
        if old in body:
            body[new] = body.pop(old)


def _map_image_size(body: Body, quirks: Quirks, model: str) -> None:
    if quirks.image_size == "size" or "size" not in body:
        return
    width, _, height = body.pop("size").partition("x")
    if quirks.image_size == "width_height":
        body |= {"width": int(width), "height": int(height)}
    else:
        body["aspect_ratio"] = nearest_aspect_ratio(int(width) / int(height))


def _map_image_format(body: Body, quirks: Quirks, model: str) -> None:
    if quirks.image_bytes_only:
        body["response_format"] = "b64_json"
    if body.get("response_format") == "b64_json":
        body["response_format"] = quirks.image_bytes_word


def _map_image_quality(body: Body, quirks: Quirks, model: str) -> None:
    qualities = value_for_model(quirks.image_quality_by_model, model)
    if qualities is not None and "quality" in body:
        body["quality"] = qualities.get(body["quality"], body["quality"])


def _drop_image_fields(body: Body, quirks: Quirks, model: str) -> None:
    by_model = value_for_model(quirks.image_drop_by_model, model) or ()
    for name in (*quirks.image_drop, *by_model):
        body.pop(name, None)


def _drop_encoding_format(body: Body, quirks: Quirks, model: str) -> None:
    if not quirks.embedding_base64:
        body.pop("encoding_format", None)


BodyStep = Callable[[Body, Quirks, str], None]

ANY_DIALECT: tuple[BodyStep, ...] = (_add_extra_body, _drop_fields, _rename_fields)
STEPS: dict[str, tuple[BodyStep, ...]] = {
    "openai_chat": (
        _map_developer_role,
        _rewrite_reasoning_history,
        _simplify_messages,
        _map_response_format,
        _map_tool_choice,
        _map_reasoning,
        _clamp_temperature,
        _drop_stream_options,
        _rename_output_limit,
        *ANY_DIALECT,
    ),
    "openai_images": (_map_image_size, _map_image_format, _map_image_quality, _drop_image_fields),
    "fal_images": (),
    "vertex_predict": (),
    "gemini_images": (),
    "openai_embeddings": (_drop_encoding_format,),
}
"""The steps that know a dialect's body; other dialects get those that need not know it."""

HANDLED_FIELDS = {
    "openai_chat": frozenset({"max_tokens", "reasoning", "reasoning_effort", "stream_options"}),
    "openai_images": frozenset({"size", "response_format"}),
    "openai_embeddings": frozenset({"encoding_format"}),
}
"""Fields that are sent under another name, or that the gateway takes care of itself."""


def apply_quirks(body: Body, quirks: Quirks, model: str, dialect: str) -> tuple[str, ...]:
    """Changes the fresh `body` in place; returns the client's fields that are not sent."""
    before = {name for name in body if body[name] is not None}
    for step in STEPS.get(dialect, ANY_DIALECT):
        step(body, quirks, model)

    # Nulls break some providers and mean nothing to the others.
    for name in [name for name, value in body.items() if value is None]:
        del body[name]

    handled = HANDLED_FIELDS.get(dialect, HANDLED_FIELDS["openai_chat"])
    dropped = before - body.keys() - handled - quirks.rename.keys()
    if quirks.reasoning_send == "none" and {"reasoning_effort", "reasoning"} & before:
        dropped |= {"reasoning_effort"}
    return tuple(sorted(dropped))


def why_not_served(request: Request, quirks: Quirks) -> str:
    """Why a provider with these quirks cannot serve the request; empty when it can."""
    if not quirks.inline_images_only or not isinstance(request, ChatRequest):
        return ""
    parts = (part for message in request.messages for part in message.parts)
    if any(isinstance(part, Image) and not part.url.startswith("data:") for part in parts):
        return "it does not fetch images by web address"
    return ""


def value_for_model(table: Mapping[str, T], model: str) -> T | None:
    """The value of the first pattern that is found in the model's native id."""
    return next((value for pattern, value in table.items() if re.search(pattern, model)), None)
