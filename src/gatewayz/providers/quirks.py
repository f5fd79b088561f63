"""Quirks, applied: each named oddity is one function that changes the body before it is sent.

Most steps know the body that the `openai_chat` role encodes: the limit under `max_tokens`, effort
under `reasoning_effort` and `reasoning`, earlier thinking under `reasoning_content` and
`reasoning_details`. Bodies of other dialects only have fields added, taken out and renamed.
"""

import re
import string
from collections.abc import Callable, Iterable, Mapping
from hashlib import blake2b

from gatewayz.core.conversation import Image
from gatewayz.core.requests import ChatRequest, ImageRequest, Request
from gatewayz.dialects.kit.image_header import nearest_aspect_ratio
from gatewayz.dialects.kit.jsontext import encode_json
from gatewayz.providers.body_step import Body, BodyStep, value_for_model
from gatewayz.providers.reasoning_quirks import (
    map_reasoning,
    rewrite_reasoning_history,
    switch_off_lost_thoughts,
)
from gatewayz.providers.refused_parameters import remove_dependents
from gatewayz.providers.spec import Quirks

REASONING_MODEL = re.compile(r"^(.*/)?(o[0-9]|gpt-5(?!.*-chat)|grok-.*reasoning|grok-[4-9])")
DEFAULT_LIMIT_TOKENS = 4_096
ID_ALPHABET = string.ascii_letters + string.digits
SCHEMA_INSTRUCTION = (
    "Answer with a JSON object that follows this JSON Schema, and with nothing else:\n"
)


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


def _simplify_messages(body: Body, quirks: Quirks, model: str) -> None:
    for message in body["messages"]:
        for name in quirks.drop_message_fields:
            message.pop(name, None)
        content = message.get("content")
        if not quirks.flatten_content or not isinstance(content, list):
            continue
        if all(part.get("type") == "text" for part in content):
            message["content"] = "\n".join(part["text"] for part in content)


def _rewrite_tool_ids(body: Body, quirks: Quirks, model: str) -> None:
    """Ids of a call and its result in the form that the model's template demands."""
    messages = [
        message
        for message in body["messages"]
        if "tool_call_id" in message or "tool_calls" in message
    ]
    length = value_for_model(quirks.tool_id_length_by_model, model) if messages else None
    if not length:
        return
    for message in messages:
        for call in message.get("tool_calls") or ():
            call["id"] = _tool_id(call["id"], length)
        if "tool_call_id" in message:
            message["tool_call_id"] = _tool_id(message["tool_call_id"], length)


def _tool_id(call_id: str, length: int) -> str:
    """`length` letters and digits made from an id; one that is such stays."""
    if len(call_id) == length and call_id.isascii() and call_id.isalnum():
        return call_id
    digest = blake2b(call_id.encode(), digest_size=length).digest()
    return "".join(ID_ALPHABET[byte % len(ID_ALPHABET)] for byte in digest)


def _drop_inside(body: Body, quirks: Quirks, model: str) -> tuple[str, ...]:
    """Takes fields out of messages, their parts, and tools; returns those that were there."""
    if not quirks.drop_inside:
        return ()
    present = [
        name
        for name in quirks.drop_inside
        for holder in _objects_with(name, body)
        if holder.pop(name) is not None
    ]
    return tuple(dict.fromkeys(present))


def _objects_with(name: str, body: Body) -> list[Body]:
    """The messages, parts of them, tools and functions that have a field."""
    holders = [message for message in body["messages"] if name in message]
    for message in body["messages"]:
        content = message.get("content")
        if isinstance(content, list):
            holders += [part for part in content if name in part]
        if "tool_calls" in message:
            holders += [call for call in message["tool_calls"] if name in call]
    for tool in body.get("tools") or ():
        holders += [one for one in (tool, tool.get("function")) if one and name in one]
    return holders


def _map_tool_choice(body: Body, quirks: Quirks, model: str) -> tuple[str, ...]:
    choice = body.get("tool_choice")
    if choice == "required" and quirks.tool_choice_required:
        body["tool_choice"] = quirks.required_word
    elif (choice == "required" or isinstance(choice, dict)) and not quirks.tool_choice_required:
        body["tool_choice"] = "auto"
        return ("tool_choice",)
    return ()


def _map_response_format(body: Body, quirks: Quirks, model: str) -> tuple[str, ...]:
    match quirks.json_mode, body.get("response_format"):
        case "json_object", {"type": "json_schema", "json_schema": dict(named_schema)}:
            schema_text = encode_json(named_schema.get("schema") or {}).decode()
            instruction = {"role": "system", "content": SCHEMA_INSTRUCTION + schema_text}
            body["messages"] = [instruction, *body["messages"]]
            body["response_format"] = {"type": "json_object"}
            return ("response_format",)
        case "json_schema_only", {"type": "json_object"}:
            schema = {"name": "answer", "schema": {"type": "object"}}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
    return ()


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


def _drop_fields(body: Body, quirks: Quirks, model: str) -> tuple[str, ...]:
    names = set(_dropped_fields(quirks, model))
    if quirks.drop_when_reasoning and (REASONING_MODEL.match(model) or "reasoning_effort" in body):
        names |= set(quirks.drop_when_reasoning)
    if quirks.allow_only:
        names |= body.keys() - set(quirks.allow_only)
    # Whatever field the client said it in: of the others their absence tells.
    dropped = ("reasoning_effort",) if {"reasoning_effort"} & names & body.keys() else ()
    for name in names:
        body.pop(name, None)
    return dropped


def _dropped_fields(quirks: Quirks, model: str) -> Iterable[str]:
    return (*quirks.drop, *(value_for_model(quirks.drop_by_model, model) or ()))


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


ANY_DIALECT: tuple[BodyStep, ...] = (_add_extra_body, _drop_fields, _rename_fields)
STEPS: dict[str, tuple[BodyStep, ...]] = {
    "openai_chat": (
        _map_developer_role,
        rewrite_reasoning_history,
        _simplify_messages,
        _rewrite_tool_ids,
        _drop_inside,
        _map_response_format,
        _map_tool_choice,
        map_reasoning,
        switch_off_lost_thoughts,
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
    """Changes the fresh `body` in place; returns the client's fields that are not sent as they are."""
    before = {name for name in body if body[name] is not None}
    changed: set[str] = set()
    for step in STEPS.get(dialect, ANY_DIALECT):
        names = step(body, quirks, model)
        if names:
            changed.update(names)

    # Nulls break some providers and mean nothing to the others.
    for name in [name for name, value in body.items() if value is None]:
        del body[name]
    remove_dependents(body, before)

    handled = HANDLED_FIELDS.get(dialect, HANDLED_FIELDS["openai_chat"])
    dropped = (before - body.keys() - handled - quirks.rename.keys()) | changed
    if quirks.reasoning_send == "none" and {"reasoning_effort", "reasoning"} & before:
        dropped |= {"reasoning_effort"}
    return tuple(sorted(dropped))


def why_not_served(request: Request, quirks: Quirks, model: str = "") -> str:
    """Why a provider with these quirks cannot serve the request with its model; empty when it can.

    What would be left out on the way is no reason unless another request would be answered.
    """
    if isinstance(request, ImageRequest) and request.n > 1 and "n" in quirks.image_drop:
        return "it makes one image a call (`n` is 1)"
    if not isinstance(request, ChatRequest):
        return ""
    for field, (is_meant, why) in MEANT_FIELDS.items():
        if is_meant(request) and _is_dropped(field, quirks, model):
            return why
    if not quirks.inline_images_only:
        return ""
    parts = (part for message in request.messages for part in message.parts)
    if any(isinstance(part, Image) and not part.url.startswith("data:") for part in parts):
        return "it does not fetch images by web address"
    return ""


def _is_dropped(field: str, quirks: Quirks, model: str) -> bool:
    is_listed = not quirks.allow_only or field in quirks.allow_only
    return not is_listed or field in _dropped_fields(quirks, model)


MEANT_FIELDS: Mapping[str, tuple[Callable[[ChatRequest], bool], str]] = {
    "n": (lambda request: request.sampling.n > 1, "it gives one answer a call (`n` is 1)"),
    "tools": (lambda request: bool(request.tools), "it takes no tools"),
}
"""Field that some providers do not have → whether a request means something by it, and what is
said then."""
