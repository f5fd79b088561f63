"""Refusals: the errors of providers, read from their many shapes, and the faults that they become.

The shapes (facts gathered from the providers' documentation): an `error` object or text,
Anthropic's `type: error`, flat `message`, FastAPI's `detail`, Cloudflare's `errors[]`, Fireworks'
`fault`, MiniMax' `base_resp`, Clarifai's `status`, a list around any of these, or plain text and
HTML. Any provider may stand behind a proxy that answers in another shape than its dialect's, so
every dialect reads all of them.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from gatewayz.core.faults import MAX_MESSAGE, Fault, UpstreamError
from gatewayz.dialects.kit.jsontext import decode_lenient, encode_json

MAX_RAW_BYTES = 16 * 2**10
"""As much of a refusal as is kept."""
MAX_PLAIN_CHARACTERS = 500
"""As much of a page or a plain text as is taken for its message."""
SUCCESS_CODES = frozenset({"0", "200", "10000"})
"""Codes of an event that says that all is well; the last is Clarifai's."""
BAD_GATEWAY = 502
"""Stands for the status that an error inside an answer of status 200 should have had."""


def upstream_error_from_response(
    dialect: str, status: int, body: bytes, headers: Mapping[str, str]
) -> UpstreamError:
    """The provider's words in a refusal of any shape; keys of `headers` are lower case.

    Example: `UpstreamError("openai_chat", 429, type="tokens", code="rate_limit_exceeded",
    message="Rate limit reached …")`.
    """
    value = decode_lenient(body)
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    fields: dict[str, Any] = {}
    if isinstance(value, dict):
        fields = next((read for read in (shape(value) for shape in ERROR_SHAPES) if read), {})
    elif isinstance(value, str):
        fields = {"message": value}
    if not fields:
        fields = {"message": _plain_text(body)}

    header_code = headers.get("x-amzn-errortype") or headers.get("x-fal-error-type") or ""
    return UpstreamError(
        dialect=dialect,
        status=status,
        type=_as_text(fields.get("type")),
        code=_as_text(fields.get("code")) or header_code,
        param=_as_text(fields.get("param")),
        message=_as_text(fields.get("message"))[:MAX_MESSAGE],
        raw=body[:MAX_RAW_BYTES],
    )


def upstream_error_from_body(dialect: str, error: Any, body: bytes) -> UpstreamError:
    """The provider's words in an `error` of a 200 answer; a numeric code is its status."""
    document = encode_json({"error": error})
    read = upstream_error_from_response(dialect, BAD_GATEWAY, document, {})
    is_status = read.code.isdigit() and 400 <= int(read.code) < 600
    status = int(read.code) if is_status else BAD_GATEWAY
    return msgspec.structs.replace(read, status=status, raw=body[:MAX_RAW_BYTES])


def fault_from_upstream_error(error: UpstreamError) -> Fault:
    """The fault of an error where an answer was promised; the engine classifies its words."""
    message = error.message or "the provider reported an error in its answer"
    return Fault("upstream_error", message, upstream=error)


def fault_from_error(dialect: str, error: Any, body: bytes) -> Fault:
    """The fault of the `error` inside an answer of status 200."""
    return fault_from_upstream_error(upstream_error_from_body(dialect, error, body))


def fault_from_invalid_body(dialect: str, body: bytes, expected: str) -> Fault:
    """The fault of a body that is no answer: the error in it, or else `upstream_broken`.

    `expected` names what it should be, with its article: `a chat completion`.
    """
    error = upstream_error_from_response(dialect, BAD_GATEWAY, body, {})
    if error.code or error.type:
        return fault_from_upstream_error(error)
    return Fault("upstream_broken", f"the provider's answer is not {expected}")


def error_in_event(dialect: str, source: bytes) -> UpstreamError | None:
    """The provider's words in an event of a stream that is no piece of an answer; `None` where it
    is no error either.

    Example: `{"object": "error", "message": "boom", "code": 500}`.
    """
    value = decode_lenient(source)
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if not isinstance(value, dict) or not any(_has_words(shape(value)) for shape in ERROR_SHAPES):
        return None
    error = upstream_error_from_response(dialect, BAD_GATEWAY, source, {})
    is_status = error.code.isdigit() and 400 <= int(error.code) < 600
    return msgspec.structs.replace(error, status=int(error.code) if is_status else error.status)


def _has_words(fields: dict[str, Any]) -> bool:
    """Whether these say that something failed; a code of success says the opposite."""
    return bool(fields.get("message")) and _as_text(fields.get("code")) not in SUCCESS_CODES


def has_error_code(body: bytes, path: tuple[str, ...]) -> bool:
    """Whether a 200 answer has an error code at `path` (MiniMax: `base_resp.status_code`)."""
    value = decode_lenient(body) if path else None
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value not in (None, 0, "", "0")


def _plain_text(body: bytes) -> str:
    text = re.sub(r"<[^>]*>", " ", body[:MAX_RAW_BYTES].decode(errors="replace"))
    return " ".join(text.split())[:MAX_PLAIN_CHARACTERS]


def _as_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None or isinstance(value, bool) else str(value)


def _error_object(value: dict[str, Any]) -> dict[str, Any]:
    error = value.get("error")
    if not isinstance(error, dict):
        return {}
    fields = {name: error.get(name) for name in ("message", "type", "code", "param")}
    fields["type"] = fields["type"] or error.get("status")
    reasons = _reasons(error.get("details"))
    if reasons:
        fields["message"] = f"{fields['message'] or ''} {' '.join(reasons)}"
    # Azure says why inside; OpenRouter quotes the provider behind it.
    match error:
        case {"innererror": {"code": code}} if code:
            fields["code"] = code
    match error:
        case {"metadata": dict(metadata)}:
            fields["type"] = metadata.get("error_type") or fields["type"]
            fields["message"] = _with_raw_message(fields["message"], metadata.get("raw"))
    return fields


def _reasons(details: Any) -> list[str]:
    """The reasons in a Google error's details."""
    items = details if isinstance(details, list) else []
    return [str(item["reason"]) for item in items if isinstance(item, dict) and item.get("reason")]


def _with_raw_message(message: Any, raw: Any) -> Any:
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


def _error_code(value: dict[str, Any]) -> dict[str, Any]:
    """Baidu's and FastChat's errors: `{"error_code": 336100, "error_msg": "…"}`."""
    code = value.get("error_code") or value.get("errorCode") or value.get("errcode")
    words = ("error_msg", "error_message", "errorMessage", "errmsg", "message", "text")
    message = next((value[name] for name in words if isinstance(value.get(name), str)), None)
    return {"code": code, "message": message} if code and message else {}


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


def _detail_field(value: dict[str, Any]) -> dict[str, Any]:
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


def _flat_message(value: dict[str, Any]) -> dict[str, Any]:
    message = value.get("message")
    if isinstance(message, dict):
        return _detail_field({"detail": message.get("detail")})
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


ERROR_SHAPES: tuple[Callable[[dict[str, Any]], dict[str, Any]], ...] = (
    _error_object,
    _error_text,
    _errors_list,
    _base_resp,
    _error_code,
    _status_object,
    _fault_object,
    _detail_field,
    _flat_message,
)
