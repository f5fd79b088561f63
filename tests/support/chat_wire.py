"""Encoding and decoding with a dialect, in the four modes."""

from collections.abc import Iterable, Sequence
from typing import Any

from gatewayz.core.calls import Call, Principal, new_ulid
from gatewayz.core.events import Event, Failed, Frame
from gatewayz.core.replies import Reply, fold
from gatewayz.core.requests import ChatRequest
from gatewayz.dialects.kit.base import DecodeOptions
from gatewayz.dialects.registry import CLIENTS, UPSTREAMS

CLIENT = CLIENTS["/v1/chat/completions"]
UPSTREAM = UPSTREAMS["openai_chat"]
STREAM, BODY = "text/event-stream", "application/json"


def call(*, streamed: bool, model: str = "family/model", wants_usage: bool = True) -> Call:
    request = ChatRequest(
        dialect="openai_chat", model=model, messages=(), streamed=streamed, wants_usage=wants_usage
    )
    return Call(
        id=new_ulid(),
        endpoint="/v1/chat/completions",
        request=request,
        principal=Principal("a", "k"),
        received_at=0.0,
        received_ms=0,
        deadline=1e9,
    )


def encode(events: Iterable[Event], *, streamed: bool) -> bytes:
    encoder = CLIENT.encoder(call(streamed=streamed), 1_760_000_000)
    return b"".join(encoder.feed([Frame((event,))]) for event in events)


def frames_of(
    data: bytes, content_type: str = STREAM, cuts: Sequence[int] = (), **options: Any
) -> list[Frame]:
    decoder = UPSTREAM.decoder(content_type, DecodeOptions(provider="maker", **options))
    frames: list[Frame] = []
    before = 0
    for cut in [*sorted({cut % (len(data) + 1) for cut in cuts}), len(data)]:
        frames += decoder.feed(data[before:cut])
        before = cut
    return frames + decoder.close()


def events_of(
    data: bytes, content_type: str = STREAM, cuts: Sequence[int] = (), **options: Any
) -> list[Event]:
    return [
        event for frame in frames_of(data, content_type, cuts, **options) for event in frame.events
    ]


def reply_of(
    data: bytes, content_type: str = STREAM, cuts: Sequence[int] = (), **options: Any
) -> Reply:
    return fold(events_of(data, content_type, cuts, **options))


def has_failed(events: Sequence[Event]) -> bool:
    return bool(events) and isinstance(events[-1], Failed)
