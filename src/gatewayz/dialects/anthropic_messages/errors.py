"""Errors of Anthropic Messages: our faults in its words.

"Errors are always returned as JSON, with a top-level `error` object that always includes a `type` and `message` value.
In addition, `request_id`." Types and statuses: platform.claude.com/docs/en/api/errors. Claude Code decides by type and
wording what to do next, so an Anthropic upstream's own are passed on.
"""

from typing import Any

from gatewayz.core.faults import Fault
from gatewayz.dialects.anthropic_messages.loses import NAME
from gatewayz.dialects.base import Spoken
from gatewayz.dialects.jsontext import encoded

STATUSES = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
"""Type of an error → its status."""

ERRORS: dict[str, tuple[str, int | None]] = {
    "bad_request": ("invalid_request_error", None),
    "too_large": ("request_too_large", None),
    "unsupported": ("invalid_request_error", None),
    "unauthenticated": ("authentication_error", None),
    "forbidden": ("permission_error", None),
    "unknown_model": ("not_found_error", None),
    "unknown_route": ("not_found_error", None),
    "wrong_method": ("invalid_request_error", None),
    "unpriced": ("api_error", None),
    "insufficient_credit": ("billing_error", None),
    "credit_held": ("rate_limit_error", None),
    "rate_limited": ("rate_limit_error", None),
    "in_flight": ("invalid_request_error", None),
    "replay_unavailable": ("invalid_request_error", None),
    "other_request": ("invalid_request_error", None),
    "set_in_file": ("invalid_request_error", None),
    "upstream_auth": ("api_error", None),
    "upstream_forbidden": ("api_error", None),
    "upstream_unpaid": ("api_error", None),
    "upstream_unknown_model": ("api_error", None),
    "upstream_rejected": ("invalid_request_error", None),
    "upstream_too_long": ("invalid_request_error", None),
    "upstream_limited": ("rate_limit_error", None),
    "upstream_overloaded": ("overloaded_error", 529),
    "upstream_error": ("api_error", None),
    "upstream_timeout": ("timeout_error", None),
    "upstream_unreachable": ("api_error", None),
    "upstream_broken": ("api_error", None),
    "upstream_cut": ("api_error", None),
    "filtered": ("invalid_request_error", None),
    "client_gone": ("api_error", None),
    "unavailable": ("overloaded_error", 529),
    "internal": ("api_error", None),
}
"""Kind of fault → `type` of the error, and its status where it is not the kind's own."""

UNMODIFIED = frozenset(
    {
        "upstream_rejected",
        "upstream_too_long",
        "upstream_limited",
        "upstream_overloaded",
        "upstream_error",
        "upstream_timeout",
        "filtered",
    }
)
"""Kinds in which an upstream of this dialect speaks for itself; what it says of our credential is nobody's affair."""


def error_body(fault: Fault, call_id: str) -> dict[str, Any]:
    """The envelope, as a body or as the data of an `error` event."""
    words = fault.upstream
    said = {"type": ERRORS[fault.kind][0], "message": fault.message}
    if words is not None and words.dialect == NAME and fault.kind in UNMODIFIED and words.type:
        said = {"type": words.type, "message": words.message or fault.message}
    return {"type": "error", "error": said, "request_id": call_id}


def status_of(fault: Fault) -> int:
    """The HTTP status: the provider's own where its wording is passed on, the table's otherwise."""
    words = fault.upstream
    if (
        words is not None
        and fault.kind in UNMODIFIED
        and (words.dialect == NAME or fault.rule.status == 400)
    ):
        return words.status if 400 <= words.status < 600 else fault.rule.status
    return ERRORS[fault.kind][1] or fault.rule.status


def refusal(fault: Fault, call_id: str) -> Spoken:
    headers: tuple[tuple[str, str], ...] = (("content-type", "application/json"),)
    return Spoken(status_of(fault), headers, encoded(error_body(fault, call_id)))
