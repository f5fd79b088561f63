"""What Anthropic refuses in a messages request.

The rules are those of platform.claude.com/docs/en/api/messages,
…/build-with-claude/extended-thinking, and of the profiles of Claude models in pydantic-ai.
"""

import re

from gatewayz.simulator.messages_prompt import (
    Block,
    blocks_from_content,
    blocks_of,
    thinking_redaction,
    thinking_signature,
)
from gatewayz.simulator.messages_search import has_foreign_ciphertext, search_without_result
from gatewayz.simulator.recorder import RecordedRequest
from gatewayz.simulator.wire_format import Rejection

FIELDS = frozenset(
    {
        "model",
        "messages",
        "max_tokens",
        "system",
        "stream",
        "temperature",
        "top_p",
        "top_k",
        "stop_sequences",
        "tools",
        "tool_choice",
        "thinking",
        "output_config",
        "metadata",
        "service_tier",
        "cache_control",
        "container",
        "context_management",
        "mcp_servers",
        "speed",
        "inference_geo",
        "diagnostics",
        "fallbacks",
        "compaction",
        "billing_policy",
        "thread",
        "user_profile_id",
    }
)
"""MessageCreateParams, stable and beta; others are 'Extra inputs are not permitted'."""
TOOL_ID = re.compile(r"[a-zA-Z0-9_-]+")
NO_SAMPLING = re.compile(r"claude-(opus-4-[78]|opus-5|sonnet-5|fable|mythos)")
ONE_SAMPLING_FIELD = re.compile(r"claude-(opus-4-1|(opus|sonnet|haiku)-4-5)")
NO_FORCING = re.compile(r"claude-(fable|mythos)")


def check(request: RecordedRequest) -> Rejection | None:
    """The exchange with which Anthropic refuses this; `None` when it serves it."""
    content = request.content
    unknown = sorted(content.keys() - FIELDS)
    if "anthropic-version" not in request.headers:
        return "error_400_version", {}
    if unknown:
        return "error_400_unsupported", {"parameter": unknown[0]}
    if not isinstance(content.get("max_tokens"), int):
        return "error_400_max_tokens", {}
    return _check_turns(request) or _check_sampling(request) or _check_thinking(request)


def _check_turns(request: RecordedRequest) -> Rejection | None:
    turns = request.content.get("messages") or []
    if not turns or turns[0].get("role") != "user":
        return "error_400_first_turn", {}
    calls: set[str] = set()
    for turn in turns:
        if turn["role"] == "system":
            continue
        blocks = blocks_from_content(turn.get("content"))
        answered = {
            str(block.get("tool_use_id")) for block in blocks if block.get("type") == "tool_result"
        }
        if answered != calls:
            return "error_400_tool_result", {"id": ", ".join(sorted(answered ^ calls))}

        calls = {str(block.get("id")) for block in blocks if block.get("type") == "tool_use"}
        if any(
            block.get("type") == "text" and not str(block.get("text")).strip() for block in blocks
        ):
            return "error_400_empty_text", {}
        if not all(TOOL_ID.fullmatch(call) for call in calls):
            return "error_400_tool_id", {}
        search_id = search_without_result(blocks) if turn is not turns[-1] else ""
        if search_id:
            return "error_400_server_result", {"id": search_id}
    return None


def _check_sampling(request: RecordedRequest) -> Rejection | None:
    content = request.content
    sampling = content.keys() & {"temperature", "top_p", "top_k"}
    if not 0 <= content.get("temperature", 1) <= 1:
        return "error_400_temperature", {}
    if sampling and NO_SAMPLING.search(request.model):
        return "error_400_no_sampling", {"parameter": min(sampling)}
    if {"temperature", "top_p"} <= sampling and ONE_SAMPLING_FIELD.search(request.model):
        return "error_400_temperature_top_p", {}
    forced = (content.get("tool_choice") or {}).get("type") in {"any", "tool"}
    thinks = (content.get("thinking") or {}).get("type") in {"enabled", "adaptive"}
    if forced and (thinks or NO_FORCING.search(request.model)):
        return "error_400_forced_tool", {}
    if any(not str(stop).strip() for stop in content.get("stop_sequences") or ()):
        return "error_400_stop", {}
    return None


def _check_thinking(request: RecordedRequest) -> Rejection | None:
    content, turns = request.content, request.content.get("messages") or []
    if has_foreign_ciphertext(request):
        return "error_400_encrypted", {}
    for block in blocks_of(request):
        if not _has_valid_signature(request, block):
            return "error_400_signature", {}

    thinking = content.get("thinking") or {}
    if thinking.get("type") != "enabled":
        return None
    if not 1_024 <= thinking["budget_tokens"] < content["max_tokens"]:
        return "error_400_budget", {}
    if content.get("temperature", 1) != 1 or "top_k" in content:
        return "error_400_thinking_sampling", {}
    before = blocks_from_content(turns[-2].get("content")) if len(turns) > 1 else []
    has_calls = any(block.get("type") == "tool_use" for block in before)
    starts_with_thinking = bool(before) and str(before[0].get("type")).endswith("thinking")
    if has_calls and not starts_with_thinking:
        return "error_400_thinking_first", {}
    return None


def _has_valid_signature(request: RecordedRequest, block: Block) -> bool:
    """Whether a thought in this block, if there is one, was made here and is unchanged."""
    match block.get("type"):
        case "thinking":
            signature = block.get("signature")
            return signature in (None, thinking_signature(request, str(block.get("thinking"))))
        case "redacted_thinking":
            return block.get("data") in (None, thinking_redaction(request))
    return True
