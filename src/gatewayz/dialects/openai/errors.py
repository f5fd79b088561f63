"""Errors of OpenAI's API, the same on all its wires: our faults in its words."""

import re
from typing import Any

from gatewayz.core.faults import Fault
from gatewayz.dialects.kit.base import HttpResponse
from gatewayz.dialects.kit.jsontext import encode_json
from gatewayz.dialects.kit.overflow import OVERFLOW_KINDS, OverflowWords, overflow_message

DIALECT_PREFIX = "openai_"
"""Begins the names of the dialects whose errors have this form."""

ERRORS: dict[str, tuple[str, str | None]] = {
    "bad_request": ("invalid_request_error", None),
    "too_large": ("invalid_request_error", "request_too_large"),
    "unsupported_encoding": ("invalid_request_error", "unsupported_encoding"),
    "unsupported": ("invalid_request_error", "unsupported_value"),
    "too_long": ("invalid_request_error", "context_length_exceeded"),
    "unauthenticated": ("invalid_request_error", "invalid_api_key"),
    "forbidden": ("permission_error", "forbidden"),
    "unknown_model": ("invalid_request_error", "model_not_found"),
    "unknown_route": ("invalid_request_error", "unknown_url"),
    "not_found": ("invalid_request_error", "not_found"),
    "wrong_method": ("invalid_request_error", "method_not_supported"),
    "unpriced": ("invalid_request_error", "unpriced"),
    "insufficient_credit": ("insufficient_quota", "insufficient_credit"),
    "credit_held": ("rate_limit_error", "credit_held"),
    "rate_limited": ("rate_limit_error", "rate_limit_exceeded"),
    "in_flight": ("conflict_error", "request_in_progress"),
    "replay_unavailable": ("conflict_error", "replay_unavailable"),
    "idempotency_mismatch": ("invalid_request_error", "idempotency_key_reused"),
    "config_locked": ("conflict_error", "config_locked"),
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

PASSTHROUGH_KINDS = frozenset({"upstream_rejected", "upstream_too_long"})
"""Kinds whose wording is the provider's own: clients match on it."""

OVERFLOW = OverflowWords(
    known=re.compile(r"This model's maximum context length is|Your input exceeds the context"),
    prompt="This model's maximum context length is {limit} tokens. However, your messages resulted "
    "in {tokens} tokens. Please reduce the length of the messages.",
    with_output="This model's maximum context length is {limit} tokens. However, you requested "
    "{total} tokens ({tokens} in the messages, {output} in the completion). Please reduce the "
    "length of the messages or completion.",
    limit_only="This model's maximum context length is {limit} tokens. Please reduce the length of "
    "the messages.",
    plain="Your input exceeds the context window of this model. Please adjust your input and try "
    "again.",
)
"""How OpenAI says that a prompt is too long; clients read the code, and some the first words."""


def error_object(fault: Fault) -> dict[str, Any]:
    """The `error` object that a client reads."""
    upstream = fault.upstream
    kind, code = ERRORS[fault.kind]
    if fault.kind in OVERFLOW_KINDS:
        param = (upstream.param if upstream is not None else "") or fault.param
        message = overflow_message(fault, OVERFLOW)
        return {"message": message, "type": kind, "param": param or None, "code": code}
    if (
        upstream is not None
        and upstream.dialect.startswith(DIALECT_PREFIX)
        and fault.kind in PASSTHROUGH_KINDS
    ):
        return {
            "message": upstream.message or fault.message,
            "type": upstream.type or kind,
            "param": upstream.param or None,
            "code": upstream.code or code,
        }
    return {"message": fault.message, "type": kind, "param": fault.param or None, "code": code}


def http_status(fault: Fault) -> int:
    """The HTTP status: the provider's own where its wording is passed on, the table's otherwise."""
    upstream = fault.upstream
    if upstream is not None and fault.kind in PASSTHROUGH_KINDS and 400 <= upstream.status < 500:
        return upstream.status
    return fault.rule.status


def error_response(fault: Fault) -> HttpResponse:
    """The answer to a call that failed before anything was promised."""
    headers: tuple[tuple[str, str], ...] = (("content-type", "application/json"),)
    return HttpResponse(http_status(fault), headers, encode_json({"error": error_object(fault)}))
