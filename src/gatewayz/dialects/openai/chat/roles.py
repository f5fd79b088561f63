"""The two roles of OpenAI Chat."""

from collections.abc import Mapping

from gatewayz.core.calls import Call
from gatewayz.core.faults import Fault, UpstreamError
from gatewayz.core.requests import ChatRequest
from gatewayz.dialects.kit.base import (
    DecodeOptions,
    Decoder,
    Draft,
    Encoder,
    EncodeTarget,
    HttpResponse,
)
from gatewayz.dialects.kit.chat_steps import ChatSteps
from gatewayz.dialects.kit.decoder import decoder_from_content_type
from gatewayz.dialects.kit.refusals import upstream_error_from_response
from gatewayz.dialects.openai import errors
from gatewayz.dialects.openai.chat.decoder import ChatBodyDecoder, ChatStreamDecoder
from gatewayz.dialects.openai.chat.encoder import ChatBodyEncoder, ChatStreamEncoder
from gatewayz.dialects.openai.chat.request import request_from_wire, request_to_wire
from gatewayz.dialects.openai.chat.wire import NAME


class OpenAIChatClient:
    """The side that clients talk to."""

    name = NAME
    ERRORS: Mapping[str, tuple[str, str | None]] = errors.ERRORS
    keep_alive = b": keep-alive\n\n"

    def decode(self, body: bytes, headers: Mapping[str, str]) -> ChatRequest:
        return request_from_wire(body)

    def encoder(self, call: Call, created_s: int) -> Encoder:
        if call.request.streamed:
            return ChatStreamEncoder(call, created_s)
        return ChatBodyEncoder(call, created_s)

    def error_response(self, fault: Fault, call_id: str) -> HttpResponse:
        return errors.error_response(fault)


class OpenAIChatUpstream(ChatSteps):
    """The side that talks to providers."""

    name = NAME

    def encode(self, request: ChatRequest, target: EncodeTarget) -> Draft:
        return request_to_wire(request, target)

    def decoder(self, content_type: str, options: DecodeOptions) -> Decoder:
        return decoder_from_content_type(content_type, options, ChatStreamDecoder, ChatBodyDecoder)

    def error_from_response(
        self, status: int, headers: Mapping[str, str], body: bytes
    ) -> UpstreamError:
        return upstream_error_from_response(NAME, status, body, headers)
