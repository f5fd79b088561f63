"""The upstream role of `:predict`: one instance an image in, one prediction an image out.

Models behind such endpoints are their owner's; the forms of a prediction that are in use are all read.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from gatewayz.core.events import UsageReported
from gatewayz.core.faults import Fault, UpstreamWords
from gatewayz.core.requests import Capability, ImageRequest, Surface
from gatewayz.dialects.base import Asking, Decoder, Draft, Reading, Send, Steps
from gatewayz.dialects.images import Made, counted, data_url, in_form, whole_frame
from gatewayz.dialects.jsontext import decoded
from gatewayz.dialects.refusals import words_from

NAME = "vertex_predict"
FIELDS = ("bytesBase64Encoded", "b64_json", "image", "output")
"""Where a prediction that is an object holds the image: Imagen's name first, then those of self-made handlers."""


class VertexPredictUpstream:
    """The side that talks to an endpoint: its upstream id is `endpoints/ID`, or the path of a publisher's model."""

    name = NAME
    serves: frozenset[Surface] = frozenset({"image"})
    lacks: frozenset[Capability] = frozenset()

    def encode(self, request: ImageRequest, asking: Asking) -> Draft:
        instance: dict[str, Any] = {"prompt": request.prompt}
        if request.size is not None:
            instance |= {"width": request.size[0], "height": request.size[1]}
        if request.negative:
            instance["negative_prompt"] = request.negative
        if request.seed is not None:
            instance["seed"] = request.seed
        body: dict[str, Any] = {"instances": [instance] * request.n}
        parameters = request.options_for(asking.provider)
        if parameters:
            body["parameters"] = parameters
        unsaid = {"quality": request.quality, "style": request.style, "user": request.user}
        dropped = (*(name for name, value in unsaid.items() if value), *request.extra)
        return Draft(f"/{asking.upstream_id}:predict", body, dropped=dropped)

    def steps(self, request: ImageRequest, asking: Asking) -> Steps:
        answer = yield Send(self.encode(request, asking), whole=True)
        if answer is None or answer.status != 200:
            return
        images = yield from in_form(_made(answer.body), request)
        yield [whole_frame(images, UsageReported(counted(images, request.size)))]

    def decoder(self, content_type: str, reading: Reading) -> Decoder:
        raise Fault("internal", "Predictions come whole.")

    def refused(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamWords:
        return words_from(NAME, status, body, headers)


def _made(body: bytes) -> list[Made]:
    try:
        document = decoded(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        document = None
    predictions = document.get("predictions") if isinstance(document, dict) else None
    if not isinstance(predictions, list):
        raise Fault("upstream_broken", "The provider's answer holds no predictions.")
    images = [image for prediction in predictions if (image := _image(prediction)) is not None]
    if not images:
        # Vertex leaves filtered images out, or names why in `raiFilteredReason`.
        raise Fault("filtered", "The provider filtered the content")
    return images


def _image(prediction: Any) -> Made | None:
    if isinstance(prediction, dict):
        text = next(
            (prediction[name] for name in FIELDS if isinstance(prediction.get(name), str)), ""
        )
        revised = prediction.get("prompt")
    else:
        text, revised = prediction if isinstance(prediction, str) else "", None
    if not text:
        return None
    url = text if text.startswith(("data:", "https://", "http://")) else data_url(text)
    return Made(url, revised=revised if isinstance(revised, str) else "")
