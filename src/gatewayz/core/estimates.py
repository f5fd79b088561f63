"""Estimates: how many tokens a prompt or an answer has, where nobody counts them.

Text is its UTF-8 bytes divided by `BYTES_PER_TOKEN`, images go by rule. What is estimated is held
or marked as an estimate; a provider's own count always takes its place.
"""

from collections.abc import Iterable

import msgspec

from gatewayz.core.conversation import (
    Audio,
    File,
    Image,
    Message,
    Opaque,
    OpaqueTool,
    Reasoning,
    Refusal,
    Text,
    Tool,
    ToolCall,
    ToolResult,
)

BYTES_PER_TOKEN = 4.3
"""Measured: English 4.7, code 4.5, Chinese 4.1 bytes of UTF-8 a token."""
TOKENS_PER_MESSAGE = 4
"""Role and separators of a message."""
TOKENS_PER_IMAGE = 1_100
"""A high-detail image of 1024 x 1024 costs about 765 to 1,105 tokens at the large providers."""
TOKENS_PER_SMALL_IMAGE = 85
"""With `detail: low` (platform.openai.com/docs/guides/images-vision, "Calculating costs")."""
TOOL_OVERHEAD_BYTES = 75
"""What a wire says around the name, description and parameters of a tool."""

CJK_CHARS_PER_TOKEN = 4
"""At the least one token has so many Chinese, Japanese or Korean characters at the most."""
LONGEST_WORD_CHARS = 32
"""A run of letters and digits has a token for so many of them at the least."""

DEFAULT_OUTPUT_TOKENS = 4_096
"""What an answer without a limit is expected to have at the most."""
DEFAULT_SIZE = (1024, 1024)
"""Width and height of an image of which nobody knows the size."""
IMAGE_OUTPUT_TOKENS = {"low": 408, "medium": 1_584, "high": 6_240}
"""Tokens of one image of 1024 x 1536 by quality, the most that gpt-image-1 makes
(platform.openai.com/docs/guides/image-generation, "Cost and latency")."""


def conversation_tokens(messages: Iterable[Message], tools: Iterable[Tool | OpaqueTool]) -> int:
    """Tokens of a conversation, with its tools and images."""
    size, tokens = 0, 0
    for message in messages:
        tokens += TOKENS_PER_MESSAGE
        for part in message.parts:
            for piece in part.parts if type(part) is ToolResult else (part,):
                size += _part_bytes(piece)
                if type(piece) is Image:
                    small = piece.detail == "low"
                    tokens += TOKENS_PER_SMALL_IMAGE if small else TOKENS_PER_IMAGE
    size += sum(_tool_bytes(tool) for tool in tools)
    return int(size / BYTES_PER_TOKEN) + tokens


def text_tokens(text: str) -> float:
    """Tokens of one text."""
    return len(text.encode()) / BYTES_PER_TOKEN


def least_tokens(text: str) -> int:
    """The fewest tokens that any tokenizer makes of a text: a lower bound, for refusing what cannot
    fit.

    No tokenizer joins two words, so a word is a token at the least. Example: 3 for "one two three".
    """
    shape = text.encode().translate(_WORD_SHAPE, _CONTINUATION_BYTES)
    words = (shape[:1] == b"a") + shape.count(b".a") + shape.count(b"ca")
    longest = shape.count(b"a") // LONGEST_WORD_CHARS
    return max(words, longest) + shape.count(b"c") // CJK_CHARS_PER_TOKEN


def least_conversation_tokens(messages: Iterable[Message]) -> int:
    """The fewest tokens of a conversation: those of its texts, without tools, images and files."""
    return sum(
        least_tokens(piece.text)
        for message in messages
        for part in message.parts
        for piece in (part.parts if type(part) is ToolResult else (part,))
        if type(piece) is Text
    )


def _word_shape() -> bytes:
    """Byte of UTF-8 → `a` for a letter or digit, `c` for Chinese, Japanese and Korean, `.` else."""
    shape = bytearray(b"." * 256)
    for byte in (*b"0123456789", *range(0x41, 0x5B), *range(0x61, 0x7B), *range(0xC3, 0xE2)):
        shape[byte] = ord("a")
    for byte in range(0xE3, 0xEE):
        shape[byte] = ord("c")
    return bytes(shape)


_CONTINUATION_BYTES = bytes(range(0x80, 0xC0))
_WORD_SHAPE = _word_shape()


def _part_bytes(part: object) -> int:
    match part:
        case Text(text=text) | Reasoning(text=text) | Refusal(text=text):
            return len(text.encode())
        case ToolCall(name=name, arguments=arguments):
            return len(name) + len(arguments.encode())
        case File(content=content) if content.startswith("data:text/"):
            # Base64: four characters for three bytes.
            return len(content) * 3 // 4
        case Audio(content=content) | File(content=content):
            return len(content) // 8
        case Opaque(value=value):
            return len(msgspec.json.encode(value))
    return 0


def _tool_bytes(tool: Tool | OpaqueTool) -> int:
    if isinstance(tool, OpaqueTool):
        return len(msgspec.json.encode(tool.value))
    description, parameters = tool.description.encode(), msgspec.json.encode(tool.parameters)
    return TOOL_OVERHEAD_BYTES + len(tool.name) + len(description) + len(parameters)
