"""What Gemini refuses, as its API does.

Unknown fields, turns out of order, signatures that are missing or not its own. Fields and their
types are those of the documentation (`exchanges/gemini/request_fields.json`), the sentences the
API's.
"""

import json
import re
from typing import Any

from gatewayz.simulator.exchanges import load_exchange

Content = dict[str, Any]

SIGNATURE = "EiYKJGU3MmIxZC1zaWduZWQtYnktdGhlLXNpbXVsYXRvcg=="
SIGNATURES = frozenset({SIGNATURE, "skip_thought_signature_validator"})
STRICT = re.compile(r"gemini-[3-9]")
"""Models that want the first call of a step signed."""

REQUEST = "GenerateContentRequest"
TYPE_PREFIX = "type.googleapis.com/google.ai.generativelanguage.v1beta."
SCALARS: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "boolean": (bool,),
    "object": (dict,),
    "number": (int, float),
    "int32": (int,),
    "int64": (int, str),
}
"""What the JSON of a scalar may be (protobuf.dev, ProtoJSON: a 64-bit integer may be a string)."""


def rejection_message(model: str, content: Content) -> str:
    """The sentence with which the request is refused; empty when it is served.

    Example: `Please use a valid role: user, model.`
    """
    turns = content.get("contents") or []
    if not turns:
        return "* GenerateContentRequest.contents: contents is not specified\n"
    types = load_exchange("request_fields", "gemini").body
    return (
        _check_value(types, REQUEST, content, "")
        or _check_config(content.get("generationConfig") or {})
        or _check_turns(model, turns)
    )


def _check_value(messages: dict[str, dict[str, str]], kind: str, value: Any, place: str) -> str:
    """What a value's documented type does not allow: an unknown field, or another type."""
    if kind.startswith(("[", "{")):
        return _check_items(messages, kind, value, place)
    if kind not in messages:
        return _check_scalar(kind, value, place)
    if not isinstance(value, dict):
        return f"Invalid value at '{place}' ({TYPE_PREFIX}{kind})"

    known = messages[kind]
    unknown = sorted(value.keys() - known.keys())
    if unknown:
        at = f" at '{place}'" if place else ""
        return f'Invalid JSON payload received. Unknown name "{unknown[0]}"{at}: Cannot find field.'
    errors = (
        _check_value(messages, known[name], inner, f"{place}.{_snake_case(name)}".lstrip("."))
        for name, inner in value.items()
    )
    return next(filter(None, errors), "")


def _check_scalar(kind: str, value: Any, place: str) -> str:
    if kind == "any":
        return ""
    # In Python a boolean is an integer too.
    if isinstance(value, SCALARS[kind]) and (kind == "boolean") == isinstance(value, bool):
        return ""
    return f"Invalid value at '{place}' (TYPE_{kind.upper()}), {json.dumps(value)}"


def _check_items(messages: dict[str, dict[str, str]], kind: str, value: Any, place: str) -> str:
    """The same for a list or a map."""
    if not isinstance(value, list if kind.startswith("[") else dict):
        return f"Invalid value at '{place}' ({kind[1:-1]}), a list or a map was expected"
    items = enumerate(value.values() if isinstance(value, dict) else value)
    after = ".value" if isinstance(value, dict) else ""
    errors = (
        _check_value(messages, kind[1:-1], item, f"{place}[{number}]{after}")
        for number, item in items
    )
    return next(filter(None, errors), "")


def _snake_case(name: str) -> str:
    return re.sub(r"([A-Z])", r"_\1", name).lower()


def _check_config(config: Content) -> str:
    thinking = config.get("thinkingConfig") or {}
    if {"thinkingBudget", "thinkingLevel"} <= thinking.keys():
        return "You can only set only one of thinking budget and thinking level."
    if len(config.get("stopSequences") or ()) > 5:
        return "Unable to submit request because it must have between 0 and 5 stop sequences."
    seed = config.get("seed", 0)
    if not -(2**31) <= seed < 2**31:
        return f"Invalid value at 'generation_config.seed' (TYPE_INT32), {seed}"
    return ""


def _check_turns(model: str, turns: list[Content]) -> str:
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
                "Please ensure that the number of function response parts is equal to the number "
                "of function call parts of the function call turn."
            )
        calls = sum("functionCall" in part for part in parts)
        error = _check_signatures(model, parts)
        if error:
            return error
    return ""


def _check_signatures(model: str, parts: list[Content]) -> str:
    if any(
        part["thoughtSignature"] not in SIGNATURES for part in parts if "thoughtSignature" in part
    ):
        return "Thought signature is not valid."
    calls = [part for part in parts if "functionCall" in part]
    if calls and STRICT.search(model) and "thoughtSignature" not in calls[0]:
        name = calls[0]["functionCall"].get("name")
        return (
            "Function call is missing a thought_signature in functionCall parts. "
            f"function call `{name}`"
        )
    return ""
