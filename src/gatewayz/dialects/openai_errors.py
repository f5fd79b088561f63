"""Errors of OpenAI's API, the same on all its wires: our faults in its words."""

from typing import Any

from gatewayz.core.faults import Fault
from gatewayz.dialects.base import Spoken
from gatewayz.dialects.jsontext import encoded

FAMILY = "openai_"
"""What the names of the dialects begin with whose errors have this form."""

ERRORS: dict[str, tuple[str, str | None]] = {
    "bad_request": ("invalid_request_error", None),
    "too_large": ("invalid_request_error", "request_too_large"),
    "unsupported": ("invalid_request_error", "unsupported_value"),
    "unauthenticated": ("invalid_request_error", "invalid_api_key"),
    "forbidden": ("permission_error", "forbidden"),
    "unknown_model": ("invalid_request_error", "model_not_found"),
    "unknown_route": ("invalid_request_error", "unknown_url"),
    "wrong_method": ("invalid_request_error", "method_not_supported"),
    "unpriced": ("server_error", "unpriced"),
    "insufficient_credit": ("insufficient_quota", "insufficient_credit"),
    "credit_held": ("rate_limit_error", "credit_held"),
    "rate_limited": ("rate_limit_error", "rate_limit_exceeded"),
    "in_flight": ("conflict_error", "request_in_progress"),
    "replay_unavailable": ("conflict_error", "replay_unavailable"),
    "other_request": ("invalid_request_error", "idempotency_key_reused"),
    "set_in_file": ("conflict_error", "set_in_file"),
    "upstream_auth": ("server_error", "upstream_auth"),
    "upstream_forbidden": ("server_error", "upstream_forbidden"),
    "upstream_unpaid": ("server_error", "upstream_unpaid"),
    "upstream_unknown_model": ("server_error", "upstream_unknown_model"),
    "upstream_rejected": ("invalid_request_error", None),
    "upstream_too_long": ("invalid_request_error", "context_length_exceeded"),
    "upstream_limited": ("rate_limit_error", "rate_limit_exceeded"),
    "upstream_overloaded": ("server_error", "upstream_overloaded"),
    "upstream_error": ("server_error", "upstream_error"),
    "upstream_timeout": ("server_error", "upstream_timeout"),
    "upstream_unreachable": ("server_error", "upstream_unreachable"),
    "upstream_broken": ("server_error", "upstream_broken"),
    "upstream_cut": ("server_error", "upstream_cut"),
    "filtered": ("invalid_request_error", "content_filter"),
    "client_gone": ("server_error", "client_gone"),
    "unavailable": ("server_error", "unavailable"),
    "internal": ("server_error", "internal_error"),
}
"""Kind of fault → `type` and `code` of OpenAI's error object."""

UNMODIFIED = frozenset({"upstream_rejected", "upstream_too_long"})
"""Kinds whose wording is the provider's own: clients match on it."""


def error_object(fault: Fault) -> dict[str, Any]:
    """The `error` object that a client reads."""
    words = fault.upstream
    kind, code = ERRORS[fault.kind]
    if words is not None and words.dialect.startswith(FAMILY) and fault.kind in UNMODIFIED:
        return {
            "message": words.message or fault.message,
            "type": words.type or kind,
            "param": words.param or None,
            "code": words.code or code,
        }
    return {"message": fault.message, "type": kind, "param": fault.param or None, "code": code}


def status_of(fault: Fault) -> int:
    """The HTTP status: the provider's own where its wording is passed on, the table's otherwise."""
    words = fault.upstream
    own = words is not None and fault.kind in UNMODIFIED and 400 <= words.status < 500
    return words.status if own and words is not None else fault.rule.status


def refusal(fault: Fault) -> Spoken:
    headers: tuple[tuple[str, str], ...] = (("content-type", "application/json"),)
    return Spoken(status_of(fault), headers, encoded({"error": error_object(fault)}))
