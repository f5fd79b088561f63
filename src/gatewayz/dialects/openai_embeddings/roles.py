"""The two roles of OpenAI's embeddings. An answer is always whole, and goes on with every field of its provider."""

from collections.abc import Mapping, Sequence
from typing import Any

from gatewayz.core.calls import Call
from gatewayz.core.events import BlockDelta, Event, Failed, Finished, Frame, UsageReported
from gatewayz.core.faults import Fault, UpstreamWords
from gatewayz.core.requests import Capability, EmbeddingRequest, Surface
from gatewayz.core.usage import Usage
from gatewayz.dialects import openai_errors as errors
from gatewayz.dialects.base import Asking, Decoder, Draft, Encoder, Reading, Send, Spoken, Steps
from gatewayz.dialects.jsontext import encoded, fields_of, usd_number
from gatewayz.dialects.openai_embeddings.request import request_from_wire, request_to_wire
from gatewayz.dialects.openai_usage import with_cost
from gatewayz.dialects.refusals import words_from
from gatewayz.dialects.vectors import NAME, frames_from, unpacked


class BodyEncoder:
    """The provider's body, with the model under the name that the client used; or one made of vectors."""

    content_type = "application/json"

    def __init__(self, model: str, form: str) -> None:
        self._model = model
        self._form = form
        self._vectors: list[str] = []
        self._reported = UsageReported(Usage())

    def feed(self, frames: Sequence[Frame]) -> bytes:
        for frame in frames:
            if frame.source is not None:
                fields = fields_of(frame.source)
                reported = next(
                    (event for event in frame.events if isinstance(event, UsageReported)),
                    UsageReported(Usage()),
                )
                return encoded(
                    {
                        **fields,
                        "model": self._model,
                        "usage": with_cost(fields["usage"], reported.cost),
                    }
                )
            for event in frame.events:
                body = self._heard(event)
                if body:
                    return body
        return b""

    def _heard(self, event: Event) -> bytes:
        match event:
            case BlockDelta(text=vector):
                self._vectors.append(vector)
            case UsageReported():
                self._reported = event
            case Failed(fault=fault):
                return encoded({"error": errors.error_object(fault)})
            case Finished():
                return self._body()
        return b""

    def _body(self) -> bytes:
        spelled = [
            vector if self._form == "base64" else unpacked(vector) for vector in self._vectors
        ]
        data = [
            {"object": "embedding", "index": index, "embedding": one}
            for index, one in enumerate(spelled)
        ]
        prompt, cost = self._reported.usage.prompt, self._reported.cost
        usage: dict[str, Any] = {"prompt_tokens": prompt, "total_tokens": prompt}
        usage |= {"cost": usd_number(cost)} if cost is not None else {}
        return encoded({"object": "list", "data": data, "model": self._model, "usage": usage})


class OpenAIEmbeddingsClient:
    """The side that clients talk to."""

    name = NAME
    ERRORS: Mapping[str, tuple[str, str | None]] = errors.ERRORS
    keep_alive = b""

    def decode(self, body: bytes, headers: Mapping[str, str]) -> EmbeddingRequest:
        return request_from_wire(body)

    def encoder(self, call: Call, created_s: int) -> Encoder:
        return BodyEncoder(call.request.model, call.request.form)

    def refusal(self, fault: Fault, call_id: str) -> Spoken:
        return errors.refusal(fault)


class OpenAIEmbeddingsUpstream:
    """The side that talks to providers."""

    name = NAME
    serves: frozenset[Surface] = frozenset({"embedding"})
    lacks: frozenset[Capability] = frozenset()

    def encode(self, request: EmbeddingRequest, asking: Asking) -> Draft:
        return request_to_wire(request, asking)

    def steps(self, request: EmbeddingRequest, asking: Asking) -> Steps:
        answer = yield Send(self.encode(request, asking), whole=True)
        if answer is not None and answer.status == 200:
            yield (yield from frames_from(answer.body, request))

    def decoder(self, content_type: str, reading: Reading) -> Decoder:
        raise Fault("internal", "Embeddings come whole.")

    def refused(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamWords:
        return words_from(NAME, status, body, headers)
