"""Routes: from method and path to the behaviour that answers there, as a table."""

import re
from collections.abc import Callable
from functools import partial
from urllib.parse import unquote

from msgspec import Struct

from gatewayz.simulator.behaviours import play
from gatewayz.simulator.chat import CHAT
from gatewayz.simulator.embeddings import play_embeddings
from gatewayz.simulator.fal import (
    play_cancel,
    play_direct,
    play_result,
    play_status,
    play_submit,
)
from gatewayz.simulator.faults import Actions
from gatewayz.simulator.gemini_images import play_gemini_images
from gatewayz.simulator.google_embeddings import play_studio_embeddings
from gatewayz.simulator.images import play_file, play_images
from gatewayz.simulator.listings import play_listing
from gatewayz.simulator.messages import MESSAGES, play_count_tokens
from gatewayz.simulator.recorder import Invoice, RecordedRequest
from gatewayz.simulator.vertex_predict import play_predict

Behaviour = Callable[[RecordedRequest, str], tuple[Invoice, Actions]]
"""A request and its scene → its invoice, and what happens on its connection."""


class SimulatorRoute(Struct, frozen=True):
    """Requests whose path matches are answered by `play`.

    A group named `model` holds the model where the path does. `billed`: an answer here leaves an
    invoice. Example: `SimulatorRoute("POST", re.compile(r"/embeddings$"), play_embeddings)`.
    """

    method: str
    path: re.Pattern[str]
    play: Behaviour
    billed: bool = True


ROUTES: tuple[SimulatorRoute, ...] = (
    SimulatorRoute("POST", re.compile(r"/chat/completions$"), partial(play, CHAT)),
    SimulatorRoute("POST", re.compile(r"/embeddings$"), play_embeddings),
    SimulatorRoute("POST", re.compile(r"/images/generations$"), play_images),
    SimulatorRoute("GET", re.compile(r"/files/(?P<model>[^/]+)$"), play_file, billed=False),
    SimulatorRoute(
        "PUT",
        re.compile(r"/fal-queue/.+/requests/(?P<model>[^/]+)/cancel$"),
        play_cancel,
        billed=False,
    ),
    SimulatorRoute(
        "GET",
        re.compile(r"/fal-queue/.+/requests/(?P<model>[^/]+)/status$"),
        play_status,
        billed=False,
    ),
    SimulatorRoute("GET", re.compile(r"/fal-queue/.+/requests/(?P<model>[^/]+)$"), play_result),
    SimulatorRoute("POST", re.compile(r"/fal-queue/(?P<model>.+)$"), play_submit, billed=False),
    SimulatorRoute("POST", re.compile(r"/fal/(?P<model>.+)$"), play_direct),
    SimulatorRoute("POST", re.compile(r"/(?P<model>endpoints/[^/]+):predict$"), play_predict),
    SimulatorRoute(
        "POST", re.compile(r"/models/(?P<model>[^/:]+):batchEmbedContents$"), play_studio_embeddings
    ),
    SimulatorRoute(
        "POST",
        re.compile(r"/models/(?P<model>[^/:]+):(generate|streamGenerate)Content$"),
        play_gemini_images,
    ),
    SimulatorRoute("POST", re.compile(r"/v1/messages$"), partial(play, MESSAGES)),
    SimulatorRoute(
        "POST", re.compile(r"/v1/messages/count_tokens$"), play_count_tokens, billed=False
    ),
    SimulatorRoute(
        "GET", re.compile(r"/(language-|display_)?models(/search)?/?$"), play_listing, billed=False
    ),
)


def match_route(
    method: str, path: str, own: tuple[SimulatorRoute, ...] = ()
) -> tuple[SimulatorRoute, str] | None:
    """The route of a request and the model that its path names; `None` for an unknown path.

    The routes of `own` come before those of everybody.
    """
    for route in (*own, *ROUTES):
        match = route.path.search(path) if route.method == method else None
        if match is not None:
            return route, unquote(match.groupdict().get("model") or "")
    return None
