"""The role of Gemini: the side that talks to providers."""

from collections.abc import Mapping

from gatewayz.core.faults import Fault, UpstreamWords
from gatewayz.core.requests import ChatRequest
from gatewayz.dialects.base import Asking, Decoder, Draft, Reading
from gatewayz.dialects.counting import OneChat
from gatewayz.dialects.gemini.decoders import BodyDecoder, StreamDecoder
from gatewayz.dialects.gemini.errors import NAME, words_from
from gatewayz.dialects.gemini.loses import LOSES
from gatewayz.dialects.gemini.request import request_to_wire


class GeminiUpstream(OneChat):
    """The side that talks to providers."""

    name = NAME
    LOSES: Mapping[str, str] = LOSES

    def encode(self, request: ChatRequest, asking: Asking) -> Draft:
        return request_to_wire(request, asking)

    def decoder(self, content_type: str, reading: Reading) -> Decoder:
        kind = content_type.partition(";")[0].strip().lower()
        if kind == "text/event-stream":
            return StreamDecoder(reading)
        if kind in {"application/json", "text/plain", "application/octet-stream", ""} or kind.endswith("+json"):
            return BodyDecoder(reading)
        raise Fault("upstream_broken", f"the provider answered with {kind or 'no content type'}")

    def refused(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamWords:
        return words_from(status, body)
