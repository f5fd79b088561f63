"""A completion as a conversation of one message. What a model that chats cannot do is refused by name.

Unlike OpenAI's, a request without `max_tokens` is not cut after 16 tokens: models that think first would say nothing.
"""

from typing import NoReturn

from gatewayz.core.conversation import Message, Text
from gatewayz.core.faults import Fault
from gatewayz.core.requests import ChatRequest, Sampling
from gatewayz.dialects.fields import Fields
from gatewayz.dialects.jsontext import client_object
from gatewayz.dialects.wishes import wishes_from

NAME = "openai_completions"
MAX_CHOICES = 8
MAX_STOPS = 64
MAX_LOGPROBS = 5


def request_from_wire(body: bytes) -> ChatRequest:
    """The request in a client's body. Faults: `bad_request` names the field, `unsupported` what cannot be done."""
    fields = Fields(client_object(body))
    model = fields.text("model") or fields.missing("model")
    prompt = _prompt(fields)
    n = fields.integer("n", 1, MAX_CHOICES) or 1
    _refuse_what_is_not_done(fields, n)
    options = fields.object("stream_options") or {}
    return ChatRequest(
        dialect=NAME,
        model=model,
        models=fields.texts("models", 16),
        messages=(Message("user", (Text(prompt),)),),
        sampling=_sampling(fields, n),
        max_output=fields.integer("max_tokens", 1),
        user=fields.text("user"),
        wishes=wishes_from(fields),
        streamed=fields.flag("stream") or False,
        wants_usage=options.get("include_usage") is True,
        extra={name: value for name, value in fields.rest.items() if value is not None},
    )


def _prompt(fields: Fields) -> str:
    value = fields.rest.pop("prompt", None)
    if isinstance(value, list) and value and not isinstance(value[0], str):
        _not_done("prompt", "token ids are not taken, because every model has its own; send text")
    if isinstance(value, list) and len(value) > 1:
        _not_done("prompt", "one prompt a request; send several requests")
    text = value[0] if isinstance(value, list) and value else value
    if text is None or text == "":
        fields.missing("prompt")
    if not isinstance(text, str):
        fields.mistyped("prompt", "a string", text)
    return text


def _refuse_what_is_not_done(fields: Fields, n: int) -> None:
    if fields.text("suffix"):
        _not_done("suffix", "models that chat do not insert text")
    if fields.flag("echo"):
        _not_done("echo", "the prompt is not sent back")
    best_of = fields.integer("best_of", 1, MAX_CHOICES)
    if best_of is not None and best_of > n:
        _not_done("best_of", "answers are not ranked; ask for `n`")


def _not_done(name: str, why: str) -> NoReturn:
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
