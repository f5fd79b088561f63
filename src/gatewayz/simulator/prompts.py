"""Prompts: what a request asks for, in no wire's words, so that a scene answers every dialect alike."""

from typing import Any

from msgspec import Struct


class Offered(Struct, frozen=True):
    """A tool that may be called, with the JSON Schema of its arguments."""

    name: str
    schema: dict[str, Any]


class Prompt(Struct, frozen=True, kw_only=True):
    """What the client wants. `choice` is `auto`, `none`, `required` or `named`; `tokens` is what the prompt counts.

    `results` are the texts of tool results, the last one last; `schema` is that of the answer. `files` are names,
    `sounds` formats, `images` addresses. `searches`: the provider may search the web for it; `goes_on`: it is to go on
    with a turn of its own.
    """

    number: int
    text: str = ""
    results: tuple[str, ...] = ()
    tools: tuple[Offered, ...] = ()
    choice: str = "auto"
    named: str = ""
    parallel: bool = True
    schema: dict[str, Any] | None = None
    images: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    sounds: tuple[str, ...] = ()
    searches: bool = False
    goes_on: bool = False
    effort: str = "medium"
    limit: int | None = None
    choices: int = 1
    stops: tuple[str, ...] = ()
    tokens: int = 0
