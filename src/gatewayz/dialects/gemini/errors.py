"""Refusals: a `google.rpc.Status` under `error`, alone or as the one element of a list (AIP-193)."""

import re
from typing import Any

import msgspec

from gatewayz.core.faults import MAX_MESSAGE, Fault, UpstreamWords
from gatewayz.dialects.jsontext import decoded, salvaged

NAME = "gemini"
MAX_RAW_BYTES = 16 * 2**10
UNKNOWN = re.compile(
    r"""Unknown name "(?P<name>\w+)"(?: at '(?P<place>[^']+)')?: Cannot find field"""
)


def words_from(status: int, body: bytes) -> UpstreamWords:
    """What a refusal says: `type` is the status word, `code` the reason, `param` the field that it names."""
    error = _error(body)
    details = [item for item in _listed(error.get("details")) if isinstance(item, dict)]
    quotas = [
        str(item["quotaId"])
        for detail in details
        for item in _violations(detail)
        if "quotaId" in item
    ]
    unknown = UNKNOWN.search(str(error.get("message") or ""))
    fields = [] if unknown is None else [_named(unknown["name"], unknown["place"] or "")]
    fields += [
        str(item["field"])
        for detail in details
        for item in _violations(detail)
        if item.get("field")
    ]
    reasons = [str(detail["reason"]) for detail in details if detail.get("reason")]
    message = str(error.get("message") or "") or body[:500].decode(errors="replace")
    return UpstreamWords(
        dialect=NAME,
        status=_status(error.get("code"), status),
        type=str(error.get("status") or ""),
        code=reasons[0] if reasons else "",
        param=fields[0] if fields else "",
        message=" ".join([message, *quotas])[:MAX_MESSAGE],
        raw=body[:MAX_RAW_BYTES],
    )


def _named(name: str, place: str) -> str:
    """An unknown field by its path in the request: places are spelled as the interface is, fields as JSON is."""
    steps = [
        re.sub(r"_(\w)", lambda found: found[1].upper(), step) for step in place.split(".") if step
    ]
    return ".".join([*steps, name])


def said_no(body: bytes) -> Fault:
    """An error where an answer was promised."""
    words = words_from(502, body)
    return Fault(
        "upstream_error",
        words.message or "the provider reported an error in its answer",
        upstream=words,
    )


def _status(code: Any, status: int) -> int:
    """The HTTP status; an error inside an answer carries the one it should have had."""
    return code if status == 502 and isinstance(code, int) and 400 <= code < 600 else status


def _error(body: bytes) -> dict[str, Any]:
    value = _parsed(body)
    if isinstance(value, list) and value:
        value = value[0]
    error = value.get("error") if isinstance(value, dict) else None
    if isinstance(error, str):
        # The token endpoint's form (RFC 6749, 5.2).
        return {"status": error, "message": value.get("error_description") or error}
    return error if isinstance(error, dict) else {}


def _parsed(body: bytes) -> Any:
    try:
        return decoded(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        try:
            return decoded(salvaged(body))
        except (ValueError, RecursionError):
            return None


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _violations(detail: dict[str, Any]) -> list[dict[str, Any]]:
    """Of QuotaFailure and BadRequest."""
    found = [*_listed(detail.get("violations")), *_listed(detail.get("fieldViolations"))]
    return [item for item in found if isinstance(item, dict)]
