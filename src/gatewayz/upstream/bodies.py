"""Bodies of answers, bounded: how large they may be, and what a compressed one may become."""

import zlib

from gatewayz.core.faults import Fault

MAX_BODY_BYTES = 256 * 2**20
"""A whole answer, streamed ones included: more than an hour of tokens."""
MAX_RATIO = 100
"""Decompressed bytes for one compressed byte; above it, and above `FREE_BYTES`, a body is a bomb."""
FREE_BYTES = 2**20


class Inflate:
    """gzip and deflate, as they come, with a bound on what they may become."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._machine = zlib.decompressobj(zlib.MAX_WBITS | 32)
        self._in, self._out = 0, 0

    def feed(self, chunk: bytes) -> bytes:
        self._in += len(chunk)
        room = max(FREE_BYTES, self._in * MAX_RATIO) - self._out
        try:
            piece = self._machine.decompress(chunk, max(room, 1))
        except zlib.error as error:
            raise Fault(
                "upstream_broken", f"{self._host} sent a compressed answer that cannot be read."
            ) from error
        self._out += len(piece)
        if self._machine.unconsumed_tail:
            raise Fault(
                "upstream_broken", f"{self._host} sent a compressed answer that swells too much."
            )
        return piece

    def close(self) -> None:
        if not self._machine.eof:
            raise Fault("upstream_cut", f"{self._host} broke off its compressed answer.")


def inflater(encoding: str, host: str) -> Inflate | None:
    """What undoes a content encoding; nothing for none. Faults: `upstream_broken` for one that was not asked for."""
    match encoding.strip().lower():
        case "" | "identity":
            return None
        case "gzip" | "x-gzip" | "deflate":
            return Inflate(host)
    raise Fault(
        "upstream_broken", f"{host} answered in the encoding {encoding!r}, which was not asked for."
    )


def too_large(host: str) -> Fault:
    return Fault("upstream_broken", f"{host} sent more than {MAX_BODY_BYTES} bytes.")
