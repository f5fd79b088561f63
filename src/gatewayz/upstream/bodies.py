"""Bodies of answers, bounded: how large they may be, and what a compressed one may become."""

import zlib

from gatewayz.core.faults import Fault

MAX_BODY_BYTES = 256 * 2**20
"""A whole answer, streamed ones included: more than an hour of tokens."""
MAX_RATIO = 100
"""Decompressed bytes for one compressed byte; above it, and `FREE_BYTES`, a body is a bomb."""
FREE_BYTES = 2**20


class Inflater:
    """Decompresses gzip and deflate as they come, with a bound on what they may become."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._decompressor = zlib.decompressobj(zlib.MAX_WBITS | 32)
        self._in_bytes = self._out_bytes = 0

    def feed(self, chunk: bytes) -> bytes:
        """The next bytes of the body. Faults: `upstream_broken`."""
        self._in_bytes += len(chunk)
        room_bytes = max(FREE_BYTES, self._in_bytes * MAX_RATIO) - self._out_bytes
        try:
            piece = self._decompressor.decompress(chunk, max(room_bytes, 1))
        except zlib.error as error:
            raise Fault(
                "upstream_broken", f"{self._host} sent a compressed answer that cannot be read."
            ) from error
        self._out_bytes += len(piece)
        if self._decompressor.unconsumed_tail:
            raise Fault(
                "upstream_broken",
                f"{self._host} sent a compressed answer of more than {MAX_RATIO} times its size.",
            )
        return piece

    def close(self) -> None:
        """Faults: `upstream_cut` when the compressed body has not come to its end."""
        if not self._decompressor.eof:
            raise Fault("upstream_cut", f"{self._host} broke off its compressed answer.")


def inflater_for_encoding(encoding: str, host: str) -> Inflater | None:
    """What undoes a content encoding; nothing for none.

    Faults: `upstream_broken` for one that was not asked for.
    """
    match encoding.strip().lower():
        case "" | "identity":
            return None
        case "gzip" | "x-gzip" | "deflate":
            return Inflater(host)
    raise Fault(
        "upstream_broken", f"{host} answered in the encoding {encoding!r}, which was not asked for."
    )


def body_too_large(host: str) -> Fault:
    return Fault("upstream_broken", f"{host} sent more than {MAX_BODY_BYTES} bytes.")
