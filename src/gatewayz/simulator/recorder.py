"""The recorder: what the simulator was asked, what it counted, and what it would bill.

Tests compare the gateway's records with it. Token rule: one for every four bytes of UTF-8, at least
one a text; 85 for an image, 10 for other media, 4 a message.
"""

import json
from collections import deque
from typing import Any

from msgspec import Struct

MAX_RECORDED = 50_000
IMAGE_TOKENS, MEDIA_TOKENS, MESSAGE_TOKENS = 85, 10, 4


class RecordedRequest(Struct, frozen=True):
    """A request as it came in; `scene` is the last segment of the model's name.

    `number` counts requests from 1; keys of `headers` are lower case. Example of a name and its
    scene: `simulator/echo`, `echo`.
    """

    number: int
    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    content: dict[str, Any]
    model: str
    scene: str

    @property
    def streamed(self) -> bool:
        """By the body, or by the path where a dialect says it there."""
        return self.content.get("stream") is True or ":stream" in self.path


class Invoice(Struct):
    """What one answer comes to.

    `completion_tokens` is the whole answer, `sent_tokens` what of it was written before the client
    left. `fault` is the scene that failed. `pixels` are those that the provider bills.
    """

    number: int
    model: str
    prompt_tokens: int
    completion_tokens: int
    sent_tokens: int = 0
    finished: bool = False
    aborted: bool = False
    fault: str = ""
    images: int = 0
    pixels: int = 0


def count_tokens(text: str) -> int:
    """The tokens of a text by the rule of this module; `count_tokens("Hello there")` is 3."""
    return max(1, -(-len(text.encode()) // 4)) if text else 0


class Recorder:
    """Requests and invoices, the newest `MAX_RECORDED` of them, and the scripts of scenes."""

    def __init__(self) -> None:
        self.requests: deque[RecordedRequest] = deque(maxlen=MAX_RECORDED)
        self.invoices: deque[Invoice] = deque(maxlen=MAX_RECORDED)
        self.open_streams = 0
        self.open_connections = 0
        self._scripts: dict[str, deque[str]] = {}
        self._count = 0

    def next_number(self) -> int:
        self._count += 1
        return self._count

    def script(self, scene: str, outcomes: list[str]) -> None:
        """Sets the scenes that answer the next requests for `scene`, one each.

        The last one holds from then on. Example: `script("gpt-4o", ["fault-500", "echo"])`.
        """
        self._scripts[scene] = deque(outcomes)

    def next_scene(self, scene: str) -> str:
        """The scene that answers a request of `scene` now."""
        script = self._scripts.get(scene)
        if not script:
            return scene
        return script.popleft() if len(script) > 1 else script[0]

    def reset(self) -> None:
        """Forgets everything but the count of requests and what is open."""
        self.requests.clear()
        self.invoices.clear()
        self._scripts.clear()

    def state(self) -> dict[str, Any]:
        """What is open, and how many requests came; example: `{"open_streams": 1, …}`."""
        return {
            "open_streams": self.open_streams,
            "open_connections": self.open_connections,
            "requests": self._count,
        }


def parse_request(
    number: int, method: str, path: str, headers: dict[str, str], body: bytes, model: str = ""
) -> RecordedRequest:
    """The request, with an empty content where its body is no JSON object.

    `model` is the one that the path names, where it does.
    """
    try:
        content = json.loads(body) if body else {}
    except ValueError:
        content = {}
    content = content if isinstance(content, dict) else {}
    model = model or str(content.get("model", ""))
    return RecordedRequest(
        number=number,
        method=method,
        path=path,
        headers=headers,
        body=body,
        content=content,
        model=model,
        scene=model.rpartition("/")[2],
    )
