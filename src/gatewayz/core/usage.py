"""Usage: counted units in disjoint buckets, so that cost is a dot product.

Law: a unit is in exactly one bucket. Providers disagree (OpenAI's prompt contains cached tokens,
Anthropic's does not); decoders normalise once.
"""

from msgspec import Struct
from msgspec.structs import replace

BUCKETS = (
    "input",
    "cache_read",
    "cache_write",
    "cache_write_1h",
    "output",
    "reasoning",
    "audio_input",
    "audio_output",
    "image_input",
    "image_output",
    "images",
    "pixels",
    "requests",
    "seconds",
    "searches",
)
TOKEN_BUCKETS = frozenset(BUCKETS[:10])
SERVICES = ("batch", "flex", "priority")
"""Service tiers that have prices of their own; every other word means the standard one."""
SERVICE_WORDS = {**{service: service for service in SERVICES}, "fast": "priority"}
"""Word for a service tier → the one of `SERVICES`; OpenAI sells one under two words."""
MILLION_BUCKETS = TOKEN_BUCKETS | {"pixels"}
"""Buckets whose prices are written per million: tokens, and pixels (a million of them is a
megapixel).
"""
MAX_UNITS = 10**12
"""More than any call can use; a larger report is absurd and is clamped."""


class Usage(Struct, frozen=True, kw_only=True):
    """Disjoint counts; `estimated` where the provider reported nothing, `repaired` where its report
    made no sense; `out_of_credit` where the answer was ended because nothing more could be held.

    `service` is the service tier that served, one of `SERVICES`; empty for the standard one.

    Example: `Usage(input=900, cache_read=100, output=40, reasoning=10)` has `prompt` 1,000 and
    `completion` 50.
    """

    input: int = 0
    cache_read: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    output: int = 0
    reasoning: int = 0
    audio_input: int = 0
    audio_output: int = 0
    image_input: int = 0
    image_output: int = 0
    images: int = 0
    pixels: int = 0
    requests: int = 0
    seconds: int = 0
    searches: int = 0
    service: str = ""
    estimated: bool = False
    repaired: bool = False
    out_of_credit: bool = False

    @property
    def prompt(self) -> int:
        """All tokens that went in."""
        return (
            self.input
            + self.cache_read
            + self.cache_write
            + self.cache_write_1h
            + self.audio_input
            + self.image_input
        )

    @property
    def completion(self) -> int:
        """All tokens that came out, reasoning included."""
        return self.output + self.reasoning + self.audio_output + self.image_output


PROMPT_BUCKETS = (
    "input",
    "cache_read",
    "cache_write",
    "cache_write_1h",
    "audio_input",
    "image_input",
)
COMPLETION_BUCKETS = ("output", "reasoning", "audio_output", "image_output")


def merge_reports(before: Usage, after: Usage) -> Usage:
    """Two reports of one answer as one: a later one counts where it does not say less.

    The prompt is taken from one of them as a whole, and so is the completion, because their parts
    are disjoint. Example: `Usage(input=11, output=7)` and then zeros stay what they were.
    """
    older = (PROMPT_BUCKETS if after.prompt < before.prompt else ()) + (
        COMPLETION_BUCKETS if after.completion < before.completion else ()
    )
    counts = {bucket: getattr(before, bucket) for bucket in older}
    others = BUCKETS[len(TOKEN_BUCKETS) :]
    counts |= {
        bucket: getattr(before, bucket)
        for bucket in others
        if getattr(before, bucket) > getattr(after, bucket)
    }
    return replace(after, **counts) if counts else after


def service_from_word(word: object) -> str:
    """The service tier that a word means; empty for the standard one."""
    return SERVICE_WORDS.get(word, "") if isinstance(word, str) else ""
