"""Messages requests, both ways. Law: decoding what was encoded gives the same request.

Consumed and never forwarded: `provider`, `models`, `caching`. `extra` holds fields that the canon does not
name, and under header names what came in headers: beta flags and the version are part of a request
here.
"""

from collections.abc import Mapping
from typing import Any

from gatewayz.core.http_syntax import unsendable_character
from gatewayz.core.requests import CACHING_WORDS, ChatRequest, ResponseFormat, Sampling
from gatewayz.dialects.anthropic.block_writer import MessagesBlockWriter
from gatewayz.dialects.anthropic.messages import (
    build_messages,
    is_thinking_refused,
    messages_from_wire,
)
from gatewayz.dialects.anthropic.models import ClaudeFamily, family_of
from gatewayz.dialects.anthropic.schema import output_schema
from gatewayz.dialects.anthropic.thinking import ThinkingConfig, effort_from_wire, thinking_config
from gatewayz.dialects.anthropic.tools import (
    choice_from_wire,
    choice_to_wire,
    tool_to_wire,
    tools_from_wire,
)
from gatewayz.dialects.anthropic.wire import NAME
from gatewayz.dialects.kit.base import Draft, EncodeTarget
from gatewayz.dialects.kit.cache_marks import MARKS, add_cache_marks
from gatewayz.dialects.kit.dropped import Dropped
from gatewayz.dialects.kit.fields import Fields
from gatewayz.dialects.kit.jsontext import encode_json, parse_client_object
from gatewayz.dialects.kit.preferences import preferences_from_fields
from gatewayz.dialects.kit.translate import TRANSPORT_PREFIX, translate

PATH = "/v1/messages"
VERSION_HEADER, BETA_HEADER = "anthropic-version", "anthropic-beta"
VERSION_EXTRA = TRANSPORT_PREFIX + VERSION_HEADER
DEFAULT_VERSION = "2023-06-01"
SESSION_HEADER = "x-claude-code-session-id"
MAX_STOPS = 8_191
MAX_MODELS = 16
MAX_SESSION_CHARACTERS = 256
MAX_HEADER_CHARACTERS = 4_096
JSON_INSTRUCTION = "Answer with a JSON object and with nothing else."
SCHEMA_INSTRUCTION = (
    "Answer with a JSON object that follows this JSON Schema, and with nothing else:\n"
)
OLDER_FORMAT = "output_format"
OLDER_FORMAT_EXTRA = TRANSPORT_PREFIX + OLDER_FORMAT
EXTRA_PLACED_ELSEWHERE = frozenset(
    {VERSION_EXTRA, OLDER_FORMAT_EXTRA, BETA_HEADER, "thinking", "output_config", "metadata"}
)
"""Names in `extra` that are no fields of the body, or only parts of one."""
SAMPLING_FIELDS = ("temperature", "top_p", "top_k")
NO_SUCH_SAMPLING = (
    "seed",
    "presence_penalty",
    "frequency_penalty",
    "logit_bias",
    "logprobs",
    "top_logprobs",
)


def request_from_wire(body: bytes, headers: Mapping[str, str]) -> ChatRequest:
    """The request in a client's body. Faults: `bad_request` names the field that is wrong."""
    fields = Fields(parse_client_object(body))
    if fields.rest.get("max_tokens") is None:
        fields.raise_missing("max_tokens")
    return chat_from_fields(fields, headers)


def chat_from_fields(fields: Fields, headers: Mapping[str, str]) -> ChatRequest:
    """The request; counting tokens takes the same one, without a limit.

    Example: `ChatRequest(dialect="anthropic_messages", model="claude-opus-4.6", max_output=100)`.
    """
    model = fields.text("model") or fields.raise_missing("model")
    messages = messages_from_wire(fields)
    choice, parallel = choice_from_wire(fields)
    effort, format_ = _output_config(fields)
    return ChatRequest(
        dialect=NAME,
        model=model,
        models=fields.texts("models", MAX_MODELS),
        messages=messages,
        tools=tools_from_wire(fields),
        tool_choice=choice,
        parallel_tools=parallel,
        sampling=Sampling(
            temperature=fields.number("temperature"),
            top_p=fields.number("top_p"),
            top_k=fields.integer("top_k"),
            stop=fields.texts("stop_sequences", MAX_STOPS),
        ),
        max_output=fields.integer("max_tokens", 0),
        format=format_,
        reasoning=effort_from_wire(fields, effort),
        user=_user_from_metadata(fields),
        preferences=preferences_from_fields(fields),
        caching=fields.one_of("caching", CACHING_WORDS),
        session=headers.get(SESSION_HEADER, "")[:MAX_SESSION_CHARACTERS],
        streamed=fields.flag("stream") or False,
        wants_usage=True,
        # Last, because every line above takes its fields out of the rest.
        extra={name: value for name, value in fields.rest.items() if value is not None}
        | _extra_from_headers(headers),
    )


def _extra_from_headers(headers: Mapping[str, str]) -> dict[str, Any]:
    version, beta = headers.get(VERSION_HEADER, DEFAULT_VERSION), headers.get(BETA_HEADER, "")
    extra = {}
    if version != DEFAULT_VERSION:
        extra[VERSION_EXTRA] = version[:MAX_HEADER_CHARACTERS]
    if beta:
        extra[BETA_HEADER] = beta[:MAX_HEADER_CHARACTERS]
    return extra


def _user_from_metadata(fields: Fields) -> str:
    metadata = fields.object("metadata")
    if metadata is None:
        return ""
    inner = Fields(metadata, fields.path_inside("metadata"))
    user = inner.text("user_id")
    if inner.rest:
        fields.rest["metadata"] = inner.rest
    return user


def _output_config(fields: Fields) -> tuple[str, ResponseFormat | None]:
    """Effort and format; what is neither stays in the fields."""
    config = fields.object("output_config")
    if config is None:
        return "", _older_format(fields)

    inner = Fields(config, fields.path_inside("output_config"))
    effort = inner.text("effort")
    format_: ResponseFormat | None = None
    match inner.rest.get("format"):
        case {"type": "json_schema", "schema": dict(schema), **rest} if not rest:
            del inner.rest["format"]
            format_ = ResponseFormat(kind="json_schema", schema=schema)
    if inner.rest:
        fields.rest["output_config"] = inner.rest
    return effort, format_ if format_ is not None else _older_format(fields)


def _older_format(fields: Fields) -> ResponseFormat | None:
    """The format under its older name, by which this dialect goes on to say it
    (beta `structured-outputs-2025-11-13`).
    """
    match fields.rest.get(OLDER_FORMAT):
        case {"type": "json_schema", "schema": dict(schema), **rest} if not rest:
            fields.rest[OLDER_FORMAT_EXTRA] = fields.rest.pop(OLDER_FORMAT)
            return ResponseFormat(kind="json_schema", schema=schema)
    return None


def request_to_wire(request: ChatRequest, target: EncodeTarget) -> Draft:
    """The request as Anthropic takes it, adapted to the model where it comes from another dialect.

    Example: `Draft("/v1/messages", {"model": "claude-opus-4-6", "messages": […]},
    dropped=("seed",))`.
    """
    dropped = Dropped()
    same_dialect = request.dialect == NAME
    family = family_of(target.upstream_id)
    request, untranslated = translate(request, NAME, MARKS)
    dropped.add(*untranslated)

    writer = MessagesBlockWriter(target.provider, dropped, same_dialect=same_dialect)
    conversation = build_messages(request, writer)
    thinking = thinking_config(request, family, target.max_output, dropped)
    choice = _tool_choice_to_wire(request, family, dropped)
    # Whether thinking is refused shows in the turns and in the choice.
    thinking = _drop_refused_thinking(
        thinking, choice, conversation.turns, same_dialect=same_dialect, dropped=dropped
    )
    format_, format_words = _format_to_wire(request, family, dropped)
    conversation.system += [{"type": "text", "text": format_words}] if format_words else []

    body: dict[str, Any] = {
        "model": target.upstream_id,
        **conversation.to_wire(),
        "max_tokens": thinking.max_tokens,
    }
    if request.tools:
        body["tools"] = [
            tool_to_wire(tool, dropped, same_dialect=same_dialect) for tool in request.tools
        ]
    body |= _sampling_to_wire(
        request.sampling, family, thinking, same_dialect=same_dialect, dropped=dropped
    )
    body |= _optional_fields(request, choice, thinking, format_)
    if target.streamed:
        body["stream"] = True
    extra = {
        name: value for name, value in request.extra.items() if name not in EXTRA_PLACED_ELSEWHERE
    }
    body = {**extra, **body}
    if target.auto_cache:
        turns = [message for message in body["messages"] if message["role"] == "user"]
        add_cache_marks(body, turns, body if "system" in body else None, "system")
    return Draft(PATH, body, headers_of(request), dropped.names())


def _optional_fields(
    request: ChatRequest,
    choice: dict[str, Any] | None,
    thinking: ThinkingConfig,
    format_: dict[str, Any],
) -> dict[str, Any]:
    """Fields that are left out where nothing is to be said in them."""
    output_config = {
        **request.extra.get("output_config", {}),
        **({"effort": thinking.effort} if thinking.effort else {}),
        **format_,
    }
    metadata = {
        **request.extra.get("metadata", {}),
        **({"user_id": request.user} if request.user else {}),
    }
    fields = {
        OLDER_FORMAT: request.extra.get(OLDER_FORMAT_EXTRA),
        "tool_choice": choice,
        "thinking": thinking.thinking,
        "output_config": output_config or None,
        "metadata": metadata or None,
    }
    return {name: value for name, value in fields.items() if value is not None}


def headers_of(request: ChatRequest) -> tuple[tuple[str, str], ...]:
    """The version, and the client's beta flags."""
    version = (VERSION_HEADER, request.extra.get(VERSION_EXTRA, DEFAULT_VERSION))
    beta = request.extra.get(BETA_HEADER)
    # A body can have a field of this name, which may hold what would end the header's line.
    if not isinstance(beta, str) or unsendable_character(beta):
        return (version,)
    return (version, (BETA_HEADER, beta))


def _tool_choice_to_wire(
    request: ChatRequest, family: ClaudeFamily, dropped: Dropped
) -> dict[str, Any] | None:
    if request.dialect == NAME:
        return choice_to_wire(request.tool_choice, parallel=request.parallel_tools)

    choice = request.tool_choice
    if not request.tools:
        dropped.add(*(["parallel_tool_calls"] if request.parallel_tools is not None else []))
        return None
    if choice is not None and choice.allowed:
        dropped.add("tool_choice")
    is_forced = choice is not None and choice.mode in {"required", "named"}
    if is_forced and not family.accepts_forced_tools:
        dropped.add("tool_choice")
        choice = None
    return choice_to_wire(choice, parallel=request.parallel_tools)


def _drop_refused_thinking(
    thinking: ThinkingConfig,
    choice: dict[str, Any] | None,
    turns: list[dict[str, Any]],
    *,
    same_dialect: bool,
    dropped: Dropped,
) -> ThinkingConfig:
    """The same, without thinking where it would be refused and the client cannot know."""
    if not thinking.enabled:
        return thinking

    is_forced = choice is not None and choice["type"] in {"any", "tool"}
    has_budget = thinking.thinking is not None and thinking.thinking["type"] == "enabled"
    has_lost_thoughts = not same_dialect or {"seal", "reasoning"} & set(dropped.names())
    refused_by_choice = is_forced and not same_dialect
    refused_by_turns = has_budget and has_lost_thoughts and is_thinking_refused(turns)
    if not refused_by_choice and not refused_by_turns:
        return thinking

    dropped.add("reasoning_effort")
    return ThinkingConfig(None, thinking.effort if same_dialect else "", thinking.max_tokens)


def _sampling_to_wire(
    sampling: Sampling,
    family: ClaudeFamily,
    thinking: ThinkingConfig,
    *,
    same_dialect: bool,
    dropped: Dropped,
) -> dict[str, Any]:
    wire = {
        name: value for name in SAMPLING_FIELDS if (value := getattr(sampling, name)) is not None
    }
    dropped.add(*(name for name in NO_SUCH_SAMPLING if getattr(sampling, name) is not None))
    stops = list(sampling.stop)

    if not same_dialect:
        refused = _incompatible_sampling(wire, family, thinking)
        dropped.add(*refused)
        wire = {name: value for name, value in wire.items() if name not in refused}
        if "temperature" in wire:
            wire["temperature"] = min(wire["temperature"], 1)
        # 'stop_sequences: each stop sequence must contain non-whitespace'.
        stops = [stop for stop in stops if stop.strip()]
        dropped.add(*(["stop"] if len(stops) < len(sampling.stop) else []))
    return wire | ({"stop_sequences": stops} if stops else {})


def _incompatible_sampling(
    wire: dict[str, Any], family: ClaudeFamily, thinking: ThinkingConfig
) -> list[str]:
    """The names of what this model, or thinking, refuses."""
    if not family.accepts_sampling:
        return list(wire)
    if thinking.enabled:
        return [name for name in wire if name != "temperature" or wire[name] != 1]
    return ["top_p"] if {"temperature", "top_p"} <= wire.keys() else []


def _format_to_wire(
    request: ChatRequest, family: ClaudeFamily, dropped: Dropped
) -> tuple[dict[str, Any], str]:
    """The answer's format as a field, or in words for the system prompt."""
    format_ = request.format
    if format_ is None or format_.kind == "text":
        return {}, ""
    if format_.name or format_.description or format_.strict is not None:
        dropped.add("format_name")

    schema = format_.schema or {}
    if OLDER_FORMAT_EXTRA in request.extra:
        return {}, ""
    if request.dialect == NAME:
        return {"format": {"type": "json_schema", "schema": schema}}, ""
    if format_.kind == "json_schema" and family.json_schema:
        return {"format": {"type": "json_schema", "schema": output_schema(schema, dropped)}}, ""

    dropped.add("response_format")
    if format_.kind == "json_object":
        return {}, JSON_INSTRUCTION
    return {}, SCHEMA_INSTRUCTION + encode_json(schema).decode()
