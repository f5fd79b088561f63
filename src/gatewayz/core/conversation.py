"""A conversation: messages made of parts, and the tools on offer.

`extra` holds fields of the dialect that the request came from and that the canon does not name;
they go on to an upstream of that dialect only.
"""

from typing import Any, Literal

from msgspec import Struct

Role = Literal["system", "developer", "user", "assistant", "tool"]


class Text(Struct, frozen=True, tag=True):
    """Words.

    `sealed` is the tagged state that a provider attached to them, to come back with them
    (`seal.py`).
    """

    text: str
    extra: dict[str, Any] = {}
    sealed: str = ""


class Image(Struct, frozen=True, tag=True):
    """An image by URL; bytes travel as a data URL."""

    url: str
    detail: str = ""
    extra: dict[str, Any] = {}


class Audio(Struct, frozen=True, tag=True):
    """Sound as base64 text in `format` (wav, mp3 …)."""

    content: str
    format: str
    extra: dict[str, Any] = {}


class File(Struct, frozen=True, tag=True):
    """A document by upload id, or as a data URL with its name."""

    id: str = ""
    name: str = ""
    content: str = ""
    extra: dict[str, Any] = {}


class Reasoning(Struct, frozen=True, tag=True):
    """What the model thought in an earlier turn; `details` are its provider's and hold seals."""

    text: str = ""
    details: tuple[dict[str, Any], ...] = ()


class Refusal(Struct, frozen=True, tag=True):
    """What the model said instead of an answer."""

    text: str


class ToolCall(Struct, frozen=True, tag=True):
    """The model asked for a tool; `arguments` is JSON text, verbatim; `sealed` as for text."""

    id: str
    name: str
    arguments: str
    extra: dict[str, Any] = {}
    sealed: str = ""


class ToolResult(Struct, frozen=True, tag=True):
    """What a tool answered to the call of this id."""

    call_id: str
    parts: "tuple[Text | Image | File | Opaque, ...]"
    failed: bool = False
    extra: dict[str, Any] = {}


class Opaque(Struct, frozen=True, tag=True):
    """A part that only `dialect` understands, as it came; `plain` is what others are told of it,
    empty where nothing else says the same.
    """

    dialect: str
    value: dict[str, Any]
    plain: "tuple[Text | Image | File, ...]" = ()


Part = Text | Image | Audio | File | Reasoning | Refusal | ToolCall | ToolResult | Opaque


class Message(Struct, frozen=True):
    """What one side said.

    Example: `Message("user", (Text("What is this?"), Image("https://…/cat.png")))`
    """

    role: Role
    parts: tuple[Part, ...]
    name: str = ""
    extra: dict[str, Any] = {}


class Tool(Struct, frozen=True):
    """A function that the model may call; `parameters` is a JSON Schema."""

    name: str
    description: str = ""
    parameters: dict[str, Any] | None = None
    strict: bool | None = None
    extra: dict[str, Any] = {}


class OpaqueTool(Struct, frozen=True):
    """A tool that only `dialect` understands (custom grammars, server tools), as it came.

    `searches`: web searches that it is expected to make at the most; they have a price of their
    own.
    """

    dialect: str
    value: dict[str, Any]
    searches: int = 0


class ToolChoice(Struct, frozen=True):
    """`named` goes with a `name`; `opaque` holds a form that only the dialect in `dialect`
    understands.

    `allowed` are the names among which `auto` and `required` choose; empty for all tools.
    """

    mode: Literal["auto", "none", "required", "named", "opaque"]
    name: str = ""
    dialect: str = ""
    value: dict[str, Any] = {}
    allowed: tuple[str, ...] = ()
