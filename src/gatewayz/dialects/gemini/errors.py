"""Errors of Gemini: Google's statuses, under this dialect's name."""

from gatewayz.core.faults import Fault, UpstreamError
from gatewayz.dialects.gemini.wire import NAME
from gatewayz.dialects.kit.google_status import upstream_error_from_status
from gatewayz.dialects.kit.refusals import BAD_GATEWAY, fault_from_upstream_error


def upstream_error_from_response(status: int, body: bytes) -> UpstreamError:
    """What a refusal says."""
    return upstream_error_from_status(NAME, status, body)


def fault_from_body(body: bytes) -> Fault:
    """An error where an answer was promised."""
    return fault_from_upstream_error(upstream_error_from_response(BAD_GATEWAY, body))
