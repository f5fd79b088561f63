"""What a dialect is: a wire format in one or two roles, without I/O.

A *client role* understands requests and speaks answers; an *upstream role* asks and hears. Decoders and encoders have
the same two methods for JSON and for server-sent events, so nothing between them knows whether anyone streams.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from msgspec import Struct

from gatewayz.core.calls import Call
from gatewayz.core.events import Frame
from gatewayz.core.faults import Fault, UpstreamWords
from gatewayz.core.requests import ChatRequest

MAX_BODY_BYTES = 64 * 2**20
"""An upstream's JSON body, decompressed."""
MAX_EVENT_BYTES = 8 * 2**20
"""One server-sent event of an upstream."""


class Reading(Struct, frozen=True, kw_only=True):
    """How a provider's answers deviate from its dialect; `provider` tags the seals that are found.

    `think`: how reasoning hides in the text: `tags` for `<think>…</think>`, `open` when the text begins inside.
    `stops`: provider's words for why the model stopped → the dialect's. `error_path`: where a 200 body says no.
    `choices` is how many answers were asked for; `echo`: hand on the source, because the client's dialect is the same.
    """

    provider: str
    think: str = ""
    stops: dict[str, str] = {}
    reasoning_outside: bool = False
    error_path: tuple[str, ...] = ()
    choices: int = 1
    echo: bool = True


class Asking(Struct, frozen=True, kw_only=True):
    """To whom a request is spelled: seals are opened for `provider`, and `upstream_id` is its name for the model."""

    provider: str
    upstream_id: str
    streamed: bool


class Draft(Struct, frozen=True):
    """A request spelled in a dialect, before quirks and authentication; `dropped` names what could not be said."""

    path: str
    body: dict[str, Any]
    headers: tuple[tuple[str, str], ...] = ()
    dropped: tuple[str, ...] = ()


class Spoken(Struct, frozen=True):
    """A whole HTTP answer to a client."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


class Decoder(Protocol):
    """Bytes of an answer in, frames out; nothing is raised, so no frame before a failure is lost.

    The last event of all is `Finished` or `Failed`. An answer that stops early is `upstream_cut`, one that is no
    answer `upstream_broken`, one that says an error `upstream_error` with the provider's words to be classified.
    """

    def feed(self, chunk: bytes) -> list[Frame]: ...

    def close(self) -> list[Frame]: ...


class Encoder(Protocol):
    """Frames in, bytes for the client out. A `Failed` event is spelled as the dialect's error within a stream."""

    content_type: str

    def feed(self, frames: Sequence[Frame]) -> bytes: ...


class ClientRole(Protocol):
    """The side that clients talk to. `ERRORS` maps every kind of fault to the dialect's words."""

    name: str
    ERRORS: Mapping[str, Any]
    keep_alive: bytes
    """A comment that keeps a quiet stream open; empty where the dialect has none."""

    def decode(self, body: bytes, headers: Mapping[str, str]) -> ChatRequest:
        """The request, or a `bad_request`, `too_large` or `unsupported` fault that names the field."""
        ...

    def encoder(self, call: Call, created_s: int) -> Encoder:
        """Speaks the answer to this call, streamed or whole as it asked."""
        ...

    def refusal(self, fault: Fault, call_id: str) -> Spoken:
        """The answer to a call that failed before anything was promised."""
        ...


class UpstreamRole(Protocol):
    """The side that talks to providers."""

    name: str

    def encode(self, request: ChatRequest, asking: Asking) -> Draft:
        """The request in this dialect, with every field that `dialect` of the request lets through."""
        ...

    def decoder(self, content_type: str, reading: Reading) -> Decoder:
        """Hears an answer of status 200. Faults: `upstream_broken` for a content type that cannot be one."""
        ...

    def refused(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamWords:
        """What the provider said when it refused; keys of `headers` are lower case."""
        ...
