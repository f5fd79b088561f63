"""What a chat request asks for: OpenAI's words, as the simulator reads them."""

import json
from typing import Any

from gatewayz.simulator.prompts import OfferedTool, Prompt
from gatewayz.simulator.recorder import (
    IMAGE_TOKENS,
    MEDIA_TOKENS,
    MESSAGE_TOKENS,
    RecordedRequest,
    count_tokens,
)

Content = dict[str, Any]


def prompt_from_request(request: RecordedRequest) -> Prompt:
    """The prompt of a request; a broken one asks for nothing."""
    content = request.content
    messages = [message for message in content.get("messages", []) if isinstance(message, dict)]
    tools = content.get("tools", [])
    choice, forced_tool = _choice(content.get("tool_choice", "auto"))
    stop = content.get("stop") or []
    tool_tokens = sum(count_tokens(json.dumps(tool)) for tool in tools)
    return Prompt(
        number=request.number,
        text=_last_user_text(messages),
        results=tuple(_text(message) for message in messages if message.get("role") == "tool"),
        tools=tuple(
            _tool_from_function(tool["function"])
            for tool in tools
            if tool.get("type") == "function"
        ),
        choice=choice,
        forced_tool=forced_tool,
        parallel=content.get("parallel_tool_calls") is not False,
        schema=_schema(content.get("response_format")),
        images=tuple(str(image.get("url")) for image in _parts(messages, "image_url")),
        files=tuple(
            str(file.get("filename") or file.get("file_id")) for file in _parts(messages, "file")
        ),
        sounds=tuple(str(sound.get("format")) for sound in _parts(messages, "input_audio")),
        effort=str(content.get("reasoning_effort", "medium")),
        limit=content.get("max_completion_tokens") or content.get("max_tokens"),
        choices=int(content.get("n") or 1),
        stops=(stop,) if isinstance(stop, str) else tuple(stop),
        tokens=_tokens(messages) + tool_tokens,
    )


def _last_user_text(messages: list[Content]) -> str:
    return next(
        (_text(message) for message in reversed(messages) if message.get("role") == "user"), ""
    )


def _text(message: Content) -> str:
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return " ".join(part["text"] for part in content if part.get("type") == "text")


def _parts(messages: list[Content], kind: str) -> list[Content]:
    """What every part of this kind holds, under the name of its kind."""
    lists = [message["content"] for message in messages if isinstance(message.get("content"), list)]
    return [part.get(kind) or {} for parts in lists for part in parts if part.get("type") == kind]


def _tool_from_function(function: Content) -> OfferedTool:
    return OfferedTool(function["name"], function.get("parameters") or {"type": "object"})


def _choice(choice: Any) -> tuple[str, str]:
    if isinstance(choice, dict):
        return "named", str(choice.get("function", {}).get("name", ""))
    return str(choice), ""


def _schema(response_format: Any) -> Content | None:
    match response_format:
        case {"type": "json_schema", "json_schema": {"schema": dict(schema)}}:
            return schema
    return None


def _tokens(messages: list[Content]) -> int:
    total = 0
    for message in messages:
        content = message.get("content") or []
        total += MESSAGE_TOKENS
        if isinstance(content, str):
            total += count_tokens(content)
        else:
            total += sum(_part_tokens(part) for part in content)
    return total


def _part_tokens(part: Content) -> int:
    if part.get("type") == "text":
        return count_tokens(part.get("text", ""))
    return IMAGE_TOKENS if part.get("type") == "image_url" else MEDIA_TOKENS
