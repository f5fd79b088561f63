"""Fields of requests that can cost money beyond the tokens of a plain answer, per dialect.

Each field is *free*, *priced* (its use is counted in a bucket of `Usage`), or *refused* to whoever
pays per use, because nothing that a provider reports says what it cost. A field that stands in no
table is passed on. A tool that the provider runs itself is refused unless its type stands here.

A provider's row says where it differs, in `quirks.field_costs`. What does not cross into another
dialect costs nothing there.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

from gatewayz.core.conversation import OpaqueTool
from gatewayz.core.requests import ChatRequest, ImageRequest, Request
from gatewayz.core.usage import service_from_word

CHAT, MESSAGES = "openai_chat", "anthropic_messages"
COMPLETIONS, EMBEDDINGS, IMAGES = "openai_completions", "openai_embeddings", "openai_images"
MAX_TYPE_CHARS = 64
"""Characters of a tool's type that a client is told."""


def always(value: Any) -> bool:
    """Every value costs."""
    return True


class FieldCost(NamedTuple):
    """What a field costs: `unit` is the bucket of what is priced, `why` ends "'field' …" of what is
    refused, and `is_costly` tells values that cost from those that do not.

    Example: `FieldCost("refused", why="makes web searches")`
    """

    kind: Literal["free", "priced", "refused"]
    unit: str = ""
    why: str = ""
    is_costly: Callable[[Any], bool] = always


class CostlyUse(NamedTuple):
    """A costly field in a request. `param` is where the client wrote it, `name` what a provider's
    row calls it; `provider` is set where only that one is sent it.

    Example: `CostlyUse("tools[1]", "tools.web_search", FieldCost("refused", why="…"))`
    """

    param: str
    name: str
    cost: FieldCost
    provider: str = ""


def _priced(unit: str) -> FieldCost:
    return FieldCost("priced", unit)


def _refused(why: str, is_costly: Callable[[Any], bool] = always) -> FieldCost:
    return FieldCost("refused", "", why, is_costly)


OFF_WORDS = frozenset({"", "0", "false", "none", "off", "no", "disabled", "disable"})
FREE_PLUGINS = frozenset({"response-healing", "context-compression", "moderation"})
"""OpenRouter's plugins without a fee (openrouter.ai/docs/features/plugins)."""
FREE_PDF_ENGINES = frozenset({"pdf-text", "cloudflare-ai", "native"})
STANDARD_TIERS = frozenset(
    {
        "",
        "auto",
        "default",
        "standard",
        "standard_only",
        "on_demand",
        "flex",
        "batch",
        "priority",
        "fast",
    }
)
"""Service tiers at the standard rates, or at rates of their own that a price names."""


def _is_on(value: Any) -> bool:
    if isinstance(value, dict):
        mode = value.get("mode", value.get("enable", value.get("enabled", value.get("type"))))
        return _is_on(mode) if mode is not None else True
    if isinstance(value, str):
        return value.strip().lower() not in OFF_WORDS
    return bool(value)


def _other_than(*words: str | int) -> Callable[[Any], bool]:
    return lambda value: value not in words


def _is_paid_plugin(value: Any) -> bool:
    items = value if isinstance(value, list) else [value]
    return any(not _is_free_plugin(item) for item in items)


def _is_free_plugin(item: Any) -> bool:
    if not isinstance(item, dict):
        return False
    if item.get("enabled") is False or str(item.get("id")) in FREE_PLUGINS:
        return True
    pdf = item.get("pdf")
    engine = pdf.get("engine") if isinstance(pdf, dict) else None
    return item.get("id") == "file-parser" and str(engine) in FREE_PDF_ENGINES


def _is_other_tier(value: Any) -> bool:
    return not isinstance(value, str) or value not in STANDARD_TIERS


FREE = FieldCost("free")
SEARCH = _refused("makes web searches", _is_on)
CODE = _refused("runs code on the provider's machines", _is_on)
OTHER_MODELS = _refused("lets the provider answer with another model", _is_on)
PRIORITY = FieldCost("priced", "priority", "asks for a dearer service tier")
TIER = _refused("is a service tier without a price", _is_other_tier)

_CANON = ("model", "messages", "stream", "stream_options", "stop", "temperature", "top_p", "user")
_PENALTIES = ("seed", "frequency_penalty", "presence_penalty", "logit_bias", "logprobs")


def _free(*names: str) -> dict[str, FieldCost]:
    return dict.fromkeys(names, FREE)


CHAT_FIELDS: Mapping[str, FieldCost] = {
    **_free(*_CANON, *_PENALTIES, "top_k", "top_logprobs", "metadata", "safety_identifier"),
    **_free("tool_choice", "parallel_tool_calls", "functions", "function_call", "response_format"),
    **_free("store", "moderation", "prompt_cache_key", "prompt_cache_retention", "transforms"),
    # Consumed by the gateway: each of its models has its own price in the plan.
    **_free("models", "route", "provider", "session_id", "usage"),
    **dict.fromkeys(
        ("max_tokens", "max_completion_tokens", "n", "reasoning_effort", "reasoning"),
        _priced("output"),
    ),
    # Predicted tokens that are rejected are counted as completion tokens.
    **dict.fromkeys(("prediction", "verbosity"), _priced("output")),
    "tools": _priced("input"),
    "audio": _priced("audio_output"),
    "modalities": _priced("audio_output"),
    "image_config": _priced("image_output"),
    "prompt_cache_options": _priced("cache_write"),
    "cache_control": _priced("cache_write"),
    "service_tier": TIER,
    # OpenAI, Perplexity, OpenRouter · xAI · Alibaba, Tencent and others.
    "web_search_options": _refused("makes web searches"),
    **dict.fromkeys(("search_parameters", "enable_search", "search_options"), SEARCH),
    **dict.fromkeys(("enable_web_search", "web_search", "enable_enhancement"), SEARCH),
    **dict.fromkeys(("force_search_enhancement", "search_settings", "connectors"), SEARCH),
    "plugins": _refused("uses plugins that cost money", _is_paid_plugin),
    "compound_custom": _refused("uses tools that the provider runs", _is_on),
    **dict.fromkeys(("enable_code_interpreter", "code_interpreter", "container"), CODE),
    "data_sources": _refused("searches data sources of the provider", _is_on),
    **dict.fromkeys(("fallbacks", "fallback_models", "preset", "providerOptions"), OTHER_MODELS),
    **dict.fromkeys(
        ("best_of", "num_generations", "num_return_sequences", "candidate_count"),
        _refused("asks for answers beside `n`", _other_than(1)),
    ),
    **dict.fromkeys(
        ("max_new_tokens", "max_output_tokens", "max_length"),
        _refused("is a limit beside `max_tokens`"),
    ),
}
MESSAGES_FIELDS: Mapping[str, FieldCost] = {
    **_free("model", "messages", "system", "stream", "stop_sequences", "temperature", "top_p"),
    **_free("top_k", "metadata", "tool_choice", "mcp_servers", "diagnostics", "models", "provider"),
    # Sent as headers, which are never passed on; the last two make a call cheaper, or another's.
    **_free("betas", "user_profile_id", "workspace_id", "fallback_credit_token", "billing_policy"),
    **dict.fromkeys(("max_tokens", "thinking", "output_config"), _priced("output")),
    "output_format": _priced("output"),
    "tools": _priced("input"),
    "cache_control": _priced("cache_write"),
    # What a summary costs stands in `usage.iterations`.
    **dict.fromkeys(("context_management", "compaction"), _priced("output")),
    "service_tier": TIER,
    "speed": _refused(
        "asks for a faster model at a multiple of its price", _other_than("standard")
    ),
    "inference_geo": _refused("asks for a region at a surcharge", _other_than("global")),
    "container": CODE,
    "fallbacks": OTHER_MODELS,
    "thread": _refused("continues a conversation whose tokens are not in the request"),
}
COMPLETIONS_FIELDS: Mapping[str, FieldCost] = {
    **_free(*_CANON, *_PENALTIES, "prompt", "suffix", "echo"),
    **dict.fromkeys(("max_tokens", "n", "best_of"), _priced("output")),
}
EMBEDDINGS_FIELDS: Mapping[str, FieldCost] = {
    **_free("model", "dimensions", "encoding_format", "user", "models", "provider"),
    "input": _priced("input"),
}
IMAGES_FIELDS: Mapping[str, FieldCost] = {
    **_free("model", "prompt", "background", "moderation", "output_compression", "style", "user"),
    **_free("response_format", "stream", "safety_identifier", "seed", "negative_prompt"),
    "n": _priced("images"),
    "size": _priced("pixels"),
    **dict.fromkeys(("quality", "partial_images"), _priced("image_output")),
    "complexity": _refused("asks for planning that has no price", _other_than("low")),
    "output_format": _refused(
        "asks for a format at a price of its own", _other_than("png", "jpeg", "webp")
    ),
    **dict.fromkeys(
        ("frame_count", "frame_duration_ms"), _refused("asks for more than one picture an image")
    ),
    "svg": _refused("is drawn by another model"),
    **dict.fromkeys(
        (
            "num_images",
            "num_outputs",
            "batch_size",
            "number_of_images",
            "samples",
            "sampleCount",
            "candidateCount",
        ),
        _refused("asks for images beside `n`", _other_than(1)),
    ),
    **dict.fromkeys(
        (
            "width",
            "height",
            "image_size",
            "megapixels",
            "resolution",
            "aspect_ratio",
            "imageConfig",
        ),
        _refused("asks for pixels beside `size`"),
    ),
    **dict.fromkeys(
        ("steps", "num_inference_steps", "num_steps"), _refused("asks for steps that have no price")
    ),
    **dict.fromkeys(
        ("upscale", "upscale_factor", "enable_upscaling"),
        _refused("asks for a second model", _is_on),
    ),
}
PRICED_IMAGE_FIELDS = {name for name, cost in IMAGES_FIELDS.items() if cost.kind == "priced"}
BESIDE_REQUEST = _refused("says again what the request says itself")
SEARCH_FIELDS: Mapping[str, FieldCost] = {
    "search_context_size": _refused("asks for larger searches", _other_than("low")),
    "search_type": _refused("asks for other searches", _other_than("fast")),
}
INSIDE: Mapping[str, Mapping[str, FieldCost]] = {"web_search_options": SEARCH_FIELDS}
"""Field → fields inside it that cost more than it does by itself."""
FIELDS: Mapping[str, Mapping[str, FieldCost]] = {
    CHAT: CHAT_FIELDS,
    MESSAGES: MESSAGES_FIELDS,
    COMPLETIONS: COMPLETIONS_FIELDS,
    EMBEDDINGS: EMBEDDINGS_FIELDS,
    IMAGES: IMAGES_FIELDS,
}
"""Dialect → field of its requests → what it costs."""

SEARCH_TOOL = FieldCost("priced", "searches", "makes web searches")
SERVER_TOOL = _refused("is a tool that the provider runs at a price of its own")
UNKNOWN_TOOL = _refused("is a tool of a kind that has no price here")
TOOLS: Mapping[str, Mapping[str, FieldCost]] = {
    CHAT: {
        **_free("function", "custom"),
        **dict.fromkeys(
            ("web_search", "web_browser", "x_search", "browser_search", "live_search"),
            _refused("makes web searches"),
        ),
        **dict.fromkeys(("file_search", "retrieval", "collections_search"), SERVER_TOOL),
        **dict.fromkeys(("code_interpreter", "code_execution", "image_generation"), SERVER_TOOL),
        **dict.fromkeys(("computer", "mcp", "builtin_function", "openrouter:"), SERVER_TOOL),
    },
    MESSAGES: {
        "web_search": SEARCH_TOOL,
        # What it fetches is paid as tokens; so is what a tool search and an MCP server answer.
        **_free("web_fetch", "tool_search_tool_bm25", "tool_search_tool_regex", "mcp_toolset"),
        # The client runs them.
        **_free("custom", "bash", "text_editor", "memory", "computer", "computer_toolset"),
        **_free("browser_toolset"),
        "code_execution": CODE,
        "advisor": _refused("is another model"),
    },
}
"""Dialect → a tool's `type` without its date, or how one that costs begins → what it costs."""
TOOL_DATE = re.compile(r"_\d{8}$")


def uses_in(request: Request) -> tuple[CostlyUse, ...]:
    """What of the request is priced by the piece, or refused to whoever pays per use."""
    if isinstance(request, ChatRequest):
        if not request.extra and not request.tools:
            return ()
        return (*_uses_in_fields(request.dialect, request.extra), *_uses_in_tools(request))
    if isinstance(request, ImageRequest):
        return (*_uses_in_fields(IMAGES, request.extra), *_uses_in_options(request))
    return ()


def _uses_in_fields(dialect: str, fields: Mapping[str, Any], path: str = "") -> Iterator[CostlyUse]:
    yield from _uses_in_table(FIELDS.get(dialect, {}), fields, path)
    for name, value in fields.items():
        if name in INSIDE and isinstance(value, dict):
            yield from _uses_in_table(INSIDE[name], value, f"{path}{name}.")
        # Sent as it stands by those who write JSON by hand; some providers unpack it.
        if name == "extra_body" and not path and isinstance(value, dict):
            yield from _uses_in_fields(dialect, value, "extra_body.")


def _uses_in_table(
    table: Mapping[str, FieldCost], fields: Mapping[str, Any], path: str
) -> Iterator[CostlyUse]:
    for name, value in fields.items():
        cost = table.get(name, FREE)
        if cost.kind == "refused" and value is not None and cost.is_costly(value):
            yield CostlyUse(path + name, name, cost)
        elif name == "service_tier" and service_from_word(value) == "priority":
            yield CostlyUse(path + name, name, PRIORITY)


def _uses_in_options(request: ImageRequest) -> Iterator[CostlyUse]:
    for provider, options in request.options.items():
        path = f"provider_options.{provider}."
        for name in PRICED_IMAGE_FIELDS & options.keys():
            yield CostlyUse(path + name, name, BESIDE_REQUEST, provider)
        for use in _uses_in_fields(IMAGES, options, path):
            yield use._replace(provider=provider)


def _uses_in_tools(request: ChatRequest) -> Iterator[CostlyUse]:
    for index, tool in enumerate(request.tools):
        if not isinstance(tool, OpaqueTool):
            continue
        kind = str(tool.value.get("type") or "")[:MAX_TYPE_CHARS]
        name, cost = tool_cost(tool.dialect, kind)
        if cost.kind != "free":
            yield CostlyUse(f"tools[{index}]", f"tools.{name}", cost)


def tool_cost(dialect: str, kind: str) -> tuple[str, FieldCost]:
    """The entry of the table that a tool's type belongs to."""
    table, undated = TOOLS.get(dialect, {}), TOOL_DATE.sub("", kind)
    if undated in table:
        return undated, table[undated]
    return next(
        (
            (name, cost)
            for name, cost in table.items()
            if cost.kind != "free" and kind.startswith(name)
        ),
        (kind, UNKNOWN_TOOL),
    )
