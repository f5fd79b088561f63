"""Errors of Anthropic Messages: our faults in its words.

"Errors are always returned as JSON, with a top-level `error` object that always includes a `type`
and `message` value. In addition, `request_id`." Types and statuses:
platform.claude.com/docs/en/api/errors. Claude Code decides by type and wording what to do next, so
an Anthropic upstream's own are passed on.
"""

import re
from typing import Any

from gatewayz.core.faults import Fault
from gatewayz.dialects.anthropic.wire import NAME
from gatewayz.dialects.kit.base import HttpResponse
from gatewayz.dialects.kit.jsontext import encode_json
from gatewayz.dialects.kit.overflow import OVERFLOW_KINDS, OverflowWords, overflow_message

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
    "unsupported_encoding": ("invalid_request_error", None),
    "unsupported": ("invalid_request_error", None),
    "too_long": ("invalid_request_error", None),
    "unauthenticated": ("authentication_error", None),
    "forbidden": ("permission_error", None),
    "unknown_model": ("not_found_error", None),
    "unknown_route": ("not_found_error", None),
    "not_found": ("not_found_error", None),
    "wrong_method": ("invalid_request_error", None),
    "unpriced": ("not_found_error", None),
    "insufficient_credit": ("billing_error", None),
    "credit_held": ("rate_limit_error", None),
    "rate_limited": ("rate_limit_error", None),
    "in_flight": ("invalid_request_error", None),
    "replay_unavailable": ("invalid_request_error", None),
    "idempotency_mismatch": ("invalid_request_error", None),
    "config_locked": ("invalid_request_error", None),
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

PASSTHROUGH_KINDS = frozenset(
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
"""Kinds in which an upstream of this dialect speaks for itself.

What it says of our credential is not the client's affair.
"""

MAX_DETAILS_BYTES = 4_096

OVERFLOW = OverflowWords(
    known=re.compile(r"prompt is too long: \d+ tokens > \d+|input length and `max_tokens` exceed"),
    prompt="prompt is too long: {tokens} tokens > {limit} maximum.",
    with_output="input length and `max_tokens` exceed context limit: {tokens} + {output} > {limit}, "
    "decrease input length or `max_tokens` and try again.",
    limit_only="prompt is too long: the context has {limit} tokens.",
    plain="prompt is too long.",
)
"""How Anthropic says that a prompt is too long: of the first words Claude Code compacts its
conversation, of the second ones it asks for a shorter answer."""


def error_body(fault: Fault, call_id: str) -> dict[str, Any]:
    """The envelope, as a body or as the data of an `error` event.

    Example: `{"type": "error", "error": {"type": "api_error", "message": "…"}, "request_id": "…"}`.
    """
    upstream = fault.upstream
    error: dict[str, Any] = {"type": ERRORS[fault.kind][0], "message": fault.message}
    details = fault.details
    if _is_passed_on(fault) and upstream is not None and upstream.type:
        error = {"type": upstream.type, "message": upstream.message or fault.message}
        details = upstream.details
    elif fault.kind in OVERFLOW_KINDS:
        error["message"] = overflow_message(fault, OVERFLOW)
    if details:
        error["details"] = details
    return {"type": "error", "error": error, "request_id": call_id}


def error_details(value: Any) -> dict[str, Any] | None:
    """What an error says to machines (`error_code`, `unsupported`), by which SDKs go on another way."""
    error = value.get("error") if isinstance(value, dict) else None
    details = error.get("details") if isinstance(error, dict) else None
    if not isinstance(details, dict) or len(encode_json(details)) > MAX_DETAILS_BYTES:
        return None
    return details


def _is_passed_on(fault: Fault) -> bool:
    """Whether the upstream that reported this speaks for itself."""
    upstream = fault.upstream
    return upstream is not None and upstream.dialect == NAME and fault.kind in PASSTHROUGH_KINDS


def http_status(fault: Fault) -> int:
    """The HTTP status: the provider's own where its wording is passed on, the table's otherwise."""
    upstream = fault.upstream
    is_rejection = fault.kind in PASSTHROUGH_KINDS and fault.rule.status == 400
    if upstream is not None and (is_rejection or _is_passed_on(fault)):
        return upstream.status if 400 <= upstream.status < 600 else fault.rule.status
    return ERRORS[fault.kind][1] or fault.rule.status


def error_response(fault: Fault, call_id: str) -> HttpResponse:
    """The whole answer to a call that failed before anything was promised."""
    headers = (("content-type", "application/json"),)
    return HttpResponse(http_status(fault), headers, encode_json(error_body(fault, call_id)))
