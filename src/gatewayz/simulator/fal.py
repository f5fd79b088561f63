"""What fal.ai answers: directly, or through its queue, where a request waits for its time.

The id of a queued request says all about it, so that the queue keeps nothing: number, scene, count,
size, and when it is done. `picture-wait` takes a second and a half, `picture-forever` for ever.
"""

import base64
import copy
import json
import time
from typing import Any

from msgspec.structs import replace

from gatewayz.simulator.base64url import decode_base64url, encode_base64url
from gatewayz.simulator.exchanges import load_exchange
from gatewayz.simulator.faults import Actions, fault_actions, http_response
from gatewayz.simulator.images import IMAGE_MODELS, PICTURE_PREFIX, file_url, png, size_from_content
from gatewayz.simulator.prompts import Prompt
from gatewayz.simulator.recorder import Invoice, RecordedRequest, count_tokens
from gatewayz.simulator.wire_format import WireFormat

FOLDER = "fal_images"
MEGAPIXEL = 1024 * 1024
BILLED_PIXELS = 10**6
"""What a megapixel costs: the price of a million pixels."""
DURATION_S = {"picture-wait": 1.5, "picture-forever": 1e9}
QUEUE = "/fal-queue/"


def play_direct(request: RecordedRequest, scene: str) -> tuple[Invoice, Actions]:
    """A request that waits for its answer."""
    if not _is_image_scene(scene):
        return _fault_or_not_found(request, scene)
    body = json.dumps(_output(request, scene)).encode()
    return _invoice(request), iter([http_response(200, body, x_fal_request_id="req_fal")])


def play_submit(request: RecordedRequest, scene: str) -> tuple[Invoice, Actions]:
    """A request that is put into the queue.

    Faults whose names go on after `late-` come with its result.
    """
    if not _is_image_scene(scene) and not scene.startswith("fault-late-"):
        return _fault_or_not_found(request, scene)

    width, height = size_from_content(request.content)
    count = int(request.content.get("num_images") or 1)
    done_at_s = time.time() + DURATION_S.get(scene, 0.0)
    fields = f"{request.number}|{scene}|{count}|{width}x{height}|{done_at_s:.3f}"
    request_id = encode_base64url(fields.encode())
    owner = "/".join(request.model.split("/")[:2])
    root = f"http://{request.headers.get('host', '')}{QUEUE}{owner}/requests/{request_id}"

    document: dict[str, Any] = copy.deepcopy(load_exchange("template_queued", FOLDER).body)
    document |= {
        "request_id": request_id,
        "response_url": root,
        "status_url": f"{root}/status",
        "cancel_url": f"{root}/cancel",
    }
    return _invoice(request), iter([http_response(200, json.dumps(document).encode())])


def play_status(request: RecordedRequest, scene: str) -> tuple[Invoice, Actions]:
    """Where a queued request stands."""
    left_s = float(_fields_from_request_id(request)[4]) - time.time()
    document: dict[str, Any] = copy.deepcopy(load_exchange("template_status", FOLDER).body)
    status = "COMPLETED" if left_s <= 0 else "IN_PROGRESS" if left_s < 1 else "IN_QUEUE"
    document |= {"request_id": request.model, "status": status}
    response = http_response(200 if left_s <= 0 else 202, json.dumps(document).encode())
    return Invoice(request.number, "", 0, 0), iter([response])


def play_result(request: RecordedRequest, scene: str) -> tuple[Invoice, Actions]:
    """The output of a queued request."""
    _, queued_scene, count, size, _ = _fields_from_request_id(request)
    if queued_scene.startswith("fault-late-"):
        return _fault_or_not_found(request, f"fault-{queued_scene.removeprefix('fault-late-')}")
    content = {"num_images": int(count), "size": size, "prompt": "queued"}
    queued = replace(request, content=content)
    body = json.dumps(_output(queued, queued_scene)).encode()
    return _invoice(queued), iter([http_response(200, body)])


def play_cancel(request: RecordedRequest, scene: str) -> tuple[Invoice, Actions]:
    """A queued request that nobody waits for any more."""
    exchange = load_exchange("template_cancelled", FOLDER)
    response = http_response(exchange.status, exchange.content())
    return Invoice(request.number, "", 0, 0), iter([response])


def _is_image_scene(scene: str) -> bool:
    return scene.startswith(PICTURE_PREFIX) or scene in IMAGE_MODELS


def _fields_from_request_id(request: RecordedRequest) -> list[str]:
    """Number, scene, count, size, and when it is done."""
    return decode_base64url(request.model).decode().split("|")


def _output(request: RecordedRequest, scene: str) -> dict[str, Any]:
    if scene == "picture-video":
        return dict(load_exchange("video", FOLDER).body)
    document: dict[str, Any] = copy.deepcopy(load_exchange("template_body", FOLDER).body)
    [item] = document["images"]
    width, height = size_from_content(request.content)
    count = int(request.content.get("num_images") or 1)
    urls = [file_url(request, scene, number) for number in range(count)]
    if request.content.get("sync_mode"):
        urls = [f"data:image/png;base64,{base64.b64encode(png(width, height)).decode()}"] * count
    document["images"] = [item | {"url": url, "width": width, "height": height} for url in urls]
    document |= {
        "prompt": request.content.get("prompt"),
        "has_nsfw_concepts": [scene == "picture-nsfw"] * count,
    }
    return document


def _invoice(request: RecordedRequest) -> Invoice:
    invoice = Invoice(
        request.number, request.model, count_tokens(str(request.content.get("prompt"))), 0
    )
    width, height = size_from_content(request.content)
    invoice.images = int(request.content.get("num_images") or 1)
    invoice.pixels = invoice.images * -(-width * height // MEGAPIXEL) * BILLED_PIXELS
    return invoice


def _fault_or_not_found(request: RecordedRequest, scene: str) -> tuple[Invoice, Actions]:
    """A fault, or a model that nobody knows."""
    actions = None
    if scene.startswith("fault-"):
        actions = fault_actions(FAL, scene.removeprefix("fault-"))
    if actions is None:
        body = load_exchange("error_404", FOLDER).render(model=request.model)
        actions = iter([http_response(404, body)])
    return Invoice(request.number, request.model, 0, 0, fault=scene), actions


FAL = WireFormat(
    folder=FOLDER,
    prompt=lambda request: Prompt(number=request.number, text=str(request.content.get("prompt"))),
)
