"""What a messages request asks for, and what Anthropic would refuse in it, as the simulator reads it.

The rules are those of platform.claude.com/docs/en/api/messages and …/build-with-claude/extended-thinking.
"""

import base64
import re
from collections.abc import Iterator
from typing import Any

from gatewayz.simulator.oracle import IMAGE_TOKENS, MEDIA_TOKENS, MESSAGE_TOKENS, Asked, tokens_of
from gatewayz.simulator.prompts import Offered, Prompt
from gatewayz.simulator.tongues import No

Block = dict[str, Any]
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
EFFORTS = ((1_024, "low"), (8_192, "medium"), (16_384, "high"))


def signature_of(asked: Asked, thought: str) -> str:
    """What this provider signs a thought with: only under the same path is it valid."""
    return base64.b64encode(f"{_place(asked)}|{thought}".encode()).decode()


def redacted_of(asked: Asked) -> str:
    """What this provider hides a thought in."""
    return base64.b64encode(f"{_place(asked)}|redacted".encode()).decode()


def _place(asked: Asked) -> str:
    return asked.path.partition("/v1/")[0]


def prompt_from(asked: Asked) -> Prompt:
    """The prompt of a request; broken ones ask for nothing."""
    content = asked.content
    every = list(_blocks(asked))
    choice = content.get("tool_choice") or {}
    kind, named = _choice(choice)
    return Prompt(
        number=asked.number,
        text=_last_user_text(content),
        results=tuple(_plain(block.get("content")) for block in every if block.get("type") == "tool_result"),
        tools=tuple(
            Offered(str(tool.get("name")), tool["input_schema"])
            for tool in content.get("tools") or ()
            if isinstance(tool.get("input_schema"), dict)
        ),
        choice=kind,
        named=named,
        parallel=choice.get("disable_parallel_tool_use") is not True,
        schema=((content.get("output_config") or {}).get("format") or {}).get("schema"),
        images=tuple(_address(block["source"]) for block in every if block.get("type") == "image"),
        files=tuple(str(block.get("title")) for block in every if block.get("type") == "document"),
        effort=_effort(content),
        limit=content.get("max_tokens"),
        stops=tuple(content.get("stop_sequences") or ()),
        tokens=sum(_tokens(block) for block in every) + MESSAGE_TOKENS * len(content.get("messages") or ()),
    )


def _listed(content: Any) -> list[Block]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [block for block in content or () if isinstance(block, dict)]


def _blocks(asked: Asked) -> Iterator[Block]:
    """All blocks, those inside tool results too."""
    contents = [asked.content.get("system"), *(one.get("content") for one in asked.content.get("messages") or ())]
    for content in contents:
        for block in _listed(content):
            yield block
            if block.get("type") == "tool_result":
                yield from _listed(block.get("content"))


def _plain(content: Any) -> str:
    return " ".join(block["text"] for block in _listed(content) if block.get("type") == "text")


def _last_user_text(content: Block) -> str:
    turns = [turn for turn in content.get("messages") or () if turn.get("role") == "user"]
    return next((text for turn in reversed(turns) if (text := _plain(turn.get("content")))), "")


def _choice(choice: Block) -> tuple[str, str]:
    words = {"any": "required", "tool": "named", "none": "none"}
    return words.get(str(choice.get("type")), "auto"), str(choice.get("name") or "")


def _address(source: Block) -> str:
    return str(source.get("url") or f"data:{source.get('media_type')};base64,{source.get('data')}")


def _effort(content: Block) -> str:
    budget = (content.get("thinking") or {}).get("budget_tokens")
    if budget is None:
        return str((content.get("output_config") or {}).get("effort") or "medium")
    return next((word for most, word in EFFORTS if budget <= most), "xhigh")


def _tokens(block: Block) -> int:
    match block.get("type"):
        case "text":
            return tokens_of(block.get("text", ""))
        case "image":
            return IMAGE_TOKENS
        case "tool_result":
            return 0
    return MEDIA_TOKENS


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
    return _wrong_turns(asked) or _wrong_thinking(asked)


def _wrong_turns(asked: Asked) -> No | None:
    turns = asked.content.get("messages") or []
    if not turns or turns[0].get("role") != "user":
        return "error_400_first_turn", {}
    calls: set[str] = set()
    for turn in turns:
        blocks = _listed(turn.get("content"))
        answered = {str(block.get("tool_use_id")) for block in blocks if block.get("type") == "tool_result"}
        if answered != calls and turn["role"] != "system":
            return "error_400_tool_result", {"id": ", ".join(sorted(answered ^ calls))}
        calls = {str(block.get("id")) for block in blocks if block.get("type") == "tool_use"}
        if any(block.get("type") == "text" and not str(block.get("text")).strip() for block in blocks):
            return "error_400_empty_text", {}
        if not all(TOOL_ID.fullmatch(call) for call in calls):
            return "error_400_tool_id", {}
    return None


def _wrong_thinking(asked: Asked) -> No | None:
    content, turns = asked.content, asked.content.get("messages") or []
    for block in _blocks(asked):
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
    before = _listed(turns[-2].get("content")) if len(turns) > 1 else []
    calls = any(block.get("type") == "tool_use" for block in before)
    thought = bool(before) and str(before[0].get("type")).endswith("thinking")
    return ("error_400_thinking_first", {}) if calls and not thought else None
