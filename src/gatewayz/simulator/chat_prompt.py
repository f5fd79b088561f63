"""What a chat request asks for: OpenAI's words, as the simulator reads them."""

import json
from typing import Any

from gatewayz.simulator.oracle import IMAGE_TOKENS, MEDIA_TOKENS, MESSAGE_TOKENS, Asked, tokens_of
from gatewayz.simulator.prompts import Offered, Prompt

Content = dict[str, Any]


def prompt_from(asked: Asked) -> Prompt:
    """The prompt of a request; broken ones ask for nothing."""
    content = asked.content
    messages = [message for message in content.get("messages", []) if isinstance(message, dict)]
    choice, named = _choice(content.get("tool_choice", "auto"))
    stop = content.get("stop") or []
    return Prompt(
        number=asked.number,
        text=_last_user_text(messages),
        results=tuple(_text(message) for message in messages if message.get("role") == "tool"),
        tools=tuple(
            _offered(tool["function"])
            for tool in content.get("tools", [])
            if tool.get("type") == "function"
        ),
        choice=choice,
        named=named,
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
        tokens=_tokens(messages)
        + sum(tokens_of(json.dumps(tool)) for tool in content.get("tools", [])),
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
    """What every part of this kind holds under its own name."""
    lists = [message["content"] for message in messages if isinstance(message.get("content"), list)]
    return [part.get(kind) or {} for parts in lists for part in parts if part.get("type") == kind]


def _offered(function: Content) -> Offered:
    return Offered(function["name"], function.get("parameters") or {"type": "object"})


def _choice(choice: Any) -> tuple[str, str]:
    if isinstance(choice, dict):
        return "named", str(choice.get("function", {}).get("name", ""))
    return str(choice), ""


def _schema(asked: Any) -> Content | None:
    match asked:
        case {"type": "json_schema", "json_schema": {"schema": dict(schema)}}:
            return schema
    return None


def _tokens(messages: list[Content]) -> int:
    total = 0
    for message in messages:
        parts = message.get("content") or []
        inner = (
            tokens_of(parts)
            if isinstance(parts, str)
            else sum(_part_tokens(part) for part in parts)
        )
        total += MESSAGE_TOKENS + inner
    return total


def _part_tokens(part: Content) -> int:
    if part.get("type") == "text":
        return tokens_of(part.get("text", ""))
    return IMAGE_TOKENS if part.get("type") == "image_url" else MEDIA_TOKENS
