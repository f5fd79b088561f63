"""The role of Gemini: the side that talks to providers."""

from collections.abc import Mapping

from gatewayz.core.faults import UpstreamWords
from gatewayz.core.requests import ChatRequest
from gatewayz.dialects.base import Asking, Decoder, Draft, Reading
from gatewayz.dialects.counting import OneChat
from gatewayz.dialects.gemini.decoders import BodyDecoder, StreamDecoder
from gatewayz.dialects.gemini.errors import NAME, words_from
from gatewayz.dialects.gemini.loses import LOSES
from gatewayz.dialects.gemini.request import request_to_wire
from gatewayz.dialects.listening import by_content_type


class GeminiUpstream(OneChat):
    """The side that talks to providers."""

    name = NAME
    LOSES: Mapping[str, str] = LOSES

    def encode(self, request: ChatRequest, asking: Asking) -> Draft:
        return request_to_wire(request, asking)

    def decoder(self, content_type: str, reading: Reading) -> Decoder:
        return by_content_type(content_type, reading, StreamDecoder, BodyDecoder)

    def refused(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamWords:
        return words_from(status, body)
