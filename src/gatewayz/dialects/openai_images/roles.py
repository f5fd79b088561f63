"""The two roles of OpenAI's image generation."""

from collections.abc import Mapping

from gatewayz.core.calls import Call
from gatewayz.core.faults import Fault, UpstreamWords
from gatewayz.core.requests import Capability, ImageRequest, Surface
from gatewayz.dialects import openai_errors as errors
from gatewayz.dialects.base import Asking, Decoder, Draft, Encoder, Reading, Send, Spoken, Steps
from gatewayz.dialects.listening import kind_of, no_answer
from gatewayz.dialects.openai_images.hear import StreamDecoder, frames_from
from gatewayz.dialects.openai_images.request import NAME, request_from_wire, request_to_wire
from gatewayz.dialects.openai_images.speak import BodyEncoder, StreamEncoder
from gatewayz.dialects.refusals import words_from


class OpenAIImagesClient:
    """The side that clients talk to."""

    name = NAME
    ERRORS: Mapping[str, tuple[str, str | None]] = errors.ERRORS
    keep_alive = b": keep-alive\n\n"

    def decode(self, body: bytes, headers: Mapping[str, str]) -> ImageRequest:
        return request_from_wire(body)

    def encoder(self, call: Call, created_s: int) -> Encoder:
        return (
            StreamEncoder(created_s)
            if call.request.streamed
            else BodyEncoder(call.request.form, created_s)
        )

    def refusal(self, fault: Fault, call_id: str) -> Spoken:
        return errors.refusal(fault)


class OpenAIImagesUpstream:
    """The side that talks to providers."""

    name = NAME
    serves: frozenset[Surface] = frozenset({"image"})
    lacks: frozenset[Capability] = frozenset()

    def encode(self, request: ImageRequest, asking: Asking) -> Draft:
        return request_to_wire(request, asking)

    def steps(self, request: ImageRequest, asking: Asking) -> Steps:
        draft = self.encode(request, asking)
        answer = yield Send(draft, whole=not asking.streamed)
        if answer is not None and answer.status == 200:
            yield (yield from frames_from(answer.body, request, echo=request.dialect == NAME))

    def decoder(self, content_type: str, reading: Reading) -> Decoder:
        if kind_of(content_type) != "text/event-stream":
            raise no_answer(content_type)
        return StreamDecoder(reading)

    def refused(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamWords:
        return words_from(NAME, status, body, headers)
