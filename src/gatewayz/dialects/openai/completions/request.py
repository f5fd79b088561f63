"""A completion as a conversation of one message; what models that chat cannot do is refused.

Unlike OpenAI's, a request without `max_tokens` is not cut after 16 tokens: models that think first
would say nothing.
"""

from typing import NoReturn

from gatewayz.core.conversation import Message, Text
from gatewayz.core.faults import Fault
from gatewayz.core.requests import ChatRequest, Sampling
from gatewayz.dialects.kit.fields import Fields
from gatewayz.dialects.kit.jsontext import parse_client_object
from gatewayz.dialects.kit.preferences import preferences_from_fields
from gatewayz.dialects.openai.completions.wire import NAME

MAX_CHOICES = 128
MAX_BEST_OF = 20
"""platform.openai.com/docs/api-reference/completions/create."""
MAX_STOPS = 64
MAX_LOGPROBS = 5


def request_from_wire(body: bytes) -> ChatRequest:
    """The request in a client's body.

    Faults: `bad_request` names the field that is wrong, `unsupported` the one that cannot be
    honoured.
    """
    fields = Fields(parse_client_object(body))
    model = fields.text("model") or fields.raise_missing("model")
    prompt = _prompt(fields)
    n = fields.integer("n", 1, MAX_CHOICES) or 1
    _reject_unsupported(fields, n)
    options = fields.object("stream_options") or {}
    return ChatRequest(
        dialect=NAME,
        model=model,
        models=fields.texts("models", 16),
        messages=(Message("user", (Text(prompt),)),),
        sampling=_sampling(fields, n),
        max_output=fields.integer("max_tokens", 1),
        user=fields.text("user"),
        preferences=preferences_from_fields(fields),
        streamed=fields.flag("stream") or False,
        wants_usage=options.get("include_usage") is True,
        extra={name: value for name, value in fields.rest.items() if value is not None},
    )


def _prompt(fields: Fields) -> str:
    value = fields.rest.pop("prompt", None)
    if isinstance(value, list) and value and not isinstance(value[0], str):
        _raise_unsupported(
            "prompt", "every model has token ids of its own; send the prompt as text"
        )
    if isinstance(value, list) and len(value) > 1:
        _raise_unsupported("prompt", "a request takes one prompt; send several requests")
    text = value[0] if isinstance(value, list) and value else value
    if text is None or text == "":
        fields.raise_missing("prompt")
    if not isinstance(text, str):
        fields.raise_wrong_type("prompt", "a string", text)
    return text


def _reject_unsupported(fields: Fields, n: int) -> None:
    if fields.text("suffix"):
        _raise_unsupported("suffix", "models that chat do not insert text")
    if fields.flag("echo"):
        _raise_unsupported("echo", "the prompt is not repeated in the answer")
    best_of = fields.integer("best_of", 1, MAX_BEST_OF)
    if best_of is not None and best_of > n:
        _raise_unsupported("best_of", "answers are not ranked; ask for several with `n`")


def _raise_unsupported(name: str, why: str) -> NoReturn:
    raise Fault("unsupported", f"'{name}' is not supported: {why}.", param=name)


def _sampling(fields: Fields, n: int) -> Sampling:
    logprobs = fields.integer("logprobs", 0, MAX_LOGPROBS)
    return Sampling(
        temperature=fields.number("temperature"),
        top_p=fields.number("top_p"),
        seed=fields.integer("seed", -(2**63), 2**63 - 1),
        presence_penalty=fields.number("presence_penalty"),
        frequency_penalty=fields.number("frequency_penalty"),
        logit_bias=fields.object("logit_bias"),
        logprobs=None if logprobs is None else True,
        top_logprobs=logprobs or None,
        stop=fields.texts("stop", MAX_STOPS),
        n=n,
    )
