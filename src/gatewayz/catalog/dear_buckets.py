"""Dear buckets: which of the buckets that cost a multiple of their fallback a request may fill.

A price that does not name one of them says nothing about a request that uses it, and such a request
is not admitted: sound billed as text is billed at a tenth of what it costs.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from gatewayz.catalog.offers import Offer
from gatewayz.core.conversation import (
    Audio,
    File,
    Image,
    Opaque,
    OpaqueTool,
    Part,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    ToolResult,
)
from gatewayz.core.money import Price
from gatewayz.core.requests import ChatRequest, Request

SOUND = re.compile(r"data:(audio|video)/|audio|video")
"""Kinds of parts and of files that hold sound: a video has its track."""
MAX_KIND_CHARS = 32
"""Characters by which a kind is known."""
CACHES_ON_REQUEST = re.compile(r"claude", re.IGNORECASE)
"""Native ids of models that write to their cache where the client marks it, at a price above that
of the prompt; others ignore the mark.
"""


def buckets_in_use(request: Request) -> frozenset[str]:
    """The buckets that the request fills wherever a model can do what it asks for.

    Example: a chat with a recording in it uses `{"audio_input"}`.
    """
    if request.surface == "image":
        return frozenset({"image_output"})
    if not isinstance(request, ChatRequest):
        return frozenset()
    found: set[str] = set()
    if request.extra:
        _add_wanted_outputs(found, request.extra)
        _add_cache_mark(found, request.extra)
    for message in request.messages:
        if message.extra:
            _add_cache_mark(found, message.extra)
        _add_parts(found, message.parts)
    for tool in request.tools:
        extra = tool.value if isinstance(tool, OpaqueTool) else tool.extra
        if extra:
            _add_cache_mark(found, extra)
            _add_cache_mark(found, extra.get("function"))
    return frozenset(found)


def _add_wanted_outputs(found: set[str], extra: Mapping[str, Any]) -> None:
    modalities = extra.get("modalities")
    wanted = modalities if isinstance(modalities, list) else ()
    if "audio" in wanted or extra.get("audio"):
        found.add("audio_output")
    if "image" in wanted:
        found.add("image_output")


def _add_parts(found: set[str], parts: Iterable[Part]) -> None:
    for part in parts:
        match part:
            case Text(extra=extra) | ToolCall(extra=extra) | Image(extra=extra):
                pass
            case ToolResult(parts=inner, extra=extra):
                _add_parts(found, inner)
            case Reasoning() | Refusal():
                continue
            case Audio(extra=extra) | File(extra=extra) | Opaque(value=extra):
                if _holds_sound(part):
                    found.add("audio_input")
        if extra:
            _add_cache_mark(found, extra)


def _holds_sound(part: Audio | File | Opaque) -> bool:
    match part:
        case Audio():
            return True
        case File(content=content):
            return SOUND.match(content[:MAX_KIND_CHARS]) is not None
        case Opaque(value=value):
            return SOUND.search(str(value.get("type", ""))[:MAX_KIND_CHARS]) is not None


def _add_cache_mark(found: set[str], extra: Any) -> None:
    mark = extra.get("cache_control") if isinstance(extra, dict) else None
    if isinstance(mark, dict):
        found.add("cache_write_1h" if mark.get("ttl") == "1h" else "cache_write")


def may_write_cache(request: Request, offer: Offer) -> bool:
    """Whether `caching: auto` marks the prompt at this offer: not where writing has no price."""
    if not isinstance(request, ChatRequest) or request.caching != "auto":
        return False
    return offer.price is None or "cache_write" not in offer.price.unpriced_buckets


def has_dear_bucket(price: Price) -> bool:
    """Whether some buckets cost more than others of their side, or images have a price each."""
    return (
        price.images > 0
        or price.pixels > 0
        or price.cache_write > price.input
        or price.cache_write_1h > price.input
        or price.audio_input > price.input
        or price.image_input > price.input
        or price.audio_output > price.output
        or price.image_output > price.output
    )


def missing_bucket(offer: Offer, price: Price, used: frozenset[str]) -> str:
    """The first bucket that is used at this offer and that its price does not name, or nothing."""
    return next((one for one in price.unpriced_buckets if _is_used(one, offer, price, used)), "")


def _is_used(bucket: str, offer: Offer, price: Price, used: frozenset[str]) -> bool:
    if bucket == "image_output":
        # A model that makes images in a chat makes them unasked; a flat price covers them.
        asked = bucket in used or "image" in offer.outputs
        return asked and not (price.images or price.pixels)
    if bucket.startswith("cache_write"):
        return bucket in used and CACHES_ON_REQUEST.search(offer.upstream_id) is not None
    return bucket in used
