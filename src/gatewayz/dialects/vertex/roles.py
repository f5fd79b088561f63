"""The upstream role of `:predict`: one instance an image in, one prediction an image out."""

from collections.abc import Mapping

from gatewayz.core.events import UsageReported
from gatewayz.core.faults import UpstreamError
from gatewayz.core.requests import ImageRequest, Surface
from gatewayz.dialects.kit.base import HTTP_OK, Draft, EncodeTarget, Send, Steps
from gatewayz.dialects.kit.images import frame_from_images, inline_images, usage_from_images
from gatewayz.dialects.kit.refusals import upstream_error_from_response
from gatewayz.dialects.kit.whole_answers import WholeAnswers
from gatewayz.dialects.vertex.decoder import images_from_body
from gatewayz.dialects.vertex.request import request_to_wire
from gatewayz.dialects.vertex.wire import NAME


class VertexPredictUpstream(WholeAnswers):
    """The side that talks to an endpoint."""

    name = NAME
    serves: frozenset[Surface] = frozenset({"image"})

    def encode(self, request: ImageRequest, target: EncodeTarget) -> Draft:
        return request_to_wire(request, target)

    def steps(self, request: ImageRequest, target: EncodeTarget) -> Steps:
        answer = yield Send(self.encode(request, target), read_whole=True)
        if answer is None or answer.status != HTTP_OK:
            return
        images = yield from inline_images(images_from_body(answer.body), request)
        usage = UsageReported(usage_from_images(images, request.size))
        yield [frame_from_images(images, usage)]

    def error_from_response(
        self, status: int, headers: Mapping[str, str], body: bytes
    ) -> UpstreamError:
        return upstream_error_from_response(NAME, status, body, headers)
