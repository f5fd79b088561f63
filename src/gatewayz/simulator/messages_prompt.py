"""What a messages request asks for: Anthropic's words, as the simulator reads them."""

import base64
from collections.abc import Iterator
from typing import Any

from gatewayz.simulator.oracle import IMAGE_TOKENS, MEDIA_TOKENS, MESSAGE_TOKENS, Asked, tokens_of
from gatewayz.simulator.prompts import Offered, Prompt

Block = dict[str, Any]
EFFORTS = ((1_024, "low"), (8_192, "medium"), (16_384, "high"))


def signature_of(asked: Asked, thought: str) -> str:
    """What this provider signs a thought with: only under the same path is it valid."""
    return base64.b64encode(f"{place_of(asked)}|{thought}".encode()).decode()


def redacted_of(asked: Asked) -> str:
    """What this provider hides a thought in."""
    return base64.b64encode(f"{place_of(asked)}|redacted".encode()).decode()


def place_of(asked: Asked) -> str:
    """What tells this provider from others that the same simulator plays."""
    return asked.path.partition("/v1/")[0]


def prompt_from(asked: Asked) -> Prompt:
    """The prompt of a request; broken ones ask for nothing."""
    content = asked.content
    every = list(blocks_of(asked))
    choice = content.get("tool_choice") or {}
    kind, named = _choice(choice)
    return Prompt(
        number=asked.number,
        text=_last_user_text(content),
        results=tuple(
            _plain(block.get("content")) for block in every if block.get("type") == "tool_result"
        ),
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
        searches=any(
            str(tool.get("type")).startswith("web_search") for tool in content.get("tools") or ()
        ),
        goes_on=[turn.get("role") for turn in content.get("messages") or ()][-1:] == ["assistant"],
        effort=_effort(content),
        limit=content.get("max_tokens"),
        stops=tuple(content.get("stop_sequences") or ()),
        tokens=sum(_tokens(block) for block in every)
        + MESSAGE_TOKENS * len(content.get("messages") or ()),
    )


def listed(content: Any) -> list[Block]:
    """A content as blocks."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [block for block in content or () if isinstance(block, dict)]


def blocks_of(asked: Asked) -> Iterator[Block]:
    """All blocks, those inside tool results too."""
    contents = [
        asked.content.get("system"),
        *(one.get("content") for one in asked.content.get("messages") or ()),
    ]
    for content in contents:
        for block in listed(content):
            yield block
            if block.get("type") == "tool_result":
                yield from listed(block.get("content"))


def _plain(content: Any) -> str:
    return " ".join(block["text"] for block in listed(content) if block.get("type") == "text")


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
