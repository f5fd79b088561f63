"""Media in a chat's answer: pictures and sound, whose tokens are not in the text, and what they come
to where their provider does not say it.

Decisions only. Some providers count the tokens of a picture and do not say that they are one's, some
count the text alone, and a client may leave before anything is counted.
"""

from typing import Any

from msgspec.structs import replace

from gatewayz.core.estimates import DEFAULT_SIZE, IMAGE_OUTPUT_TOKENS
from gatewayz.core.money import Price
from gatewayz.core.usage import Usage

TOKENS_PER_PICTURE = 1_290
"""A picture of 1024 x 1024 that Gemini draws (ai.google.dev/gemini-api/docs/pricing)."""
MAX_TOKENS_PER_PICTURE = IMAGE_OUTPUT_TOKENS["high"]
PLAIN_FORMATS = frozenset({"pcm16", "wav"})
"""Formats of sound that are not compressed; streams have no other."""
PLAIN_CHARS_PER_TOKEN = 3_200
"""Characters of base64: 24,000 samples of two bytes and 20 tokens a second
(platform.openai.com/docs/guides/realtime-costs: an audio token of the assistant is 50 ms)."""
CHARS_PER_TOKEN = 1_066
"""The same of compressed sound, at 128 kbit a second."""
MAX_SOUND_FACTOR = 4
"""No count of sound is so many times what its bytes say."""


class MediaCounter:
    """Counts the pictures and the sound of an answer. `sound_format` is what its client asked for.

    Example: after `add({"images": [{"type": "image_url", …}]})` it has `pictures` 1.
    """

    def __init__(self, sound_format: str = "") -> None:
        self._is_plain = sound_format in PLAIN_FORMATS or not sound_format
        self._sound_chars = 0
        self.pictures = 0

    def add(self, extra: dict[str, Any]) -> None:
        """Takes what stands beside a piece of text."""
        images, sound = extra.get("images"), extra.get("audio")
        if isinstance(images, list):
            self.pictures += sum(
                isinstance(image, dict) and image.get("type") == "image_url" for image in images
            )
        if isinstance(sound, dict) and isinstance(sound.get("data"), str):
            self._sound_chars += len(sound["data"])

    @property
    def sound_tokens(self) -> int:
        """Tokens of the sound so far, as its bytes have it."""
        return -(
            -self._sound_chars // (PLAIN_CHARS_PER_TOKEN if self._is_plain else CHARS_PER_TOKEN)
        )

    def __bool__(self) -> bool:
        return bool(self.pictures or self._sound_chars)


def sound_format_of(extra: dict[str, Any]) -> str:
    """The format that a request asks its sound in, from the fields of its dialect."""
    sound = extra.get("audio")
    return str(sound.get("format") or "") if isinstance(sound, dict) else ""


def count_media(usage: Usage, media: MediaCounter, text_tokens: int, price: Price | None) -> Usage:
    """The usage with the pictures and the sound that were delivered, marked as an estimate where
    nobody counted them. `text_tokens` are what the text of the answer is estimated to have.
    """
    if media.pictures and price is not None and (price.images or price.pixels):
        width, height = DEFAULT_SIZE
        return replace(
            usage,
            images=max(usage.images, media.pictures),
            pixels=max(usage.pixels, media.pictures * width * height) if price.pixels else 0,
        )
    if media.pictures and not usage.image_output:
        rate = price.image_output if price is not None else 0
        expected = media.pictures * TOKENS_PER_PICTURE
        most = media.pictures * MAX_TOKENS_PER_PICTURE
        usage = _count_in(usage, "image_output", expected, most, text_tokens, rate, price)
    if media.sound_tokens and not usage.audio_output:
        rate = price.audio_output if price is not None else 0
        expected = media.sound_tokens
        most = expected * MAX_SOUND_FACTOR
        usage = _count_in(usage, "audio_output", expected, most, text_tokens, rate, price)
    return usage


def _count_in(  # noqa: PLR0913 - one decision of seven values
    usage: Usage,
    bucket: str,
    expected: int,
    most: int,
    text_tokens: int,
    rate: int,
    price: Price | None,
) -> Usage:
    """The usage with the tokens of one medium in their bucket: those of the count that are not
    text's, or as many as are expected where the count has no room for them.
    """
    beyond_text = max(usage.output - text_tokens, 0)
    if beyond_text * 2 < expected:
        return replace(usage, **{bucket: expected}, estimated=True)
    if price is not None and rate == price.output:
        # They are counted, and it makes no difference as what.
        return usage
    moved = min(beyond_text, most)
    return replace(usage, **{bucket: moved}, output=usage.output - moved, estimated=True)
