"""The messages of a whole conversation in OpenAI's form, also when they come from another dialect.

A tool message holds text only (platform.openai.com/docs/api-reference/chat/create, "Tool message":
"For tool messages, only type `text` is supported"), so media of tool results follow their run in a
user's message, and a failure is told in words. A `file` part is a PDF with a name ("filename",
required beside `file_data`; platform.openai.com/docs/guides/pdf-files); text of any kind is a text
part.
"""

import base64
import binascii
from typing import Any

from msgspec.structs import replace

from gatewayz.core.conversation import File, Image, Message, Part, Text, ToolResult
from gatewayz.core.requests import ChatRequest
from gatewayz.dialects.kit.dropped import Dropped
from gatewayz.dialects.kit.media_types import TEXT_TYPE, file_media_type, split_data_url
from gatewayz.dialects.openai.chat.messages import message_to_wire
from gatewayz.dialects.openai.chat.wire import NAME

ERROR_PREFIX = "Error: "
SEE_BELOW = "The result follows in the next message."
DEFAULT_FILE_NAME = "document"
EXTENSIONS = {"application/pdf": ".pdf"}
CONTENT_FIELDS = frozenset({"content", "tool_calls", "refusal"})


def messages_to_wire(request: ChatRequest, provider: str, dropped: Dropped) -> list[dict[str, Any]]:
    """The messages, seals opened for `provider`; `dropped` receives what is left out."""
    if request.dialect == NAME:
        return [message_to_wire(message, provider, dropped) for message in request.messages]

    messages = _adapt_messages(request.messages)
    wires = [message_to_wire(message, provider, dropped) for message in messages]
    for wire in wires:
        # An assistant that only thought still needs content: "Required unless tool_calls is
        # specified".
        if wire["role"] == "assistant" and not wire.keys() & CONTENT_FIELDS:
            wire["content"] = ""
    return wires


def _adapt_messages(messages: tuple[Message, ...]) -> list[Message]:
    """The messages with the media of each run of tool results in the user's message after it."""
    adapted: list[Message] = []
    media: list[Part] = []
    for message in messages:
        if message.role == "tool":
            adapted.append(_text_only(message, media))
            continue
        if message.role == "user":
            parts = tuple(adapt_file(part) for part in (*media, *message.parts))
            adapted.append(replace(message, parts=parts))
        else:
            adapted += [_media_message(media)] if media else []
            adapted.append(message)
        media.clear()
    return [*adapted, _media_message(media)] if media else adapted


def _media_message(media: list[Part]) -> Message:
    return Message("user", tuple(adapt_file(part) for part in media))


def adapt_file(part: Part) -> Part:
    """A file as OpenAI takes it: text as text, anything else with a name and its extension; an
    image under the type that its bytes say.
    """
    if isinstance(part, Image):
        return _with_true_type(part)
    if not isinstance(part, File) or not part.content:
        return part
    kind = file_media_type(part.content, part.name)
    text = _text_of(part.content) if TEXT_TYPE.match(kind) else None
    if text is not None:
        return Text(f"{part.name}\n\n{text}" if part.name else text, part.extra)
    name, extension = part.name or DEFAULT_FILE_NAME, EXTENSIONS.get(kind, "")
    return replace(part, name=name if name.lower().endswith(extension) else name + extension)


def _with_true_type(image: Image) -> Image:
    parts = split_data_url(image.url)
    if parts is None or not parts[0] or image.url.startswith(f"data:{parts[0]};base64,"):
        return image
    return replace(image, url=f"data:{parts[0]};base64,{parts[1]}")


def _text_of(url: str) -> str | None:
    """The text in a data URL; nothing where it is none."""
    parts = split_data_url(url)
    try:
        return base64.b64decode(parts[1]).decode() if parts is not None else None
    except (binascii.Error, UnicodeDecodeError):
        return None


def _text_only(message: Message, media: list[Part]) -> Message:
    """The tool message without media, which go into `media`."""
    results = [
        _result_as_text(part, media) if isinstance(part, ToolResult) else part
        for part in message.parts
    ]
    return replace(message, parts=tuple(results))


def _result_as_text(result: ToolResult, media: list[Part]) -> ToolResult:
    parts = [adapt_file(part) for part in result.parts]
    texts = [part for part in parts if isinstance(part, Text)]
    others = [part for part in parts if not isinstance(part, Text)]
    media += others
    if others and not texts:
        texts = [Text(SEE_BELOW)]
    if result.failed and texts:
        texts = [Text(ERROR_PREFIX + texts[0].text), *texts[1:]]
    elif result.failed:
        texts = [Text(ERROR_PREFIX.strip(" :"))]
    return replace(result, parts=tuple(texts))
