"""What a provider's refusal means: rules as data, tried in order, and the fault that follows.

Order: the provider's own rules, exact codes, texts, the status. On a 400, codes of permission and rate limits say
nothing, because some providers use them for malformed requests.
"""

import re
import tomllib
from functools import cache
from importlib.resources import files

import msgspec
from msgspec import Struct

from gatewayz.core.faults import Fault, UpstreamWords
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

OWN_WORDS = frozenset({"upstream_rejected", "upstream_too_long"})
"""Kinds in which a client of any dialect reads the provider's message, redacted."""
SAYS = {
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
SECRETS = re.compile(
    r"(sk|gsk|pk|key|gw_live|gw_test|xai|hf|cpk|nvapi)[-_][\w*\-]{6,}|Bearer\s+\S+|\S+@\S+\.\w+|https?://\S*\?\S+"
)
IGNORED_ON_400 = frozenset({"permission", "rate_limited"})


class _Rules(Struct, frozen=True, kw_only=True):
    codes: dict[ErrorClass, tuple[str, ...]]
    texts: tuple[dict[str, object], ...]
    statuses: dict[ErrorClass, tuple[int, ...]]
    unsupported_parameter: dict[str, object]


class _Text(Struct, frozen=True):
    kind: ErrorClass
    pattern: re.Pattern[str]
    status: tuple[int, ...]


class _Compiled(Struct, frozen=True):
    codes: dict[str, ErrorClass]
    texts: tuple[_Text, ...]
    statuses: dict[int, ErrorClass]
    unsupported: re.Pattern[str]
    unsupported_status: tuple[int, ...]


@cache
def _rules() -> _Compiled:
    text = files("gatewayz.providers").joinpath("errors.toml").read_text("utf-8")
    rules = msgspec.convert(tomllib.loads(text), _Rules)
    asked = rules.unsupported_parameter
    return _Compiled(
        codes={code: kind for kind, codes in rules.codes.items() for code in codes},
        texts=tuple(_text_rule(item) for item in rules.texts),
        statuses={status: kind for kind, statuses in rules.statuses.items() for status in statuses},
        unsupported=re.compile(str(asked["regex"]), re.IGNORECASE),
        unsupported_status=msgspec.convert(asked["status"], tuple[int, ...]),
    )


def _text_rule(item: dict[str, object]) -> _Text:
    kind = msgspec.convert(item["class"], ErrorClass)
    status = msgspec.convert(item.get("status", ()), tuple[int, ...])
    return _Text(kind, re.compile(str(item["regex"]), re.IGNORECASE), status)


def class_of(provider: Provider, words: UpstreamWords) -> ErrorClass:
    """The class of a refusal."""
    code, text = f"{words.code} {words.type}", f"{words.code} {words.message}"
    for rule in provider.errors:
        if _holds(rule, words.status, code, text):
            return rule.kind
    rules = _rules()
    for name in (words.code, words.type):
        found = rules.codes.get(name.lower())
        if found is not None and not (words.status == 400 and found in IGNORED_ON_400):
            return found
    for candidate in rules.texts:
        if (not candidate.status or words.status in candidate.status) and candidate.pattern.search(
            words.message
        ):
            return candidate.kind
    # A redirect is never followed, so it is no answer; the client did nothing wrong.
    return rules.statuses.get(words.status) or (
        "bad_request" if 400 <= words.status < 500 else "server"
    )


def _holds(rule: ErrorRule, status: int, code: str, text: str) -> bool:
    if rule.status and status not in rule.status:
        return False
    if rule.code and not any(re.search(rule.code, part, re.IGNORECASE) for part in code.split()):
        return False
    return not rule.text or re.search(rule.text, text, re.IGNORECASE) is not None


def classify(provider: Provider, words: UpstreamWords) -> Fault:
    """The fault that a refusal means, with a message that is fit for a client."""
    kind = KINDS[class_of(provider, words)]
    message = (
        f"{provider.name} {SAYS[kind]}"
        if kind in SAYS
        else redacted(words.message) or f"{provider.name} refused"
    )
    clean = msgspec.structs.replace(words, message=redacted(words.message))
    return Fault(
        kind, message, retry_after_s=words.retry_after_s, provider=provider.id, upstream=clean
    )


def redacted(text: str) -> str:
    """The text without anything that looks like a key, an address of a person, or a link with parameters."""
    return SECRETS.sub("***", text)


def unsupported_parameter(words: UpstreamWords) -> str:
    """The parameter that a refusal names as unsupported; empty when it names none."""
    rules = _rules()
    if words.status not in rules.unsupported_status or not rules.unsupported.search(
        f"{words.code} {words.message}"
    ):
        return ""
    quoted = re.search(r"['\"`]([\w.]+)['\"`]", words.message)
    named = words.param or (quoted[1] if quoted else "")
    return named if re.fullmatch(r"[\w.]+", named) else ""
