"""Wire formats: a dialect as a provider speaks it, for every scene and fault alike.

What differs between dialects is here as data; the behaviours and faults know none of them by name.
"""

from collections.abc import Callable, Iterator
from typing import Any

from msgspec import Struct

from gatewayz.simulator.answers import SceneAnswer
from gatewayz.simulator.prompts import Prompt
from gatewayz.simulator.recorder import RecordedRequest

Rejection = tuple[str, dict[str, str]]
"""A refusal: the name of an exchange, and what stands in its holes.

Example: `("error_400_unsupported", {"parameter": "seed"})`.
"""

Pieces = Iterator[tuple[bytes, int]]
"""Events of a stream, each with the tokens of the answer that it carries."""


def _no_body(request: RecordedRequest, answer: SceneAnswer, scene: str) -> dict[str, Any]:
    return {}


def _no_pieces(request: RecordedRequest, answer: SceneAnswer, scene: str) -> Pieces:
    return iter(())


def _no_check(request: RecordedRequest) -> Rejection | None:
    return None


class WireFormat(Struct, frozen=True, kw_only=True):
    """How a dialect is read, answered and failed in.

    `folder` holds its exchanges; `errors` is the folder of its errors, where they are another's.
    `check` names the exchange that refuses a request which the provider would refuse. `opening` and
    `closing` count the pieces of a stream before the first word and after the last one; `end` is
    the terminal marker, `failure` an error in the middle of a stream. `fault_bodies` and
    `fault_streams` are answers of status 200 that hold none, by the fault's name. Dialects without
    text have behaviours of their own, and neither `body` nor `pieces`.

    Example: `WireFormat(folder="gemini", prompt=prompt_from_request, body=body_of, opening=0)`.
    """

    folder: str
    errors: str = ""
    prompt: Callable[[RecordedRequest], Prompt]
    body: Callable[[RecordedRequest, SceneAnswer, str], dict[str, Any]] = _no_body
    pieces: Callable[[RecordedRequest, SceneAnswer, str], Pieces] = _no_pieces
    check: Callable[[RecordedRequest], Rejection | None] = _no_check
    opening: int = 1
    closing: int = 1
    end: bytes = b""
    keep_alive: bytes = b": keep-alive\n\n"
    failure: bytes = b""
    fault_bodies: dict[str, str] = {}
    fault_streams: dict[str, bytes] = {}
