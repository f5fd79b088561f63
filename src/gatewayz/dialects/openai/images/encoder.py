"""The answer to a client: one body, or an event for each image.

Sources of this dialect pass as they came.
"""

from collections.abc import Sequence
from typing import Any

from gatewayz.core.events import (
    BlockDelta,
    BlockEnded,
    Event,
    Failed,
    Finished,
    Frame,
    UsageReported,
)
from gatewayz.dialects.kit.jsontext import decode_json, decode_raw_fields, encode_json
from gatewayz.dialects.kit.sse import encode_sse
from gatewayz.dialects.openai.errors import error_object
from gatewayz.dialects.openai.images.usage import echo_usage, usage_to_wire
from gatewayz.dialects.openai.images.wire import COMPLETED, image_to_wire


class ImagesBodyEncoder:
    """Frames in, one body out at the end."""

    content_type = "application/json"

    def __init__(self, encoding: str, created_s: int) -> None:
        self._encoding = encoding
        self._created_s = created_s
        self._items: dict[int, dict[str, Any]] = {}
        self._usage: UsageReported | None = None

    def feed(self, frames: Sequence[Frame]) -> bytes:
        for frame in frames:
            if frame.whole and frame.source is not None:
                return self._echo(frame.source, frame.usage)
            for event in frame.events:
                body = self._add_event(event)
                if body:
                    return body
        return b""

    def _echo(self, source: bytes, reported: UsageReported | None) -> bytes:
        fields = decode_raw_fields(source)
        usage = echo_usage(fields.get("usage"), reported) if reported is not None else None
        if usage is not None:
            fields["usage"] = usage
        return encode_json({"created": self._created_s, **fields})

    def _add_event(self, event: Event) -> bytes:
        match event:
            case BlockDelta(block=block, text=url, extra=extra) if url:
                self._items[block] = {**image_to_wire(url, self._encoding), **(extra or {})}
            case UsageReported():
                self._usage = event
            case Failed(fault=fault):
                return encode_json({"error": error_object(fault)})
            case Finished():
                data = list(self._items.values())
                usage = usage_to_wire(self._usage)
                return encode_json({"created": self._created_s, "data": data, **usage})
        return b""


class ImagesStreamEncoder:
    """Frames in, events out; an image that came as a URL is sent as one."""

    content_type = "text/event-stream; charset=utf-8"

    def __init__(self, created_s: int) -> None:
        self._created_s = created_s
        self._waiting: list[dict[str, Any]] = []

    def feed(self, frames: Sequence[Frame]) -> bytes:
        out: list[bytes] = []
        for frame in frames:
            if frame.source is not None and not frame.whole:
                kind = decode_json(frame.source).get("type") or COMPLETED
                out.append(encode_sse(frame.source, kind))
                continue
            for event in frame.events:
                self._encode_event(event, out)
        return b"".join(out)

    def _encode_event(self, event: Event, out: list[bytes]) -> None:
        match event:
            case BlockDelta(text=url) if url:
                self._waiting.append(image_to_wire(url, "bytes"))
            case UsageReported():
                self._flush(out, event)
            case BlockEnded() if len(self._waiting) > 1:
                self._encode_completed(self._waiting.pop(0), {}, out)
            case Finished():
                self._flush(out, None)
            case Failed(fault=fault):
                document = {"type": "error", "error": error_object(fault)}
                out.append(encode_sse(encode_json(document), "error"))

    def _flush(self, out: list[bytes], usage: UsageReported | None) -> None:
        """Sends what waits: the last image waits for the usage, which stands in its event."""
        while self._waiting:
            self._encode_completed(self._waiting.pop(0), usage_to_wire(usage), out)

    def _encode_completed(
        self, image: dict[str, Any], usage: dict[str, Any], out: list[bytes]
    ) -> None:
        document = {"type": COMPLETED, **image, "created_at": self._created_s, **usage}
        out.append(encode_sse(encode_json(document), COMPLETED))
