"""Image requests, both ways. Fields that the canon does not name go on to providers of this dialect.

Consumed and never forwarded: `provider`, `models`, `provider_options` (but for the provider's own).
"""

import re
from typing import Any

from gatewayz.core.requests import ImageRequest, Wishes
from gatewayz.dialects.base import Asking, Draft
from gatewayz.dialects.fields import Fields
from gatewayz.dialects.jsontext import client_object
from gatewayz.dialects.wishes import wishes_from

NAME = "openai_images"
PATH = "/images/generations"
MAX_PROMPT = 32_000
"""Characters, as OpenAI's own image models take."""
MAX_IMAGES = 10
MAX_SIDE = 8_192
SIZE = re.compile(r"([1-9]\d{0,4})x([1-9]\d{0,4})")
QUALITIES = ("auto", "low", "medium", "high", "standard", "hd")
STYLES = ("vivid", "natural")
FORMS = {"": "", "url": "url", "b64_json": "bytes"}
"""Word for how images come → the canon's."""
WORDS = {form: word for word, form in FORMS.items()}


def request_from_wire(body: bytes) -> ImageRequest:
    """The request in a client's body. Faults: `bad_request` names the field that is wrong or missing."""
    fields = Fields(client_object(body))
    prompt = fields.text("prompt")
    if not prompt.strip():
        fields.missing("prompt")
    if len(prompt) > MAX_PROMPT:
        fields.wrong("prompt", f"expected at most {MAX_PROMPT} characters, but got {len(prompt)}")
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
        form=FORMS[fields.one_of("response_format", tuple(FORMS)[1:])],
        seed=fields.integer("seed", 0),
        negative=fields.text("negative_prompt"),
        user=fields.text("user"),
        wishes=_wishes(fields),
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
        fields.wrong(
            "size",
            f"expected 'auto' or WIDTHxHEIGHT in pixels such as '1024x1024', but got {text[:40]!r}",
        )
    width, height = int(match[1]), int(match[2])
    if max(width, height) > MAX_SIDE:
        fields.wrong("size", f"expected sides of at most {MAX_SIDE} pixels, but got {text}")
    return width, height


def _wishes(fields: Fields) -> Wishes:
    """As in every dialect; a provider's id alone means only this one."""
    if isinstance(fields.rest.get("provider"), str):
        return Wishes(only=fields.texts("provider"))
    return wishes_from(fields)


def _options(fields: Fields) -> dict[str, dict[str, Any]]:
    given = fields.object("provider_options") or {}
    inner = Fields(given, "provider_options.")
    return {name: inner.object(name) or {} for name in given}


def request_to_wire(request: ImageRequest, asking: Asking) -> Draft:
    """The request as OpenAI spells it; a provider's quirks change sizes and words."""
    size = f"{request.size[0]}x{request.size[1]}" if request.size is not None else None
    plain = {
        "n": request.n if request.n > 1 else None,
        "size": size,
        "quality": request.quality or None,
        "style": request.style or None,
        "response_format": WORDS[request.form] or None,
        "seed": request.seed,
        "negative_prompt": request.negative or None,
        "user": request.user or None,
        "stream": True if asking.streamed else None,
    }
    own = request.options_for(asking.provider)
    body: dict[str, Any] = {"model": asking.upstream_id, "prompt": request.prompt}
    body |= {name: value for name, value in plain.items() if value is not None}
    if request.dialect == NAME:
        return Draft(PATH, {**request.extra, **body, **own})
    return Draft(PATH, {**body, **own}, dropped=tuple(request.extra))
