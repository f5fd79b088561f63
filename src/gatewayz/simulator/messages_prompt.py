"""What a messages request asks for: Anthropic's words, as the simulator reads them."""

import base64
from collections.abc import Iterator
from typing import Any

from gatewayz.simulator.prompts import OfferedTool, Prompt
from gatewayz.simulator.recorder import (
    IMAGE_TOKENS,
    MEDIA_TOKENS,
    MESSAGE_TOKENS,
    RecordedRequest,
    count_tokens,
)

Block = dict[str, Any]
EFFORTS = ((1_024, "low"), (8_192, "medium"), (16_384, "high"))
"""Tokens of a budget up to which it is this effort."""


def thinking_signature(request: RecordedRequest, thought: str) -> str:
    """What this provider signs a thought with: only under the same path is it valid."""
    return base64.b64encode(f"{provider_prefix(request)}|{thought}".encode()).decode()


def thinking_redaction(request: RecordedRequest) -> str:
    """What this provider hides a thought in."""
    return base64.b64encode(f"{provider_prefix(request)}|redacted".encode()).decode()


def provider_prefix(request: RecordedRequest) -> str:
    """What tells this provider from the others that the same simulator stands for."""
    return request.path.partition("/v1/")[0]


def prompt_from_request(request: RecordedRequest) -> Prompt:
    """The prompt of a request; a broken one asks for nothing."""
    content = request.content
    blocks = list(blocks_of(request))
    tools, turns = content.get("tools") or [], content.get("messages") or []
    choice = content.get("tool_choice") or {}
    mode, forced_tool = _choice(choice)
    return Prompt(
        number=request.number,
        text=_last_user_text(content),
        results=tuple(
            _text(block.get("content")) for block in blocks if block.get("type") == "tool_result"
        ),
        tools=tuple(
            OfferedTool(str(tool.get("name")), tool["input_schema"])
            for tool in tools
            if isinstance(tool.get("input_schema"), dict)
        ),
        choice=mode,
        forced_tool=forced_tool,
        parallel=choice.get("disable_parallel_tool_use") is not True,
        schema=((content.get("output_config") or {}).get("format") or {}).get("schema"),
        images=tuple(
            _image_url(block["source"]) for block in blocks if block.get("type") == "image"
        ),
        files=tuple(str(block.get("title")) for block in blocks if block.get("type") == "document"),
        searches=any(str(tool.get("type")).startswith("web_search") for tool in tools),
        continues_turn=bool(turns) and turns[-1].get("role") == "assistant",
        effort=_effort(content),
        limit=content.get("max_tokens"),
        stops=tuple(content.get("stop_sequences") or ()),
        tokens=sum(map(_tokens, blocks)) + MESSAGE_TOKENS * len(turns),
    )


def blocks_from_content(content: Any) -> list[Block]:
    """A content as blocks."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [block for block in content or () if isinstance(block, dict)]


def blocks_of(request: RecordedRequest) -> Iterator[Block]:
    """All blocks, those inside tool results too."""
    contents = [
        request.content.get("system"),
        *(turn.get("content") for turn in request.content.get("messages") or ()),
    ]
    for content in contents:
        for block in blocks_from_content(content):
            yield block
            if block.get("type") == "tool_result":
                yield from blocks_from_content(block.get("content"))


def _text(content: Any) -> str:
    return " ".join(
        block["text"] for block in blocks_from_content(content) if block.get("type") == "text"
    )


def _last_user_text(content: Block) -> str:
    turns = [turn for turn in content.get("messages") or () if turn.get("role") == "user"]
    return next((text for turn in reversed(turns) if (text := _text(turn.get("content")))), "")


def _choice(choice: Block) -> tuple[str, str]:
    modes = {"any": "required", "tool": "named", "none": "none"}
    return modes.get(str(choice.get("type")), "auto"), str(choice.get("name") or "")


def _image_url(source: Block) -> str:
    return str(source.get("url") or f"data:{source.get('media_type')};base64,{source.get('data')}")


def _effort(content: Block) -> str:
    budget = (content.get("thinking") or {}).get("budget_tokens")
    if budget is None:
        return str((content.get("output_config") or {}).get("effort") or "medium")
    return next((effort for most, effort in EFFORTS if budget <= most), "xhigh")


def _tokens(block: Block) -> int:
    match block.get("type"):
        case "text":
            return count_tokens(block.get("text", ""))
        case "image":
            return IMAGE_TOKENS
        case "tool_result":
            return 0
    return MEDIA_TOKENS
