"""Stages: where each dialect is spoken, as a table from method and path to who plays there."""

import json
import re
from collections.abc import Callable
from functools import partial
from urllib.parse import unquote

from msgspec import Struct

from gatewayz.simulator.answers import SCENES
from gatewayz.simulator.chat import CHAT
from gatewayz.simulator.faults import Actions, whole
from gatewayz.simulator.oracle import Asked, Invoice
from gatewayz.simulator.plays import played

Player = Callable[[Asked, str], tuple[Invoice, Actions]]
"""A request and its scene → what it comes to, and what happens on its connection."""


class Stage(Struct, frozen=True):
    """Requests whose path matches are answered by `play`. A group named `model` holds the model where the path does.

    `billed`: an answer here leaves an invoice.
    """

    method: str
    path: re.Pattern[str]
    play: Player
    billed: bool = True


def _models(asked: Asked, scene: str) -> tuple[Invoice, Actions]:
    rows = [{"id": name, "object": "model", "created": 1_760_000_000, "owned_by": "simulator"} for name in SCENES]
    body = json.dumps({"object": "list", "data": rows}).encode()
    return Invoice(asked.number, "", 0, 0), iter([whole(200, body)])


STAGES: tuple[Stage, ...] = (
    Stage("POST", re.compile(r"/chat/completions$"), partial(played, CHAT)),
    Stage("GET", re.compile(r"/models$"), _models, billed=False),
)


def staged(method: str, path: str) -> tuple[Stage, str] | None:
    """The stage for a request, and the model that its path names; nothing where nobody plays."""
    for stage in STAGES:
        found = stage.path.search(path) if stage.method == method else None
        if found is not None:
            return stage, unquote(found.groupdict().get("model") or "")
    return None
