"""What a provider's refusal means: rules as data, tried in order, and the fault that follows.

Order: the provider's own rules, exact codes, texts, the status. On a 400, codes of permission and
rate limits say nothing, because some providers use them for malformed requests.
"""

import re
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import msgspec
from msgspec import Struct

from gatewayz.core.faults import ContextOverflow, Fault, UpstreamError
from gatewayz.core.redaction import CUT, MASK, SHAPES, Redactor, cut_content, texts_of
from gatewayz.core.requests import Request
from gatewayz.providers.refused_parameters import parameters_in_refusal
from gatewayz.providers.spec import ErrorClass, ErrorRule, Provider

KINDS: dict[ErrorClass, str] = {
    "auth": "upstream_auth",
    "permission": "upstream_forbidden",
    "no_credits": "upstream_unpaid",
    "rate_limited": "upstream_limited",
    "overloaded": "upstream_overloaded",
    "context_length": "upstream_too_long",
    "content_filter": "filtered",
    "model_not_found": "upstream_unknown_model",
    "bad_request": "upstream_rejected",
    "timeout": "upstream_timeout",
    "server": "upstream_error",
    "cancelled": "upstream_error",
}
"""Class of a refusal → kind of fault."""

MESSAGES = {
    "upstream_auth": "refused our credential",
    "upstream_forbidden": "does not let us use this model",
    "upstream_unpaid": "has no credit left for us",
    "upstream_limited": "limits our rate",
    "upstream_overloaded": "is overloaded",
    "filtered": "filtered the content",
    "upstream_unknown_model": "does not know this model",
    "upstream_timeout": "ran out of time",
    "upstream_error": "failed",
}
"""Kind of fault → what is said of the provider; of the other kinds its own words are shown."""
FIGURE = re.compile(r"\{(tokens|limit|output)\}")
IGNORED_ON_400 = frozenset({"permission", "rate_limited"})


class _RulesFile(Struct, frozen=True, kw_only=True):
    codes: dict[ErrorClass, tuple[str, ...]]
    texts: tuple[dict[str, object], ...]
    statuses: dict[ErrorClass, tuple[int, ...]]
    unsupported_parameter: dict[str, object]
    overflow: dict[str, tuple[str, ...]]


class _TextRule(Struct, frozen=True):
    kind: ErrorClass
    pattern: re.Pattern[str]
    status: tuple[int, ...]


class _CompiledRules(Struct, frozen=True):
    codes: dict[str, ErrorClass]
    texts: tuple[_TextRule, ...]
    statuses: dict[int, ErrorClass]
    unsupported: re.Pattern[str]
    unsupported_status: tuple[int, ...]
    overflow: tuple[re.Pattern[str], ...]


@cache
def _rules() -> _CompiledRules:
    text = files("gatewayz.providers").joinpath("errors.toml").read_text("utf-8")
    rules = msgspec.convert(tomllib.loads(text), _RulesFile)
    unsupported = rules.unsupported_parameter
    return _CompiledRules(
        codes={code: kind for kind, codes in rules.codes.items() for code in codes},
        texts=tuple(_text_rule(item) for item in rules.texts),
        statuses={status: kind for kind, statuses in rules.statuses.items() for status in statuses},
        unsupported=re.compile(str(unsupported["regex"]), re.IGNORECASE),
        unsupported_status=msgspec.convert(unsupported["status"], tuple[int, ...]),
        overflow=tuple(
            re.compile(_with_figures(pattern), re.IGNORECASE)
            for pattern in rules.overflow["figures"]
        ),
    )


def _with_figures(pattern: str) -> str:
    """The pattern with a group of digits for each `{name}` of a figure."""
    return FIGURE.sub(r"(?P<\1>\\d[\\d,]{0,11})", pattern)


def _text_rule(item: dict[str, object]) -> _TextRule:
    kind = msgspec.convert(item["class"], ErrorClass)
    status = msgspec.convert(item.get("status", ()), tuple[int, ...])
    return _TextRule(kind, re.compile(str(item["regex"]), re.IGNORECASE), status)


def error_class(provider: Provider, error: UpstreamError) -> ErrorClass:
    """The class of a refusal."""
    codes, text = f"{error.code} {error.type}", f"{error.code} {error.message}"
    for own_rule in provider.errors:
        if _rule_matches(own_rule, error.status, codes, text):
            return own_rule.kind

    rules = _rules()
    for code in (error.code, error.type):
        kind = rules.codes.get(code.lower())
        if kind is not None and not (error.status == 400 and kind in IGNORED_ON_400):
            return kind
    for rule in rules.texts:
        if rule.status and error.status not in rule.status:
            continue
        if rule.pattern.search(error.message):
            return rule.kind

    # A redirect is never followed, so it is no answer; the client did nothing wrong.
    return rules.statuses.get(error.status) or (
        "bad_request" if 400 <= error.status < 500 else "server"
    )


def _rule_matches(rule: ErrorRule, status: int, codes: str, text: str) -> bool:
    if rule.status and status not in rule.status:
        return False
    if rule.code and not any(re.search(rule.code, code, re.IGNORECASE) for code in codes.split()):
        return False
    return not rule.text or re.search(rule.text, text, re.IGNORECASE) is not None


def classify(
    provider: Provider, error: UpstreamError, body: Mapping[str, Any] | None = None
) -> Fault:
    """The fault that a refusal of `body` means. Its words are the provider's: `clean_fault` makes
    them fit for others.
    """
    kind = KINDS[error_class(provider, error)]
    overflow = context_overflow(error.message) if kind == "upstream_too_long" else None
    words = SHAPES.sub(MASK, error.message)
    message = words or f"{provider.name} refused"
    if kind in MESSAGES:
        message = f"{provider.name} {MESSAGES[kind]}"
    return Fault(
        kind,
        message,
        retry_after_s=error.retry_after_s,
        provider=provider.id,
        upstream=msgspec.structs.replace(
            error, message=words, unsupported_parameters=find_unsupported_parameters(error, body)
        ),
        overflow=overflow,
    )


def context_overflow(message: str) -> ContextOverflow:
    """The figures in a provider's words for a prompt that is too long, as far as it gives them."""
    for pattern in _rules().overflow:
        found = pattern.search(message)
        if found is not None:
            figures = {
                name: int(digits.replace(",", ""))
                for name, digits in found.groupdict().items()
                if digits is not None
            }
            return ContextOverflow(**figures)
    return ContextOverflow()


def clean_fault(fault: Fault, redactor: Redactor, request: Request, secret: str = "") -> Fault:
    """The fault as it may be shown, logged and stored: no secret is in it, none of the request.

    `secret` is what the attempt authenticated with. Once it is cleaned, nobody has the raw words.
    """
    message = redactor.redact_words(fault.message, request, secret)
    upstream = fault.upstream
    if upstream is not None:
        names = {
            name: redactor.redact_name(getattr(upstream, name))
            for name in ("type", "code", "param")
        }
        content, together = tuple(texts_of(request)), "\n".join(names.values())
        if cut_content(together, content) != together:
            names = {
                name: text if cut_content(text, content) == text else ""
                for name, text in names.items()
            }
        words = message
        if upstream.message != fault.message:
            words = redactor.redact_words(upstream.message, request, secret)
        details = upstream.details and _clean_details(upstream.details, redactor, request, secret)
        upstream = msgspec.structs.replace(
            upstream, **names, message=words, raw=b"", details=details
        )
    return Fault(
        fault.kind,
        message.strip(f" {CUT}") or f"The provider failed ({fault.kind}).",
        retry_after_s=fault.retry_after_s,
        param=fault.param,
        provider=fault.provider,
        upstream=upstream,
        blame=fault.blame,
        overflow=fault.overflow,
        details=fault.details,
    )


def _clean_details(
    details: dict[str, Any], redactor: Redactor, request: Request, secret: str
) -> dict[str, Any] | None:
    """What a provider says to machines, unless there is more in it than names."""
    text = msgspec.json.encode(details).decode()
    return details if redactor.redact_words(text, request, secret) == text else None


def find_unsupported_parameters(
    error: UpstreamError, body: Mapping[str, Any] | None = None
) -> tuple[str, ...]:
    """The parameters that a refusal names as unsupported, of those that `body` can do without."""
    rules = _rules()
    if error.status not in rules.unsupported_status:
        return ()
    return parameters_in_refusal(error, rules.unsupported, body)
