"""An image request as instances of `:predict`: one for each image."""

from typing import Any

from gatewayz.core.requests import ImageRequest
from gatewayz.dialects.kit.base import Draft, EncodeTarget
from gatewayz.dialects.kit.dropped import names_to_drop
from gatewayz.dialects.vertex.dropped import DROPPED


def request_to_wire(request: ImageRequest, target: EncodeTarget) -> Draft:
    """The request; the upstream id is `endpoints/ID`, or the path of a publisher's model.

    Example: `Draft("/endpoints/7:predict", {"instances": [{"prompt": "a cat"}]})`.
    """
    instance: dict[str, Any] = {"prompt": request.prompt}
    if request.size is not None:
        instance |= {"width": request.size[0], "height": request.size[1]}
    if request.negative:
        instance["negative_prompt"] = request.negative
    if request.seed is not None:
        instance["seed"] = request.seed

    body: dict[str, Any] = {"instances": [instance] * request.n}
    parameters = request.options_for(target.provider)
    if parameters:
        body["parameters"] = parameters
    return Draft(f"/{target.upstream_id}:predict", body, dropped=names_to_drop(request, DROPPED))
