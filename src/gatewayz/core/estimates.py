"""Estimates: how many tokens a prompt or an answer has, where nobody counts them.

Text goes by the rates of its characters (`token_rates`), within 10 % of o200k_base on each kind of
text; images go by rule. What is estimated is held or marked as an estimate; a provider's own count
always takes its place.
"""

import zlib
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
from gatewayz.core.token_rates import CLASSES, EXTRA_RATES, RATES, UNITS_PER_TOKEN

BYTES_PER_TOKEN = 4.3
"""Bytes of UTF-8 a token, where nobody looks at the text: English 4.5, code 4.2, Chinese 3.9."""
SAMPLE_CHARS = 4_096
"""A longer text is estimated by so many characters of it."""
SAMPLE_SLICES = 64
GOLDEN_RATIO = 0.6180339887498949
"""Slices at its multiples lie evenly, and never in step with records of one length."""
TOKENS_PER_MESSAGE = 4
"""Role and separators of a message."""
TOKENS_PER_IMAGE = 1_100
"""A high-detail image of 1024 x 1024 costs about 765 to 1,105 tokens at the large providers."""
TOKENS_PER_SMALL_IMAGE = 85
"""With `detail: low` (platform.openai.com/docs/guides/images-vision, "Calculating costs")."""
TOOL_OVERHEAD_TOKENS = 17
"""What a wire says around the name, description and parameters of a tool."""

ADLER_BYTES = 256
"""As many bytes of 255 are still below the modulus of Adler-32."""
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
    tokens = 0.0
    for message in messages:
        tokens += TOKENS_PER_MESSAGE
        for part in message.parts:
            for piece in part.parts if type(part) is ToolResult else (part,):
                tokens += _part_tokens(piece)
    return int(tokens + sum(_tool_tokens(tool) for tool in tools))


def text_tokens(text: str) -> float:
    """Tokens of one text: one at the least, of one that is empty none.

    Example: about 5 for "Grüße aus Köln!".
    """
    length = len(text)
    if length <= SAMPLE_CHARS:
        return max(1.0, _units(text) / UNITS_PER_TOKEN) if text else 0.0
    size = SAMPLE_CHARS // SAMPLE_SLICES
    starts = [int(n * GOLDEN_RATIO % 1 * (length - size)) for n in range(SAMPLE_SLICES)]
    sample = "".join(text[start : start + size] for start in starts)
    return _units(sample) / UNITS_PER_TOKEN * length / SAMPLE_CHARS


class TokenCounter:
    """Counts the tokens of a text that comes in pieces, and holds `SAMPLE_CHARS` of it or a piece.

    Example: after `add("Grüße ")` and `add("aus Köln!")` its `tokens` are about 5.
    """

    __slots__ = ("_counted", "_pending", "_pieces")

    def __init__(self) -> None:
        self._counted = 0.0
        self._pending = 0
        self._pieces: list[str] = []

    def add(self, text: str) -> None:
        """Takes the next piece."""
        self._pieces.append(text)
        self._pending += len(text)
        if self._pending > SAMPLE_CHARS:
            self._counted += text_tokens("".join(self._pieces))
            self._pieces, self._pending = [], 0

    @property
    def tokens(self) -> float:
        """Tokens of what has come so far."""
        if not self._pending:
            return self._counted
        if len(self._pieces) > 1:
            self._pieces = ["".join(self._pieces)]
        return self._counted + text_tokens(self._pieces[0])


def class_pairs(encoded: bytes) -> bytes:
    """A byte for every character of a text in UTF-8: sixteen times the class of the character
    before, and its own.

    A class is below 16, so that two of them share a byte: all pairs of a text are one number
    shifted over itself, which is ten times quicker than a loop.
    """
    # Deleting is slow, and an ASCII text has nothing to delete.
    deleted = b"" if encoded.isascii() else _CONTINUATION_BYTES
    classes = encoded.translate(_CLASS_OF_BYTE, deleted)
    number = int.from_bytes(classes, "little")
    pairs = number | number << 12 | _FIRST_PAIR
    return pairs.to_bytes(len(classes) + 1, "little")[:-1]


def _units(text: str) -> int:
    """What the characters cost, each by its class and that of the one before it; a word is a token
    at the least, however short it is.
    """
    encoded = text.encode()
    pairs = class_pairs(encoded)
    units = _sum_of(pairs.translate(_RATE_OF_PAIR))
    if not encoded.isascii():
        units += sum(rate * encoded.count(start) for start, rate in EXTRA_RATES.items())
    words = pairs.translate(_WORD_START_OF_PAIR).count(1)
    return max(units, words * UNITS_PER_TOKEN)


def _sum_of(numbers: bytes) -> int:
    """The sum of all bytes. The lower half of Adler-32 is a sum modulo 65,521, which `ADLER_BYTES` do
    not reach, and is ten times quicker than `sum`.
    """
    if len(numbers) <= ADLER_BYTES:
        return zlib.adler32(numbers, 0) & 0xFFFF
    starts = range(0, len(numbers), ADLER_BYTES)
    return sum(zlib.adler32(numbers[at : at + ADLER_BYTES], 0) & 0xFFFF for at in starts)


def _class_of_byte() -> bytes:
    """First byte of a character in UTF-8 → the number of its class."""
    names = list(CLASSES)
    table = bytearray([names.index("symbol")]) * 256
    for number, members in enumerate(CLASSES.values()):
        if isinstance(members, str):
            for byte in members.encode():
                table[byte] = number
            continue
        for first, last in zip(members[::2], members[1::2], strict=True):
            table[first : last + 1] = bytes([number]) * (last + 1 - first)
    return bytes(table)


_CLASS_OF_BYTE = _class_of_byte()
_RATE_OF_PAIR = bytes(rate for row in RATES for rate in row)
_WORD_CLASSES = ("consonant", "vowel", "capital", "digit", "accented", "cyrillic", "alphabet")
_WORD_START_OF_PAIR = bytes(
    before in {"space", "line end", "tab"} and name in _WORD_CLASSES
    for before in CLASSES
    for name in CLASSES
)
"""Class of two characters → whether the second begins a word: no tokenizer joins two words."""
_FIRST_PAIR = list(CLASSES).index("line end") << 4
"""A text begins as a line does."""


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


def _part_tokens(part: object) -> float:
    match part:
        case Text(text=text) | Reasoning(text=text) | Refusal(text=text):
            return text_tokens(text)
        case Image(detail=detail):
            return TOKENS_PER_SMALL_IMAGE if detail == "low" else TOKENS_PER_IMAGE
        case ToolCall(name=name, arguments=arguments):
            return text_tokens(name) + text_tokens(arguments)
        case File(content=content) if content.startswith("data:text/"):
            # Base64: four characters for three bytes.
            return len(content) * 3 / 4 / BYTES_PER_TOKEN
        case Audio(content=content) | File(content=content):
            return len(content) / 8 / BYTES_PER_TOKEN
        case Opaque(value=value):
            return _json_tokens(value)
    return 0


def _tool_tokens(tool: Tool | OpaqueTool) -> float:
    if isinstance(tool, OpaqueTool):
        return _json_tokens(tool.value)
    texts = text_tokens(tool.name) + text_tokens(tool.description)
    return TOOL_OVERHEAD_TOKENS + texts + _json_tokens(tool.parameters)


def _json_tokens(value: object) -> float:
    return text_tokens(msgspec.json.encode(value).decode())
