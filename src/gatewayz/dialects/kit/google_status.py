"""Google's errors: a `google.rpc.Status` under `error`, alone or alone in a list (AIP-193)."""

import re
from typing import Any

from gatewayz.core.faults import MAX_MESSAGE, UpstreamError
from gatewayz.dialects.kit.jsontext import decode_lenient
from gatewayz.dialects.kit.refusals import BAD_GATEWAY, MAX_RAW_BYTES

MAX_PLAIN_BYTES = 500
"""As much of a body as is shown that is no error of this shape."""
UNKNOWN_FIELD = re.compile(
    r"""Unknown name "(?P<name>\w+)"(?: at '(?P<place>[^']+)')?: Cannot find field"""
)


def upstream_error_from_status(dialect: str, status: int, body: bytes) -> UpstreamError:
    """A refusal: `type` is the status word, `code` the reason, `param` the field that it names.

    Example: `UpstreamError("gemini", 400, type="INVALID_ARGUMENT", code="API_KEY_INVALID",
    message="…")`.
    """
    error = _error_object(body)
    details = [item for item in _as_list(error.get("details")) if isinstance(item, dict)]
    violations = [item for detail in details for item in _violations(detail)]
    quotas = [str(item["quotaId"]) for item in violations if "quotaId" in item]
    reasons = [str(detail["reason"]) for detail in details if detail.get("reason")]

    message = str(error.get("message") or "")
    unknown = UNKNOWN_FIELD.search(message)
    fields = [] if unknown is None else [_field_path(unknown["name"], unknown["place"] or "")]
    fields += [str(item["field"]) for item in violations if item.get("field")]

    shown = message or body[:MAX_PLAIN_BYTES].decode(errors="replace")
    return UpstreamError(
        dialect=dialect,
        status=_http_status(error.get("code"), status),
        type=str(error.get("status") or ""),
        code=reasons[0] if reasons else "",
        param=fields[0] if fields else "",
        message=" ".join([shown, *quotas])[:MAX_MESSAGE],
        raw=body[:MAX_RAW_BYTES],
    )


def _field_path(name: str, place: str) -> str:
    """An unknown field by its path in the request, where Google says its place in snake case."""
    steps = [
        re.sub(r"_(\w)", lambda match: match[1].upper(), step) for step in place.split(".") if step
    ]
    return ".".join([*steps, name])


def _http_status(code: Any, status: int) -> int:
    """The HTTP status; an error inside an answer carries the one that it should have had."""
    is_status = isinstance(code, int) and 400 <= code < 600
    return code if status == BAD_GATEWAY and is_status else status


def _error_object(body: bytes) -> dict[str, Any]:
    value = decode_lenient(body)
    if isinstance(value, list) and value:
        value = value[0]
    error = value.get("error") if isinstance(value, dict) else None
    if isinstance(error, str):
        # The token endpoint's form (RFC 6749, 5.2).
        return {"status": error, "message": value.get("error_description") or error}
    return error if isinstance(error, dict) else {}


def _violations(detail: dict[str, Any]) -> list[dict[str, Any]]:
    """Those of QuotaFailure and of BadRequest."""
    items = [*_as_list(detail.get("violations")), *_as_list(detail.get("fieldViolations"))]
    return [item for item in items if isinstance(item, dict)]


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
