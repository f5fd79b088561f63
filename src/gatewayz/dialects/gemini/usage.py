"""`usageMetadata` as disjoint buckets.

`promptTokenCount` contains the cached tokens and every modality; `candidatesTokenCount` does not contain the thoughts;
what tools put into the prompt is counted beside it (ai.google.dev/api/generate-content#UsageMetadata).
"""

from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from gatewayz.core.usage import MAX_UNITS, Usage
from gatewayz.dialects.counts import Counts

SOUND, PICTURE = "AUDIO", "IMAGE"
"""Modalities with a price of their own; TEXT, VIDEO and DOCUMENT cost what text costs."""


class WireUsage(Struct, rename="camel", gc=False):
    prompt_token_count: Any = None
    cached_content_token_count: Any = None
    candidates_token_count: Any = None
    thoughts_token_count: Any = None
    tool_use_prompt_token_count: Any = None
    prompt_tokens_details: Any = None
    cache_tokens_details: Any = None
    candidates_tokens_details: Any = None


class Reports:
    """The reports of one answer: one comes with every chunk of a stream, and says again what went in."""

    def __init__(self) -> None:
        self._said = WireUsage()
        self._usage = Usage()

    def read(self, wire: WireUsage) -> Usage | None:
        """The report as usage; nothing when it says what the last one said."""
        before, self._said = self._said, wire
        if wire == before:
            return None
        output = wire.candidates_token_count
        if (
            not self._usage.repaired
            and type(output) is int
            and 0 <= output <= MAX_UNITS
            and _only_more(before, wire)
        ):
            self._usage = replace(self._usage, output=output)
        else:
            self._usage = usage_from_wire(wire)
        return self._usage


def _only_more(before: WireUsage, wire: WireUsage) -> bool:
    """Whether nothing but the count of the answer's own tokens is new, all of them text."""
    same = replace(wire, candidates_token_count=before.candidates_token_count)
    return wire.candidates_tokens_details is None and before == same


def usage_from_wire(wire: WireUsage) -> Usage:
    """The report; every unit in one bucket."""
    counts = Counts()
    prompt = counts.of(wire.prompt_token_count)
    cached = counts.within(counts.of(wire.cached_content_token_count), prompt)
    fresh = prompt - cached
    sound, picture = (_fresh(wire, counts, modality) for modality in (SOUND, PICTURE))
    sound = counts.within(sound, fresh)
    picture = counts.within(picture, fresh - sound)
    said = counts.of(wire.candidates_token_count)
    spoken = counts.within(_detail(counts, wire.candidates_tokens_details, SOUND), said)
    drawn = counts.within(_detail(counts, wire.candidates_tokens_details, PICTURE), said - spoken)
    return Usage(
        input=fresh - sound - picture + counts.of(wire.tool_use_prompt_token_count),
        cache_read=cached,
        audio_input=sound,
        image_input=picture,
        output=said - spoken - drawn,
        reasoning=counts.of(wire.thoughts_token_count),
        audio_output=spoken,
        image_output=drawn,
        repaired=counts.repaired,
    )


def _detail(counts: Counts, details: Any, modality: str) -> int:
    items = details if isinstance(details, list) else []
    found = [item for item in items if isinstance(item, dict) and item.get("modality") == modality]
    return sum(counts.of(item.get("tokenCount")) for item in found)


def _fresh(wire: WireUsage, counts: Counts, modality: str) -> int:
    """Tokens of a modality that did not come from the cache."""
    all_of_it = _detail(counts, wire.prompt_tokens_details, modality)
    return all_of_it - counts.within(
        _detail(counts, wire.cache_tokens_details, modality), all_of_it
    )
