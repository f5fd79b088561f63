"""`usageMetadata` as disjoint buckets.

`promptTokenCount` contains the cached tokens and every modality; `candidatesTokenCount` does not
contain the thoughts; what tools put into the prompt is counted beside it
(ai.google.dev/api/generate-content#UsageMetadata).
"""

from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from gatewayz.core.usage import MAX_UNITS, Usage
from gatewayz.dialects.kit.reported_counts import ReportedCounts

AUDIO, IMAGE = "AUDIO", "IMAGE"
"""Modalities with a price of their own; TEXT, VIDEO and DOCUMENT cost what text costs."""


class WireUsage(Struct, rename="camel", gc=False):
    """`UsageMetadata`; the counts are read as they come, and repaired where they make no sense."""

    prompt_token_count: Any = None
    cached_content_token_count: Any = None
    candidates_token_count: Any = None
    thoughts_token_count: Any = None
    tool_use_prompt_token_count: Any = None
    total_token_count: Any = None
    prompt_tokens_details: Any = None
    cache_tokens_details: Any = None
    candidates_tokens_details: Any = None


class UsageReports:
    """The reports of one answer: every chunk of a stream brings one, and repeats what went in."""

    def __init__(self) -> None:
        self._last_report = WireUsage()
        self._usage = Usage()

    def read(self, wire: WireUsage) -> Usage | None:
        """The report as usage; nothing when it says what the last one said."""
        before, self._last_report = self._last_report, wire
        if wire == before:
            return None

        # Most reports differ from the last one in a single count, so the others are not read again.
        output = wire.candidates_token_count
        if (
            not self._usage.repaired
            and type(output) is int
            and 0 <= output <= MAX_UNITS
            and (not self._usage.reasoning or wire.total_token_count != self._usage.prompt + output)
            and _has_only_more_output(before, wire)
        ):
            self._usage = replace(self._usage, output=output)
        else:
            self._usage = usage_from_wire(wire)
        return self._usage


def _has_only_more_output(before: WireUsage, wire: WireUsage) -> bool:
    """Whether nothing but the count of the answer's own tokens is new, all of them text."""
    with_old_output = replace(
        wire,
        candidates_token_count=before.candidates_token_count,
        total_token_count=before.total_token_count,
    )
    return wire.candidates_tokens_details is None and before == with_old_output


def usage_from_wire(wire: WireUsage) -> Usage:
    """The report; every unit in one bucket.

    Example: 100 prompt tokens, 60 of them cached, and 5 candidates' tokens are
    `Usage(input=40, cache_read=60, output=5)`.
    """
    counts = ReportedCounts()
    prompt = counts.read(wire.prompt_token_count)
    cached = counts.clamp(counts.read(wire.cached_content_token_count), prompt)
    fresh = prompt - cached
    audio_in = counts.clamp(_fresh_tokens(wire, counts, AUDIO), fresh)
    image_in = counts.clamp(_fresh_tokens(wire, counts, IMAGE), fresh - audio_in)

    output, details = counts.read(wire.candidates_token_count), wire.candidates_tokens_details
    thoughts, tools = (
        counts.read(wire.thoughts_token_count),
        counts.read(wire.tool_use_prompt_token_count),
    )
    if thoughts and counts.read(wire.total_token_count) == prompt + tools + output:
        # The total says that the thoughts are in the count of the answer.
        thoughts = counts.clamp(thoughts, output)
        output -= thoughts
    audio_out = counts.clamp(_tokens_of_modality(counts, details, AUDIO), output)
    image_out = counts.clamp(_tokens_of_modality(counts, details, IMAGE), output - audio_out)

    return Usage(
        input=fresh - audio_in - image_in + tools,
        cache_read=cached,
        audio_input=audio_in,
        image_input=image_in,
        output=output - audio_out - image_out,
        reasoning=thoughts,
        audio_output=audio_out,
        image_output=image_out,
        repaired=counts.repaired,
    )


def _tokens_of_modality(counts: ReportedCounts, details: Any, modality: str) -> int:
    items = (
        [item for item in details if isinstance(item, dict)] if isinstance(details, list) else []
    )
    return sum(
        counts.read(item.get("tokenCount")) for item in items if item.get("modality") == modality
    )


def _fresh_tokens(wire: WireUsage, counts: ReportedCounts, modality: str) -> int:
    """Tokens of a modality that did not come from the cache."""
    total = _tokens_of_modality(counts, wire.prompt_tokens_details, modality)
    cached = _tokens_of_modality(counts, wire.cache_tokens_details, modality)
    return total - counts.clamp(cached, total)
