"""Vertex AI's `:predict`, as an image model behind somebody's own endpoint answers it."""

import base64
import copy
import json
from typing import Any

from gatewayz.simulator.exchanges import load_exchange
from gatewayz.simulator.faults import Actions, fault_actions, http_response
from gatewayz.simulator.images import PICTURE_PREFIX, png, size_from_content
from gatewayz.simulator.prompts import Prompt
from gatewayz.simulator.recorder import Invoice, RecordedRequest
from gatewayz.simulator.wire_format import WireFormat

FOLDER = "vertex_predict"


def play_predict(request: RecordedRequest, scene: str) -> tuple[Invoice, Actions]:
    """A prediction for each instance."""
    invoice = Invoice(request.number, request.model, 0, 0)
    if scene.startswith("fault-"):
        actions = fault_actions(VERTEX, scene.removeprefix("fault-"))
        if actions is not None:
            return invoice, actions
    if not scene.startswith(PICTURE_PREFIX):
        body = load_exchange("error_404", FOLDER).render(model=request.model)
        return invoice, iter([http_response(404, body)])

    sizes = [size_from_content(instance) for instance in _instances(request)]
    invoice.images, invoice.pixels = len(sizes), sum(width * height for width, height in sizes)
    return invoice, iter([http_response(200, json.dumps(_body(request)).encode())])


def _instances(request: RecordedRequest) -> list[dict[str, Any]]:
    return [
        instance
        for instance in request.content.get("instances") or []
        if isinstance(instance, dict)
    ]


def _body(request: RecordedRequest) -> dict[str, Any]:
    document: dict[str, Any] = copy.deepcopy(load_exchange("template_body", FOLDER).body)
    images = [png(*size_from_content(instance)) for instance in _instances(request)]
    return document | {"predictions": [base64.b64encode(image).decode() for image in images]}


VERTEX = WireFormat(
    folder=FOLDER,
    errors="openai_chat",
    prompt=lambda request: Prompt(number=request.number),
)
