"""What is left out when a provider refuses a parameter: what its words name, in any wording, as far
as the request holds it; never a limit, and never what the request is not itself without.
"""

import json

import pytest

from gatewayz.core.faults import UpstreamError
from gatewayz.providers.error_classes import classify
from gatewayz.providers.refused_parameters import MAX_DROPPED_PARAMETERS, remove_parameters
from gatewayz.providers.registry import provider_rows, providers_from
from gatewayz.routing.verdict import RetryState, parameters_to_drop, verdict

OPENAI = providers_from(provider_rows(), {}, {})["openai"]
EXTRA = "Extra inputs are not permitted"


@pytest.mark.parametrize(
    ("body", "refused", "after", "gone"),
    [
        ({"max_tokens": 50}, "max_tokens", {"max_completion_tokens": 50}, ()),
        ({"max_completion_tokens": 50}, "max_completion_tokens", {"max_tokens": 50}, ()),
        ({"max_tokens": 50, "max_completion_tokens": 40}, "max_tokens", {"max_completion_tokens": 40}, ()),
        ({"generationConfig": {"maxOutputTokens": 9}}, "generationConfig.maxOutputTokens", {"generationConfig": {"maxOutputTokens": 9}}, ()),
        ({"n": 2, "seed": 1}, "n", {"n": 2, "seed": 1}, ()),
        ({"seed": 1, "user": "u"}, "seed", {"user": "u"}, ("seed",)),
        ({"response_format": {"strict": True}}, "response_format.strict", {"response_format": {}}, ("response_format.strict",)),
        ({"user": "u"}, "seed", {"user": "u"}, ()),
        ({"tool_choice": "auto"}, "tool_choice", {}, ("tool_choice",)),
        ({"tool_choice": "required"}, "tool_choice", {"tool_choice": "required"}, ()),
        ({"messages": [{"content": [{"type": "text", "cache_control": {}}]}, {"content": "q", "cache_control": {}}]}, "messages.0.content.0.cache_control", {"messages": [{"content": [{"type": "text"}]}, {"content": "q", "cache_control": {}}]}, ("messages.0.content.0.cache_control",)),
        ({"messages": [{"content": [{"type": "text", "cache_control": {}}]}], "tools": [{"cache_control": {}}]}, "cache_control", {"messages": [{"content": [{"type": "text"}]}], "tools": [{}]}, ("cache_control",)),
    ],
)  # fmt: skip
def test_a_limit_is_never_what_is_left_out(body, refused, after, gone):
    assert remove_parameters(body, (refused,)) == gone
    assert body == after


BODY = {
    "model": "m",
    "messages": [{"role": "user", "content": "q", "name": "ann"}],
    "max_tokens": 50,
    "n": 2,
    "seed": 1,
    "stop": ["END"],
    "stream": True,
    "stream_options": {"include_usage": True},
    "reasoning_effort": "high",
    "top_k": 5,
    "temperature": 0.7,
    "user": "u",
    "response_format": {"type": "json_schema", "json_schema": {"name": "x", "strict": True}},
    "tools": [{"type": "function", "function": {"name": "f", "strict": True}}],
    "tool_choice": "auto",
    "parallel_tool_calls": True,
}


def error_of(message="", param="", code="", raw=b"", status=400):
    return UpstreamError("openai_chat", status, message=message, param=param, code=code, raw=raw)


def detail(*items):
    """A body of FastAPI's, and the error that is read from its first item."""
    raw = json.dumps({"detail": items}).encode()
    first = items[0]
    return error_of(first["msg"], str(first["loc"][-1]), first["type"], raw, 422)


def item(*place):
    return {"loc": ["body", *place], "msg": EXTRA, "type": "extra_forbidden"}


WORDINGS = {
    "openai": (error_of("Unrecognized request argument supplied: reasoning_effort"), ("reasoning_effort",)),
    "openai, several": (error_of("Unrecognized request arguments supplied: reasoning_effort, top_k"), ("reasoning_effort", "top_k")),
    "a short name": (error_of("Unrecognized request argument supplied: seed"), ("seed",)),
    "openai, param": (error_of("Unsupported value: 'temperature' does not support 0.7 with this model. Only the default (1) value is supported.", "temperature", "unsupported_value"), ("temperature",)),
    "vllm, as text": (error_of("[{'type': 'extra_forbidden', 'loc': ('body', 'stream_options'), 'msg': 'Extra inputs are not permitted', 'input': {}}]"), ("stream_options",)),
    "vllm, several": (error_of("[{'type': 'extra_forbidden', 'loc': ('body', 'top_k'), 'msg': 'Extra inputs are not permitted', 'input': 5}, {'type': 'extra_forbidden', 'loc': ('body', 'seed'), 'msg': 'Extra inputs are not permitted', 'input': 1}]"), ("top_k", "seed")),
    "vllm, one of two": (error_of("[{'type': 'missing', 'loc': ('body', 'user'), 'msg': 'Field required'}, {'type': 'extra_forbidden', 'loc': ('body', 'seed'), 'msg': 'Extra inputs are not permitted', 'input': 1}]"), ("seed",)),
    "fastapi": (detail(item("top_k")), ("top_k",)),
    "fastapi, several": (detail(item("top_k"), item("tools", 0, "function", "strict")), ("top_k", "tools.0.function.strict")),
    "fastapi, in a message": (detail(item("messages", 0, "name")), ("messages.0.name",)),
    "anthropic": (error_of("messages.0.content.0.cache_control: Extra inputs are not permitted"), ()),
    "groq": (error_of("'messages.0' : for 'role:user' the following must be satisfied[('messages.0.name' : property 'name' is unsupported)]"), ("messages.0.name", "name")),
    "groq, plainly": (error_of("property 'top_k' is unsupported, did you mean 'top_p'?"), ("top_k",)),
    "serde": (error_of("unknown field `top_k`, expected one of `model`, `messages`, `seed`, `user`"), ("top_k",)),
    "xai": (error_of("Argument not supported on this model: seed"), ("seed",)),
    "zod": (error_of("Unrecognized key(s) in object: 'top_k', 'user'"), ("top_k", "user")),
    "json schema": (error_of("Additional properties are not allowed ('top_k', 'seed' were unexpected)"), ("top_k", "seed")),
    "curly": (error_of("The parameter “top_k” is not supported"), ("top_k",)),
    "unquoted": (error_of("parallel_tool_calls is not supported by this model"), ("parallel_tool_calls",)),
    "unquoted, in a sentence": (error_of("This model does not support seed"), ("seed",)),
    "nested": (error_of("Unknown parameter: 'response_format.json_schema.strict'.", "response_format.json_schema.strict"), ("response_format.json_schema.strict",)),
    "with an index": (error_of("Unknown parameter: 'tools[0].function.strict'.", "tools[0].function.strict"), ("tools.0.function.strict",)),
    "a value": (error_of("Invalid value for 'messages'", "messages"), ()),
    "a limit": (error_of("Unsupported parameter: 'n'", "n"), ()),
    "the format": (error_of("This model does not support 'response_format'", "response_format"), ()),
    "the tools": (error_of("This model does not support tools"), ()),
    "where it stops": (error_of("Argument not supported on this model: stop"), ()),
    "what is not there": (error_of("Unknown parameter: 'foo'.", "foo"), ()),
    "no refusal": (error_of("Unsupported parameter: 'seed'", "seed", status=500), ()),
}  # fmt: skip


@pytest.mark.parametrize(("error", "names"), WORDINGS.values(), ids=WORDINGS)
def test_the_refused_parameters_are_those_of_the_request_that_the_words_name(error, names):
    fault = classify(OPENAI, error, BODY)
    assert fault.upstream.unsupported_parameters == names
    if fault.kind == "upstream_rejected":
        assert verdict(fault, RetryState(failed_attempts=1), 3) == ("retry" if names else "stop")


def test_a_name_that_anthropic_puts_first_is_found_where_it_stands():
    body = {
        "messages": [{"role": "user", "content": [{"type": "text", "text": "q", "foo_bar": 1}]}]
    }
    error = error_of("messages.0.content.0.foo_bar: Extra inputs are not permitted")
    [name] = classify(OPENAI, error, body).upstream.unsupported_parameters
    assert remove_parameters(body, [name]) == (name,)
    assert body["messages"][0]["content"] == [{"type": "text", "text": "q"}]


def refusing(*names):
    text = "Unrecognized request arguments supplied: " + ", ".join(names)
    return classify(OPENAI, error_of(text), dict.fromkeys(names, 1))


def test_nothing_is_left_out_twice_and_never_more_than_may_be():
    assert parameters_to_drop(refusing("seed", "top_k"), ("seed",)) == ("top_k",)
    assert parameters_to_drop(refusing("seed"), ("seed",)) == ()
    assert parameters_to_drop(refusing("max_tokens"), ("max_completion_tokens",)) == ()
    many = tuple(f"field_{number}" for number in range(MAX_DROPPED_PARAMETERS + 2))
    assert parameters_to_drop(refusing(*many), ()) == many[:MAX_DROPPED_PARAMETERS]
    assert parameters_to_drop(refusing("other"), many[:MAX_DROPPED_PARAMETERS]) == ()
