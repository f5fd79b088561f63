"""Asking: a request, spelled for one provider, as the HTTP request that goes out.

Headers are built from nothing: of the client's own only `traceparent` goes on.
"""

import re
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import quote

from msgspec.structs import replace

from gatewayz import __version__
from gatewayz.core.calls import Wire
from gatewayz.core.requests import Request, Surface
from gatewayz.dialects.base import Answer, Asking, Draft, Reading, Send, Steps, UpstreamRole
from gatewayz.dialects.jsontext import encoded
from gatewayz.dialects.registry import UPSTREAMS
from gatewayz.providers.quirks import applied, without
from gatewayz.providers.spec import Auth, Credential, Path, Provider

UNKNOWN = 404
OWN_PATH = Path(path="{path}")
COUNTING = "/count_tokens"
"""Ends the path of a dialect in which tokens are counted."""
USER_AGENT = f"gatewayz/{__version__}"

AUTH_HEADERS: dict[Auth, tuple[str, str]] = {
    "bearer": ("Authorization", "Bearer "),
    "optional_bearer": ("Authorization", "Bearer "),
    "api_key": ("api-key", ""),
    "x_api_key": ("x-api-key", ""),
    "key": ("Authorization", "Key "),
    "x_goog_api_key": ("x-goog-api-key", ""),
    "google": ("Authorization", "Bearer "),
}
"""Form of authentication → header and what stands before the key."""


class Asked:
    """A request under way to one provider: the steps its role wants, and how their drafts become HTTP requests.

    `dropped` names the client's fields that were not sent, as far as they were spelled by now.
    """

    def __init__(
        self, line: "Line", role: UpstreamRole[Any], reading: Reading, steps: Steps
    ) -> None:
        self._line = line
        self.role = role
        self.reading = reading
        self.steps = steps
        self.dropped: tuple[str, ...] = ()

    def wire(self, draft: Draft) -> Wire:
        """The HTTP request of a draft, with quirks and credentials."""
        wire, gone = spelled(self._line, draft)
        if gone:
            self.dropped = tuple(dict.fromkeys((*self.dropped, *gone)))
        return wire


class Terms(NamedTuple):
    """What else holds for a request: its trace, parameters that the provider was found not to know, and the most
    tokens that the model can answer with, where the catalogue knows.
    """

    trace: str = ""
    without: tuple[str, ...] = ()
    max_output: int | None = None


class Line(NamedTuple):
    """Whom a request goes to and by what right."""

    provider: Provider
    credential: Credential | None
    dialect: str
    model: str
    streamed: bool
    terms: Terms = Terms()


def ask(
    request: Request,
    provider: Provider,
    credential: Credential | None,
    upstream_id: str,
    terms: "Terms | None" = None,
) -> Asked:
    """The request as this provider wants it."""
    terms = terms if terms is not None else Terms()
    dialect = dialect_for(provider, upstream_id, request.surface)
    role = UPSTREAMS[dialect]
    model = native_id(upstream_id, provider)
    quirks = provider.quirks
    streamed = request.streamed and (
        request.surface != "image" or _matches(quirks.image_streams, model)
    )
    queue_url = "" if _matches(quirks.direct_models, model) else quirks.queue_url
    asking = Asking(
        provider=maker_of(provider, dialect),
        upstream_id=model,
        streamed=streamed,
        queue_url=queue_url,
        max_output=terms.max_output,
    )
    line = Line(provider, credential, dialect, model, streamed, terms)
    steps = role.steps(request, asking)
    if provider.elsewhere:
        steps = elsewhere(steps, provider)
    return Asked(line, role, reading_of(provider, request, dialect), steps)


def elsewhere(steps: Steps, provider: Provider) -> Steps:
    """The steps, and where a place refuses for what is true there only, the same request at the next place.

    Returns the refusal that counts: that a model is not known elsewhere does not mean that it is known nowhere.
    """
    answer: Answer | None = None
    first: Answer | None = None
    while True:
        try:
            step = steps.send(answer)
        except StopIteration as end:
            return end.value if end.value is not None else first
        answer, first = (yield step), None
        if not isinstance(step, Send) or step.whole:
            continue
        for base_url in provider.elsewhere:
            if answer is None or answer.status not in provider.elsewhere_on:
                break
            first = answer if first is None or first.status == UNKNOWN else first
            answer = yield replace(step, draft=replace(step.draft, base_url=base_url))
        if answer is not None and answer.status != UNKNOWN:
            first = answer


def _matches(pattern: str, model: str) -> bool:
    return bool(pattern) and re.search(pattern, model) is not None


def dialect_for(provider: Provider, upstream_id: str, surface: Surface) -> str:
    """The dialect in which this provider serves such requests for this model; empty when it does not."""
    if provider.dialect_by_model:
        for pattern, name in provider.dialect_by_model.items():
            if re.search(pattern, upstream_id):
                return name if _serves(name, surface) else ""
    if _serves(provider.dialect, surface):
        return provider.dialect
    return next((name for name in provider.more_dialects if _serves(name, surface)), "")


def _serves(dialect: str, surface: Surface) -> bool:
    role = UPSTREAMS.get(dialect)
    return role is not None and surface in role.serves


def spelled(line: Line, draft: Draft) -> tuple[Wire, tuple[str, ...]]:
    """A draft as an HTTP request, and the names of the client's fields that are not sent.

    A draft may name a whole URL, which a provider has told: only its own hosts see the credential.
    """
    provider = line.provider
    base_url = draft.base_url or provider.base_url
    template = path_of(line, draft.path)
    path = template.replace("{path}", draft.path).replace("{model}", quote(line.model, safe="@"))
    url = draft.path if "://" in draft.path else base_url + path
    if not url.startswith(
        own_hosts(provider.base_url, *provider.elsewhere, provider.quirks.queue_url)
    ):
        return Wire(draft.method, url, (*PUBLIC_HEADERS, *draft.headers), public=True), ()
    body, gone = b"", draft.dropped
    if draft.body is not None:
        gone = (
            *gone,
            *applied(draft.body, provider.quirks, line.model, line.dialect),
            *line.terms.without,
        )
        without(draft.body, line.terms.without)
        if "{model}" in template:
            draft.body.pop("model", None)
        body = encoded(draft.body)
    headers = [
        ("Content-Type", "application/json"),
        ("Accept", _accepted(line, draft)),
        ("Accept-Encoding", "identity"),
        ("User-Agent", USER_AGENT),
        *auth_headers(provider, line.credential),
        *provider.headers,
        *draft.headers,
    ]
    if line.terms.trace:
        headers.append(("traceparent", line.terms.trace))
    return Wire(draft.method, url, tuple(headers), body), gone


def path_of(line: Line, path: str) -> str:
    """What is asked below the base URL: the dialect's own `path`, or what the provider has in its place."""
    table = line.provider.path_by_model
    asked = next(
        (asked for pattern, asked in table.items() if re.search(pattern, line.model)), OWN_PATH
    )
    if asked.count and path.endswith(COUNTING):
        return asked.count
    return asked.stream if line.streamed and asked.stream else asked.path


def maker_of(provider: Provider, dialect: str) -> str:
    """Whose seals these are: what one of a provider's APIs sealed means nothing to the others."""
    return provider.id if dialect == provider.dialect else f"{provider.id}/{dialect}"


def _accepted(line: Line, draft: Draft) -> str:
    if draft.body is None:
        return "*/*"
    return "text/event-stream" if line.streamed else "application/json"


PUBLIC_HEADERS = (("Accept", "*/*"), ("Accept-Encoding", "identity"), ("User-Agent", USER_AGENT))


@lru_cache(maxsize=1_000)
def own_hosts(*urls: str) -> tuple[str, ...]:
    """Schemes and hosts, each with the slash that ends it, so that no longer host begins with one."""
    parts = [url.partition("://") for url in urls if url]
    return tuple(f"{scheme}://{rest.partition('/')[0]}/" for scheme, _, rest in parts)


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


def reading_of(provider: Provider, request: Request, dialect: str) -> Reading:
    """How the answer is to be heard; the source is handed on to clients of the same dialect."""
    quirks = provider.quirks
    return Reading(
        provider=maker_of(provider, dialect),
        think=quirks.think,
        stops=quirks.stops,
        reasoning_outside=quirks.reasoning_outside,
        error_path=quirks.error_path,
        choices=request.choices,
        echo=request.dialect == dialect,
    )
