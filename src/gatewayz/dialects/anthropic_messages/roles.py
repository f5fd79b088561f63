"""The two roles of Anthropic Messages."""

import re
from collections.abc import Mapping

from msgspec.structs import replace

from gatewayz.core.calls import Call
from gatewayz.core.faults import Fault, UpstreamWords
from gatewayz.core.requests import Capability, ChatRequest, CountRequest, Surface
from gatewayz.dialects.anthropic_messages import errors
from gatewayz.dialects.anthropic_messages.counting import (
    CANNOT_COUNT,
    CountEncoder,
    count_from_wire,
    count_heard,
    count_to_wire,
)
from gatewayz.dialects.anthropic_messages.decoders import BodyDecoder, StreamDecoder
from gatewayz.dialects.anthropic_messages.encoders import BodyEncoder, StreamEncoder
from gatewayz.dialects.anthropic_messages.loses import NAME
from gatewayz.dialects.anthropic_messages.request import request_from_wire, request_to_wire
from gatewayz.dialects.base import Asking, Decoder, Draft, Encoder, Reading, Send, Spoken, Steps
from gatewayz.dialects.counting import counted
from gatewayz.dialects.listening import by_content_type
from gatewayz.dialects.refusals import words_from
from gatewayz.dialects.sse import spelled

HTTP_OK = 200
FIELD = re.compile(r"([\w.]+): ")
"""A rejection begins with the field that it is about: 'temperature: Extra inputs are not permitted'."""


class AnthropicMessagesClient:
    """The side that clients talk to."""

    name = NAME
    ERRORS: Mapping[str, tuple[str, int | None]] = errors.ERRORS
    keep_alive = spelled(b'{"type": "ping"}', "ping")

    def decode(self, body: bytes, headers: Mapping[str, str]) -> ChatRequest:
        return request_from_wire(body, headers)

    def encoder(self, call: Call, created_s: int) -> Encoder:
        return (
            StreamEncoder(call, created_s)
            if call.request.streamed
            else BodyEncoder(call, created_s)
        )

    def refusal(self, fault: Fault, call_id: str) -> Spoken:
        return errors.refusal(fault, call_id)


class AnthropicCountClient:
    """The side that asks how many tokens a conversation has."""

    name = NAME
    ERRORS: Mapping[str, tuple[str, int | None]] = errors.ERRORS
    keep_alive = b""

    def decode(self, body: bytes, headers: Mapping[str, str]) -> CountRequest:
        return count_from_wire(body, headers)

    def encoder(self, call: Call, created_s: int) -> Encoder:
        return CountEncoder(call)

    def refusal(self, fault: Fault, call_id: str) -> Spoken:
        return errors.refusal(fault, call_id)


class AnthropicMessagesUpstream:
    """The side that talks to providers."""

    name = NAME
    serves: frozenset[Surface] = frozenset({"chat", "count"})
    lacks = frozenset({Capability.AUDIO, Capability.CHOICES})

    def encode(self, request: ChatRequest | CountRequest, asking: Asking) -> Draft:
        return (
            count_to_wire(request, asking)
            if isinstance(request, CountRequest)
            else request_to_wire(request, asking)
        )

    def steps(self, request: ChatRequest | CountRequest, asking: Asking) -> Steps:
        if not isinstance(request, CountRequest):
            yield Send(self.encode(request, asking))
            return
        answer = yield Send(self.encode(request, asking), whole=True)
        if answer is not None and answer.status == HTTP_OK:
            yield count_heard(answer.body)
        elif answer is not None and answer.status in CANNOT_COUNT:
            yield counted(request.prompt_tokens())

    def decoder(self, content_type: str, reading: Reading) -> Decoder:
        return by_content_type(content_type, reading, StreamDecoder, BodyDecoder)

    def refused(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamWords:
        words = words_from(NAME, status, body, headers)
        found = FIELD.match(words.message)
        return replace(words, param=found[1]) if found is not None and not words.param else words
