"""The messages of a whole conversation as OpenAI spells them, also when they were spoken in another dialect.

A tool message holds text only (platform.openai.com/docs/api-reference/chat/create, "Tool message": "For tool messages,
only type `text` is supported"), so media of tool results follow their run in a user's message, and a failure is said
in words.
"""

from typing import Any

from msgspec.structs import replace

from gatewayz.core.conversation import Message, Part, Text, ToolResult
from gatewayz.core.requests import ChatRequest
from gatewayz.dialects.openai_chat.messages import NAME, message_to_wire

FAILED = "Error: "
SEE_BELOW = "The result follows in the next message."


def messages_to_wire(
    request: ChatRequest, provider: str
) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
    """The messages, seals opened for `provider`, and the names of what could not be said."""
    lost: dict[str, None] = {}
    messages = request.messages if request.dialect == NAME else _adapted(request.messages)
    wires = [message_to_wire(message, provider, lost) for message in messages]
    if request.dialect != NAME:
        for wire in wires:
            # An assistant that only thought still needs a content: "Required unless tool_calls is specified".
            if wire["role"] == "assistant" and not wire.keys() & {
                "content",
                "tool_calls",
                "refusal",
            }:
                wire["content"] = ""
    return wires, tuple(lost)


def _adapted(messages: tuple[Message, ...]) -> list[Message]:
    found: list[Message] = []
    media: list[Part] = []
    for message in messages:
        if message.role == "tool":
            found.append(_text_only(message, media))
            continue
        if message.role == "user":
            found.append(replace(message, parts=(*media, *message.parts)))
        else:
            found += [Message("user", tuple(media))] if media else []
            found.append(message)
        media.clear()
    return [*found, Message("user", tuple(media))] if media else found


def _text_only(message: Message, media: list[Part]) -> Message:
    """The tool message without media, which go into `media`."""
    results = [
        _spoken(part, media) if isinstance(part, ToolResult) else part for part in message.parts
    ]
    return replace(message, parts=tuple(results))


def _spoken(result: ToolResult, media: list[Part]) -> ToolResult:
    texts = [part for part in result.parts if isinstance(part, Text)]
    others = [part for part in result.parts if not isinstance(part, Text)]
    media += others
    if others and not texts:
        texts = [Text(SEE_BELOW)]
    if result.failed:
        texts = [Text(FAILED + texts[0].text), *texts[1:]] if texts else [Text(FAILED.strip(" :"))]
    return replace(result, parts=tuple(texts))
