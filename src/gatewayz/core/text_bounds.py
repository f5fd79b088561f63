"""Bounds of texts that others choose: what is stored, logged or told back is never longer.

Clients name models and fields, providers name requests and reasons; each of them may write a
megabyte where a word is meant. Characters, unless a name says otherwise.
"""

from collections.abc import Sequence

from gatewayz.core.faults import Fault

MAX_MODEL_CHARS = 512
MAX_FALLBACK_MODELS = 32
"""How many models one request may name."""
MAX_SESSION_CHARS = 256
MAX_STOP_CHARS = 64
MAX_REQUEST_ID_CHARS = 128
"""Of a provider's name for a request."""
MAX_DROPPED_NAMES, MAX_DROPPED_NAME_CHARS = 50, 64
"""Of the fields that a call lost: in the response's head, and in its record."""
MAX_REASONS, MAX_REASON_CHARS = 200, 512
"""Of the reasons of a plan that are stored."""
CUT = "…"


def shorten(text: str, limit: int) -> str:
    """The text, or its beginning and a mark that it went on."""
    return text if len(text) <= limit else text[: limit - len(CUT)] + CUT


def shorten_all(texts: Sequence[str], count: int, limit: int) -> tuple[str, ...]:
    """At most `count` texts of at most `limit` characters; the last says how many were left out.

    Example: `shorten_all(("a", "b", "c"), 2, 9)` is `("a", "2 more")`.
    """
    if len(texts) > count:
        texts = (*texts[: count - 1], f"{len(texts) - count + 1} more")
    return tuple([shorten(text, limit) for text in texts])


def check_models(model: str, models: Sequence[str]) -> None:
    """The names of models in a request. Faults: `bad_request` for too many, or too long ones."""
    if len(models) > MAX_FALLBACK_MODELS:
        message = f"models: at most {MAX_FALLBACK_MODELS} models, not {len(models)}."
        raise Fault("bad_request", message, param="models")
    for param, name in (("model", model), *(("models", name) for name in models)):
        if len(name) > MAX_MODEL_CHARS:
            message = (
                f"{param}: a model's name has at most {MAX_MODEL_CHARS} characters, "
                f"not {len(name)}."
            )
            raise Fault("bad_request", message, param=param)
