"""A request, encoded for one provider: the steps of its dialect as the HTTP requests that go out.

Headers are built from nothing: of the client's own only `traceparent` goes on.
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import quote

from msgspec.structs import replace

from gatewayz.core.calls import HttpRequest
from gatewayz.core.requests import ChatRequest, Request
from gatewayz.dialects.kit.base import (
    DecodeOptions,
    Draft,
    EncodeTarget,
    Send,
    Steps,
    UpstreamAnswer,
    UpstreamRole,
)
from gatewayz.dialects.kit.jsontext import encode_json
from gatewayz.dialects.kit.tool_names import rename_tools, tool_names_to_send
from gatewayz.dialects.registry import UPSTREAMS
from gatewayz.providers.headers import PUBLIC_HEADERS, USER_AGENT, auth_headers, own_hosts
from gatewayz.providers.model_ids import dialect_for, native_id
from gatewayz.providers.quirks import apply_quirks
from gatewayz.providers.refused_parameters import remove_parameters
from gatewayz.providers.spec import Credential, Provider, UpstreamPath

NOT_FOUND = 404
NO_NAMES: Mapping[str, str] = {}
DIALECT_PATH = UpstreamPath(path="{path}")
COUNT_PATH_SUFFIX = "/count_tokens"
CACHE_MARKS = {"anthropic_messages": "."}
"""Dialect → regular expression of models that cache what `cache_control` marks, where a provider's
row says nothing: for Messages it is part of the API."""
"""Ends the path of a dialect in which tokens are counted."""


class RequestOptions(NamedTuple):
    """What else holds for a request.

    `trace` is its `traceparent`; `unsupported_parameters` were refused by the provider before;
    `max_output` is the most tokens that the model can answer with, where the catalogue knows.
    `auto_cache`: what can be cached of the prompt is to be marked, if the model caches by mark.
    `output_limit` is sent as the limit of a request that has none of its own.
    """

    trace: str = ""
    unsupported_parameters: tuple[str, ...] = ()
    max_output: int | None = None
    auto_cache: bool = False
    output_limit: int | None = None


class RequestTarget(NamedTuple):
    """Whom a request goes to and by what right; `model` is the id that the provider's API takes."""

    provider: Provider
    credential: Credential | None
    dialect: str
    model: str
    streamed: bool
    options: RequestOptions = RequestOptions()


class UpstreamRequest:
    """A request under way to one provider: its dialect's steps, and their drafts as HTTP requests.

    `dropped` names the client's fields that were not sent, as far as they were encoded by now.
    `body` is what was asked last, until there is an answer: a refusal of it is understood by it.
    """

    def __init__(
        self,
        target: RequestTarget,
        role: UpstreamRole[Any],
        options: DecodeOptions,
        steps: Steps,
    ) -> None:
        self._target = target
        self.role = role
        self.decode_options = options
        self.steps = steps
        self.dropped: tuple[str, ...] = ()
        self.body: dict[str, Any] | None = None

    def wire(self, draft: Draft) -> HttpRequest:
        """The HTTP request of a draft, with quirks and credentials."""
        request, dropped = wire_from_draft(self._target, draft)
        self.body = draft.body
        if dropped:
            self.dropped = tuple(dict.fromkeys((*self.dropped, *dropped)))
        return request


def build_request(
    request: Request,
    provider: Provider,
    credential: Credential | None,
    upstream_id: str,
    options: "RequestOptions | None" = None,
) -> UpstreamRequest:
    """The request as this provider wants it."""
    options = options if options is not None else RequestOptions()
    if options.output_limit is not None and isinstance(request, ChatRequest):
        request = replace(request, max_output=options.output_limit)
    dialect = dialect_for(provider, upstream_id, request.surface)
    role = UPSTREAMS[dialect]
    model = native_id(upstream_id, provider)
    quirks = provider.quirks
    streamed = request.streamed and (
        request.surface != "image" or _matches(quirks.image_streams, model)
    )
    pattern = quirks.cache_marks
    cache_marks = _matches(CACHE_MARKS.get(dialect, "") if pattern is None else pattern, model)
    encode_target = EncodeTarget(
        provider=seal_owner(provider, dialect),
        upstream_id=model,
        streamed=streamed,
        queue_url="" if _matches(quirks.direct_models, model) else quirks.queue_url,
        max_output=options.max_output,
        cache_marks=cache_marks,
        auto_cache=cache_marks and options.auto_cache,
    )

    names = tool_names_to_send(request, dialect) if isinstance(request, ChatRequest) else {}
    sent = rename_tools(request, names) if names and isinstance(request, ChatRequest) else request
    steps = role.steps(sent, encode_target)
    if provider.fallback_base_urls:
        steps = steps_with_location_failover(steps, provider)
    target = RequestTarget(provider, credential, dialect, model, streamed, options)
    decoding = decode_options(provider, request, dialect, names)
    return UpstreamRequest(target, role, decoding, steps)


def steps_with_location_failover(steps: Steps, provider: Provider) -> Steps:
    """The steps; where a location refuses for what is true there only, the next one is asked.

    Returns the refusal that counts: that a model is not known in a fallback location does not mean
    that it is known nowhere.
    """
    answer: UpstreamAnswer | None = None
    first: UpstreamAnswer | None = None
    while True:
        try:
            step = steps.send(answer)
        except StopIteration as end:
            return end.value if end.value is not None else first
        answer, first = (yield step), None
        if not isinstance(step, Send) or step.read_whole:
            continue

        for base_url in provider.fallback_base_urls:
            if answer is None or answer.status not in provider.fallback_statuses:
                break
            first = answer if first is None or first.status == NOT_FOUND else first
            answer = yield replace(step, draft=replace(step.draft, base_url=base_url))
        if answer is not None and answer.status != NOT_FOUND:
            first = answer


def _matches(pattern: str, model: str) -> bool:
    return bool(pattern) and re.search(pattern, model) is not None


def wire_from_draft(target: RequestTarget, draft: Draft) -> tuple[HttpRequest, tuple[str, ...]]:
    """A draft as an HTTP request, and the names of the client's fields that are not sent.

    A draft may name a whole URL, which a provider has given: only its own hosts see the credential.
    """
    provider, options = target.provider, target.options
    template = request_path(target, draft.path)
    path = template.replace("{path}", draft.path).replace("{model}", quote(target.model, safe="@"))
    url = draft.path if "://" in draft.path else (draft.base_url or provider.base_url) + path
    if not url.startswith(
        own_hosts(provider.base_url, *provider.fallback_base_urls, provider.quirks.queue_url)
    ):
        headers = (*PUBLIC_HEADERS, *draft.headers)
        return HttpRequest(draft.method, url, headers, public=True, proxy=provider.proxy), ()

    body, dropped = b"", draft.dropped
    if draft.body is not None:
        by_quirks = apply_quirks(draft.body, provider.quirks, target.model, target.dialect)
        removed = remove_parameters(draft.body, options.unsupported_parameters)
        dropped = (*dropped, *by_quirks, *removed)
        if "{model}" in template:
            draft.body.pop("model", None)
        body = encode_json(draft.body)

    lines = [
        ("Content-Type", "application/json"),
        ("Accept", _accept_header(target, draft)),
        ("Accept-Encoding", "identity"),
        ("User-Agent", USER_AGENT),
        *auth_headers(provider, target.credential),
        *provider.headers,
        *draft.headers,
    ]
    if options.trace:
        lines.append(("traceparent", options.trace))
    return HttpRequest(draft.method, url, tuple(lines), body, proxy=provider.proxy), dropped


def request_path(target: RequestTarget, path: str) -> str:
    """What is asked below the base URL: the dialect's own `path`, or the provider's instead."""
    paths = target.provider.path_by_model
    upstream_path = next(
        (own for pattern, own in paths.items() if re.search(pattern, target.model)), DIALECT_PATH
    )
    if upstream_path.count and path.endswith(COUNT_PATH_SUFFIX):
        return upstream_path.count
    return upstream_path.stream if target.streamed and upstream_path.stream else upstream_path.path


def _accept_header(target: RequestTarget, draft: Draft) -> str:
    if draft.body is None:
        return "*/*"
    return "text/event-stream" if target.streamed else "application/json"


def seal_owner(provider: Provider, dialect: str) -> str:
    """Whose seals these are: what one of a provider's APIs sealed means nothing to the others."""
    return provider.id if dialect == provider.dialect else f"{provider.id}/{dialect}"


def decode_options(
    provider: Provider, request: Request, dialect: str, names: Mapping[str, str] = NO_NAMES
) -> DecodeOptions:
    """How the answer is to be decoded; with `echo` its source goes on to clients of the dialect.

    `names`: the client's names of tools → those that were sent instead.
    """
    quirks = provider.quirks
    return DecodeOptions(
        provider=seal_owner(provider, dialect),
        think=quirks.think,
        stops=quirks.stops,
        reasoning_outside=quirks.reasoning_outside,
        error_path=quirks.error_path,
        choices=request.choices,
        echo=request.dialect == dialect,
        tool_names={sent: own for own, sent in names.items()},
    )
