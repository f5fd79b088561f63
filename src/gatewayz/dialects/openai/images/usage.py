"""Usage of image models, both ways: images and pixels counted, tokens as the provider reports."""

from collections.abc import Sequence
from typing import Any

from msgspec import Raw
from msgspec.structs import replace

from gatewayz.core.events import UsageReported
from gatewayz.core.usage import Usage
from gatewayz.dialects.kit.image_header import Size
from gatewayz.dialects.kit.images import GeneratedImage, usage_from_images
from gatewayz.dialects.kit.jsontext import encode_json, usd_number
from gatewayz.dialects.kit.reported_counts import ReportedCounts
from gatewayz.dialects.openai.usage import (
    COMPLETION_FIELDS,
    PROMPT_FIELDS,
    is_report,
    source_is_object,
    with_cost,
)


def usage_from_wire(
    report: Any, images: Sequence[GeneratedImage], requested_size: Size | None
) -> UsageReported:
    """Images and pixels as they are, and the tokens of a report (gpt-image)."""
    counted = usage_from_images(images, requested_size)
    if not isinstance(report, dict) or not is_report(report):
        return UsageReported(counted)

    counts = ReportedCounts()
    prompt = counts.read_largest(report, PROMPT_FIELDS)
    output = counts.read_largest(report, COMPLETION_FIELDS)
    inside, outside = report.get("input_tokens_details"), report.get("output_tokens_details")
    cached = _count_inside(counts, inside, "cached_tokens", prompt)
    seen = _count_inside(counts, inside, "image_tokens", prompt - cached)
    # What is not said to be text is a picture, which is the dearer of both.
    text = _count_inside(counts, outside, "text_tokens", output)
    return UsageReported(
        replace(
            counted,
            input=prompt - cached - seen,
            cache_read=cached,
            image_input=seen,
            output=text,
            image_output=output - text,
            repaired=counts.repaired,
        )
    )


def _count_inside(counts: ReportedCounts, details: Any, name: str, most: int) -> int:
    return counts.clamp(counts.read(details.get(name)), most) if isinstance(details, dict) else 0


def echo_usage(source: Raw | None, reported: UsageReported) -> Raw | None:
    """What the client is shown: the provider's object with our cost, or ours where that is not what
    is charged; nothing where neither counts tokens.
    """
    usage = reported.usage
    if source is not None and not usage.estimated and not usage.repaired:
        return with_cost(source, reported.cost) if source_is_object(source) else source
    own = usage_to_wire(reported).get("usage")
    return Raw(encode_json(own)) if own is not None else source


def usage_to_wire(reported: UsageReported | None) -> dict[str, Any]:
    """`usage` with tokens, where the provider counts them, and their cost; empty without.

    Images and pixels have no words here.
    """
    usage = reported.usage if reported is not None else Usage()
    if reported is None or not (usage.prompt or usage.completion):
        return {}
    report: dict[str, Any] = {
        "input_tokens": usage.prompt,
        "output_tokens": usage.completion,
        "total_tokens": usage.prompt + usage.completion,
        "input_tokens_details": {"text_tokens": usage.input, "image_tokens": usage.image_input},
    }
    if usage.estimated:
        report["estimated"] = True
    if reported.cost is not None:
        report["cost"] = usd_number(reported.cost)
    return {"usage": report}
