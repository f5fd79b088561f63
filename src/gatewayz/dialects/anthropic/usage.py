"""Usage of Anthropic Messages, to and from disjoint buckets.

`input_tokens` excludes the cache: "Total input tokens in a request is the summation of
input_tokens, cache_creation_input_tokens, and cache_read_input_tokens". `output_tokens` includes
thinking. A stream reports the input first and the output last; what the last report leaves out
holds as it was.
"""

from typing import Any

from msgspec import Raw

from gatewayz.core.events import UsageReported
from gatewayz.core.usage import Usage
from gatewayz.dialects.kit.jsontext import decode_raw_fields, encode_json, usd_number
from gatewayz.dialects.kit.reported_counts import ReportedCounts

CACHED_FIELDS = ("cache_read_input_tokens", "cached_tokens")
OUTPUT_FIELDS = ("output_tokens", "completion_tokens")
CACHE_CREATION = ("ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens")
ITERATIONS_BESIDE = ("compaction", "advisor_message")


def is_billed_search(block: dict[str, Any]) -> bool:
    """Whether the block is the result of a web search; one that failed is 'not billed'."""
    return block.get("type") == "web_search_tool_result" and isinstance(block.get("content"), list)


def merge_reports(before: dict[str, Any], report: dict[str, Any]) -> dict[str, Any]:
    """Two reports of one stream as one: counts are cumulative, so one that says less, as imitators
    do of the input at the end, says nothing.
    """
    return before | {
        name: value
        for name, value in report.items()
        if value is not None and not _says_less(value, before.get(name))
    }


def _says_less(count: Any, before: Any) -> bool:
    return type(count) is int and type(before) is int and count < before


def usage_from_wire(report: dict[str, Any]) -> Usage:
    """The report in our buckets.

    Example: `{"input_tokens": 9, "cache_read_input_tokens": 1_000, "output_tokens": 5}` →
    `Usage(input=9, cache_read=1_000, output=5)`.
    """
    counts = ReportedCounts()
    parts = [report, *_iterations_beside(report)]
    hour = sum(_written(counts, part)[1] for part in parts)
    written = sum(_written(counts, part)[0] for part in parts)
    cached = sum(counts.read_largest(part, CACHED_FIELDS) for part in parts)

    output = sum(counts.read_largest(part, OUTPUT_FIELDS) for part in parts)
    thinking = counts.read(_count_inside(report, "output_tokens_details", "thinking_tokens"))
    thinking = counts.clamp(thinking, output)

    fresh = sum(counts.read(part.get("input_tokens")) for part in parts)
    if not fresh and "prompt_tokens" in report:
        # OpenAI's word, which means the cache too.
        fresh = max(counts.read(report["prompt_tokens"]) - cached - written, 0)
    return Usage(
        input=fresh,
        cache_read=cached,
        cache_write=written - hour,
        cache_write_1h=hour,
        output=output - thinking,
        reasoning=thinking,
        searches=counts.read(_count_inside(report, "server_tool_use", "web_search_requests")),
        repaired=counts.repaired,
    )


def _iterations_beside(report: dict[str, Any]) -> list[dict[str, Any]]:
    """What was sampled beside the answer: its tokens "are not included in the top-level `usage`"
    (anthropic-python, `BetaUsage.iterations`).
    """
    iterations = report.get("iterations")
    items = iterations if isinstance(iterations, list) else ()
    return [
        item for item in items if isinstance(item, dict) and item.get("type") in ITERATIONS_BESIDE
    ]


def _written(counts: ReportedCounts, report: dict[str, Any]) -> tuple[int, int]:
    """Tokens written to the cache, and those of them that are kept for an hour."""
    minutes, hour = (
        counts.read(_count_inside(report, "cache_creation", name)) for name in CACHE_CREATION
    )
    written = max(counts.read(report.get("cache_creation_input_tokens")), minutes + hour)
    return written, hour


def _count_inside(report: dict[str, Any], group: str, name: str) -> Any:
    details = report.get(group)
    return details.get(name) if isinstance(details, dict) else None


def usage_to_wire(usage: Usage, cost: int | None = None) -> dict[str, Any]:
    """The `usage` object of a message; a `cost` in nano-dollars is written in dollars."""
    wire: dict[str, Any] = {
        "input_tokens": usage.input + usage.audio_input + usage.image_input,
        "cache_creation_input_tokens": usage.cache_write + usage.cache_write_1h,
        "cache_read_input_tokens": usage.cache_read,
        "cache_creation": {
            "ephemeral_5m_input_tokens": usage.cache_write,
            "ephemeral_1h_input_tokens": usage.cache_write_1h,
        },
        "output_tokens": usage.completion,
    }
    if usage.reasoning:
        wire["output_tokens_details"] = {"thinking_tokens": usage.reasoning}
    if usage.searches:
        wire["server_tool_use"] = {"web_search_requests": usage.searches}
    if usage.estimated:
        wire["estimated"] = True
    if usage.out_of_credit:
        wire["out_of_credit"] = True
    if cost is not None:
        wire["cost"] = usd_number(cost)
    return wire


def echo_usage(source: Raw | None, reported: UsageReported | None) -> Raw:
    """What the client is shown of a report, which its SDK cannot do without: the provider's own
    object with our cost; ours where the provider's is missing or is not what is charged.
    """
    if source is not None and bytes(source).lstrip().startswith(b"{"):
        if reported is None:
            return source
        says_enough = _count_of(source, "output_tokens") or not reported.usage.completion
        if says_enough and not reported.usage.estimated and not reported.usage.repaired:
            return with_cost(source, reported.cost) if reported.cost is not None else source
    reported = reported if reported is not None else UsageReported(Usage())
    return Raw(encode_json(usage_to_wire(reported.usage, reported.cost)))


def _count_of(usage: Raw, name: str) -> int:
    """A count of a provider's `usage`; zero where it is none."""
    value = decode_raw_fields(usage).get(name)
    return int(value) if value is not None and bytes(value).isdigit() else 0


def with_cost(usage: Raw, cost: int) -> Raw:
    """A provider's `usage` object with our cost beside its counts; all else keeps its bytes."""
    return Raw(encode_json({**decode_raw_fields(usage), "cost": usd_number(cost)}))
