"""Usage of Anthropic Messages, to and from disjoint buckets.

`input_tokens` excludes the cache: "Total input tokens in a request is the summation of input_tokens,
cache_creation_input_tokens, and cache_read_input_tokens". `output_tokens` includes thinking. A stream reports the
input first and the output last; what the last report leaves out holds as it was.
"""

from typing import Any

from msgspec import Raw

from gatewayz.core.usage import MAX_UNITS, Usage
from gatewayz.dialects.jsontext import encoded, fields_of, usd_number


class _Counts:
    """Reads counts and remembers whether one made no sense."""

    def __init__(self, report: dict[str, Any]) -> None:
        self.repaired = False
        self._report = report

    def of(self, name: str, *inside: str) -> int:
        value: Any = self._report
        for step in (*inside, name):
            value = value.get(step) if isinstance(value, dict) else None
        if value is None:
            return 0
        if type(value) is int and 0 <= value <= MAX_UNITS:
            return value
        self.repaired = True
        try:
            return min(max(int(float(value)), 0), MAX_UNITS)
        except (TypeError, ValueError, OverflowError):
            return 0


def searched(block: dict[str, Any]) -> bool:
    """Whether the block is the result of a web search; one that failed is 'not billed'."""
    return block.get("type") == "web_search_tool_result" and isinstance(block.get("content"), list)


def merged_report(before: dict[str, Any], report: dict[str, Any]) -> dict[str, Any]:
    """Two reports of one stream as one: counts are cumulative, and a later one holds where it says something."""
    return before | {name: value for name, value in report.items() if value is not None}


def usage_from_wire(report: dict[str, Any]) -> Usage:
    """The report in our buckets."""
    counts = _Counts(report)
    written = counts.of("cache_creation_input_tokens")
    long = min(counts.of("ephemeral_1h_input_tokens", "cache_creation"), written)
    output = counts.of("output_tokens")
    thought = counts.of("thinking_tokens", "output_tokens_details")
    if thought > output:
        counts.repaired = True
        thought = output
    return Usage(
        input=counts.of("input_tokens"),
        cache_read=counts.of("cache_read_input_tokens"),
        cache_write=written - long,
        cache_write_1h=long,
        output=output - thought,
        reasoning=thought,
        searches=counts.of("web_search_requests", "server_tool_use"),
        repaired=counts.repaired,
    )


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
    wire |= {"output_tokens_details": {"thinking_tokens": usage.reasoning}} if usage.reasoning else {}
    wire |= {"server_tool_use": {"web_search_requests": usage.searches}} if usage.searches else {}
    return wire | ({"cost": usd_number(cost)} if cost is not None else {})


def with_cost(usage: Raw, cost: int) -> Raw:
    """A provider's own `usage` object with our cost beside its counts; every other field keeps its bytes."""
    return Raw(encoded({**fields_of(usage), "cost": usd_number(cost)}))
