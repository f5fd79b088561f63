"""What Anthropic refuses in a messages request, as the simulator plays it.

The rules are those of platform.claude.com/docs/en/api/messages, …/build-with-claude/extended-thinking, and of the
profiles of Claude models in pydantic-ai.
"""

import re

from gatewayz.simulator.messages_prompt import blocks_of, listed, redacted_of, signature_of
from gatewayz.simulator.messages_search import strange, unanswered
from gatewayz.simulator.oracle import Asked
from gatewayz.simulator.tongues import No

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
ONE_OF_BOTH = re.compile(r"claude-(opus-4-1|(opus|sonnet|haiku)-4-5)")
NO_FORCING = re.compile(r"claude-(fable|mythos)")


def check(asked: Asked) -> No | None:
    """Why Anthropic would refuse this; nothing when it would not."""
    content = asked.content
    unknown = sorted(content.keys() - FIELDS)
    if "anthropic-version" not in asked.headers:
        return "error_400_version", {}
    if unknown:
        return "error_400_unsupported", {"parameter": unknown[0]}
    if not isinstance(content.get("max_tokens"), int):
        return "error_400_max_tokens", {}
    return _wrong_turns(asked) or _wrong_sampling(asked) or _wrong_thinking(asked)


def _wrong_turns(asked: Asked) -> No | None:
    turns = asked.content.get("messages") or []
    if not turns or turns[0].get("role") != "user":
        return "error_400_first_turn", {}
    calls: set[str] = set()
    for turn in turns:
        if turn["role"] == "system":
            continue
        blocks = listed(turn.get("content"))
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
        resultless = unanswered(blocks) if turn is not turns[-1] else ""
        if resultless:
            return "error_400_server_result", {"id": resultless}
    return None


def _wrong_sampling(asked: Asked) -> No | None:
    content = asked.content
    given = content.keys() & {"temperature", "top_p", "top_k"}
    if not 0 <= content.get("temperature", 1) <= 1:
        return "error_400_temperature", {}
    if given and NO_SAMPLING.search(asked.model):
        return "error_400_no_sampling", {"parameter": min(given)}
    if {"temperature", "top_p"} <= given and ONE_OF_BOTH.search(asked.model):
        return "error_400_temperature_top_p", {}
    forced = (content.get("tool_choice") or {}).get("type") in {"any", "tool"}
    thinks = (content.get("thinking") or {}).get("type") in {"enabled", "adaptive"}
    if forced and (thinks or NO_FORCING.search(asked.model)):
        return "error_400_forced_tool", {}
    if any(not str(stop).strip() for stop in content.get("stop_sequences") or ()):
        return "error_400_stop", {}
    return None


def _wrong_thinking(asked: Asked) -> No | None:
    content, turns = asked.content, asked.content.get("messages") or []
    if strange(asked):
        return "error_400_encrypted", {}
    for block in blocks_of(asked):
        signed = block.get("signature") if block.get("type") == "thinking" else None
        hidden = block.get("data") if block.get("type") == "redacted_thinking" else None
        wrong = signed is not None and signed != signature_of(asked, str(block.get("thinking")))
        if wrong or (hidden is not None and hidden != redacted_of(asked)):
            return "error_400_signature", {}
    thinking = content.get("thinking") or {}
    if thinking.get("type") != "enabled":
        return None
    if not 1_024 <= thinking["budget_tokens"] < content["max_tokens"]:
        return "error_400_budget", {}
    if content.get("temperature", 1) != 1 or "top_k" in content:
        return "error_400_thinking_sampling", {}
    before = listed(turns[-2].get("content")) if len(turns) > 1 else []
    calls = any(block.get("type") == "tool_use" for block in before)
    thought = bool(before) and str(before[0].get("type")).endswith("thinking")
    return ("error_400_thinking_first", {}) if calls and not thought else None
