"""Exchanges: what providers answer, as files, each with its source; the simulator serves them, the tests read them."""

import json
from functools import cache
from importlib.resources import files
from typing import Any

import msgspec
from msgspec import Struct

CHAT = "openai_chat"


class Exchange(Struct, frozen=True, kw_only=True):
    """An answer of a provider. Either a `body` (JSON or text) or the `frames` of a stream, verbatim.

    `source` says where the shape comes from; `means` what a reader must understand. `holes` are words of the answer
    that stand for what was asked, by name.
    """

    source: str
    provider: str = ""
    status: int = 200
    headers: dict[str, str] = {}
    body: Any = None
    frames: list[Any] | None = None
    means: dict[str, Any] = {}
    holes: dict[str, str] = {}

    def filled(self, **words: str) -> bytes:
        """The bytes on the wire, with other words in the holes."""
        content = self.content()
        for name, word in words.items():
            content = content.replace(self.holes[name].encode(), json.dumps(word)[1:-1].encode())
        return content

    def content(self) -> bytes:
        """The bytes on the wire."""
        if self.frames is None:
            return (
                self.body.encode() if isinstance(self.body, str) else json.dumps(self.body).encode()
            )
        return b"".join(_frame(frame) for frame in self.frames)


def _frame(frame: Any) -> bytes:
    """A chunk, or a line of text that stands as it is."""
    if isinstance(frame, str):
        return frame.encode()
    return b"data: " + json.dumps(frame).encode() + b"\n\n"


@cache
def load_exchange(name: str, folder: str = CHAT) -> Exchange:
    """One exchange of a dialect. Raises `FileNotFoundError`."""
    text = files("gatewayz.simulator.exchanges").joinpath(folder, f"{name}.json").read_bytes()
    return msgspec.json.decode(text, type=Exchange)


@cache
def exchange_names(folder: str = CHAT) -> tuple[str, ...]:
    """The exchanges of a dialect."""
    found = files("gatewayz.simulator.exchanges").joinpath(folder)
    return tuple(
        sorted(
            file.name.removesuffix(".json")
            for file in found.iterdir()
            if file.name.endswith(".json")
        )
    )


@cache
def folders() -> tuple[str, ...]:
    """The dialects that have exchanges."""
    found = files("gatewayz.simulator.exchanges").iterdir()
    return tuple(
        sorted(
            folder.name for folder in found if folder.is_dir() and not folder.name.startswith("_")
        )
    )
