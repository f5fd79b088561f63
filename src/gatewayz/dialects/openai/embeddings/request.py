"""Requests for embeddings, both ways.

Fields that the canon does not name go on to providers of this dialect.
"""

from typing import Any

from gatewayz.core.requests import EmbeddingRequest
from gatewayz.dialects.kit.base import Draft, EncodeTarget
from gatewayz.dialects.kit.fields import MAX_SAFE_INTEGER, Fields
from gatewayz.dialects.kit.jsontext import parse_client_object
from gatewayz.dialects.kit.preferences import preferences_from_fields
from gatewayz.dialects.openai.embeddings.wire import NAME, PATH

MAX_TEXTS = 2_048
MAX_DIMENSIONS = 65_536
ENCODINGS = ("float", "base64")
Texts = tuple[str | tuple[int, ...], ...]


def request_from_wire(body: bytes) -> EmbeddingRequest:
    """The request in a client's body. Faults: `bad_request` names the field."""
    fields = Fields(parse_client_object(body))
    model = fields.text("model") or fields.raise_missing("model")
    return EmbeddingRequest(
        dialect=NAME,
        model=model,
        models=fields.texts("models", 16),
        texts=_texts(fields),
        dimensions=fields.integer("dimensions", 1, MAX_DIMENSIONS),
        output_encoding=fields.one_of("encoding_format", ENCODINGS) or "float",
        user=fields.text("user"),
        preferences=preferences_from_fields(fields),
        extra={name: value for name, value in fields.rest.items() if value is not None},
    )


def _texts(fields: Fields) -> Texts:
    """A text or token ids, or a list of either."""
    value = fields.rest.pop("input", None)
    if value is None:
        fields.raise_missing("input")
    if isinstance(value, list) and value and _is_token(value[0]):
        value = [value]
    items = value if isinstance(value, list) else [value]
    if not 0 < len(items) <= MAX_TEXTS:
        fields.raise_invalid("input", f"expected from 1 to {MAX_TEXTS} texts, but got {len(items)}")
    return tuple(_text(fields, item, index) for index, item in enumerate(items))


def _text(fields: Fields, item: Any, index: int) -> str | tuple[int, ...]:
    if isinstance(item, str) and item:
        return item
    if isinstance(item, list) and item and all(map(_is_token, item)):
        return tuple(item)
    fields.raise_invalid(
        "input" if index == 0 else f"input[{index}]",
        "expected text or token ids that are not empty",
    )


def _is_token(value: Any) -> bool:
    return type(value) is int and 0 <= value < MAX_SAFE_INTEGER


def request_to_wire(request: EmbeddingRequest, target: EncodeTarget) -> Draft:
    """The request in OpenAI's words; one text goes alone, as it came."""
    optional = {
        "dimensions": request.dimensions,
        "encoding_format": request.output_encoding,
        "user": request.user or None,
    }
    body: dict[str, Any] = {"model": target.upstream_id}
    body["input"] = request.texts[0] if len(request.texts) == 1 else list(request.texts)
    body |= {name: value for name, value in optional.items() if value is not None}
    if request.dialect == NAME:
        return Draft(PATH, {**request.extra, **body})
    return Draft(PATH, body, dropped=tuple(request.extra))
