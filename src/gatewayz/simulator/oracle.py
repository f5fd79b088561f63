"""The oracle: what was asked of the simulator, what it counted, and what it would bill; tests compare with it.

Token rule: one for every four bytes of UTF-8, at least one a text; 85 for an image, 10 for other media, 4 a message.
"""

import json
from collections import deque
from typing import Any

from msgspec import Struct

MAX_KEPT = 50_000
IMAGE_TOKENS, MEDIA_TOKENS, MESSAGE_TOKENS = 85, 10, 4


class Asked(Struct, frozen=True):
    """A request as it came in; `scene` is the last segment of the model's name."""

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
    """What one answer comes to. `sent_tokens` left before the client did; `completion_tokens` is the whole answer.

    `pixels` are those that the provider bills.
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


def tokens_of(text: str) -> int:
    return max(1, -(-len(text.encode()) // 4)) if text else 0


class Oracle:
    """Keeps requests and invoices, bounded, and the scripts of scenes."""

    def __init__(self) -> None:
        self.requests: deque[Asked] = deque(maxlen=MAX_KEPT)
        self.invoices: deque[Invoice] = deque(maxlen=MAX_KEPT)
        self.open_streams = 0
        self.open_connections = 0
        self._scripts: dict[str, deque[str]] = {}
        self._count = 0

    def next_number(self) -> int:
        self._count += 1
        return self._count

    def script(self, scene: str, outcomes: list[str]) -> None:
        """What the next requests for `scene` are answered with, one each; the last one holds from then on."""
        self._scripts[scene] = deque(outcomes)

    def scripted(self, scene: str) -> str:
        """The scene to play for a request of `scene`."""
        script = self._scripts.get(scene)
        if not script:
            return scene
        return script.popleft() if len(script) > 1 else script[0]

    def reset(self) -> None:
        self.requests.clear()
        self.invoices.clear()
        self._scripts.clear()

    def state(self) -> dict[str, Any]:
        return {
            "open_streams": self.open_streams,
            "open_connections": self.open_connections,
            "requests": self._count,
        }


def asked_from(
    number: int, method: str, path: str, headers: dict[str, str], body: bytes, model: str = ""
) -> Asked:
    """The request; `model` is the one that the path names, where it does."""
    try:
        content = json.loads(body) if body else {}
    except ValueError:
        content = {}
    content = content if isinstance(content, dict) else {}
    named = model or str(content.get("model", ""))
    return Asked(number, method, path, headers, body, content, named, named.rpartition("/")[2])
