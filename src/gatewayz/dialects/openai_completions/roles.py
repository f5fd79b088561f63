"""The client role of OpenAI's completions."""

from collections.abc import Mapping

from gatewayz.core.calls import Call
from gatewayz.core.faults import Fault
from gatewayz.core.requests import ChatRequest
from gatewayz.dialects import openai_errors as errors
from gatewayz.dialects.base import Encoder, Spoken
from gatewayz.dialects.openai_completions.request import NAME, request_from_wire
from gatewayz.dialects.openai_completions.speak import BodyEncoder, StreamEncoder


class OpenAICompletionsClient:
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
