"""Images, as providers make them: grey rectangles of the size that was asked for.

A scene begins with `picture`; what follows says how the images come or what is wrong with their
files. The files are served under `/files/`, at the host that was asked.
"""

import base64
import copy
import json
import struct
import zlib
from collections.abc import Iterator
from functools import cache
from typing import Any

from gatewayz.simulator.answers import SceneAnswer
from gatewayz.simulator.behaviours import play
from gatewayz.simulator.exchanges import load_exchange
from gatewayz.simulator.faults import (
    LAST_CHUNK,
    Actions,
    Sleep,
    http_chunk,
    http_response,
    stream_head,
)
from gatewayz.simulator.prompts import Prompt
from gatewayz.simulator.recorder import Invoice, RecordedRequest, count_tokens
from gatewayz.simulator.wire_format import Pieces, WireFormat

FOLDER = "openai_images"
PICTURE_PREFIX = "picture"
IMAGE_MODELS = frozenset(
    {
        "gpt-image-1",
        "gpt-image-1-mini",
        "dall-e-3",
        "sd3.5",
        "FLUX.1-schnell",
        "grok-imagine-image",
        "schnell",
    }
)
"""Models that a test names by their own name."""
SCENES_WITH_BYTES = frozenset(
    {"picture-bytes", "picture-tokens", "gpt-image-1", "gpt-image-1-mini", "sd3.5"}
)
DEFAULT_SIZE = (1024, 1024)
SIZE_PRESETS = {
    "square": (512, 512),
    "square_hd": (1024, 1024),
    "portrait_4_3": (768, 1024),
    "portrait_16_9": (576, 1024),
    "landscape_4_3": (1024, 768),
    "landscape_16_9": (1024, 576),
}
"""fal.ai's names of sizes."""
IMAGE_TOKENS = 272
SLOW_S = 0.5
TOO_LARGE_BYTES = 21 * 2**20


@cache
def png(width: int, height: int) -> bytes:
    """A PNG that is a grey rectangle."""
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    packed = zlib.compress((b"\0" + b"\x80" * width) * height, 9)
    chunks = (_png_chunk(b"IHDR", head), _png_chunk(b"IDAT", packed), _png_chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def _png_chunk(name: bytes, content: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(name + content))
    return struct.pack(">I", len(content)) + name + content + checksum


def size_from_content(content: dict[str, Any]) -> tuple[int, int]:
    """The size in a request, in pixels, in any of the ways in which providers take it."""
    match content.get("image_size") or content.get("size"):
        case {"width": width, "height": height}:
            return int(width), int(height)
        case str() as size if "x" in size:
            across, _, down = size.partition("x")
            return int(across), int(down)
        case str() as size if size in SIZE_PRESETS:
            return SIZE_PRESETS[size]
    width, height = DEFAULT_SIZE
    return int(content.get("width") or width), int(content.get("height") or height)


def file_url(request: RecordedRequest, scene: str, number: int) -> str:
    """Where the file of an image is; scenes about files name what is wrong with it."""
    width, height = size_from_content(request.content)
    host = request.headers.get("host", "")
    wrong = scene.partition("-file-")[2]
    if wrong == "away":
        return f"http://localhost:{host.partition(':')[2]}/files/{width}x{height}-{number}.png"
    return f"http://{host}/files/{f'{wrong}-' if wrong else ''}{width}x{height}-{number}.png"


def play_file(request: RecordedRequest, scene: str) -> tuple[Invoice, Actions]:
    """A file, or what is in its place."""
    name = request.model
    wrong, _, rest = name.partition("-") if not name[:1].isdigit() else ("", "", name)
    size, _, number = rest.removesuffix(".png").partition("-")
    width, _, height = size.partition("x")
    content = png(int(width), int(height))
    actions = _file_actions(wrong, request, content, f"{size}-{number}.png")
    return Invoice(request.number, "", 0, 0), actions


def _file_actions(wrong: str, request: RecordedRequest, content: bytes, name: str) -> Actions:
    host = request.headers.get("host", "")
    match wrong:
        case "missing":
            yield http_response(404, b"no such file", "text/plain")
        case "html":
            yield http_response(200, b"<html>sign in first</html>", "text/html")
        case "moved":
            yield http_response(302, b"", location=f"http://{host}/files/{name}")
        case "circle":
            yield http_response(302, b"", location=request.path)
        case "inside":
            yield http_response(302, b"", location="http://169.254.169.254/latest/meta-data/")
        case "large":
            yield http_response(200, content + b"\0" * TOO_LARGE_BYTES, "image/png")
        case _:
            yield http_response(200, content, "image/png")


def play_images(request: RecordedRequest, scene: str) -> tuple[Invoice, Actions]:
    """The invoice of a request for images, and its answer."""
    if not scene.startswith(PICTURE_PREFIX) and scene not in IMAGE_MODELS:
        return play(IMAGES, request, scene)

    count = int(request.content.get("n") or 1)
    width, height = size_from_content(request.content)
    prompt = count_tokens(str(request.content.get("prompt")))
    invoice = Invoice(request.number, request.model, prompt, count * IMAGE_TOKENS)
    invoice.images, invoice.pixels = count, count * width * height
    return invoice, _answer_actions(request, scene)


def _answer_actions(request: RecordedRequest, scene: str) -> Actions:
    if request.streamed:
        yield stream_head()
        for data, tokens in _stream(request):
            yield http_chunk(data, tokens)
            if scene == "picture-slow":
                yield Sleep(SLOW_S)
        yield LAST_CHUNK
        return

    if scene == "picture-slow":
        yield Sleep(SLOW_S)
    body = json.dumps(body_of(request, scene)).encode()
    yield http_response(200, body, x_request_id=f"req_sim{request.number}")


def body_of(request: RecordedRequest, scene: str) -> dict[str, Any]:
    """A whole answer, as bytes or addresses, in the form of the provider that the scene names."""
    as_bytes = request.content.get("response_format") in {"b64_json", "base64"}
    as_bytes = as_bytes or scene in SCENES_WITH_BYTES
    if "-file" in scene or scene == "picture-url":
        as_bytes = False
    name = "template_bytes" if as_bytes else "template_body"
    if scene == "picture-together":
        name = "together_body"

    document: dict[str, Any] = copy.deepcopy(load_exchange(name, FOLDER).body)
    [item, *_] = document["data"]
    content = base64.b64encode(png(*size_from_content(request.content))).decode()
    image = {"b64_json": content} if as_bytes else {}
    document["data"] = [
        item | (image or {"url": file_url(request, scene, number)})
        for number in range(int(request.content.get("n") or 1))
    ]
    document.pop("usage", None)
    if scene in {"picture-tokens", "gpt-image-1"}:
        document["usage"] = _usage(request)
    return document


def _usage(request: RecordedRequest) -> dict[str, Any]:
    usage: dict[str, Any] = copy.deepcopy(load_exchange("template_bytes", FOLDER).body["usage"])
    prompt = count_tokens(str(request.content.get("prompt")))
    output = int(request.content.get("n") or 1) * IMAGE_TOKENS
    return usage | {
        "input_tokens": prompt,
        "output_tokens": output,
        "total_tokens": prompt + output,
        "input_tokens_details": {"text_tokens": prompt, "image_tokens": 0},
    }


def _stream(request: RecordedRequest) -> Pieces:
    """As many partial images as were asked for, and each image whole."""
    frames = load_exchange("openai_stream", FOLDER).frames or ()
    partial, completed = (json.loads(frame.partition("data: ")[2]) for frame in frames)
    content = base64.b64encode(png(*size_from_content(request.content))).decode()
    for _ in range(int(request.content.get("n") or 1)):
        for number in range(int(request.content.get("partial_images") or 0)):
            yield _encode_event(partial | {"b64_json": content, "partial_image_index": number}), 0
        yield (
            _encode_event(completed | {"b64_json": content, "usage": _usage(request)}),
            IMAGE_TOKENS,
        )


def _encode_event(document: dict[str, Any]) -> bytes:
    return f"event: {document['type']}\ndata: {json.dumps(document)}\n\n".encode()


def _prompt(request: RecordedRequest) -> Prompt:
    text = str(request.content.get("prompt") or "")
    return Prompt(number=request.number, text=text, tokens=count_tokens(text))


def _pieces(
    request: RecordedRequest, answer: SceneAnswer, scene: str
) -> Iterator[tuple[bytes, int]]:
    yield from _stream(request)


FAILURE = {
    "type": "error",
    "error": {"message": "The engine fell over", "type": "server_error", "code": "500"},
}

IMAGES = WireFormat(
    folder=FOLDER,
    errors="openai_chat",
    prompt=_prompt,
    pieces=_pieces,
    opening=0,
    failure=b"event: error\ndata: " + json.dumps(FAILURE).encode() + b"\n\n",
    fault_bodies={
        "no-images": '{"created": 1760000000, "data": []}',
        "error-200": '{"error": {"message": "The server had an error", "code": 500}}',
        "half-json": '{"created": 1760000000, "data": [{"b64_json": "iVBORw0K',
    },
)
