"""Usage of Anthropic Messages, to and from disjoint buckets.

`input_tokens` excludes the cache: "Total input tokens in a request is the summation of input_tokens,
cache_creation_input_tokens, and cache_read_input_tokens". `output_tokens` includes thinking. A stream reports the
input first and the output last; what the last report leaves out holds as it was.
"""

from typing import Any

from msgspec import Raw

from gatewayz.core.usage import Usage
from gatewayz.dialects.counts import Counts
from gatewayz.dialects.jsontext import encoded, fields_of, usd_number


def searched(block: dict[str, Any]) -> bool:
    """Whether the block is the result of a web search; one that failed is 'not billed'."""
    return block.get("type") == "web_search_tool_result" and isinstance(block.get("content"), list)


def merged_report(before: dict[str, Any], report: dict[str, Any]) -> dict[str, Any]:
    """Two reports of one stream as one: counts are cumulative, and a later one holds where it says something."""
    return before | {name: value for name, value in report.items() if value is not None}


def usage_from_wire(report: dict[str, Any]) -> Usage:
    """The report in our buckets."""
    counts = Counts()
    written = counts.of(report.get("cache_creation_input_tokens"))
    long = min(counts.of(_inside(report, "cache_creation", "ephemeral_1h_input_tokens")), written)
    output = counts.of(report.get("output_tokens"))
    thought = counts.within(
        counts.of(_inside(report, "output_tokens_details", "thinking_tokens")), output
    )
    return Usage(
        input=counts.of(report.get("input_tokens")),
        cache_read=counts.of(report.get("cache_read_input_tokens")),
        cache_write=written - long,
        cache_write_1h=long,
        output=output - thought,
        reasoning=thought,
        searches=counts.of(_inside(report, "server_tool_use", "web_search_requests")),
        repaired=counts.repaired,
    )


def _inside(report: dict[str, Any], place: str, name: str) -> Any:
    details = report.get(place)
    return details.get(name) if isinstance(details, dict) else None


def usage_to_wire(usage: Usage, cost: int | None = None) -> dict[str, Any]:
    """The `usage` object of a message, with what it costs where that is known."""
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
    wire |= (
        {"output_tokens_details": {"thinking_tokens": usage.reasoning}} if usage.reasoning else {}
    )
    wire |= {"server_tool_use": {"web_search_requests": usage.searches}} if usage.searches else {}
    return wire | ({"cost": usd_number(cost)} if cost is not None else {})


def with_cost(usage: Raw, cost: int) -> Raw:
    """A provider's own `usage` object with our cost beside its counts; every other field keeps its bytes."""
    return Raw(encoded({**fields_of(usage), "cost": usd_number(cost)}))
