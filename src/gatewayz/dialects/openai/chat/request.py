"""Chat requests, both ways.

Law: decoding what was encoded gives the same request, but for what the gateway consumes.

Consumed and never forwarded: `provider`, `models`, `route`, `session_id`, `metadata.tags`,
`caching`.
"""

import hashlib
from typing import Any

from msgspec.structs import replace

from gatewayz.core.requests import CACHING_WORDS, ChatRequest, Effort, Sampling
from gatewayz.dialects.kit.base import Draft, EncodeTarget
from gatewayz.dialects.kit.cache_marks import MARKS
from gatewayz.dialects.kit.dropped import Dropped
from gatewayz.dialects.kit.fields import Fields
from gatewayz.dialects.kit.jsontext import parse_client_object
from gatewayz.dialects.kit.preferences import preferences_from_fields
from gatewayz.dialects.kit.translate import NOTHING, translate
from gatewayz.dialects.openai.chat.cache_marks import mark_conversation
from gatewayz.dialects.openai.chat.conversation import messages_to_wire
from gatewayz.dialects.openai.chat.messages import message_from_wire
from gatewayz.dialects.openai.chat.tags import tags_from_metadata
from gatewayz.dialects.openai.chat.tools import (
    FORCED_MODES,
    format_from_wire,
    format_to_wire,
    tool_choice_from_wire,
    tool_choice_to_wire,
    tool_to_wire,
    tools_from_wire,
)
from gatewayz.dialects.openai.chat.wire import NAME, PATH

MAX_MESSAGES = 10_000
"""As many as in any dialect: the provider refuses what is too much for it."""
MAX_CHOICES = 128
"""platform.openai.com/docs/api-reference/chat/create, `n`."""
MAX_STOPS = 64
MAX_SESSION = 256
MAX_TOP_LOGPROBS = 20
MAX_USER = 64
THINKING_TYPES = ("enabled", "adaptive", "disabled")
"""`thinking.type`: Anthropic's, DeepSeek's, Z.AI's and others' field in chat requests."""
CONSUMED = frozenset({"route"})
"""Fields of the gateway's own that do nothing here; the others are read by name below."""


def request_from_wire(body: bytes) -> ChatRequest:
    """The request in a client's body. Faults: `bad_request` names the field."""
    fields = Fields(parse_client_object(body))
    model = fields.text("model") or fields.raise_missing("model")
    items = fields.objects("messages", MAX_MESSAGES)
    if not items:
        fields.raise_missing("messages")
    tools, choice = tools_from_wire(fields), tool_choice_from_wire(fields)
    if choice is not None and not tools and (choice.allowed or choice.mode in FORCED_MODES):
        fields.raise_invalid("tool_choice", "it asks for a tool, and there are no 'tools'")
    return ChatRequest(
        dialect=NAME,
        model=model,
        models=fields.texts("models", 16),
        messages=tuple(
            message_from_wire(item, f"messages[{index}]") for index, item in enumerate(items)
        ),
        tools=tools,
        tool_choice=choice,
        parallel_tools=fields.flag("parallel_tool_calls"),
        sampling=_sampling(fields),
        max_output=_max_output(fields),
        format=format_from_wire(fields),
        reasoning=_effort(fields),
        user=fields.text("user"),
        session=fields.text("session_id")[:MAX_SESSION],
        tags=tags_from_metadata(fields),
        preferences=preferences_from_fields(fields),
        caching=fields.one_of("caching", CACHING_WORDS),
        streamed=fields.flag("stream") or False,
        wants_usage=_wants_usage(fields),
        extra={
            name: value
            for name, value in fields.rest.items()
            if value is not None and name not in CONSUMED
        },
    )


def _sampling(fields: Fields) -> Sampling:
    return Sampling(
        temperature=fields.number("temperature"),
        top_p=fields.number("top_p"),
        top_k=fields.integer("top_k"),
        seed=fields.integer("seed", -(2**63), 2**63 - 1),
        presence_penalty=fields.number("presence_penalty"),
        frequency_penalty=fields.number("frequency_penalty"),
        logit_bias=fields.object("logit_bias"),
        logprobs=fields.flag("logprobs"),
        top_logprobs=fields.integer("top_logprobs", 0, MAX_TOP_LOGPROBS),
        stop=fields.texts("stop", MAX_STOPS),
        n=fields.integer("n", 1, MAX_CHOICES) or 1,
    )


def _max_output(fields: Fields) -> int | None:
    old, new = fields.integer("max_tokens", 1), fields.integer("max_completion_tokens", 1)
    return new if new is not None else old


def _effort(fields: Fields) -> Effort | None:
    """How much to think, in any of its three spellings; `reasoning` says most, and goes first."""
    word = fields.text("reasoning_effort")
    thinking = _thinking(fields)
    reasoning = fields.object("reasoning")
    if reasoning is None:
        if thinking is not None:
            return replace(thinking, effort=word)
        return Effort(effort=word) if word else None
    inner = Fields(reasoning, "reasoning.")
    spelled = thinking or Effort()
    budget, enabled = inner.integer("max_tokens", 1), inner.flag("enabled")
    return Effort(
        effort=inner.text("effort") or word,
        budget=spelled.budget if budget is None else budget,
        enabled=spelled.enabled if enabled is None else enabled,
        hidden=inner.flag("exclude") or False,
    )


def _thinking(fields: Fields) -> Effort | None:
    """`thinking`, where it has a known form; what the canon has no word for stays in it.

    Example: `{"type": "enabled", "budget_tokens": 2_000}` → `Effort(budget=2_000, enabled=True)`.
    """
    value = fields.rest.get("thinking")
    if not isinstance(value, dict) or value.get("type") not in THINKING_TYPES:
        return None
    del fields.rest["thinking"]
    inner = Fields(value, "thinking.")
    kind, budget = inner.text("type"), inner.integer("budget_tokens", 1)
    if inner.rest:
        fields.rest["thinking"] = inner.rest
    return Effort(budget=budget if kind == "enabled" else None, enabled=kind != "disabled")


def _wants_usage(fields: Fields) -> bool:
    """Whether usage is wanted; other options of the stream stay, for whoever knows them."""
    options, usage = fields.object("stream_options") or {}, fields.object("usage") or {}
    others = {name: value for name, value in options.items() if name != "include_usage"}
    if others:
        fields.rest["stream_options"] = others
    return options.get("include_usage") is True or usage.get("include") is True


def request_to_wire(request: ChatRequest, target: EncodeTarget) -> Draft:
    """The request in OpenAI's words; a provider's quirks may rename `max_tokens`."""
    same_dialect = request.dialect == NAME
    request, untranslated = translate(request, NAME, MARKS if target.cache_marks else NOTHING)
    dropped = Dropped()
    dropped.add(*untranslated)
    messages = messages_to_wire(request, target.provider, dropped)
    body: dict[str, Any] = {"model": target.upstream_id, "messages": messages}
    body |= _tools_to_wire(request, dropped, same_dialect=same_dialect)
    if request.format is not None:
        body["response_format"] = format_to_wire(request.format, same_dialect=same_dialect)
    body |= _sampling_to_wire(request.sampling) | _effort_to_wire(request.reasoning)
    optional = {
        "max_tokens": request.max_output,
        "user": _user(request) or None,
    }
    body |= {name: value for name, value in optional.items() if value is not None}
    if target.streamed:
        options = request.extra.get("stream_options", {})
        body |= {"stream": True, "stream_options": {**options, "include_usage": True}}
    body = {**request.extra, **body}
    if not target.streamed:
        # "Only set this when you set stream: true".
        body.pop("stream_options", None)
    if target.auto_cache:
        mark_conversation(body)
    return Draft(PATH, body, dropped=dropped.names())


def _tools_to_wire(request: ChatRequest, dropped: Dropped, *, same_dialect: bool) -> dict[str, Any]:
    """Tools and how they are chosen: "tool_choice is only allowed when tools are specified"."""
    choice, parallel = request.tool_choice, request.parallel_tools
    if not request.tools and choice is None and parallel is None:
        return {}
    fields = {
        "tool_choice": tool_choice_to_wire(choice) if choice is not None else None,
        "parallel_tool_calls": parallel,
    }
    wire = {name: value for name, value in fields.items() if value is not None}
    if not request.tools:
        dropped.add(*wire)
        return {}
    tools = [tool_to_wire(tool, dropped, same_dialect=same_dialect) for tool in request.tools]
    return {"tools": tools, **wire}


def _user(request: ChatRequest) -> str:
    """OpenAI takes 64 characters; a longer name from another dialect is replaced by its digest."""
    if request.dialect == NAME or len(request.user) <= MAX_USER:
        return request.user
    return hashlib.blake2b(request.user.encode(), digest_size=MAX_USER // 2).hexdigest()


def _sampling_to_wire(sampling: Sampling) -> dict[str, Any]:
    wire = {name: getattr(sampling, name) for name in SAMPLING}
    fields = {name: value for name, value in wire.items() if value is not None}
    if sampling.stop:
        fields["stop"] = list(sampling.stop)
    if sampling.n > 1:
        fields["n"] = sampling.n
    return fields


SAMPLING = (
    "temperature",
    "top_p",
    "top_k",
    "seed",
    "presence_penalty",
    "frequency_penalty",
    "logit_bias",
    "logprobs",
    "top_logprobs",
)


def _effort_to_wire(effort: Effort | None) -> dict[str, Any]:
    if effort is None:
        return {}
    wire: dict[str, Any] = {"reasoning_effort": effort.effort} if effort.effort else {}
    if effort.budget is not None or effort.enabled is not None or effort.hidden:
        optional = {
            "effort": effort.effort or None,
            "max_tokens": effort.budget,
            "enabled": effort.enabled,
            "exclude": effort.hidden or None,
        }
        wire["reasoning"] = {name: value for name, value in optional.items() if value is not None}
    return wire
