"""The two roles of Anthropic Messages."""

import re
from collections.abc import Mapping

from msgspec.structs import replace

from gatewayz.core.faults import Fault, UpstreamWords
from gatewayz.core.requests import Capability, ChatRequest
from gatewayz.dialects.anthropic_messages.decoders import BodyDecoder, StreamDecoder
from gatewayz.dialects.anthropic_messages.loses import NAME
from gatewayz.dialects.anthropic_messages.request import request_to_wire
from gatewayz.dialects.base import Asking, Decoder, Draft, OneRequest, Reading
from gatewayz.dialects.refusals import words_from

FIELD = re.compile(r"([\w.]+): ")
"""A rejection begins with the field that it is about: 'temperature: Extra inputs are not permitted'."""


class AnthropicMessagesUpstream(OneRequest):
    """The side that talks to providers."""

    name = NAME
    lacks = frozenset({Capability.AUDIO, Capability.CHOICES})

    def encode(self, request: ChatRequest, asking: Asking) -> Draft:
        return request_to_wire(request, asking)

    def decoder(self, content_type: str, reading: Reading) -> Decoder:
        """By what the answer says it is."""
        kind = content_type.partition(";")[0].strip().lower()
        if kind == "text/event-stream":
            return StreamDecoder(reading)
        if kind in {"application/json", "text/plain", "application/octet-stream", ""} or kind.endswith("+json"):
            return BodyDecoder(reading)
        raise Fault("upstream_broken", f"the provider answered with {kind or 'no content type'}")

    def refused(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamWords:
        words = words_from(NAME, status, body, headers)
        found = FIELD.match(words.message)
        return replace(words, param=found[1]) if found is not None and not words.param else words
