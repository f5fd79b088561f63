"""Quirks, applied: each named oddity is one function that changes the body of a request before it is sent.

Most steps know the body that the `openai_chat` role spells: the limit under `max_tokens`, effort under
`reasoning_effort` and `reasoning`, earlier thinking under `reasoning_content` and `reasoning_details`. Bodies of other
dialects only have fields added, taken out and renamed.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from gatewayz.core.conversation import Image
from gatewayz.core.requests import ChatRequest, Request
from gatewayz.dialects.pictures import nearest_ratio
from gatewayz.providers.spec import Quirks

Body = dict[str, Any]
T = TypeVar("T")
REASONING_MODEL = re.compile(r"^(.*/)?(o[0-9]|gpt-5(?!.*-chat)|grok-.*reasoning|grok-[4-9])")
DEFAULT_LIMIT = 4_096
HISTORY_FIELDS = ("reasoning_content", "reasoning_details", "reasoning")
SCHEMA_IN_WORDS = (
    "Answer with a JSON object that follows this JSON Schema, and with nothing else:\n"
)
SWITCHED_OFF = "none"


def _limit(body: Body, quirks: Quirks, model: str) -> None:
    if quirks.always_send_limit:
        body.setdefault("max_tokens", DEFAULT_LIMIT)
    field = quirks.max_tokens_field
    if field == "by_model":
        field = "max_completion_tokens" if REASONING_MODEL.match(model) else "max_tokens"
    if field != "max_tokens" and "max_tokens" in body:
        body[field] = body.pop("max_tokens")


def _roles(body: Body, quirks: Quirks, model: str) -> None:
    if quirks.developer_role == "keep":
        return
    for message in body["messages"]:
        if message["role"] == "developer":
            message["role"] = "system"


def _history(body: Body, quirks: Quirks, model: str) -> None:
    for message in body["messages"]:
        if message["role"] != "assistant":
            continue
        thought = message.get("reasoning_content")
        for name in HISTORY_FIELDS:
            if name != quirks.reasoning_history:
                message.pop(name, None)
        if quirks.reasoning_history == "reasoning" and thought:
            message["reasoning"] = thought


def _messages(body: Body, quirks: Quirks, model: str) -> None:
    for message in body["messages"]:
        for name in quirks.drop_message_fields:
            message.pop(name, None)
        content = message.get("content")
        if (
            quirks.flatten_content
            and isinstance(content, list)
            and all(part.get("type") == "text" for part in content)
        ):
            message["content"] = "\n".join(part["text"] for part in content)


def _tool_choice(body: Body, quirks: Quirks, model: str) -> None:
    choice = body.get("tool_choice")
    if choice == "required" and quirks.tool_choice_required:
        body["tool_choice"] = quirks.required_word
    elif (choice == "required" or isinstance(choice, dict)) and not quirks.tool_choice_required:
        body["tool_choice"] = "auto"


def _format(body: Body, quirks: Quirks, model: str) -> None:
    match quirks.json_mode, body.get("response_format"):
        case "json_object", {"type": "json_schema", "json_schema": dict(asked)}:
            text = SCHEMA_IN_WORDS + str(asked.get("schema") or {}).replace("'", '"')
            body["messages"] = [{"role": "system", "content": text}, *body["messages"]]
            body["response_format"] = {"type": "json_object"}
        case "json_schema_only", {"type": "json_object"}:
            schema = {"name": "answer", "schema": {"type": "object"}}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}


def _reasoning(body: Body, quirks: Quirks, model: str) -> None:
    fine = body.pop("reasoning", {})
    effort = body.pop("reasoning_effort", "") or fine.get("effort", "")
    if not effort and not fine:
        return
    words = _for_model(quirks.effort_by_model, model)
    if effort and words is not None:
        effort = words.get(effort, words.get("*", effort))
    body |= SPELLINGS[quirks.reasoning_send](effort, fine)


def _thinks(effort: str, fine: Body) -> bool:
    return effort != SWITCHED_OFF and fine.get("enabled") is not False


def _effort_only(effort: str, fine: Body) -> Body:
    word = effort or (SWITCHED_OFF if fine.get("enabled") is False else "medium")
    return {"reasoning_effort": word}


def _none_or_high(effort: str, fine: Body) -> Body:
    return {"reasoning_effort": "high" if _thinks(effort, fine) else SWITCHED_OFF}


def _object(effort: str, fine: Body) -> Body:
    return {"reasoning": fine | ({"effort": effort} if effort else {})}


def _thinking_type(effort: str, fine: Body) -> Body:
    return {"thinking": {"type": "enabled" if _thinks(effort, fine) else "disabled"}}


def _enable_thinking(effort: str, fine: Body) -> Body:
    budget = fine.get("max_tokens")
    return {"enable_thinking": _thinks(effort, fine)} | (
        {"thinking_budget": budget} if budget else {}
    )


def _template(effort: str, fine: Body) -> Body:
    thinks = _thinks(effort, fine)
    named = {"reasoning_effort": effort} if effort and effort != SWITCHED_OFF else {}
    return {"chat_template_kwargs": {"enable_thinking": thinks, "thinking": thinks}} | named


def _together(effort: str, fine: Body) -> Body:
    thinks = _thinks(effort, fine)
    return {"reasoning": {"enabled": thinks}} | (
        {"reasoning_effort": effort} if effort and thinks else {}
    )


SPELLINGS: dict[str, Callable[[str, Body], Body]] = {
    "none": lambda _effort, _fine: {},
    "reasoning_effort": _effort_only,
    "reasoning_effort_none_high": _none_or_high,
    "reasoning_object": _object,
    "thinking_type": _thinking_type,
    "enable_thinking": _enable_thinking,
    "template_kwargs": _template,
    "together": _together,
}
"""The eight ways in which providers want to be told how much to think."""


def _temperature(body: Body, quirks: Quirks, model: str) -> None:
    if quirks.temperature_range is not None and "temperature" in body:
        low, high = quirks.temperature_range
        body["temperature"] = min(max(body["temperature"], low), high)


def _stream(body: Body, quirks: Quirks, model: str) -> None:
    if quirks.stream_usage == "always":
        body.pop("stream_options", None)


def _extras(body: Body, quirks: Quirks, model: str) -> None:
    body |= quirks.extra_body
    more = _for_model(quirks.extra_body_by_model, model)
    body |= more if more is not None else {}
    if body.get("tools") and body.get("stream"):
        body |= quirks.extra_body_with_streamed_tools


def _dropped(body: Body, quirks: Quirks, model: str) -> None:
    names = set(quirks.drop) | set(_dropped_for(quirks, model))
    if quirks.drop_when_reasoning and (REASONING_MODEL.match(model) or "reasoning_effort" in body):
        names |= set(quirks.drop_when_reasoning)
    if quirks.allow_only:
        names |= body.keys() - set(quirks.allow_only)
    for name in names:
        body.pop(name, None)


def _dropped_for(quirks: Quirks, model: str) -> tuple[str, ...]:
    return _for_model(quirks.drop_by_model, model) or ()


def _renamed(body: Body, quirks: Quirks, model: str) -> None:
    for old, new in quirks.rename.items():
        if old in body:
            body[new] = body.pop(old)


def _image_size(body: Body, quirks: Quirks, model: str) -> None:
    if quirks.image_size == "size" or "size" not in body:
        return
    width, _, height = body.pop("size").partition("x")
    if quirks.image_size == "width_height":
        body |= {"width": int(width), "height": int(height)}
    else:
        body["aspect_ratio"] = nearest_ratio(int(width) / int(height))


def _image_form(body: Body, quirks: Quirks, model: str) -> None:
    if quirks.image_bytes_only:
        body["response_format"] = "b64_json"
    if body.get("response_format") == "b64_json":
        body["response_format"] = quirks.image_bytes_word


def _image_quality(body: Body, quirks: Quirks, model: str) -> None:
    words = _for_model(quirks.image_quality_by_model, model)
    if words is not None and "quality" in body:
        body["quality"] = words.get(body["quality"], body["quality"])


def _image_dropped(body: Body, quirks: Quirks, model: str) -> None:
    for name in (*quirks.image_drop, *(_for_model(quirks.image_drop_by_model, model) or ())):
        body.pop(name, None)


def _embedding_form(body: Body, quirks: Quirks, model: str) -> None:
    if not quirks.embedding_base64:
        body.pop("encoding_format", None)


Step = Callable[[Body, Quirks, str], None]

ANY_DIALECT: tuple[Step, ...] = (_extras, _dropped, _renamed)
STEPS: dict[str, tuple[Step, ...]] = {
    "openai_chat": (
        _roles,
        _history,
        _messages,
        _format,
        _tool_choice,
        _reasoning,
        _temperature,
        _stream,
        _limit,
        *ANY_DIALECT,
    ),
    "openai_images": (_image_size, _image_form, _image_quality, _image_dropped),
    "fal_images": (),
    "vertex_predict": (),
    "gemini_images": (),
    "openai_embeddings": (_embedding_form,),
}
"""The steps that know a dialect's body; for any other there are those that need to know nothing of it."""


MOVED = {
    "openai_chat": frozenset({"max_tokens", "reasoning", "reasoning_effort", "stream_options"}),
    "openai_images": frozenset({"size", "response_format"}),
    "openai_embeddings": frozenset({"encoding_format"}),
}
"""Fields that are said under another name, or that the gateway sees to itself."""


def applied(body: Body, quirks: Quirks, model: str, dialect: str) -> tuple[str, ...]:
    """Changes the fresh `body` in place; returns the names of the client's fields that are not sent at all."""
    before = {name for name in body if body[name] is not None}
    for step in STEPS.get(dialect, ANY_DIALECT):
        step(body, quirks, model)
    # Nulls break some providers and mean nothing to the others.
    for name in [name for name, value in body.items() if value is None]:
        del body[name]
    gone = before - body.keys() - MOVED.get(dialect, MOVED["openai_chat"]) - quirks.rename.keys()
    silent = {"reasoning_effort", "reasoning"} & before and quirks.reasoning_send == "none"
    return tuple(sorted(gone | ({"reasoning_effort"} if silent else set())))


def without(body: Body, names: tuple[str, ...]) -> None:
    """Takes out parameters that the provider named as unsupported; dots lead inside."""
    for name in names:
        holder: Any = body
        *path, last = name.split(".")
        for step in path:
            holder = holder.get(step) if isinstance(holder, dict) else None
        if isinstance(holder, dict) and last not in {"model", "messages"}:
            holder.pop(last, None)


def cannot(request: Request, quirks: Quirks) -> str:
    """Why a provider with these quirks cannot serve the request; empty when it can."""
    if (
        quirks.inline_images_only
        and isinstance(request, ChatRequest)
        and any(
            isinstance(part, Image) and not part.url.startswith("data:")
            for message in request.messages
            for part in message.parts
        )
    ):
        return "it does not fetch images by web address"
    return ""


def _for_model(table: Mapping[str, T], model: str) -> T | None:
    return next((value for pattern, value in table.items() if re.search(pattern, model)), None)
