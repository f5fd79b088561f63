"""The client role of OpenAI's completions."""

from collections.abc import Mapping

from gatewayz.core.calls import Call
from gatewayz.core.faults import Fault
from gatewayz.core.requests import ChatRequest
from gatewayz.dialects.kit.base import Encoder, HttpResponse
from gatewayz.dialects.openai import errors
from gatewayz.dialects.openai.completions.encoder import (
    CompletionsBodyEncoder,
    CompletionsStreamEncoder,
)
from gatewayz.dialects.openai.completions.request import request_from_wire
from gatewayz.dialects.openai.completions.wire import NAME


class OpenAICompletionsClient:
    """The side that clients talk to."""

    name = NAME
    ERRORS: Mapping[str, tuple[str, str | None]] = errors.ERRORS
    keep_alive = b": keep-alive\n\n"

    def decode(self, body: bytes, headers: Mapping[str, str]) -> ChatRequest:
        return request_from_wire(body)

    def encoder(self, call: Call, created_s: int) -> Encoder:
        if call.request.streamed:
            return CompletionsStreamEncoder(call, created_s)
        return CompletionsBodyEncoder(call, created_s)

    def error_response(self, fault: Fault, call_id: str) -> HttpResponse:
        return errors.error_response(fault)
