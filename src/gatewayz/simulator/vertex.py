"""Vertex AI's `:predict`, as an image model behind an endpoint of one's own answers."""

import base64
import copy
import json
from typing import Any

from gatewayz.simulator.exchanges import load_exchange
from gatewayz.simulator.faults import Actions, fault_actions, whole
from gatewayz.simulator.images import PICTURE, png, size_asked
from gatewayz.simulator.oracle import Asked, Invoice
from gatewayz.simulator.prompts import Prompt
from gatewayz.simulator.tongues import Tongue

FOLDER = "vertex_predict"


def predict_played(asked: Asked, scene: str) -> tuple[Invoice, Actions]:
    """A prediction for each instance."""
    invoice = Invoice(asked.number, asked.model, 0, 0)
    if scene.startswith("fault-"):
        found = fault_actions(VERTEX, scene.removeprefix("fault-"))
        if found is not None:
            return invoice, found
    if not scene.startswith(PICTURE):
        return invoice, iter(
            [whole(404, load_exchange("error_404", FOLDER).filled(model=asked.model))]
        )
    sizes = [size_asked(instance) for instance in _instances(asked)]
    invoice.images, invoice.pixels = len(sizes), sum(width * height for width, height in sizes)
    return invoice, iter([whole(200, json.dumps(_body(asked)).encode())])


def _instances(asked: Asked) -> list[dict[str, Any]]:
    return [
        instance for instance in asked.content.get("instances") or [] if isinstance(instance, dict)
    ]


def _body(asked: Asked) -> dict[str, Any]:
    document: dict[str, Any] = copy.deepcopy(load_exchange("template_body", FOLDER).body)
    images = [
        base64.b64encode(png(*size_asked(instance))).decode() for instance in _instances(asked)
    ]
    return document | {"predictions": images}


VERTEX = Tongue(
    folder=FOLDER,
    errors="openai_chat",
    prompt=lambda asked: Prompt(number=asked.number),
)
