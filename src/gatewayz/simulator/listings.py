"""Listings as providers publish them, each a file with its source, and hostile ones; scripted by the path asked.

Outcomes: `listing-NAME` is a file of `lists/`, `hostile-NAME` one of the table below, `fault-NAME` a fault; without a
script the simulator lists its own scenes.
"""

import json
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from typing import Any

import msgspec

from gatewayz.simulator.answers import SCENES
from gatewayz.simulator.chat import CHAT
from gatewayz.simulator.exchanges import Exchange
from gatewayz.simulator.faults import Actions, Wait, fault_actions, piece, stream_head, whole
from gatewayz.simulator.oracle import Asked, Invoice

HUGE_BYTES = 50 * 2**20
AGAIN = 500
MILLION = 10**6
DRIP_S = 0.2


@cache
def load_list(name: str) -> Exchange:
    """A provider's list. Raises `FileNotFoundError`."""
    return msgspec.json.decode(
        files("gatewayz.simulator").joinpath("lists", f"{name}.json").read_bytes(), type=Exchange
    )


@cache
def list_names() -> tuple[str, ...]:
    """The providers whose lists are kept."""
    found = files("gatewayz.simulator").joinpath("lists").iterdir()
    return tuple(
        sorted(file.name.removesuffix(".json") for file in found if file.name.endswith(".json"))
    )


def listed(asked: Asked, scene: str) -> tuple[Invoice, Actions]:
    """What a listing request is answered with."""
    return Invoice(asked.number, "", 0, 0), _actions(scene)


def _actions(scene: str) -> Actions:
    kind, _, name = scene.partition("-")
    if kind == "listing":
        return iter([whole(200, load_list(name).content())])
    if kind == "hostile":
        return HOSTILE[name]()
    if kind == "fault":
        return fault_actions(CHAT, name) or iter([whole(404, b"{}")])
    return iter([whole(200, _scenes())])


def _scenes() -> bytes:
    rows = [
        {"id": name, "object": "model", "created": 1_760_000_000, "owned_by": "simulator"}
        for name in SCENES
    ]
    return json.dumps({"object": "list", "data": rows}).encode()


def _priced(count: int, times: int = 1) -> list[dict[str, Any]]:
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


def _body(document: Any) -> Callable[[], Actions]:
    return lambda: iter([whole(200, json.dumps(document).encode())])


def _again() -> Actions:
    yield whole(
        200, json.dumps({"data": [row for row in _priced(20) for _ in range(AGAIN)]}).encode()
    )


def _huge() -> Actions:
    yield stream_head("application/json")
    yield piece(b'{"data": [')
    row = json.dumps({"id": "somebody/huge", "filler": "x" * 65_000}).encode() + b","
    for _ in range(HUGE_BYTES // len(row)):
        yield piece(row)
    yield piece(b"{}]}")


def _half() -> Actions:
    text = json.dumps({"data": _priced(50)}).encode()
    yield whole(200, text[: len(text) // 2])


def _drip() -> Actions:
    yield stream_head("application/json")
    while True:
        yield piece(b" ")
        yield Wait(DRIP_S)


WRONG_TYPES: list[Any] = [
    None, 7, "text", [], {"id": None}, {"id": 7}, {"id": ""}, {"id": "a b"}, {"id": "x" * 10_000}, {"id": "nul\u0000"},
    {"id": "somebody/a", "pricing": "cheap", "context_length": "long", "name": {}, "created": "today"},
    {"id": "somebody/b", "pricing": {"prompt": [], "completion": {}}, "context_length": -1},
    {"id": "somebody/c", "pricing": {"prompt": True, "completion": False}, "context_length": 1e300},
    {"id": "somebody/d", "pricing": {"prompt": "NaN", "completion": "Infinity"}, "supported_parameters": "all"},
    {"id": "somebody/e", "pricing": {"prompt": "1e999999999", "completion": "0.1e-999999999"}},
    {"id": "somebody/f", "pricing": {"prompt": "9" * 100_000, "completion": "-0.000001"}, "architecture": [1]},
    {"id": "somebody/g", "pricing": {"prompt": 1e308, "completion": 5e-324}, "created": 10**30},
    {"id": "somebody/h", "pricing": {"prompt": "0.000001", "completion": "0.000002"}, "context_length": 128_000},
]  # fmt: skip

HOSTILE: dict[str, Callable[[], Actions]] = {
    "good": _body({"data": _priced(3)}),
    "again-500": _again,
    "huge": _huge,
    "million-times": _body({"data": _priced(10, MILLION)}),
    "half": _half,
    "drip": _drip,
    "wrong-types": _body({"data": WRONG_TYPES}),
    "deep": lambda: iter([whole(200, b"[" * 100_000)]),
    "empty": _body({"data": []}),
    "no-rows": _body({"data": "soon"}),
    "many": _body({"data": _priced(30_000)}),
}
