"""Listings as providers publish them, each a file with its source, and hostile ones.

They are scripted by the path that is asked. Outcomes: `listing-NAME` is a file of `lists/`,
`hostile-NAME` one of the table below, `fault-NAME` a fault; without a script the simulator lists
its own scenes.
"""

import json
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from typing import Any

import msgspec

from gatewayz.simulator.answers import SCENES
from gatewayz.simulator.chat import CHAT
from gatewayz.simulator.exchanges import ExchangeFile
from gatewayz.simulator.faults import (
    Actions,
    Sleep,
    fault_actions,
    http_chunk,
    http_response,
    stream_head,
)
from gatewayz.simulator.recorder import Invoice, RecordedRequest

HUGE_BYTES = 50 * 2**20
DUPLICATES = 500
MILLION = 10**6
DRIP_S = 0.2


@cache
def load_listing(name: str) -> ExchangeFile:
    """A provider's list. Raises `FileNotFoundError`."""
    text = files("gatewayz.simulator").joinpath("lists", f"{name}.json").read_bytes()
    return msgspec.json.decode(text, type=ExchangeFile)


@cache
def listing_names() -> tuple[str, ...]:
    """The providers whose lists are files here, sorted."""
    names = [entry.name for entry in files("gatewayz.simulator").joinpath("lists").iterdir()]
    return tuple(sorted(name.removesuffix(".json") for name in names if name.endswith(".json")))


def play_listing(request: RecordedRequest, scene: str) -> tuple[Invoice, Actions]:
    """What a listing request is answered with."""
    return Invoice(request.number, "", 0, 0), _actions(scene)


def _actions(scene: str) -> Actions:
    kind, _, name = scene.partition("-")
    if kind == "listing":
        return iter([http_response(200, load_listing(name).content())])
    if kind == "hostile":
        return HOSTILE[name]()
    if kind == "fault":
        return fault_actions(CHAT, name) or iter([http_response(404, b"{}")])
    return iter([http_response(200, _scene_listing())])


def _scene_listing() -> bytes:
    rows = [
        {"id": name, "object": "model", "created": 1_760_000_000, "owned_by": "simulator"}
        for name in SCENES
    ]
    return json.dumps({"object": "list", "data": rows}).encode()


def _openrouter_rows(count: int, times: int = 1) -> list[dict[str, Any]]:
    """Rows in OpenRouter's form, at prices that any provider might ask, or `times` as much."""
    price = {"prompt": f"{0.0000004 * times:.10f}", "completion": f"{0.0000011 * times:.10f}"}
    models = (
        "openai/gpt-4.1-mini",
        "meta-llama/llama-3.3-70b-instruct",
        "qwen/qwen3-32b",
        "z-ai/glm-4.6",
    )
    rows = [{"id": name, "context_length": 128_000, "pricing": price} for name in models]
    return rows + [{"id": f"somebody/model-{number}", "pricing": price} for number in range(count)]


def _json_listing(document: Any) -> Callable[[], Actions]:
    return lambda: iter([http_response(200, json.dumps(document).encode())])


def _duplicates() -> Actions:
    rows = [row for row in _openrouter_rows(20) for _ in range(DUPLICATES)]
    yield http_response(200, json.dumps({"data": rows}).encode())


def _huge() -> Actions:
    yield stream_head("application/json")
    yield http_chunk(b'{"data": [')
    row = json.dumps({"id": "somebody/huge", "filler": "x" * 65_000}).encode() + b","
    for _ in range(HUGE_BYTES // len(row)):
        yield http_chunk(row)
    yield http_chunk(b"{}]}")


def _half() -> Actions:
    text = json.dumps({"data": _openrouter_rows(50)}).encode()
    yield http_response(200, text[: len(text) // 2])


def _drip() -> Actions:
    yield stream_head("application/json")
    while True:
        yield http_chunk(b" ")
        yield Sleep(DRIP_S)


WRONG_TYPES: list[Any] = [
    None, 7, "text", [],
    {"id": None}, {"id": 7}, {"id": ""}, {"id": "a b"}, {"id": "x" * 10_000}, {"id": "nul\u0000"},
    {"id": "somebody/a", "pricing": "cheap", "context_length": "long", "name": {}, "created": "x"},
    {"id": "somebody/b", "pricing": {"prompt": [], "completion": {}}, "context_length": -1},
    {"id": "somebody/c", "pricing": {"prompt": True, "completion": False}, "context_length": 1e300},
    {"id": "somebody/d", "pricing": {"prompt": "NaN", "completion": "Infinity"},
     "supported_parameters": "all"},
    {"id": "somebody/e", "pricing": {"prompt": "1e999999999", "completion": "0.1e-999999999"}},
    {"id": "somebody/f", "pricing": {"prompt": "9" * 100_000, "completion": "-0.000001"},
     "architecture": [1]},
    {"id": "somebody/g", "pricing": {"prompt": 1e308, "completion": 5e-324}, "created": 10**30},
    {"id": "somebody/h", "pricing": {"prompt": "0.000001", "completion": "0.000002"},
     "context_length": 128_000},
]  # fmt: skip

HOSTILE: dict[str, Callable[[], Actions]] = {
    "good": _json_listing({"data": _openrouter_rows(3)}),
    "again-500": _duplicates,
    "huge": _huge,
    "million-times": _json_listing({"data": _openrouter_rows(10, MILLION)}),
    "half": _half,
    "drip": _drip,
    "wrong-types": _json_listing({"data": WRONG_TYPES}),
    "deep": lambda: iter([http_response(200, b"[" * 100_000)]),
    "empty": _json_listing({"data": []}),
    "no-rows": _json_listing({"data": "soon"}),
    "many": _json_listing({"data": _openrouter_rows(30_000)}),
}
"""Name → a listing that no catalogue may believe or choke on; `good` is one to compare with."""
