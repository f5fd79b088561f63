"""Exchanges: what providers answer, as files, each with its source; the simulator serves them, the tests read them."""

import json
from functools import cache
from importlib.resources import files
from typing import Any

import msgspec
from msgspec import Struct

FOLDER = "openai_chat"


class Exchange(Struct, frozen=True, kw_only=True):
    """An answer of a provider. Either a `body` (JSON or text) or the `frames` of a stream, verbatim.

    `source` says where the shape comes from; `means` what a reader must understand.
    """

    source: str
    provider: str = ""
    status: int = 200
    headers: dict[str, str] = {}
    body: Any = None
    frames: list[Any] | None = None
    means: dict[str, Any] = {}

    def content(self) -> bytes:
        """The bytes on the wire."""
        if self.frames is None:
            return self.body.encode() if isinstance(self.body, str) else json.dumps(self.body).encode()
        return b"".join(_frame(frame) for frame in self.frames)


def _frame(frame: Any) -> bytes:
    """A chunk, or a line of text that stands as it is."""
    if isinstance(frame, str):
        return frame.encode()
    return b"data: " + json.dumps(frame).encode() + b"\n\n"


@cache
def load_exchange(name: str) -> Exchange:
    """One exchange. Raises `FileNotFoundError`."""
    text = files("gatewayz.simulator.exchanges").joinpath(FOLDER, f"{name}.json").read_bytes()
    return msgspec.json.decode(text, type=Exchange)


@cache
def exchange_names() -> tuple[str, ...]:
    folder = files("gatewayz.simulator.exchanges").joinpath(FOLDER)
    return tuple(sorted(file.name.removesuffix(".json") for file in folder.iterdir() if file.name.endswith(".json")))
