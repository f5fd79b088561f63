"""Exchanges: what providers answer, as files, each with its source.

The simulator serves them, the tests read them.
"""

import json
from functools import cache
from importlib.resources import files
from typing import Any

import msgspec
from msgspec import Struct

DEFAULT_FOLDER = "openai_chat"


class ExchangeFile(Struct, frozen=True, kw_only=True):
    """An answer of a provider: either a `body` (JSON or text) or the `frames` of a stream,
    verbatim.

    `source` says where the shape comes from; `means` what a reader must understand. `holes` are
    words of the answer that stand for what was asked, by name.

    Example: `ExchangeFile(source="docs.fal.ai/errors", status=404, body={"detail": "MODEL"},
    holes={"model": "MODEL"})`.
    """

    source: str
    provider: str = ""
    status: int = 200
    headers: dict[str, str] = {}
    body: Any = None
    frames: list[Any] | None = None
    means: dict[str, Any] = {}
    holes: dict[str, str] = {}

    def render(self, **words: str) -> bytes:
        """The bytes on the wire, with other words in the holes."""
        content = self.content()
        for name, word in words.items():
            content = content.replace(self.holes[name].encode(), json.dumps(word)[1:-1].encode())
        return content

    def content(self) -> bytes:
        """The bytes on the wire."""
        if self.frames is not None:
            return b"".join(_frame_bytes(frame) for frame in self.frames)
        text = self.body if isinstance(self.body, str) else json.dumps(self.body)
        return text.encode()


def _frame_bytes(frame: Any) -> bytes:
    """A chunk, or a line of text that stands as it is."""
    if isinstance(frame, str):
        return frame.encode()
    return b"data: " + json.dumps(frame).encode() + b"\n\n"


@cache
def load_exchange(name: str, folder: str = DEFAULT_FOLDER) -> ExchangeFile:
    """One exchange of a dialect. Raises `FileNotFoundError`."""
    text = files("gatewayz.simulator.exchanges").joinpath(folder, f"{name}.json").read_bytes()
    return msgspec.json.decode(text, type=ExchangeFile)


@cache
def exchange_names(folder: str = DEFAULT_FOLDER) -> tuple[str, ...]:
    """The exchanges of a dialect, sorted."""
    entries = files("gatewayz.simulator.exchanges").joinpath(folder).iterdir()
    names = [entry.name for entry in entries]
    return tuple(sorted(name.removesuffix(".json") for name in names if name.endswith(".json")))


@cache
def exchange_folders() -> tuple[str, ...]:
    """The dialects that have exchanges, sorted."""
    entries = files("gatewayz.simulator.exchanges").iterdir()
    folders = [entry.name for entry in entries if entry.is_dir()]
    return tuple(sorted(name for name in folders if not name.startswith("_")))
