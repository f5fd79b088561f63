"""The two roles of OpenAI's image generation."""

from collections.abc import Mapping

from gatewayz.core.calls import Call
from gatewayz.core.faults import Fault, UpstreamError
from gatewayz.core.requests import Capability, ImageRequest, Surface
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
from gatewayz.dialects.kit.decoder import content_type_fault, media_type
from gatewayz.dialects.kit.refusals import upstream_error_from_response
from gatewayz.dialects.openai import errors
from gatewayz.dialects.openai.images.decoder import ImagesStreamDecoder, frames_from_body
from gatewayz.dialects.openai.images.encoder import ImagesBodyEncoder, ImagesStreamEncoder
from gatewayz.dialects.openai.images.request import request_from_wire, request_to_wire
from gatewayz.dialects.openai.images.wire import NAME


class OpenAIImagesClient:
    """The side that clients talk to."""

    name = NAME
    ERRORS: Mapping[str, tuple[str, str | None]] = errors.ERRORS
    keep_alive = b": keep-alive\n\n"

    def decode(self, body: bytes, headers: Mapping[str, str]) -> ImageRequest:
        return request_from_wire(body)

    def encoder(self, call: Call, created_s: int) -> Encoder:
        if call.request.streamed:
            return ImagesStreamEncoder(created_s)
        return ImagesBodyEncoder(call.request.output_encoding, created_s)

    def error_response(self, fault: Fault, call_id: str) -> HttpResponse:
        return errors.error_response(fault)


class OpenAIImagesUpstream:
    """The side that talks to providers."""

    name = NAME
    serves: frozenset[Surface] = frozenset({"image"})
    lacks: frozenset[Capability] = frozenset()

    def encode(self, request: ImageRequest, target: EncodeTarget) -> Draft:
        return request_to_wire(request, target)

    def steps(self, request: ImageRequest, target: EncodeTarget) -> Steps:
        draft = self.encode(request, target)
        answer = yield Send(draft, read_whole=not target.streamed)
        if answer is not None and answer.status == HTTP_OK:
            yield (yield from frames_from_body(answer.body, request, echo=request.dialect == NAME))

    def decoder(self, content_type: str, options: DecodeOptions) -> Decoder:
        if media_type(content_type) != "text/event-stream":
            raise content_type_fault(content_type)
        return ImagesStreamDecoder(options)

    def error_from_response(
        self, status: int, headers: Mapping[str, str], body: bytes
    ) -> UpstreamError:
        return upstream_error_from_response(NAME, status, body, headers)
