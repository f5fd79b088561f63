"""Images, as providers make them: grey rectangles of the size that was asked for, in the words of the exchange files.

A scene begins with `picture`; what follows says how the images come or what is wrong with their files. The files are
served under `/files/`, at the host that was asked.
"""

import base64
import copy
import json
import struct
import zlib
from collections.abc import Iterator
from functools import cache
from typing import Any

from gatewayz.simulator.answers import Answer
from gatewayz.simulator.exchanges import load_exchange
from gatewayz.simulator.faults import LAST, Actions, Wait, piece, stream_head, whole
from gatewayz.simulator.oracle import Asked, Invoice, tokens_of
from gatewayz.simulator.plays import played
from gatewayz.simulator.prompts import Prompt
from gatewayz.simulator.tongues import Pieces, Tongue

FOLDER = "openai_images"
PICTURE = "picture"
KNOWN = frozenset({"gpt-image-1", "dall-e-3", "sd3.5", "FLUX.1-schnell"})
"""Models that a test names by their own name."""
DEFAULT = (1024, 1024)
IMAGE_TOKENS = 272
SLOW_S = 0.5
TOO_LARGE = 21 * 2**20


@cache
def png(width: int, height: int) -> bytes:
    """A grey rectangle."""
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    packed = zlib.compress((b"\0" + b"\x80" * width) * height, 9)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        _chunk(*part) for part in ((b"IHDR", head), (b"IDAT", packed), (b"IEND", b""))
    )


def _chunk(name: bytes, content: bytes) -> bytes:
    return (
        struct.pack(">I", len(content))
        + name
        + content
        + struct.pack(">I", zlib.crc32(name + content))
    )


def size_asked(content: dict[str, Any]) -> tuple[int, int]:
    """The size in a request, in any of the ways in which providers take it."""
    size = content.get("image_size") or content.get("size")
    if isinstance(size, dict):
        return int(size["width"]), int(size["height"])
    if isinstance(size, str) and "x" in size:
        width, _, height = size.partition("x")
        return int(width), int(height)
    if isinstance(size, str) and size in PRESETS:
        return PRESETS[size]
    return int(content.get("width") or DEFAULT[0]), int(content.get("height") or DEFAULT[1])


PRESETS = {
    "square": (512, 512),
    "square_hd": (1024, 1024),
    "portrait_4_3": (768, 1024),
    "portrait_16_9": (576, 1024),
    "landscape_4_3": (1024, 768),
    "landscape_16_9": (1024, 576),
}


def file_url(asked: Asked, scene: str, number: int) -> str:
    """Where the file of an image is; scenes about files name what is wrong with it."""
    width, height = size_asked(asked.content)
    host = asked.headers.get("host", "")
    wrong = scene.partition("-file-")[2]
    if wrong == "away":
        return f"http://localhost:{host.partition(':')[2]}/files/{width}x{height}-{number}.png"
    return f"http://{host}/files/{f'{wrong}-' if wrong else ''}{width}x{height}-{number}.png"


def file_played(asked: Asked, scene: str) -> tuple[Invoice, Actions]:
    """A file, or what is in its place."""
    name = asked.model
    wrong, _, rest = name.partition("-") if not name[:1].isdigit() else ("", "", name)
    size, _, number = rest.removesuffix(".png").partition("-")
    width, _, height = size.partition("x")
    content = png(int(width), int(height))
    return Invoice(asked.number, "", 0, 0), iter(
        _file(wrong, asked, content, f"{size}-{number}.png")
    )


def _file(wrong: str, asked: Asked, content: bytes, name: str) -> Actions:
    host = asked.headers.get("host", "")
    match wrong:
        case "missing":
            yield whole(404, b"no such file", "text/plain")
        case "html":
            yield whole(200, b"<html>sign in first</html>", "text/html")
        case "moved":
            yield whole(302, b"", location=f"http://{host}/files/{name}")
        case "circle":
            yield whole(302, b"", location=asked.path)
        case "inside":
            yield whole(302, b"", location="http://169.254.169.254/latest/meta-data/")
        case "large":
            yield whole(200, content + b"\0" * TOO_LARGE, "image/png")
        case _:
            yield whole(200, content, "image/png")


def images_played(asked: Asked, scene: str) -> tuple[Invoice, Actions]:
    """The invoice of a request for images, and its answer."""
    if not scene.startswith(PICTURE) and scene not in KNOWN:
        return played(IMAGES, asked, scene)
    count = int(asked.content.get("n") or 1)
    width, height = size_asked(asked.content)
    invoice = Invoice(
        asked.number, asked.model, tokens_of(str(asked.content.get("prompt"))), count * IMAGE_TOKENS
    )
    invoice.images, invoice.pixels = count, count * width * height
    return invoice, _answered(asked, scene)


def _answered(asked: Asked, scene: str) -> Actions:
    if asked.streamed:
        yield stream_head()
        for data, tokens in _stream(asked):
            yield piece(data, tokens)
            if scene == "picture-slow":
                yield Wait(SLOW_S)
        yield LAST
        return
    if scene == "picture-slow":
        yield Wait(SLOW_S)
    yield whole(
        200, json.dumps(body_of(asked, scene)).encode(), x_request_id=f"req_sim{asked.number}"
    )


def body_of(asked: Asked, scene: str) -> dict[str, Any]:
    """A whole answer: as bytes or addresses, and with the fields of the provider that the scene names."""
    bytes_asked = asked.content.get("response_format") in {"b64_json", "base64"}
    as_bytes = bytes_asked or scene in ("picture-bytes", "picture-tokens", "gpt-image-1", "sd3.5")
    if "-file" in scene or scene == "picture-url":
        as_bytes = False
    name = {"picture-together": "together_body"}.get(
        scene, "template_bytes" if as_bytes else "template_body"
    )
    document: dict[str, Any] = copy.deepcopy(load_exchange(name, FOLDER).body)
    [item, *_] = document["data"]
    content = base64.b64encode(png(*size_asked(asked.content))).decode()
    image = {"b64_json": content} if as_bytes else {}
    document["data"] = [
        item | (image or {"url": file_url(asked, scene, number)})
        for number in range(int(asked.content.get("n") or 1))
    ]
    document.pop("usage", None)
    if scene in {"picture-tokens", "gpt-image-1"}:
        document["usage"] = _usage(asked)
    return document


def _usage(asked: Asked) -> dict[str, Any]:
    usage: dict[str, Any] = copy.deepcopy(load_exchange("template_bytes", FOLDER).body["usage"])
    prompt, made = (
        tokens_of(str(asked.content.get("prompt"))),
        int(asked.content.get("n") or 1) * IMAGE_TOKENS,
    )
    inside = {"text_tokens": prompt, "image_tokens": 0}
    return usage | {
        "input_tokens": prompt,
        "output_tokens": made,
        "total_tokens": prompt + made,
        "input_tokens_details": inside,
    }


def _stream(asked: Asked) -> Pieces:
    """Partial images as many as were asked for, and each image whole."""
    frames = [
        json.loads(frame.partition("data: ")[2])
        for frame in load_exchange("openai_stream", FOLDER).frames or ()
    ]
    partial, completed = frames
    content = base64.b64encode(png(*size_asked(asked.content))).decode()
    for _ in range(int(asked.content.get("n") or 1)):
        for number in range(int(asked.content.get("partial_images") or 0)):
            yield _event(partial | {"b64_json": content, "partial_image_index": number}), 0
        yield _event(completed | {"b64_json": content, "usage": _usage(asked)}), IMAGE_TOKENS


def _event(document: dict[str, Any]) -> bytes:
    return f"event: {document['type']}\ndata: {json.dumps(document)}\n\n".encode()


def _prompt(asked: Asked) -> Prompt:
    text = str(asked.content.get("prompt") or "")
    return Prompt(number=asked.number, text=text, tokens=tokens_of(text))


def _pieces(asked: Asked, answer: Answer, scene: str) -> Iterator[tuple[bytes, int]]:
    yield from _stream(asked)


FAILURE = {
    "type": "error",
    "error": {"message": "The engine fell over", "type": "server_error", "code": "500"},
}

IMAGES = Tongue(
    folder=FOLDER,
    errors="openai_chat",
    prompt=_prompt,
    pieces=_pieces,
    opening=0,
    failure=b"event: error\ndata: " + json.dumps(FAILURE).encode() + b"\n\n",
    bodies={
        "no-images": '{"created": 1760000000, "data": []}',
        "error-200": '{"error": {"message": "The server had an error", "code": 500}}',
        "half-json": '{"created": 1760000000, "data": [{"b64_json": "iVBORw0K',
    },
)
