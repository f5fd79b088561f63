"""What a dialect is: a wire format in one or two roles, without I/O.

A *client role* understands requests and speaks answers; an *upstream role* asks and hears. Decoders and encoders have
the same two methods for JSON and for server-sent events, so nothing between them knows whether anyone streams.

What an upstream role wants done for an answer are *steps*, data that it yields and the engine does, within bounds.
Most answers are one request; a queue that is polled, a second region, a file that is fetched are more of the same.
When the steps end after a refusal, the refusal is the attempt's fault.
"""

from collections.abc import Generator, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from msgspec import Struct

from gatewayz.core.calls import Call
from gatewayz.core.events import Frame
from gatewayz.core.faults import Fault, UpstreamWords
from gatewayz.core.requests import Capability, Request, Surface

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
    """To whom a request is spelled: seals are opened for `provider`, and `upstream_id` is its name for the model.

    `streamed`: the provider is to stream. `queue_url`: where requests for this model wait in a queue; empty for none.
    `max_output`: the most tokens that this model can answer with, where the catalogue knows.
    """

    provider: str
    upstream_id: str
    streamed: bool
    queue_url: str = ""
    max_output: int | None = None


class Draft(Struct, frozen=True):
    """A request spelled in a dialect, before quirks and authentication; `dropped` names what could not be said.

    `path` continues the provider's base URL, or is a whole URL: credentials then only go to the provider's own hosts,
    and any other host must be on the public internet. `base_url` stands for the provider's own where it has several.
    Without a `body` nothing is sent but the head.
    """

    path: str
    body: dict[str, Any] | None
    headers: tuple[tuple[str, str], ...] = ()
    dropped: tuple[str, ...] = ()
    method: str = "POST"
    base_url: str = ""


class Send(Struct, frozen=True):
    """A request. With status 200 its answer is the model's: heard by the role's decoder, and the last step.

    Any other status comes back as an `Answer`. With `whole` every answer comes back, up to `limit_bytes`.
    """

    draft: Draft
    whole: bool = False
    limit_bytes: int = MAX_BODY_BYTES
    within_ms: int | None = None


class Wait(Struct, frozen=True):
    """Nothing for a while."""

    ms: int


class Owe(Struct, frozen=True):
    """From here on, an attempt that is broken off (the client leaves, time runs out) sends `draft`, or nothing."""

    draft: Draft | None


class Answer(Struct, frozen=True):
    """What came back for a `Send`; keys of `headers` are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


Step = Send | Wait | Owe | list[Frame]
"""Frames are given to the client; those that end with `Finished` or `Failed` end the steps."""
Steps = Generator[Step, Answer | None, Any]
"""Steps may return the refusal that counts; without one it is the last that came back."""


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

    def decode(self, body: bytes, headers: Mapping[str, str]) -> Request:
        """The request, or a `bad_request`, `too_large` or `unsupported` fault that names the field."""
        ...

    def encoder(self, call: Call, created_s: int) -> Encoder:
        """Speaks the answer to this call, streamed or whole as it asked."""
        ...

    def refusal(self, fault: Fault, call_id: str) -> Spoken:
        """The answer to a call that failed before anything was promised."""
        ...


R = TypeVar("R", bound=Request, contravariant=True)


class UpstreamRole(Protocol[R]):
    """The side that talks to providers."""

    name: str
    serves: frozenset[Surface]
    lacks: frozenset[Capability]
    """What can be asked of no model behind this wire."""

    def encode(self, request: R, asking: Asking) -> Draft:
        """The request in this dialect, with every field that `dialect` of the request lets through."""
        ...

    def steps(self, request: R, asking: Asking) -> Steps:
        """What is to be done for an answer; for most roles one request (`counting.OneChat`)."""
        ...

    def decoder(self, content_type: str, reading: Reading) -> Decoder:
        """Hears an answer of status 200. Faults: `upstream_broken` for a content type that cannot be one."""
        ...

    def refused(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamWords:
        """What the provider said when it refused; keys of `headers` are lower case."""
        ...
