"""Tongues: a dialect as a provider speaks it, so that every scene and fault is played in every dialect.

What differs between wires is here as data; the plays and faults know none of them by name.
"""

from collections.abc import Callable, Iterator
from typing import Any

from msgspec import Struct

from gatewayz.simulator.answers import Answer
from gatewayz.simulator.oracle import Asked
from gatewayz.simulator.prompts import Prompt

No = tuple[str, dict[str, str]]
"""A refusal: the name of an exchange, and what stands in its holes."""

Pieces = Iterator[tuple[bytes, int]]
"""Events of a stream, each with the tokens of the answer that it carries."""


def _no_body(asked: Asked, answer: Answer, scene: str) -> dict[str, Any]:
    return {}


def _no_pieces(asked: Asked, answer: Answer, scene: str) -> Pieces:
    return iter(())


def _accepted(asked: Asked) -> No | None:
    return None


class Tongue(Struct, frozen=True, kw_only=True):
    """How a dialect is read, answered and failed in.

    `folder` holds its exchanges, `errors` those of its errors where another's are the same; `check` says which one
    refuses a request that the provider would refuse. `opening` and `closing` count the pieces of a stream before the
    first word and after the last one; `end` is the terminal marker, `failure` an error in the middle of a stream.
    `bodies` and `streams` are answers of status 200 that are none, by the fault's name. Dialects that say no text have
    players of their own, and neither `body` nor `pieces`.
    """

    folder: str
    errors: str = ""
    prompt: Callable[[Asked], Prompt]
    body: Callable[[Asked, Answer, str], dict[str, Any]] = _no_body
    pieces: Callable[[Asked, Answer, str], Pieces] = _no_pieces
    check: Callable[[Asked], No | None] = _accepted
    opening: int = 1
    closing: int = 1
    end: bytes = b""
    keep_alive: bytes = b": keep-alive\n\n"
    failure: bytes = b""
    bodies: dict[str, str] = {}
    streams: dict[str, bytes] = {}
