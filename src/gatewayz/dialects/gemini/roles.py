"""The role of Gemini: the side that talks to providers."""

from collections.abc import Mapping

from gatewayz.core.faults import UpstreamError
from gatewayz.core.requests import ChatRequest
from gatewayz.dialects.gemini.decoder import GeminiBodyDecoder, GeminiStreamDecoder
from gatewayz.dialects.gemini.errors import upstream_error_from_response
from gatewayz.dialects.gemini.request import request_to_wire
from gatewayz.dialects.gemini.wire import NAME
from gatewayz.dialects.kit.base import DecodeOptions, Decoder, Draft, EncodeTarget
from gatewayz.dialects.kit.chat_steps import ChatSteps
from gatewayz.dialects.kit.decoder import decoder_from_content_type


class GeminiUpstream(ChatSteps):
    """The side that talks to providers."""

    name = NAME

    def encode(self, request: ChatRequest, target: EncodeTarget) -> Draft:
        return request_to_wire(request, target)

    def decoder(self, content_type: str, options: DecodeOptions) -> Decoder:
        return decoder_from_content_type(
            content_type, options, GeminiStreamDecoder, GeminiBodyDecoder
        )

    def error_from_response(
        self, status: int, headers: Mapping[str, str], body: bytes
    ) -> UpstreamError:
        return upstream_error_from_response(status, body)
