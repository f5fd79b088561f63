"""The answer to a client: the provider's body with the client's model, or one made of vectors."""

from collections.abc import Sequence
from typing import Any

from msgspec import Raw

from gatewayz.core.events import BlockDelta, Event, Failed, Finished, Frame, UsageReported
from gatewayz.core.usage import Usage
from gatewayz.dialects.kit.jsontext import decode_raw_fields, encode_json, usd_number
from gatewayz.dialects.openai.errors import error_object
from gatewayz.dialects.openai.usage import with_cost


class EmbeddingsBodyEncoder:
    """Frames in, one body out at the end."""

    content_type = "application/json"

    def __init__(self, model: str) -> None:
        self._model = model
        self._vectors: list[Raw] = []
        self._usage = UsageReported(Usage())

    def feed(self, frames: Sequence[Frame]) -> bytes:
        for frame in frames:
            if frame.source is not None:
                return self._echo(frame.source, frame.usage)
            for event in frame.events:
                body = self._add_event(event)
                if body:
                    return body
        return b""

    def _echo(self, source: bytes, reported: UsageReported | None) -> bytes:
        fields = decode_raw_fields(source)
        usage = fields.get("usage") or Raw(b"{}")
        if reported is not None and (reported.usage.estimated or reported.usage.repaired):
            usage = Raw(encode_json(_usage_to_wire(reported)))
        elif reported is not None:
            usage = with_cost(usage, reported.cost)
        return encode_json({**fields, "model": self._model, "usage": usage})

    def _add_event(self, event: Event) -> bytes:
        match event:
            case BlockDelta(text=vector):
                self._vectors.append(Raw(vector.encode()))
            case UsageReported():
                self._usage = event
            case Failed(fault=fault):
                return encode_json({"error": error_object(fault)})
            case Finished():
                return self._body()
        return b""

    def _body(self) -> bytes:
        data = [
            {"object": "embedding", "index": index, "embedding": vector}
            for index, vector in enumerate(self._vectors)
        ]
        usage = _usage_to_wire(self._usage)
        return encode_json({"object": "list", "data": data, "model": self._model, "usage": usage})


def _usage_to_wire(reported: UsageReported) -> dict[str, Any]:
    """The `usage` object: there is only a prompt."""
    prompt = reported.usage.prompt
    usage: dict[str, Any] = {"prompt_tokens": prompt, "total_tokens": prompt}
    if reported.usage.estimated:
        usage["estimated"] = True
    if reported.cost is not None:
        usage["cost"] = usd_number(reported.cost)
    return usage
