"""The two roles of Anthropic Messages."""

import re
from collections.abc import Mapping

from msgspec.structs import replace

from gatewayz.core.calls import Call
from gatewayz.core.faults import Fault, UpstreamError
from gatewayz.core.requests import Capability, ChatRequest, CountRequest, Surface
from gatewayz.dialects.anthropic import errors
from gatewayz.dialects.anthropic.decoder import MessagesBodyDecoder, MessagesStreamDecoder
from gatewayz.dialects.anthropic.encoder import MessagesBodyEncoder, MessagesStreamEncoder
from gatewayz.dialects.anthropic.request import request_from_wire, request_to_wire
from gatewayz.dialects.anthropic.token_count import (
    CANNOT_COUNT,
    CountEncoder,
    count_from_wire,
    count_to_wire,
    frames_from_count,
)
from gatewayz.dialects.anthropic.wire import NAME
from gatewayz.dialects.kit.base import (
    HTTP_OK,
    DecodeOptions,
    Decoder,
    Draft,
    Encoder,
    EncodeTarget,
    HttpResponse,
    Send,
    Steps,
)
from gatewayz.dialects.kit.chat_steps import token_count_frames
from gatewayz.dialects.kit.decoder import decoder_from_content_type
from gatewayz.dialects.kit.jsontext import decode_lenient
from gatewayz.dialects.kit.refusals import upstream_error_from_response
from gatewayz.dialects.kit.sse import encode_sse

FIELD_PREFIX = re.compile(r"([\w.]+): ")
"""A rejection begins with its field: 'temperature: Extra inputs are not permitted'."""


class AnthropicMessagesClient:
    """The side that clients talk to."""

    name = NAME
    ERRORS: Mapping[str, tuple[str, int | None]] = errors.ERRORS
    keep_alive = encode_sse(b'{"type": "ping"}', "ping")

    def decode(self, body: bytes, headers: Mapping[str, str]) -> ChatRequest:
        return request_from_wire(body, headers)

    def encoder(self, call: Call, created_s: int) -> Encoder:
        if call.request.streamed:
            return MessagesStreamEncoder(call, created_s)
        return MessagesBodyEncoder(call, created_s)

    def error_response(self, fault: Fault, call_id: str) -> HttpResponse:
        return errors.error_response(fault, call_id)


class AnthropicCountClient:
    """The side that asks how many tokens a conversation has."""

    name = NAME
    ERRORS: Mapping[str, tuple[str, int | None]] = errors.ERRORS
    keep_alive = b""

    def decode(self, body: bytes, headers: Mapping[str, str]) -> CountRequest:
        return count_from_wire(body, headers)

    def encoder(self, call: Call, created_s: int) -> Encoder:
        return CountEncoder(call)

    def error_response(self, fault: Fault, call_id: str) -> HttpResponse:
        return errors.error_response(fault, call_id)


class AnthropicMessagesUpstream:
    """The side that talks to providers."""

    name = NAME
    serves: frozenset[Surface] = frozenset({"chat", "count"})
    lacks = frozenset({Capability.AUDIO, Capability.CHOICES})

    def encode(self, request: ChatRequest | CountRequest, target: EncodeTarget) -> Draft:
        if isinstance(request, CountRequest):
            return count_to_wire(request, target)
        return request_to_wire(request, target)

    def steps(self, request: ChatRequest | CountRequest, target: EncodeTarget) -> Steps:
        if not isinstance(request, CountRequest):
            yield Send(self.encode(request, target))
            return

        answer = yield Send(self.encode(request, target), read_whole=True)
        if answer is not None and answer.status == HTTP_OK:
            yield frames_from_count(answer.body)
        elif answer is not None and answer.status in CANNOT_COUNT:
            yield token_count_frames(request.prompt_tokens())

    def decoder(self, content_type: str, options: DecodeOptions) -> Decoder:
        return decoder_from_content_type(
            content_type, options, MessagesStreamDecoder, MessagesBodyDecoder
        )

    def error_from_response(
        self, status: int, headers: Mapping[str, str], body: bytes
    ) -> UpstreamError:
        error = upstream_error_from_response(NAME, status, body, headers)
        error = replace(error, details=errors.error_details(decode_lenient(body)))
        field = FIELD_PREFIX.match(error.message)
        return replace(error, param=field[1]) if field is not None and not error.param else error
