"""Speaking images: one body, or one event an image; what a provider of this dialect said goes on as it came."""

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
from gatewayz.core.usage import Usage
from gatewayz.dialects.images import base64_of
from gatewayz.dialects.jsontext import decoded, encoded, fields_of, usd_number
from gatewayz.dialects.openai_errors import error_object
from gatewayz.dialects.openai_images.hear import COMPLETED, image_to_wire
from gatewayz.dialects.openai_usage import with_cost
from gatewayz.dialects.sse import spelled


class BodyEncoder:
    """Frames in, one body out at the end."""

    content_type = "application/json"

    def __init__(self, form: str, created_s: int) -> None:
        self._form = form
        self._created_s = created_s
        self._items: dict[int, dict[str, Any]] = {}
        self._usage: UsageReported | None = None

    def feed(self, frames: Sequence[Frame]) -> bytes:
        for frame in frames:
            if frame.whole and frame.source is not None:
                reported = next(
                    (event for event in frame.events if isinstance(event, UsageReported)), None
                )
                return self._echo(frame.source, reported)
            for event in frame.events:
                body = self._heard(event)
                if body:
                    return body
        return b""

    def _echo(self, source: bytes, reported: UsageReported | None) -> bytes:
        fields = fields_of(source)
        if "usage" in fields and reported is not None:
            fields["usage"] = with_cost(fields["usage"], reported.cost)
        return encoded({"created": self._created_s, **fields})

    def _heard(self, event: Event) -> bytes:
        match event:
            case BlockDelta(block=block, text=url, extra=extra) if url:
                self._items[block] = {**image_to_wire(url, self._form), **(extra or {})}
            case UsageReported():
                self._usage = event
            case Failed(fault=fault):
                return encoded({"error": error_object(fault)})
            case Finished():
                told = usage_to_wire(self._usage)
                return encoded(
                    {"created": self._created_s, "data": list(self._items.values()), **told}
                )
        return b""


def usage_to_wire(reported: UsageReported | None) -> dict[str, Any]:
    """Tokens, where the provider counts them, and what they cost: images and pixels have no words here."""
    usage = reported.usage if reported is not None else Usage()
    if reported is None or not (usage.prompt or usage.completion):
        return {}
    inside = {"text_tokens": usage.input, "image_tokens": usage.image_input}
    counts = {"input_tokens": usage.prompt, "output_tokens": usage.completion}
    shown = {"cost": usd_number(reported.cost)} if reported.cost is not None else {}
    return {
        "usage": {
            **counts,
            "total_tokens": usage.prompt + usage.completion,
            "input_tokens_details": inside,
            **shown,
        }
    }


class StreamEncoder:
    """Frames in, events out; an image that came as an address is sent as one."""

    content_type = "text/event-stream; charset=utf-8"

    def __init__(self, created_s: int) -> None:
        self._created_s = created_s
        self._waiting: list[dict[str, Any]] = []

    def feed(self, frames: Sequence[Frame]) -> bytes:
        out: list[bytes] = []
        for frame in frames:
            if frame.source is not None and not frame.whole:
                kind = decoded(frame.source).get("type") or COMPLETED
                out.append(spelled(frame.source, kind))
                continue
            for event in frame.events:
                self._say(event, out)
        return b"".join(out)

    def _say(self, event: Event, out: list[bytes]) -> None:
        match event:
            case BlockDelta(text=url) if url:
                text = base64_of(url)
                self._waiting.append({"b64_json": text} if text else {"url": url})
            case UsageReported():
                self._flush(out, event)
            case BlockEnded() if len(self._waiting) > 1:
                self._completed(self._waiting.pop(0), {}, out)
            case Finished():
                self._flush(out, None)
            case Failed(fault=fault):
                out.append(
                    spelled(encoded({"type": "error", "error": error_object(fault)}), "error")
                )

    def _flush(self, out: list[bytes], usage: UsageReported | None) -> None:
        """The last image waits for the usage, which stands in its event."""
        while self._waiting:
            self._completed(self._waiting.pop(0), usage_to_wire(usage), out)

    def _completed(self, image: dict[str, Any], usage: dict[str, Any], out: list[bytes]) -> None:
        document = {"type": COMPLETED, **image, "created_at": self._created_s, **usage}
        out.append(spelled(encoded(document), COMPLETED))
