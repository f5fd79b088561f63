"""What Gemini refuses, as its API does: unknown fields, turns out of order, signatures that are missing or not its own.

Fields and their types are those of the documentation (`exchanges/gemini/request_fields.json`), the sentences the API's.
"""

import json
import re
from typing import Any

from gatewayz.simulator.exchanges import load_exchange

Content = dict[str, Any]

SIGNATURES = frozenset(
    {"EiYKJGU3MmIxZC1zaWduZWQtYnktdGhlLXNpbXVsYXRvcg==", "skip_thought_signature_validator"}
)
SIGNATURE = next(one for one in sorted(SIGNATURES) if one.startswith("Ei"))
STRICT = re.compile(r"gemini-[3-9]")
"""Models that want the first call of a step signed."""

REQUEST = "GenerateContentRequest"
SCALARS: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "boolean": (bool,),
    "object": (dict,),
    "number": (int, float),
    "int32": (int,),
    "int64": (int, str),
}
"""What the JSON of a scalar may be (protobuf.dev, ProtoJSON: a 64-bit integer may be a string)."""


def why_not(model: str, content: Content) -> str:
    """The sentence with which the request is refused; empty when it is served."""
    turns = content.get("contents") or []
    if not turns:
        return "* GenerateContentRequest.contents: contents is not specified\n"
    wrong = _wrong(load_exchange("request_fields", "gemini").body, REQUEST, content, "")
    return (
        wrong or _wrong_config(content.get("generationConfig") or {}) or _wrong_turns(model, turns)
    )


def _wrong(messages: dict[str, dict[str, str]], kind: str, value: Any, place: str) -> str:
    """What of a value its documented type does not allow: an unknown field, or a value of another type."""
    if kind.startswith(("[", "{")):
        return _wrong_in(messages, kind, value, place)
    if kind not in messages:
        fits = kind == "any" or (
            isinstance(value, SCALARS[kind]) and (kind == "boolean") == isinstance(value, bool)
        )
        return (
            "" if fits else f"Invalid value at '{place}' (TYPE_{kind.upper()}), {json.dumps(value)}"
        )
    if not isinstance(value, dict):
        return f"Invalid value at '{place}' (type.googleapis.com/google.ai.generativelanguage.v1beta.{kind})"
    known = messages[kind]
    unknown = sorted(value.keys() - known.keys())
    if unknown:
        at = f" at '{place}'" if place else ""
        return f'Invalid JSON payload received. Unknown name "{unknown[0]}"{at}: Cannot find field.'
    inner = (
        _wrong(messages, known[name], one, f"{place}.{_snake(name)}".lstrip("."))
        for name, one in value.items()
    )
    return next(filter(None, inner), "")


def _wrong_in(messages: dict[str, dict[str, str]], kind: str, value: Any, place: str) -> str:
    """The same for a list or a map."""
    if not isinstance(value, list if kind.startswith("[") else dict):
        return f"Invalid value at '{place}' ({kind[1:-1]}), a list or a map was expected"
    items = enumerate(value.values() if isinstance(value, dict) else value)
    after = ".value" if isinstance(value, dict) else ""
    found = (
        _wrong(messages, kind[1:-1], one, f"{place}[{number}]{after}") for number, one in items
    )
    return next(filter(None, found), "")


def _snake(name: str) -> str:
    return re.sub(r"([A-Z])", r"_\1", name).lower()


def _wrong_config(config: Content) -> str:
    thinking = config.get("thinkingConfig") or {}
    if {"thinkingBudget", "thinkingLevel"} <= thinking.keys():
        return "You can only set only one of thinking budget and thinking level."
    if len(config.get("stopSequences") or ()) > 5:
        return "Unable to submit request because it must have between 0 and 5 stop sequences."
    seed = config.get("seed", 0)
    if not -(2**31) <= seed < 2**31:
        return f"Invalid value at 'generation_config.seed' (TYPE_INT32), {seed}"
    return ""


def _wrong_turns(model: str, turns: list[Content]) -> str:
    """Roles, empty parts, results that do not follow their calls, and signatures."""
    calls = 0
    for turn in turns:
        parts = turn.get("parts") or []
        if turn.get("role") not in {"user", "model"}:
            return "Please use a valid role: user, model."
        if not parts or any(
            part.get("text") == "" and "thoughtSignature" not in part for part in parts
        ):
            return "Unable to submit request because it has an empty text parameter."
        results = sum("functionResponse" in part for part in parts)
        if results and results != calls:
            return (
                "Please ensure that the number of function response parts is equal to the number of function call "
                "parts of the function call turn."
            )
        calls = sum("functionCall" in part for part in parts)
        wrong = _wrong_signatures(model, parts)
        if wrong:
            return wrong
    return ""


def _wrong_signatures(model: str, parts: list[Content]) -> str:
    if any(
        part["thoughtSignature"] not in SIGNATURES for part in parts if "thoughtSignature" in part
    ):
        return "Thought signature is not valid."
    calls = [part for part in parts if "functionCall" in part]
    if calls and STRICT.search(model) and "thoughtSignature" not in calls[0]:
        name = calls[0]["functionCall"].get("name")
        return f"Function call is missing a thought_signature in functionCall parts. function call `{name}`"
    return ""
