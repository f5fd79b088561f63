"""Asking: a request, spelled for one provider, as the HTTP request that goes out.

Headers are built from nothing: of the client's own only `traceparent` goes on.
"""

from typing import NamedTuple

from gatewayz import __version__
from gatewayz.core.calls import Wire
from gatewayz.core.requests import ChatRequest
from gatewayz.dialects.base import Asking, Reading, UpstreamRole
from gatewayz.dialects.jsontext import encoded
from gatewayz.dialects.registry import UPSTREAMS
from gatewayz.providers.quirks import applied, without
from gatewayz.providers.spec import Auth, Credential, Provider

USER_AGENT = f"gatewayz/{__version__}"

AUTH_HEADERS: dict[Auth, tuple[str, str]] = {
    "bearer": ("Authorization", "Bearer "),
    "optional_bearer": ("Authorization", "Bearer "),
    "api_key": ("api-key", ""),
    "x_api_key": ("x-api-key", ""),
}
"""Form of authentication → header and what stands before the key."""


class Asked(NamedTuple):
    """What goes out, and how the answer is to be heard."""

    wire: Wire
    role: UpstreamRole
    reading: Reading
    dropped: tuple[str, ...]


def ask(
    request: ChatRequest,
    provider: Provider,
    credential: Credential | None,
    upstream_id: str,
    trace: str = "",
    unsupported: tuple[str, ...] = (),
) -> Asked:
    """The request as this provider wants it; `unsupported` parameters are left out."""
    role = UPSTREAMS[provider.dialect]
    model = native_id(upstream_id, provider)
    draft = role.encode(request, Asking(provider=provider.id, upstream_id=model, streamed=request.streamed))
    gone = applied(draft.body, provider.quirks, model, provider.dialect)
    without(draft.body, unsupported)
    accept = "text/event-stream" if request.streamed else "application/json"
    headers = [
        ("Content-Type", "application/json"),
        ("Accept", accept),
        ("Accept-Encoding", "identity"),
        ("User-Agent", USER_AGENT),
        *auth_headers(provider, credential),
        *provider.headers,
        *draft.headers,
    ]
    if trace:
        headers.append(("traceparent", trace))
    wire = Wire("POST", provider.base_url + draft.path, tuple(headers), encoded(draft.body))
    dropped = (*draft.dropped, *gone, *unsupported)
    return Asked(wire, role, reading_of(provider, request), dropped)


def native_id(upstream_id: str, provider: Provider) -> str:
    """The model's id as the provider's API takes it."""
    quirks = provider.quirks
    if quirks.model_prefix and "/" not in upstream_id:
        return quirks.model_prefix + upstream_id
    return upstream_id.removeprefix(quirks.model_prefix_strip)


def auth_headers(provider: Provider, credential: Credential | None) -> tuple[tuple[str, str], ...]:
    if credential is None or provider.auth not in AUTH_HEADERS:
        return ()
    name, before = AUTH_HEADERS[provider.auth]
    return ((name, before + credential.key.reveal()),)


def reading_of(provider: Provider, request: ChatRequest) -> Reading:
    """How the answer is to be heard; the source is handed on to clients of the same dialect."""
    quirks = provider.quirks
    return Reading(
        provider=provider.id,
        think=quirks.think,
        stops=quirks.stops,
        reasoning_outside=quirks.reasoning_outside,
        error_path=quirks.error_path,
        choices=request.sampling.n,
        echo=request.dialect == provider.dialect,
    )
