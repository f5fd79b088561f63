"""Encodings of requests: bodies that their clients have compressed are decoded within bounds; any
other encoding is refused by name (RFC 9110, 8.4 and 15.5.16).

What counts is the decoded size, and a body that grows beyond `MAX_RATIO` is broken off while it is
decoded. Answers are never compressed: `Accept-Encoding` is read by nobody.
"""

import zlib

from gatewayz.core.faults import Fault

GZIP, DEFLATE, IDENTITY = "gzip", "deflate", "identity"
ACCEPTED = f"{GZIP}, {DEFLATE}, {IDENTITY}"
"""What a client is told with a 415."""
NAMES = {GZIP: GZIP, "x-gzip": GZIP, DEFLATE: DEFLATE}
PIECE_BYTES = 2**20
MAX_RATIO = 200
"""Decoded bytes for each that came: JSON has 3 to 20, a bomb a thousand."""
RATIO_FREE_BYTES = 2**20
"""As much may come of however little."""
MAX_MEMBERS = 16
"""Parts of a gzip file that follow each other (RFC 1952, 2.2)."""
GZIP_BITS, ZLIB_BITS, RAW_BITS = 31, 15, -15
UTF_8 = frozenset({"utf-8", "utf8", "us-ascii", "ascii"})


def check_charset(content_type: str) -> None:
    """Whether a body is UTF-8, where its type says something of that.

    Faults: `unsupported_encoding`.
    """
    _, separator, rest = content_type.lower().partition("charset=")
    charset = rest.partition(";")[0].strip(" \t\"'")
    if separator and charset not in UTF_8:
        raise Fault(
            "unsupported_encoding",
            f"The body's charset is {charset[:40]!r}; JSON is sent as UTF-8 (RFC 8259, 8.1).",
        )


def decode_body(body: bytes, encoding: str, limit_bytes: int) -> bytes:
    """The body without its encoding, at most `limit_bytes` of it.

    Faults: `unsupported_encoding`; `too_large`; `bad_request` for what is not so encoded.
    """
    encoding = encoding.strip().lower()
    if encoding in ("", IDENTITY):
        return body
    name = NAMES.get(encoding)
    if name is None:
        raise Fault(
            "unsupported_encoding",
            f"Content-Encoding {encoding[:40]!r} is not decoded here; send one of {ACCEPTED}.",
        )
    allowed = min(limit_bytes, max(RATIO_FREE_BYTES, MAX_RATIO * len(body)))
    try:
        return b"".join(_inflate(body, name, limit_bytes, allowed))
    except zlib.error:
        raise Fault("bad_request", f"The body is not valid {name}, as its header says.") from None


def _inflate(body: bytes, name: str, limit_bytes: int, allowed: int) -> list[bytes]:
    """The decoded pieces, up to `allowed` bytes."""
    pieces: list[bytes] = []
    size, members, rest = 0, 1, body
    decoder = zlib.decompressobj(_window_bits(body, name))
    while True:
        piece = decoder.decompress(rest, PIECE_BYTES)
        size += len(piece)
        if size > allowed:
            limit = (
                f"{limit_bytes} bytes" if allowed == limit_bytes else f"{MAX_RATIO} times its size"
            )
            raise Fault("too_large", f"The body is larger than {limit} once it is decoded.")
        pieces.append(piece)
        if not decoder.eof:
            rest = decoder.unconsumed_tail
            if not rest and not piece:
                raise Fault("bad_request", f"The body ends before its {name} does.")
            continue

        rest = decoder.unused_data
        if not rest:
            return pieces
        members += 1
        if name != GZIP or members > MAX_MEMBERS:
            raise Fault("bad_request", f"The body goes on after its {name} has ended.")
        decoder = zlib.decompressobj(GZIP_BITS)


def _window_bits(body: bytes, name: str) -> int:
    """How the body begins; some clients send `deflate` without the frame that the standard wants."""
    if name == GZIP:
        return GZIP_BITS
    has_frame = len(body) > 1 and body[0] & 15 == 8 and int.from_bytes(body[:2]) % 31 == 0
    return ZLIB_BITS if has_frame else RAW_BITS
