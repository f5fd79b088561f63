"""The two roles of OpenAI's embeddings.

An answer is always whole, and goes on with every field of its provider.
"""

from collections.abc import Mapping

from gatewayz.core.calls import Call
from gatewayz.core.faults import Fault, UpstreamError
from gatewayz.core.requests import EmbeddingRequest, Surface
from gatewayz.dialects.kit.base import (
    HTTP_OK,
    Draft,
    Encoder,
    EncodeTarget,
    HttpResponse,
    Send,
    Steps,
)
from gatewayz.dialects.kit.refusals import upstream_error_from_response
from gatewayz.dialects.kit.whole_answers import WholeAnswers
from gatewayz.dialects.openai import errors
from gatewayz.dialects.openai.embeddings.decoder import frames_from_body
from gatewayz.dialects.openai.embeddings.encoder import EmbeddingsBodyEncoder
from gatewayz.dialects.openai.embeddings.request import request_from_wire, request_to_wire
from gatewayz.dialects.openai.embeddings.wire import NAME


class OpenAIEmbeddingsClient:
    """The side that clients talk to."""

    name = NAME
    ERRORS: Mapping[str, tuple[str, str | None]] = errors.ERRORS
    keep_alive = b""

    def decode(self, body: bytes, headers: Mapping[str, str]) -> EmbeddingRequest:
        return request_from_wire(body)

    def encoder(self, call: Call, created_s: int) -> Encoder:
        return EmbeddingsBodyEncoder(call.request.model)

    def error_response(self, fault: Fault, call_id: str) -> HttpResponse:
        return errors.error_response(fault)


class OpenAIEmbeddingsUpstream(WholeAnswers):
    """The side that talks to providers."""

    name = NAME
    serves: frozenset[Surface] = frozenset({"embedding"})

    def encode(self, request: EmbeddingRequest, target: EncodeTarget) -> Draft:
        return request_to_wire(request, target)

    def steps(self, request: EmbeddingRequest, target: EncodeTarget) -> Steps:
        answer = yield Send(self.encode(request, target), read_whole=True)
        if answer is not None and answer.status == HTTP_OK:
            yield (yield from frames_from_body(answer.body, request))

    def error_from_response(
        self, status: int, headers: Mapping[str, str], body: bytes
    ) -> UpstreamError:
        return upstream_error_from_response(NAME, status, body, headers)
