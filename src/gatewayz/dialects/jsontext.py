"""JSON at the border: strict about what clients send, forgiving about what providers send."""

import json
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from gatewayz.core.faults import Fault
from gatewayz.core.money import Nanos, usd_text

T = TypeVar("T")
MAX_DEPTH = 64
"""Nesting of a client's JSON; parsers and encoders recurse."""

decoded = msgspec.json.Decoder().decode
encoded = msgspec.json.Encoder().encode
fields_of = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
"""The top level only, values untouched: to change one field and keep the others to the byte."""


def usd_number(cost: int) -> msgspec.Raw:
    """Nano-dollars as a JSON number of at most nine decimals, written from the integer."""
    return msgspec.Raw(usd_text(Nanos(cost)).encode())


def client_object(body: bytes) -> dict[str, Any]:
    """A client's JSON object. Faults: `bad_request` for anything else, or nesting above `MAX_DEPTH`."""
    try:
        value = decoded(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as wrong:
        raise Fault("bad_request", f"the body is not valid JSON: {wrong}") from None
    if not isinstance(value, dict):
        raise Fault("bad_request", "the body must be a JSON object")
    # Fewer brackets than the limit cannot nest deeper than it; the walk is only for the others.
    if body.count(b"{") + body.count(b"[") > MAX_DEPTH and deeper_than(value, MAX_DEPTH):
        raise Fault("bad_request", f"the body nests deeper than {MAX_DEPTH} levels")
    return value


def deeper_than(value: Any, limit: int) -> bool:
    """Whether objects and arrays nest deeper than `limit`; walks level by level, so depth costs no stack."""
    level = [value]
    for _ in range(limit + 1):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True


def salvaged(text: bytes) -> bytes:
    """A provider's JSON with broken UTF-8 and lone surrogates replaced by U+FFFD. Raises `ValueError` if it is none."""
    value = json.loads(text.decode(errors="replace"))
    spelled = json.dumps(value, ensure_ascii=False)
    return spelled.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


def read_or_salvaged(source: bytes, decode: Callable[[bytes], T]) -> tuple[T, bytes]:
    """A provider's JSON as a typed value, and the text that it was read from, which differs when it had to be salvaged.

    Raises `ValueError` for what is none of the type (`msgspec`'s errors are `ValueError`s).
    """
    try:
        if source.isascii() or source.decode():
            return decode(source), source
    except (msgspec.ValidationError, RecursionError) as wrong:
        raise ValueError(str(wrong)) from wrong
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass
    text = salvaged(source)
    return decode(text), text
