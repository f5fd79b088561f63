"""What fal.ai answers: directly, and through its queue, where a request stands until its time has come.

The id of a queued request says all about it, so that the queue keeps nothing: number, scene, count, size, and when it
is done. `picture-wait` takes a second and a half, `picture-forever` for ever.
"""

import base64
import copy
import json
import time
from typing import Any

from msgspec.structs import replace

from gatewayz.simulator.exchanges import load_exchange
from gatewayz.simulator.faults import Actions, fault_actions, whole
from gatewayz.simulator.images import KNOWN, PICTURE, file_url, png, size_asked
from gatewayz.simulator.oracle import Asked, Invoice, tokens_of
from gatewayz.simulator.prompts import Prompt
from gatewayz.simulator.tongues import Tongue

FOLDER = "fal_images"
MEGAPIXEL = 1024 * 1024
TAKES_S = {"picture-wait": 1.5, "picture-forever": 1e9}
QUEUE = "/fal-queue/"


def direct_played(asked: Asked, scene: str) -> tuple[Invoice, Actions]:
    """A request that waits for its answer."""
    if not _plays(scene):
        return _nothing(asked, scene)
    return _invoice(asked), iter(
        [whole(200, json.dumps(_output(asked, scene)).encode(), x_fal_request_id="req_fal")]
    )


def submit_played(asked: Asked, scene: str) -> tuple[Invoice, Actions]:
    """A request that is put into the queue; faults whose names go on after `late-` come with its result."""
    if not _plays(scene) and not scene.startswith("fault-late-"):
        return _nothing(asked, scene)
    width, height = size_asked(asked.content)
    count = int(asked.content.get("num_images") or 1)
    done = time.time() + TAKES_S.get(scene, 0.0)
    named = f"{asked.number}|{scene}|{count}|{width}x{height}|{done:.3f}"
    hold = base64.urlsafe_b64encode(named.encode()).decode().rstrip("=")
    owner = "/".join(asked.model.split("/")[:2])
    root = f"http://{asked.headers.get('host', '')}{QUEUE}{owner}/requests/{hold}"
    document: dict[str, Any] = copy.deepcopy(load_exchange("template_queued", FOLDER).body)
    document |= {
        "request_id": hold,
        "response_url": root,
        "status_url": f"{root}/status",
        "cancel_url": f"{root}/cancel",
    }
    return _invoice(asked), iter([whole(200, json.dumps(document).encode())])


def status_played(asked: Asked, scene: str) -> tuple[Invoice, Actions]:
    """Where a queued request stands."""
    left_s = float(_held(asked)[4]) - time.time()
    document: dict[str, Any] = copy.deepcopy(load_exchange("template_status", FOLDER).body)
    status = "COMPLETED" if left_s <= 0 else "IN_PROGRESS" if left_s < 1 else "IN_QUEUE"
    document |= {"request_id": asked.model, "status": status}
    return Invoice(asked.number, "", 0, 0), iter(
        [whole(200 if left_s <= 0 else 202, json.dumps(document).encode())]
    )


def result_played(asked: Asked, scene: str) -> tuple[Invoice, Actions]:
    """The output of a queued request."""
    _, held, count, size, _ = _held(asked)
    if held.startswith("fault-late-"):
        return _nothing(asked, f"fault-{held.removeprefix('fault-late-')}")
    input_ = replace(asked, content={"num_images": int(count), "size": size, "prompt": "queued"})
    return _invoice(input_), iter([whole(200, json.dumps(_output(input_, held)).encode())])


def cancel_played(asked: Asked, scene: str) -> tuple[Invoice, Actions]:
    """A queued request that nobody waits for any more."""
    exchange = load_exchange("template_cancelled", FOLDER)
    return Invoice(asked.number, "", 0, 0), iter([whole(exchange.status, exchange.content())])


def _plays(scene: str) -> bool:
    return scene.startswith(PICTURE) or scene in KNOWN


def _held(asked: Asked) -> list[str]:
    return base64.urlsafe_b64decode(asked.model + "=" * (-len(asked.model) % 4)).decode().split("|")


def _output(asked: Asked, scene: str) -> dict[str, Any]:
    if scene == "picture-video":
        return dict(load_exchange("video", FOLDER).body)
    document: dict[str, Any] = copy.deepcopy(load_exchange("template_body", FOLDER).body)
    [item] = document["images"]
    width, height = size_asked(asked.content)
    count = int(asked.content.get("num_images") or 1)
    urls = [file_url(asked, scene, number) for number in range(count)]
    if asked.content.get("sync_mode"):
        urls = [f"data:image/png;base64,{base64.b64encode(png(width, height)).decode()}"] * count
    document["images"] = [item | {"url": url, "width": width, "height": height} for url in urls]
    document |= {
        "prompt": asked.content.get("prompt"),
        "has_nsfw_concepts": [scene == "picture-nsfw"] * count,
    }
    return document


def _invoice(asked: Asked) -> Invoice:
    invoice = Invoice(asked.number, asked.model, tokens_of(str(asked.content.get("prompt"))), 0)
    width, height = size_asked(asked.content)
    invoice.images = int(asked.content.get("num_images") or 1)
    invoice.pixels = invoice.images * -(-width * height // MEGAPIXEL) * MEGAPIXEL
    return invoice


def _nothing(asked: Asked, scene: str) -> tuple[Invoice, Actions]:
    """A fault, or a model that nobody knows."""
    found = fault_actions(FAL, scene.removeprefix("fault-")) if scene.startswith("fault-") else None
    invoice = Invoice(asked.number, asked.model, 0, 0, fault=scene)
    return invoice, found or iter(
        [whole(404, load_exchange("error_404", FOLDER).filled(model=asked.model))]
    )


FAL = Tongue(
    folder=FOLDER,
    prompt=lambda asked: Prompt(number=asked.number, text=str(asked.content.get("prompt"))),
)
