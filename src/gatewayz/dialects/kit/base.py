"""What a dialect is: a wire format in one or two roles, without I/O.

A *client role* decodes requests and encodes answers; an *upstream role* encodes requests and
decodes answers. Decoders and encoders have the same methods for JSON and for server-sent events,
so nothing between them knows whether anyone streams.

What an upstream role wants done for an answer are *steps*, data that it yields and the engine
does, within bounds. Most answers are one request; a queue that is polled, a second region, a file
that is fetched are more of the same. When the steps end after a refusal, the refusal is the
attempt's fault.
"""

from collections.abc import Generator, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from msgspec import Struct

from gatewayz.core.calls import Call
from gatewayz.core.events import Frame
from gatewayz.core.faults import Fault, UpstreamError
from gatewayz.core.requests import Capability, Request, Surface

HTTP_OK = 200
MAX_BODY_BYTES = 64 * 2**20
"""An upstream's JSON body, decompressed."""
MAX_EVENT_BYTES = 8 * 2**20
"""One server-sent event of an upstream."""


class DecodeOptions(Struct, frozen=True, kw_only=True):
    """How a provider's answers deviate from its dialect; `provider` tags the seals in them.

    `think`: how reasoning hides in the text: `tags` for `<think>…</think>`, `open` when the text
    begins inside. `stops`: provider's words for why the model stopped → the dialect's.
    `reasoning_outside`: the count of completion tokens does not contain the reasoning.
    `error_path`: where a body of status 200 holds an error code. `choices`: how many answers the
    client wants. `echo`: hand on the source, because the client's dialect is the same.
    `tool_names`: names that were sent → the client's own, where they differ.

    Example: `DecodeOptions(provider="minimax", error_path=("base_resp", "status_code"))`.
    """

    provider: str
    think: str = ""
    stops: dict[str, str] = {}
    reasoning_outside: bool = False
    error_path: tuple[str, ...] = ()
    choices: int = 1
    echo: bool = True
    tool_names: dict[str, str] = {}


class EncodeTarget(Struct, frozen=True, kw_only=True):
    """For whom a request is encoded: seals are opened for `provider`; `upstream_id` is its model.

    `streamed`: the provider is to stream. `queue_url`: where requests for this model wait in a
    queue; empty for none. `max_output`: the most tokens that this model can answer with, where
    the catalogue knows. `cache_marks`: the model caches what `cache_control` marks; `auto_cache`:
    the gateway is to mark it where the client has not.

    Example: `EncodeTarget(provider="groq", upstream_id="llama-3.3-70b-versatile", streamed=True)`.
    """

    provider: str
    upstream_id: str
    streamed: bool
    queue_url: str = ""
    max_output: int | None = None
    cache_marks: bool = False
    auto_cache: bool = False


class Draft(Struct, frozen=True):
    """A request in a dialect, before quirks and authentication.

    `path` continues the provider's base URL, or is a whole URL: credentials then only go to the
    provider's own hosts, and any other host must be on the public internet. `base_url` stands for
    the provider's own where it has several. Without a `body` nothing is sent but the head.
    `dropped` names what of the client's request could not be said.

    Example: `Draft("/chat/completions", {"model": "gpt-5", "messages": [...]}, dropped=("seal",))`.
    """

    path: str
    body: dict[str, Any] | None
    headers: tuple[tuple[str, str], ...] = ()
    dropped: tuple[str, ...] = ()
    method: str = "POST"
    base_url: str = ""


class Send(Struct, frozen=True):
    """A request. An answer of status 200 goes to the role's decoder, and ends the steps.

    Any other status comes back as an `UpstreamAnswer`. With `read_whole` every answer comes back,
    up to `limit_bytes`.
    """

    draft: Draft
    read_whole: bool = False
    limit_bytes: int = MAX_BODY_BYTES
    timeout_ms: int | None = None


class Wait(Struct, frozen=True):
    """Nothing for a while."""

    ms: int


class OnAbort(Struct, frozen=True):
    """From here on, an attempt that is broken off sends `draft`, or nothing.

    It is broken off when the client leaves, or the time is up.
    """

    draft: Draft | None


class UpstreamAnswer(Struct, frozen=True):
    """What came back for a `Send`; keys of `headers` are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


Step = Send | Wait | OnAbort | list[Frame]
"""Frames go to the client; those that end with `Finished` or `Failed` end the steps."""
Steps = Generator[Step, UpstreamAnswer | None, Any]
"""Steps may return the refusal that counts; without one it is the last that came back.

Example: `answer = yield Send(draft, read_whole=True)`, then `yield [frame]`.
"""


class HttpResponse(Struct, frozen=True):
    """A whole HTTP answer to a client."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


class Decoder(Protocol):
    """Bytes of an answer in, frames out; nothing is raised, so no frame before a failure is lost.

    The last event of all is `Finished` or `Failed`. An answer that stops early is `upstream_cut`,
    one that is no answer `upstream_broken`, one that holds an error `upstream_error`, with the
    provider's words to be classified.
    """

    def feed(self, chunk: bytes) -> list[Frame]: ...

    def close(self) -> list[Frame]: ...


class Encoder(Protocol):
    """Frames in, bytes for the client out; a `Failed` event becomes the dialect's error object."""

    content_type: str

    def feed(self, frames: Sequence[Frame]) -> bytes: ...


class ClientRole(Protocol):
    """The side that clients talk to."""

    name: str
    ERRORS: Mapping[str, Any]
    """Every kind of fault → the dialect's words for it."""
    keep_alive: bytes
    """A comment that keeps a quiet stream open; empty where the dialect has none."""

    def decode(self, body: bytes, headers: Mapping[str, str]) -> Request:
        """The request in a body.

        Faults: `bad_request`, `too_large` and `unsupported` name the field.
        """
        ...

    def encoder(self, call: Call, created_s: int) -> Encoder:
        """For the answer to this call, streamed or whole as its request says."""
        ...

    def error_response(self, fault: Fault, call_id: str) -> HttpResponse:
        """The answer to a call that failed before anything was promised."""
        ...


R = TypeVar("R", bound=Request, contravariant=True)


class UpstreamRole(Protocol[R]):
    """The side that talks to providers."""

    name: str
    serves: frozenset[Surface]
    lacks: frozenset[Capability]
    """What no model behind this wire can do."""

    def encode(self, request: R, target: EncodeTarget) -> Draft:
        """The request in this dialect; one of the same dialect keeps every field."""
        ...

    def steps(self, request: R, target: EncodeTarget) -> Steps:
        """What is to be done for an answer; for most roles one request (`chat_steps.ChatSteps`)."""
        ...

    def decoder(self, content_type: str, options: DecodeOptions) -> Decoder:
        """For an answer of status 200.

        Faults: `upstream_broken` for a content type that cannot be an answer.
        """
        ...

    def error_from_response(
        self, status: int, headers: Mapping[str, str], body: bytes
    ) -> UpstreamError:
        """The provider's words when it refused; keys of `headers` are lower case."""
        ...
