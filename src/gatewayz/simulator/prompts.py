"""Prompts: what a request asks for in no wire's words, so that a scene answers every dialect."""

from typing import Any

from msgspec import Struct


class OfferedTool(Struct, frozen=True):
    """A tool that may be called, with the JSON Schema of its arguments."""

    name: str
    schema: dict[str, Any]


class Prompt(Struct, frozen=True, kw_only=True):
    """What the client wants.

    `choice` is `auto`, `none`, `required` or `named`, which `forced_tool` names. `results` are the
    texts of tool results, the last one last; `schema` is that of the answer. `files` are names,
    `sounds` formats, `images` addresses. `searches`: the provider may search the web for it;
    `continues_turn`: it is to go on with a turn of its own. `tokens` is what the prompt counts.

    Example: `Prompt(number=1, text="Hello there", tokens=7)`.
    """

    number: int
    text: str = ""
    results: tuple[str, ...] = ()
    tools: tuple[OfferedTool, ...] = ()
    choice: str = "auto"
    forced_tool: str = ""
    parallel: bool = True
    schema: dict[str, Any] | None = None
    images: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    sounds: tuple[str, ...] = ()
    searches: bool = False
    continues_turn: bool = False
    effort: str = "medium"
    limit: int | None = None
    choices: int = 1
    stops: tuple[str, ...] = ()
    tokens: int = 0
