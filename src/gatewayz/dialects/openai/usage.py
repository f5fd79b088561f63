"""Usage as OpenAI reports it, and the many that imitate it, to and from disjoint buckets.

OpenAI's `prompt_tokens` contains cached and audio tokens and `completion_tokens` contains
reasoning, images and rejected predictions. Where `total_tokens` says otherwise, the total counts:
some count the cache, or the reasoning, beside them. A report that makes no sense (more cached than
prompted, negative, text instead of numbers) is clamped and marked `repaired`.
"""

from typing import Any, NamedTuple

from msgspec import Raw

from gatewayz.core.events import UsageReported
from gatewayz.core.usage import Usage
from gatewayz.dialects.kit.jsontext import decode_raw_fields, encode_json, usd_number
from gatewayz.dialects.kit.reported_counts import ReportedCounts

PROMPT_FIELDS = ("prompt_tokens", "input_tokens")
COMPLETION_FIELDS = ("completion_tokens", "output_tokens")
PROMPT_DETAILS = (
    "prompt_tokens_details",
    "prompt_token_details",
    "input_tokens_details",
    "input_token_details",
)
COMPLETION_DETAILS = (
    "completion_tokens_details",
    "completion_token_details",
    "output_tokens_details",
    "output_token_details",
)
CACHED_DETAILS = ("cached_tokens_details", "cached_token_details")
CACHED_FIELDS = ("cached_tokens", "cache_read_tokens", "cache_read_input_tokens")
CACHED_TOP_LEVEL_FIELDS = (
    *CACHED_FIELDS,
    "prompt_cache_hit_tokens",
    "num_cached_tokens",
    "cached_prompt_tokens",
    "cached_prompt_text_tokens",
    "cached_input_tokens",
)
"""DeepSeek, Moonshot, Mistral and gateways to Claude report cached tokens at the top level."""
CACHE_WRITE_FIELDS = ("cache_write_tokens", "cache_creation_input_tokens", "cache_creation_tokens")
ANTHROPIC_CACHE_FIELDS = frozenset({"cache_read_input_tokens", "cache_creation_input_tokens"})
CACHE_CREATION = ("cache_creation", "cache_creation_token_details")
"""Where gateways to Claude say for how long what was written is kept."""
SEARCH_FIELDS = ("web_search_requests", "num_search_queries", "num_sources_used")
"""OpenRouter inside `server_tool_use`, Perplexity, xAI."""
CITATION_FIELDS = ("citation_tokens",)
"""What Perplexity read for an answer; it costs what a prompt costs, and is not in it."""
COST_FIELDS = ("cost", "estimated_cost")
"""OpenRouter `usage.cost`, DeepInfra `usage.estimated_cost`: US dollars."""
MAX_COST_USD = 10**6
"""A provider's figure above this is none."""
UPSTREAM_COST_FIELDS = frozenset({*COST_FIELDS, "cost_details"})


class _Prompt(NamedTuple):
    """What went in, in disjoint parts; `fresh` is the rest of `whole`."""

    whole: int
    cached: int
    written: int
    written_1h: int
    audio: int
    image: int

    @property
    def fresh(self) -> int:
        return self.whole - self.cached - self.written - self.written_1h - self.audio - self.image


class _Completion(NamedTuple):
    """What came out, in disjoint parts."""

    text: int
    reasoning: int
    audio: int
    image: int


def usage_from_wire(report: Any, *, reasoning_outside: bool = False) -> UsageReported | None:
    """The report as an event; nothing when it is no report.

    `reasoning_outside`: the count of completion tokens does not contain the reasoning.
    """
    if not isinstance(report, dict) or not is_report(report):
        return None
    counts = ReportedCounts()
    completion = counts.read_largest(report, COMPLETION_FIELDS)
    total = counts.read(report.get("total_tokens"))

    prompt = _read_prompt(report, counts, completion, total)
    parts = _read_completion(
        report, counts, completion, total - prompt.whole, reasoning_outside=reasoning_outside
    )
    server_tools = _details(report, ("server_tool_use",))
    usage = Usage(
        input=prompt.fresh + counts.read_largest(report, CITATION_FIELDS),
        cache_read=prompt.cached,
        cache_write=prompt.written,
        cache_write_1h=prompt.written_1h,
        audio_input=prompt.audio,
        image_input=prompt.image,
        output=parts.text,
        reasoning=parts.reasoning,
        audio_output=parts.audio,
        image_output=parts.image,
        searches=max(
            counts.read_largest(server_tools, SEARCH_FIELDS),
            counts.read_largest(report, SEARCH_FIELDS),
        ),
        repaired=counts.repaired,
    )
    return UsageReported(usage, _cost(report))


def _read_prompt(
    report: dict[str, Any], counts: ReportedCounts, completion: int, total: int
) -> _Prompt:
    whole = counts.read_largest(report, PROMPT_FIELDS)
    details = _details(report, PROMPT_DETAILS)
    cached = max(
        counts.read_largest(details, CACHED_FIELDS),
        counts.read_largest(report, CACHED_TOP_LEVEL_FIELDS),
    )
    written = max(
        counts.read_largest(details, CACHE_WRITE_FIELDS),
        counts.read_largest(report, CACHE_WRITE_FIELDS),
    )
    if _is_cache_beside_prompt(report, whole, cached + written, total - completion):
        whole += cached + written
    cached = counts.clamp(cached, whole)
    written = counts.clamp(written, whole - cached)
    kept_1h = _details(report, CACHE_CREATION).get("ephemeral_1h_input_tokens")
    written_1h = min(counts.read(kept_1h), written)

    # Sound and images that came from the cache are cached tokens.
    from_cache = _details(details, CACHED_DETAILS)
    audio = counts.read(details.get("audio_tokens")) - counts.read(from_cache.get("audio_tokens"))
    image = counts.read(details.get("image_tokens")) - counts.read(from_cache.get("image_tokens"))
    audio = min(max(audio, 0), whole - cached - written)
    image = min(max(image, 0), whole - cached - written - audio)
    return _Prompt(whole, cached, written - written_1h, written_1h, audio, image)


def _is_cache_beside_prompt(
    report: dict[str, Any], prompt: int, cache: int, prompt_by_total: int
) -> bool:
    """Whether the prompt's count leaves the cache out: by the total, else where the report uses
    Anthropic's words for both.
    """
    if not cache or prompt_by_total == prompt:
        return False
    has_own_words = report.get("prompt_tokens") is None and bool(
        ANTHROPIC_CACHE_FIELDS & report.keys()
    )
    return prompt_by_total == prompt + cache or has_own_words


def _details(report: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return next((value for name in names if isinstance(value := report.get(name), dict)), {})


def _read_completion(
    report: dict[str, Any],
    counts: ReportedCounts,
    completion: int,
    completion_by_total: int,
    *,
    reasoning_outside: bool,
) -> _Completion:
    details = _details(report, COMPLETION_DETAILS)
    reasoning = max(
        counts.read(details.get("reasoning_tokens")), counts.read(report.get("reasoning_tokens"))
    )
    audio = min(counts.read(details.get("audio_tokens")), completion)
    image = min(counts.read(details.get("image_tokens")), completion - audio)
    rest = completion - audio - image
    if reasoning and not reasoning_outside:
        # More inside than there is means that it is beside, unless the total contradicts.
        if completion_by_total == completion:
            reasoning = counts.clamp(reasoning, rest)
        elif reasoning > rest or completion_by_total == completion + reasoning:
            reasoning_outside = True
    return _Completion(rest - (0 if reasoning_outside else reasoning), reasoning, audio, image)


def is_report(report: dict[str, Any]) -> bool:
    """Whether the object counts tokens at all, in any spelling."""
    return any(report.get(name) is not None for name in (*PROMPT_FIELDS, *COMPLETION_FIELDS))


def _cost(report: dict[str, Any]) -> str:
    """The provider's own figure in US dollars, as a decimal text; empty where it has none."""
    for name in COST_FIELDS:
        value = report.get(name)
        if isinstance(value, dict):
            value = value.get("total_cost")
        if (
            isinstance(value, int | float)
            and not isinstance(value, bool)
            and 0 <= value < MAX_COST_USD
        ):
            return f"{value:.12f}".rstrip("0").rstrip(".") or "0"
    return ""


def usage_to_wire(usage: Usage, cost: int | None = None) -> dict[str, Any]:
    """The `usage` object of a body or of the last chunk, with its cost where that is known.

    An estimate is marked as one.
    """
    report: dict[str, Any] = {
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
    }
    if usage.image_output:
        report["completion_tokens_details"]["image_tokens"] = usage.image_output
    if usage.searches:
        report["server_tool_use"] = {"web_search_requests": usage.searches}
    if usage.estimated:
        report["estimated"] = True
    if usage.out_of_credit:
        report["out_of_credit"] = True
    if cost is not None:
        report["cost"] = usd_number(cost)
    return report


def echo_usage(source: Raw | None, reported: UsageReported) -> Raw:
    """What the client is shown of a report: the provider's own object with our cost, to the byte
    but for that; ours where the provider's is missing, or where it is not what is charged.
    """
    usage = reported.usage
    if source is None or not source_is_object(source) or usage.estimated or usage.repaired:
        return Raw(encode_json(usage_to_wire(usage, reported.cost)))
    return with_cost(source, reported.cost)


def source_is_object(source: Raw) -> bool:
    """Whether this JSON text is an object."""
    return bytes(source).lstrip().startswith(b"{")


def with_cost(usage: Raw, cost: int | None) -> Raw:
    """A provider's own `usage` object with our cost in place of its own; the rest to the byte."""
    if cost is None:
        return usage
    fields = {
        name: value
        for name, value in decode_raw_fields(usage).items()
        if name not in UPSTREAM_COST_FIELDS
    }
    return Raw(encode_json({**fields, "cost": usd_number(cost)}))
