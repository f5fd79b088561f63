"""Image requests, both ways.

Fields that the canon does not name go on to providers of this dialect.

Consumed and never forwarded: `provider`, `models`, `provider_options` (but for the provider's own).
"""

import re
from typing import Any

from gatewayz.core.requests import ImageRequest, RoutingPreferences
from gatewayz.dialects.kit.base import Draft, EncodeTarget
from gatewayz.dialects.kit.fields import Fields
from gatewayz.dialects.kit.jsontext import parse_client_object
from gatewayz.dialects.kit.preferences import preferences_from_fields
from gatewayz.dialects.openai.images.wire import NAME, PATH

MAX_PROMPT = 32_000
"""Characters, as OpenAI's own image models take."""
MAX_IMAGES = 10
MAX_SIDE = 8_192
SIZE = re.compile(r"([1-9]\d{0,4})x([1-9]\d{0,4})")
QUALITIES = ("auto", "low", "medium", "high", "standard", "hd")
STYLES = ("vivid", "natural")
ENCODINGS = {"": "", "url": "url", "b64_json": "bytes"}
"""`response_format` → the canon's `output_encoding`."""
RESPONSE_FORMATS = {encoding: word for word, encoding in ENCODINGS.items()}


def request_from_wire(body: bytes) -> ImageRequest:
    """The request in a client's body. Faults: `bad_request` names the field."""
    fields = Fields(parse_client_object(body))
    prompt = fields.text("prompt")
    if not prompt.strip():
        fields.raise_missing("prompt")
    if len(prompt) > MAX_PROMPT:
        fields.raise_invalid(
            "prompt", f"expected at most {MAX_PROMPT} characters, but got {len(prompt)}"
        )
    quality = fields.one_of("quality", QUALITIES)
    return ImageRequest(
        dialect=NAME,
        model=fields.text("model"),
        models=fields.texts("models", 16),
        prompt=prompt,
        n=fields.integer("n", 1, MAX_IMAGES) or 1,
        size=_size(fields),
        quality="" if quality == "auto" else quality,
        style=fields.one_of("style", STYLES),
        output_encoding=ENCODINGS[fields.one_of("response_format", tuple(ENCODINGS)[1:])],
        seed=fields.integer("seed", 0),
        negative=fields.text("negative_prompt"),
        user=fields.text("user"),
        preferences=_preferences(fields),
        options=_options(fields),
        streamed=fields.flag("stream") or False,
        extra={name: value for name, value in fields.rest.items() if value is not None},
    )


def _size(fields: Fields) -> tuple[int, int] | None:
    text = fields.text("size")
    if text in {"", "auto"}:
        return None
    match = SIZE.fullmatch(text)
    if match is None:
        fields.raise_invalid(
            "size",
            f"expected 'auto' or WIDTHxHEIGHT in pixels such as '1024x1024', but got {text[:40]!r}",
        )
    width, height = int(match[1]), int(match[2])
    if max(width, height) > MAX_SIDE:
        fields.raise_invalid("size", f"expected sides of at most {MAX_SIDE} pixels, but got {text}")
    return width, height


def _preferences(fields: Fields) -> RoutingPreferences:
    """As in every dialect; a provider's id alone means this one and no other."""
    if isinstance(fields.rest.get("provider"), str):
        return RoutingPreferences(only=fields.texts("provider"))
    return preferences_from_fields(fields)


def _options(fields: Fields) -> dict[str, dict[str, Any]]:
    options = fields.object("provider_options") or {}
    inner = Fields(options, "provider_options.")
    return {name: inner.object(name) or {} for name in options}


def request_to_wire(request: ImageRequest, target: EncodeTarget) -> Draft:
    """The request in OpenAI's words; a provider's quirks change sizes and words."""
    size = f"{request.size[0]}x{request.size[1]}" if request.size is not None else None
    optional = {
        "n": request.n if request.n > 1 else None,
        "size": size,
        "quality": request.quality or None,
        "style": request.style or None,
        "response_format": RESPONSE_FORMATS[request.output_encoding] or None,
        "seed": request.seed,
        "negative_prompt": request.negative or None,
        "user": request.user or None,
        "stream": True if target.streamed else None,
    }
    # What the request says itself counts, because that is what is paid for.
    own = request.options_for(target.provider)
    body: dict[str, Any] = {"model": target.upstream_id, "prompt": request.prompt}
    body |= {name: value for name, value in optional.items() if value is not None}
    if request.dialect == NAME:
        return Draft(PATH, {**request.extra, **own, **body})
    return Draft(PATH, {**own, **body}, dropped=tuple(request.extra))
