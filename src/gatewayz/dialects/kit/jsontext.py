"""JSON at the border: strict about what clients send, forgiving about what providers send."""

import json
import re
from collections.abc import Callable
from math import isfinite
from typing import Any, TypeVar

import msgspec

from gatewayz.core.faults import Fault
from gatewayz.core.money import Nanos, usd_text

T = TypeVar("T")
MAX_INTEGER_DIGITS = 300
"""Longer integers of providers are no numbers; parsing takes the square of their length."""
OUT_OF_RANGE = "out of range"
"""What `msgspec` says of numbers that fit no 64 bits and no float."""
COMMA = ord(",")
MAX_DEPTH = 64
"""Nesting of a client's JSON; parsers and encoders recurse."""
MAX_VALUES = 100_000
"""Strings (names of fields too), objects and arrays of a client's JSON: each costs a microsecond, and
takes fifty bytes, whatever is in it."""
NUMBERS_PER_VALUE = 10
"""So many more numbers: token ids are lists of them, and a number costs a tenth."""
TOKENS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[\[{,]', re.DOTALL)
"""What counts: a string, the beginning of an object or array, and what stands between values."""

decode_json = msgspec.json.Decoder().decode
encode_json = msgspec.json.Encoder().encode
decode_raw_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
"""The top level only, values untouched: to change one field and keep the others to the byte."""


def usd_number(cost: int) -> msgspec.Raw:
    """Nano-dollars as a JSON number of at most nine decimals, written from the integer."""
    return msgspec.Raw(usd_text(Nanos(cost)).encode())


def parse_client_object(body: bytes) -> dict[str, Any]:
    """A client's JSON object.

    Faults: `bad_request` for anything else, and for nesting above `MAX_DEPTH`.
    """
    try:
        value = decode_json(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Fault("bad_request", f"the body is not valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise Fault("bad_request", "the body must be a JSON object")
    # Fewer brackets than the limit cannot nest deeper than it; the walk is only for the others.
    if body.count(b"{") + body.count(b"[") > MAX_DEPTH and nests_deeper_than(value, MAX_DEPTH):
        raise Fault("bad_request", f"the body nests deeper than {MAX_DEPTH} levels")
    return value


def check_structure(body: bytes, max_values: int) -> None:
    """Whether a client's JSON is small enough to be decoded, by what stands in it.

    Faults: `bad_request` for more than `max_values` strings, objects and arrays, or ten times as
    many numbers.
    """
    max_commas = NUMBERS_PER_VALUE * max_values
    if len(body) <= max_values:
        return
    # No body has more of them than it has these characters; one that has more of these may still be
    # text, and is read.
    opened, quotes = body.count(b"{") + body.count(b"["), body.count(b'"')
    if quotes > max_values:
        # Those in a text are escaped, unless what escapes them is so itself.
        quotes += body.count(b"\\\\") - body.count(b'\\"')
    if opened + quotes // 2 <= max_values and body.count(b",") <= max_commas:
        return

    values = commas = 0
    for token in TOKENS.finditer(body):
        if body[token.start()] == COMMA:
            commas += 1
        else:
            values += 1
        if values > max_values or commas > max_commas:
            raise Fault(
                "bad_request",
                f"the body has more than {max_values} strings, objects and arrays, or more than "
                f"{max_commas} numbers; send it in parts.",
            )


def nests_deeper_than(value: Any, limit: int) -> bool:
    """Whether objects and arrays nest deeper than `limit`.

    It walks level by level, so depth costs no stack.
    """
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


def _finite_or_none(text: str) -> float | None:
    value = float(text)
    return value if isfinite(value) else None


def _short_or_none(text: str) -> int | None:
    return int(text) if len(text) <= MAX_INTEGER_DIGITS else None


def salvage_json(text: bytes) -> bytes:
    """A provider's JSON with broken UTF-8 and lone surrogates replaced by U+FFFD, and numbers that
    are none (NaN, Infinity, 1e999) by null.

    Raises `ValueError` for what is no JSON even then.
    """
    value = json.loads(
        text.decode(errors="replace"),
        parse_float=_finite_or_none,
        parse_int=_short_or_none,
        parse_constant=lambda _: None,
    )
    encoded = json.dumps(value, ensure_ascii=False)
    return encoded.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


def decode_or_salvage(source: bytes, decode: Callable[[bytes], T]) -> tuple[T, bytes]:
    """A provider's JSON as a typed value, and its text, which differs from `source` when salvaged.

    Raises `ValueError` for what is not of the type (`msgspec`'s errors are `ValueError`s).
    """
    try:
        if source.isascii() or source.decode():
            return decode(source), source
    except msgspec.ValidationError as error:
        if OUT_OF_RANGE not in str(error):
            raise ValueError(str(error)) from error
    except RecursionError as error:
        raise ValueError(str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass
    text = salvage_json(source)
    return decode(text), text


def decode_lenient(source: bytes) -> Any:
    """A provider's JSON, salvaged where it must be; `None` for what is none, as for `null`."""
    try:
        return decode_json(source.lstrip())
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass

    try:
        return decode_json(salvage_json(source))
    except (ValueError, RecursionError):
        return None


def parse_provider_object(body: bytes) -> dict[str, Any]:
    """A provider's JSON object. Faults: `upstream_broken` for anything else."""
    value = decode_lenient(body.strip())
    if not isinstance(value, dict):
        raise Fault("upstream_broken", "the provider's answer is not a JSON object")
    return value
