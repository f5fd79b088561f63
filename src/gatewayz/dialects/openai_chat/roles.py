"""The two roles of OpenAI Chat."""

from collections.abc import Mapping

from gatewayz.core.calls import Call
from gatewayz.core.faults import Fault, UpstreamWords
from gatewayz.core.requests import ChatRequest
from gatewayz.dialects import openai_errors as errors
from gatewayz.dialects.base import Asking, Decoder, Draft, Encoder, Reading, Spoken
from gatewayz.dialects.counting import OneChat
from gatewayz.dialects.listening import by_content_type
from gatewayz.dialects.openai_chat.decoders import BodyDecoder, StreamDecoder
from gatewayz.dialects.openai_chat.encoders import BodyEncoder, StreamEncoder
from gatewayz.dialects.openai_chat.messages import NAME
from gatewayz.dialects.openai_chat.request import request_from_wire, request_to_wire
from gatewayz.dialects.refusals import words_from


class OpenAIChatClient:
    """The side that clients talk to."""

    name = NAME
    ERRORS: Mapping[str, tuple[str, str | None]] = errors.ERRORS
    keep_alive = b": keep-alive\n\n"

    def decode(self, body: bytes, headers: Mapping[str, str]) -> ChatRequest:
        return request_from_wire(body)

    def encoder(self, call: Call, created_s: int) -> Encoder:
        return (
            StreamEncoder(call, created_s)
            if call.request.streamed
            else BodyEncoder(call, created_s)
        )

    def refusal(self, fault: Fault, call_id: str) -> Spoken:
        return errors.refusal(fault)


class OpenAIChatUpstream(OneChat):
    """The side that talks to providers."""

    name = NAME

    def encode(self, request: ChatRequest, asking: Asking) -> Draft:
        return request_to_wire(request, asking)

    def decoder(self, content_type: str, reading: Reading) -> Decoder:
        return by_content_type(content_type, reading, StreamDecoder, BodyDecoder)

    def refused(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamWords:
        return words_from(NAME, status, body, headers)
