"""Messages requests, both ways. Law: decoding what was encoded gives the same request.

Consumed and never forwarded: `provider`, `models`. `extra` holds fields that the canon does not name, and under header
names what came in headers: beta flags and the version are part of a request here.
"""

from collections.abc import Mapping
from typing import Any

from gatewayz.core.requests import ChatRequest, Format, Sampling
from gatewayz.dialects.anthropic_messages.blocks import Speaker
from gatewayz.dialects.anthropic_messages.loses import NAME, Lost
from gatewayz.dialects.anthropic_messages.models import Family, family_of
from gatewayz.dialects.anthropic_messages.schema import closed_schema
from gatewayz.dialects.anthropic_messages.thinking import Thought, effort_from_wire, thought_of
from gatewayz.dialects.anthropic_messages.tools import (
    choice_from_wire,
    choice_to_wire,
    tool_to_wire,
    tools_from_wire,
)
from gatewayz.dialects.anthropic_messages.turns import (
    conversation_of,
    messages_from_wire,
    thinks_in_vain,
)
from gatewayz.dialects.base import Asking, Draft
from gatewayz.dialects.crossing import ABOUT_THE_WIRE, crossed
from gatewayz.dialects.fields import Fields
from gatewayz.dialects.jsontext import client_object, encoded
from gatewayz.dialects.wishes import wishes_from

PATH = "/v1/messages"
VERSION_HEADER, BETA = "anthropic-version", "anthropic-beta"
VERSION = ABOUT_THE_WIRE + VERSION_HEADER
DEFAULT_VERSION = "2023-06-01"
SESSION = "x-claude-code-session-id"
MAX_STOPS = 8_191
MAX_SESSION = 256
MAX_HEADER = 4_096
JSON_IN_WORDS = "Answer with a JSON object and with nothing else."
SCHEMA_IN_WORDS = (
    "Answer with a JSON object that follows this JSON Schema, and with nothing else:\n"
)


def request_from_wire(body: bytes, headers: Mapping[str, str]) -> ChatRequest:
    """The request in a client's body. Faults: `bad_request` names the field that is wrong or missing."""
    fields = Fields(client_object(body))
    if fields.rest.get("max_tokens") is None:
        fields.missing("max_tokens")
    return chat_from_fields(fields, headers)


def chat_from_fields(fields: Fields, headers: Mapping[str, str]) -> ChatRequest:
    """The request; counting tokens takes the same one, without a limit."""
    model = fields.text("model") or fields.missing("model")
    messages = messages_from_wire(fields)
    choice, parallel = choice_from_wire(fields)
    effort, asked = _output_config(fields)
    return ChatRequest(
        dialect=NAME,
        model=model,
        models=fields.texts("models", 16),
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
        format=asked,
        reasoning=effort_from_wire(fields, effort),
        user=_user(fields),
        wishes=wishes_from(fields),
        session=headers.get(SESSION, "")[:MAX_SESSION],
        streamed=fields.flag("stream") or False,
        wants_usage=True,
        extra={name: value for name, value in fields.rest.items() if value is not None}
        | _told_in(headers),
    )


def _told_in(headers: Mapping[str, str]) -> dict[str, Any]:
    version, beta = headers.get(VERSION_HEADER, DEFAULT_VERSION), headers.get(BETA, "")
    told = {VERSION: version} if version != DEFAULT_VERSION else {}
    return {
        name: value[:MAX_HEADER] for name, value in (told | ({BETA: beta} if beta else {})).items()
    }


def _user(fields: Fields) -> str:
    given = fields.object("metadata")
    if given is None:
        return ""
    inner = Fields(given, fields.inside("metadata"))
    user = inner.text("user_id")
    if inner.rest:
        fields.rest["metadata"] = inner.rest
    return user


def _output_config(fields: Fields) -> tuple[str, Format | None]:
    """Effort and format; `output_format` is the format's older place. What is left stays in the fields."""
    given = fields.object("output_config")
    if given is None:
        return "", None
    inner = Fields(given, fields.inside("output_config"))
    effort = inner.text("effort")
    match inner.rest.get("format"):
        case {"type": "json_schema", "schema": dict(schema), **rest} if not rest:
            del inner.rest["format"]
            asked: Format | None = Format(kind="json_schema", schema=schema)
        case _:
            asked = None
    if inner.rest:
        fields.rest["output_config"] = inner.rest
    return effort, asked


def request_to_wire(request: ChatRequest, asking: Asking) -> Draft:
    """The request as Anthropic spells it, adapted to the model where it comes from another dialect."""
    lost = Lost()
    own = request.dialect == NAME
    family = family_of(asking.upstream_id)
    plain, left = crossed(request, NAME)
    lost.add(*left)
    conversation = conversation_of(plain, Speaker(asking.provider, lost, own=own))
    thought = thought_of(plain, family, asking.max_output, lost)
    choice = _choice(plain, thought, family, lost)
    thought = _possible(thought, choice, conversation.turns, own=own, lost=lost)
    format_, words = _format(plain, family, lost)
    conversation.system += [{"type": "text", "text": words}] if words else []
    body: dict[str, Any] = {
        "model": asking.upstream_id,
        **conversation.wire(),
        "max_tokens": thought.limit,
    }
    body |= {"tools": [tool_to_wire(tool) for tool in plain.tools]} if plain.tools else {}
    told = {
        "tool_choice": choice,
        "thinking": thought.thinking,
        "output_config": {
            **plain.extra.get("output_config", {}),
            **({"effort": thought.effort} if thought.effort else {}),
            **format_,
        }
        or None,
        "metadata": {
            **plain.extra.get("metadata", {}),
            **({"user_id": plain.user} if plain.user else {}),
        }
        or None,
        "stream": True if asking.streamed else None,
    }
    body |= _sampling(plain.sampling, family, thought, own=own, lost=lost)
    body |= {name: value for name, value in told.items() if value is not None}
    rest = {name: value for name, value in plain.extra.items() if name not in PUT_ELSEWHERE}
    return Draft(PATH, {**rest, **body}, headers_of(plain), lost.names())


PUT_ELSEWHERE = frozenset({VERSION, BETA, "thinking", "output_config", "metadata"})


def headers_of(request: ChatRequest) -> tuple[tuple[str, str], ...]:
    """The version, and the client's beta flags."""
    version = ((VERSION_HEADER, request.extra.get(VERSION, DEFAULT_VERSION)),)
    return (*version, (BETA, request.extra[BETA])) if BETA in request.extra else version


def _choice(
    request: ChatRequest, thought: Thought, family: Family, lost: Lost
) -> dict[str, Any] | None:
    if request.dialect == NAME:
        return choice_to_wire(request.tool_choice, parallel=request.parallel_tools)
    choice = request.tool_choice
    if not request.tools:
        lost.add(*(["parallel_tool_calls"] if request.parallel_tools is not None else []))
        return None
    if choice is not None and choice.allowed:
        lost.add("tool_choice")
    if choice is not None and choice.mode in {"required", "named"} and not family.forced:
        lost.add("tool_choice")
        choice = None
    return choice_to_wire(choice, parallel=request.parallel_tools)


def _possible(
    thought: Thought,
    choice: dict[str, Any] | None,
    turns: list[dict[str, Any]],
    *,
    own: bool,
    lost: Lost,
) -> Thought:
    """The same, without thinking where it would be refused and the client cannot know."""
    forced = not own and choice is not None and choice["type"] in {"any", "tool"}
    left_out = not own or {"seal", "reasoning"} & set(lost.names())
    budgeted = thought.on and thought.thinking is not None and thought.thinking["type"] == "enabled"
    if not (thought.on and forced) and not (budgeted and left_out and thinks_in_vain(turns)):
        return thought
    lost.add("reasoning_effort")
    return Thought(None, thought.effort if own else "", thought.limit)


def _sampling(
    sampling: Sampling, family: Family, thought: Thought, *, own: bool, lost: Lost
) -> dict[str, Any]:
    wire = {
        name: value
        for name in ("temperature", "top_p", "top_k")
        if (value := getattr(sampling, name)) is not None
    }
    unsayable = [name for name in UNSAYABLE if getattr(sampling, name) is not None]
    lost.add(*unsayable)
    stops = list(sampling.stop)
    if not own:
        refused = _refused(wire, family, thought)
        lost.add(*refused)
        wire = {name: value for name, value in wire.items() if name not in refused}
        if "temperature" in wire:
            wire["temperature"] = min(wire["temperature"], 1)
        # 'stop_sequences: each stop sequence must contain non-whitespace'.
        stops = [stop for stop in stops if stop.strip()]
        lost.add(*(["stop"] if len(stops) < len(sampling.stop) else []))
    return wire | ({"stop_sequences": stops} if stops else {})


UNSAYABLE = (
    "seed",
    "presence_penalty",
    "frequency_penalty",
    "logit_bias",
    "logprobs",
    "top_logprobs",
)


def _refused(wire: dict[str, Any], family: Family, thought: Thought) -> list[str]:
    if thought.on or not family.samples:
        return [
            name for name in wire if name != "temperature" or wire[name] != 1 or not family.samples
        ]
    return ["top_p"] if {"temperature", "top_p"} <= wire.keys() else []


def _format(request: ChatRequest, family: Family, lost: Lost) -> tuple[dict[str, Any], str]:
    """The answer's format as a field, or in words for the system prompt."""
    asked = request.format
    if asked is None or asked.kind == "text":
        return {}, ""
    if asked.name or asked.description or asked.strict is not None:
        lost.add("format_name")
    schema = asked.schema or {}
    if request.dialect == NAME:
        return {"format": {"type": "json_schema", "schema": schema}}, ""
    if asked.kind == "json_schema" and family.json_schema:
        return {"format": {"type": "json_schema", "schema": closed_schema(schema, lost)}}, ""
    lost.add("response_format")
    words = (
        JSON_IN_WORDS if asked.kind == "json_object" else SCHEMA_IN_WORDS + encoded(schema).decode()
    )
    return {}, words
