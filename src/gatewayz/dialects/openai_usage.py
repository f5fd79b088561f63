"""Usage as OpenAI reports it, and the many that imitate it, to and from disjoint buckets.

OpenAI's `prompt_tokens` contains cached and audio tokens and `completion_tokens` contains reasoning. A report that
makes no sense (more cached than prompted, negative, text instead of numbers) is clamped and marked `repaired`.
"""

from typing import Any

from msgspec import Raw

from gatewayz.core.events import UsageReported
from gatewayz.core.usage import Usage
from gatewayz.dialects.counts import Counts
from gatewayz.dialects.jsontext import encoded, fields_of, usd_number

PROMPT_DETAILS = ("prompt_tokens_details", "prompt_token_details", "input_tokens_details")
COMPLETION_DETAILS = ("completion_tokens_details", "output_tokens_details")
CACHED = ("cached_tokens",)
CACHED_TOP = ("prompt_cache_hit_tokens", "cached_tokens", "num_cached_tokens")
"""DeepSeek, Moonshot and Mistral report cached tokens at the top level."""
WRITTEN = ("cache_write_tokens", "cache_creation_input_tokens", "cache_creation_tokens")
COSTS = ("cost", "estimated_cost")
"""OpenRouter `usage.cost`, DeepInfra `usage.estimated_cost`: US dollars."""
THEIR_COSTS = frozenset({*COSTS, "cost_details"})


def _first(counts: Counts, report: dict[str, Any], names: tuple[str, ...]) -> int:
    return counts.of(next((report[name] for name in names if report.get(name) is not None), None))


def usage_from_wire(report: Any, *, reasoning_outside: bool = False) -> UsageReported | None:
    """The report as an event; nothing when it is no report. `reasoning_outside`: completion does not contain it."""
    if not isinstance(report, dict) or not _tells(report):
        return None
    counts = Counts()
    prompt = _first(counts, report, ("prompt_tokens", "input_tokens"))
    inside = _details(report, PROMPT_DETAILS)
    cached = _first(counts, inside, CACHED) or _first(counts, report, CACHED_TOP)
    written = _first(counts, inside, WRITTEN) or _first(counts, report, WRITTEN)
    audio, image = (
        _first(counts, inside, ("audio_tokens",)),
        _first(counts, inside, ("image_tokens",)),
    )
    if cached + written > prompt:
        counts.repaired = True
        cached = min(cached, prompt)
        written = min(written, prompt - cached)
    audio = min(audio, prompt - cached - written)
    image = min(image, prompt - cached - written - audio)
    output, reasoning, spoken = _completion(report, counts, reasoning_outside=reasoning_outside)
    usage = Usage(
        input=prompt - cached - written - audio - image,
        cache_read=cached,
        cache_write=written,
        audio_input=audio,
        image_input=image,
        output=output,
        reasoning=reasoning,
        audio_output=spoken,
        repaired=counts.repaired,
    )
    return UsageReported(usage, _cost(report))


def _details(report: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return next((value for name in names if isinstance(value := report.get(name), dict)), {})


def _completion(
    report: dict[str, Any], counts: Counts, *, reasoning_outside: bool
) -> tuple[int, int, int]:
    completion = _first(counts, report, ("completion_tokens", "output_tokens"))
    details = _details(report, COMPLETION_DETAILS)
    reasoning = _first(counts, details, ("reasoning_tokens",)) or _first(
        counts, report, ("reasoning_tokens",)
    )
    audio = min(_first(counts, details, ("audio_tokens",)), completion)
    # DeepInfra's Gemini models leave reasoning out of the completion; more inside than there is means the same.
    outside = reasoning_outside or reasoning > completion - audio
    return completion - audio - (0 if outside else reasoning), reasoning, audio


def _tells(report: dict[str, Any]) -> bool:
    return any(
        report.get(name) is not None
        for name in ("prompt_tokens", "completion_tokens", "input_tokens")
    )


def _cost(report: dict[str, Any]) -> str:
    for name in COSTS:
        value = report.get(name)
        if isinstance(value, dict):
            value = value.get("total_cost")
        if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0:
            return f"{value:.12f}".rstrip("0").rstrip(".") or "0"
    return ""


def usage_to_wire(usage: Usage, cost: int | None = None) -> dict[str, Any]:
    """The `usage` object of a reply or of the last chunk, with what it costs where that is known."""
    shown = {"cost": usd_number(cost)} if cost is not None else {}
    return {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.completion,
        "total_tokens": usage.prompt + usage.completion,
        "prompt_tokens_details": {
            "cached_tokens": usage.cache_read,
            "cache_write_tokens": usage.cache_write + usage.cache_write_1h,
            "audio_tokens": usage.audio_input,
            "image_tokens": usage.image_input,
        },
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning,
            "audio_tokens": usage.audio_output,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
        **shown,
    }


def with_cost(usage: Raw, cost: int | None) -> Raw:
    """A provider's own `usage` object with our cost in the place of its figures; every other field keeps its bytes."""
    if cost is None:
        return usage
    fields = {name: value for name, value in fields_of(usage).items() if name not in THEIR_COSTS}
    return Raw(encoded({**fields, "cost": usd_number(cost)}))
