"""A whole answer with embeddings as frames, with its source for clients of this dialect.

The source keeps every field that the provider added; only the form of the vectors is made the one
that was asked for.
"""

from collections.abc import Generator
from typing import Any

from msgspec import Raw
from msgspec.structs import replace

from gatewayz.core.events import Failed, Frame, UsageReported
from gatewayz.core.faults import Fault
from gatewayz.core.requests import EmbeddingRequest
from gatewayz.core.usage import Usage
from gatewayz.dialects.kit.base import Step, UpstreamAnswer
from gatewayz.dialects.kit.jsontext import decode_or_salvage, decode_raw_fields, encode_json
from gatewayz.dialects.kit.refusals import fault_from_error
from gatewayz.dialects.kit.vectors import (
    convert_vectors,
    frame_from_vectors,
    usage_from_token_count,
)
from gatewayz.dialects.openai.embeddings.wire import NAME, WireVector, decode_vectors
from gatewayz.dialects.openai.usage import usage_from_wire


def frames_from_body(
    body: bytes, request: EmbeddingRequest
) -> Generator[Step, UpstreamAnswer | None, list[Frame]]:
    """The frames of a whole answer, in the form that the client asked for.

    Faults: `upstream_broken` for what is no answer, or has not a vector for each text.
    """
    try:
        answer, source_body = decode_or_salvage(body, decode_vectors)
        head = decode_raw_fields(source_body)
    except (ValueError, RecursionError) as error:
        raise Fault("upstream_broken", "The provider's answer holds no embeddings.") from error
    if answer.error:
        return [Frame((Failed(fault_from_error(NAME, answer.error, body)),))]

    items = answer.data or []
    vectors = yield from convert_vectors([item.embedding for item in items], request)
    usage = _usage_from_report(answer.usage, request)
    source = None
    if request.dialect == NAME:
        prompt = usage.usage.prompt
        counted = {"prompt_tokens": prompt, "total_tokens": prompt}
        if not isinstance(answer.usage, dict) or answer.usage.get("prompt_tokens") != prompt:
            # What a report does not say, or says wrongly, is shown as it is charged.
            head = {**head, "usage": Raw(encode_json(counted))}
        data = [
            _item_to_wire(item, position, vector)
            for position, (item, vector) in enumerate(zip(items, vectors, strict=True))
        ]
        source = encode_json({"object": "list", **head, "data": data})
    return [frame_from_vectors(vectors, usage, source)]


def _item_to_wire(item: WireVector, position: int, vector: Raw) -> dict[str, Any]:
    index = position if item.index is None else item.index
    return {"object": "embedding", "index": index, "embedding": vector}


def _usage_from_report(report: Any, request: EmbeddingRequest) -> UsageReported:
    """The provider's report, in which there is only a prompt; without one an estimate."""
    reported = usage_from_wire(report)
    if reported is None or not reported.usage.prompt:
        total = report.get("total_tokens") if isinstance(report, dict) else None
        return usage_from_token_count(total, request)
    counted = reported.usage
    return replace(
        reported, usage=Usage(input=counted.prompt, requests=1, repaired=counted.repaired)
    )
