"""Refusals: what a provider says when it says no, read from its many shapes.

The shapes (facts gathered from the providers' documentation): an `error` object or text, Anthropic's `type: error`,
flat `message`, FastAPI's `detail`, Cloudflare's `errors[]`, Fireworks' `fault`, MiniMax' `base_resp`, Clarifai's
`status`, a list around any of these, or plain text and HTML. Any provider may stand behind a proxy that answers in
another shape than its dialect's, so every dialect reads all of them.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from gatewayz.core.faults import MAX_MESSAGE, UpstreamWords
from gatewayz.dialects.jsontext import decoded, encoded, salvaged

MAX_RAW_BYTES = 16 * 2**10


def words_from(dialect: str, status: int, body: bytes, headers: Mapping[str, str]) -> UpstreamWords:
    """What a provider's refusal says, whatever its shape."""
    value = _parsed(body)
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    found: dict[str, Any] = {}
    if isinstance(value, dict):
        found = next((read for read in (shape(value) for shape in SHAPES) if read), {})
    elif isinstance(value, str):
        found = {"message": value}
    if not found:
        found = {"message": _plain(body)}
    named = headers.get("x-amzn-errortype") or headers.get("x-fal-error-type") or ""
    return UpstreamWords(
        dialect=dialect,
        status=status,
        type=_word(found.get("type")),
        code=_word(found.get("code")) or named,
        param=_word(found.get("param")),
        message=_word(found.get("message"))[:MAX_MESSAGE],
        raw=body[:MAX_RAW_BYTES],
    )


def words_in_answer(dialect: str, error: Any, body: bytes) -> UpstreamWords:
    """What an error inside an answer of status 200 says; a numeric code stands for the status it should have had."""
    words = words_from(dialect, 502, encoded({"error": error}), {})
    status = int(words.code) if words.code.isdigit() and 400 <= int(words.code) < 600 else 502
    return msgspec.structs.replace(words, status=status, raw=body[:MAX_RAW_BYTES])


def says_no(body: bytes, path: tuple[str, ...]) -> bool:
    """Whether an answer of status 200 carries an error code at `path` (MiniMax: `base_resp.status_code`)."""
    value = _parsed(body) if path else None
    for step in path:
        value = value.get(step) if isinstance(value, dict) else None
    return value not in (None, 0, "", "0")


def _parsed(body: bytes) -> Any:
    try:
        return decoded(body.lstrip())
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        try:
            return decoded(salvaged(body))
        except (ValueError, RecursionError):
            return None


def _plain(body: bytes) -> str:
    text = re.sub(r"<[^>]*>", " ", body[:MAX_RAW_BYTES].decode(errors="replace"))
    return " ".join(text.split())[:500]


def _word(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None or isinstance(value, bool) else str(value)


def _error_object(value: dict[str, Any]) -> dict[str, Any]:
    error = value.get("error")
    if not isinstance(error, dict):
        return {}
    found = {name: error.get(name) for name in ("message", "type", "code", "param")}
    details = error.get("details")
    reasons = (
        [item["reason"] for item in details if isinstance(item, dict) and item.get("reason")]
        if isinstance(details, list)
        else []
    )
    inner = error.get("innererror")
    metadata = error.get("metadata")
    found["type"] = found["type"] or error.get("status")
    if reasons:
        found["message"] = f"{found['message'] or ''} {' '.join(map(str, reasons))}"
    if isinstance(inner, dict) and inner.get("code"):
        found["code"] = inner["code"]
    if isinstance(metadata, dict):
        found["type"] = metadata.get("error_type") or found["type"]
        found["message"] = _join(found["message"], metadata.get("raw"))
    return found


def _join(message: Any, raw: Any) -> Any:
    return f"{message}: {raw}" if isinstance(raw, str) and raw else message


def _error_text(value: dict[str, Any]) -> dict[str, Any]:
    error = value.get("error")
    if not isinstance(error, str):
        return {}
    code = value.get("code") or value.get("error_type")
    return {"message": value.get("message") or error, "code": code, "type": value.get("type")}


def _base_resp(value: dict[str, Any]) -> dict[str, Any]:
    match value:
        case {"base_resp": {"status_code": code, "status_msg": message}}:
            return {"code": code, "message": message}
    return {}


def _status_object(value: dict[str, Any]) -> dict[str, Any]:
    match value:
        case {"status": {"code": code, "description": message} as status}:
            return {"code": code, "message": f"{message} {status.get('details') or ''}".strip()}
    return {}


def _errors_list(value: dict[str, Any]) -> dict[str, Any]:
    match value:
        case {"errors": [dict(first), *_]}:
            return {"code": first.get("code"), "message": first.get("message")}
    return {}


def _fault_object(value: dict[str, Any]) -> dict[str, Any]:
    match value:
        case {"fault": {"faultstring": str(message)}}:
            return {"message": message}
    return {}


def _detail(value: dict[str, Any]) -> dict[str, Any]:
    match value.get("detail"):
        case str(message):
            return {"message": message}
        case dict(detail):
            return {
                "message": detail.get("error") or detail.get("message"),
                "code": detail.get("code"),
            }
        case [dict(first), *_]:
            where = first.get("loc") or [""]
            return {"message": first.get("msg"), "code": first.get("type"), "param": str(where[-1])}
    return {}


def _flat(value: dict[str, Any]) -> dict[str, Any]:
    message = value.get("message")
    if isinstance(message, dict):
        return _detail({"detail": message.get("detail")})
    if not isinstance(message, str):
        return {}
    # Novita's numeric `code` repeats the status; its `reason` is the code.
    code = value.get("reason") or value.get("code")
    return {
        "message": message,
        "code": code,
        "type": value.get("type"),
        "param": value.get("param"),
    }


SHAPES: tuple[Callable[[dict[str, Any]], dict[str, Any]], ...] = (
    _error_object,
    _error_text,
    _errors_list,
    _base_resp,
    _status_object,
    _fault_object,
    _detail,
    _flat,
)
