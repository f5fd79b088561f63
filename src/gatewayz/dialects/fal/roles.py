"""The upstream role of fal.ai: through the queue, or directly for models that answer at once."""

from collections.abc import Mapping

from gatewayz.core.events import UsageReported
from gatewayz.core.faults import UpstreamError
from gatewayz.core.requests import ImageRequest, Surface
from gatewayz.dialects.fal.decoder import images_from_body, usage_from_images
from gatewayz.dialects.fal.queue import run_in_queue
from gatewayz.dialects.fal.request import request_to_wire
from gatewayz.dialects.fal.wire import NAME
from gatewayz.dialects.kit.base import HTTP_OK, Draft, EncodeTarget, Send, Steps, UpstreamAnswer
from gatewayz.dialects.kit.images import frame_from_images, inline_images
from gatewayz.dialects.kit.refusals import upstream_error_from_response
from gatewayz.dialects.kit.whole_answers import WholeAnswers


class FalImagesUpstream(WholeAnswers):
    """The side that talks to fal."""

    name = NAME
    serves: frozenset[Surface] = frozenset({"image"})

    def encode(self, request: ImageRequest, target: EncodeTarget) -> Draft:
        return request_to_wire(request, target)

    def steps(self, request: ImageRequest, target: EncodeTarget) -> Steps:
        draft = self.encode(request, target)
        answer: UpstreamAnswer | None
        if target.queue_url:
            answer = yield from run_in_queue(draft, target.queue_url)
        else:
            answer = yield Send(draft, read_whole=True)
        if answer is None or answer.status != HTTP_OK:
            return

        images = images_from_body(answer.body)
        usage = UsageReported(usage_from_images(images, request))
        inlined = yield from inline_images(images, request)
        yield [frame_from_images(inlined, usage)]

    def error_from_response(
        self, status: int, headers: Mapping[str, str], body: bytes
    ) -> UpstreamError:
        return upstream_error_from_response(NAME, status, body, headers)
