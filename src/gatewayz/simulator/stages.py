"""Stages: where each dialect is spoken, as a table from method and path to who plays there."""

import re
from collections.abc import Callable
from functools import partial
from urllib.parse import unquote

from msgspec import Struct

from gatewayz.simulator.chat import CHAT
from gatewayz.simulator.embeddings import embeddings_played
from gatewayz.simulator.fal import (
    cancel_played,
    direct_played,
    result_played,
    status_played,
    submit_played,
)
from gatewayz.simulator.faults import Actions
from gatewayz.simulator.gemini_images import drawn
from gatewayz.simulator.google_embeddings import studio_embedded
from gatewayz.simulator.images import file_played, images_played
from gatewayz.simulator.listings import listed
from gatewayz.simulator.messages import MESSAGES, counted
from gatewayz.simulator.oracle import Asked, Invoice
from gatewayz.simulator.plays import played
from gatewayz.simulator.vertex import predict_played

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


STAGES: tuple[Stage, ...] = (
    Stage("POST", re.compile(r"/chat/completions$"), partial(played, CHAT)),
    Stage("POST", re.compile(r"/embeddings$"), embeddings_played),
    Stage("POST", re.compile(r"/images/generations$"), images_played),
    Stage("GET", re.compile(r"/files/(?P<model>[^/]+)$"), file_played, billed=False),
    Stage(
        "PUT",
        re.compile(r"/fal-queue/.+/requests/(?P<model>[^/]+)/cancel$"),
        cancel_played,
        billed=False,
    ),
    Stage(
        "GET",
        re.compile(r"/fal-queue/.+/requests/(?P<model>[^/]+)/status$"),
        status_played,
        billed=False,
    ),
    Stage("GET", re.compile(r"/fal-queue/.+/requests/(?P<model>[^/]+)$"), result_played),
    Stage("POST", re.compile(r"/fal-queue/(?P<model>.+)$"), submit_played, billed=False),
    Stage("POST", re.compile(r"/fal/(?P<model>.+)$"), direct_played),
    Stage("POST", re.compile(r"/(?P<model>endpoints/[^/]+):predict$"), predict_played),
    Stage("POST", re.compile(r"/models/(?P<model>[^/:]+):batchEmbedContents$"), studio_embedded),
    Stage(
        "POST", re.compile(r"/models/(?P<model>[^/:]+):(generate|streamGenerate)Content$"), drawn
    ),
    Stage("POST", re.compile(r"/v1/messages$"), partial(played, MESSAGES)),
    Stage("POST", re.compile(r"/v1/messages/count_tokens$"), counted, billed=False),
    Stage("GET", re.compile(r"/(language-|display_)?models(/search)?/?$"), listed, billed=False),
)


def staged(method: str, path: str, own: tuple[Stage, ...] = ()) -> tuple[Stage, str] | None:
    """The stage for a request, one's `own` first, and the model that its path names; nothing where nobody plays."""
    for stage in (*own, *STAGES):
        found = stage.path.search(path) if stage.method == method else None
        if found is not None:
            return stage, unquote(found.groupdict().get("model") or "")
    return None
