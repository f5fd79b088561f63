"""A provider that refuses parameters by name is asked again without them, and told so; nothing that
changes the meaning of a request is lost on the way.
"""

import pytest

from tests.support.scripted_rows import completion, refusal, refusal_body, run_scripted_rows


@pytest.fixture
async def rows(tmp_path):
    async with run_scripted_rows(tmp_path, ["openai", "azure-openai", "vllm", "mistral"]) as rows:
        yield rows


def unless_without(answer, *names):
    """Refused while the body has one of these."""
    return lambda body: answer if body.keys() & {*names} else completion()


UNRECOGNIZED = "Unrecognized request argument supplied: "


@pytest.mark.parametrize("name", ["reasoning_effort", "parallel_tool_calls", "user"])
async def test_an_argument_that_is_named_in_plain_words_is_left_out(rows, name):
    rows.play(
        unless_without(refusal(message=UNRECOGNIZED + name, type="invalid_request_error"), name)
    )
    asked = {"reasoning_effort": "high", "parallel_tool_calls": True, "user": "u"}
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
    response = await rows.chat("my/openai", tools=tools, **asked)
    assert (response.status_code, len(rows.requests)) == (200, 2)
    assert response.headers["x-gatewayz-dropped"] == name
    assert name not in rows.sent


async def test_an_argument_that_is_named_in_a_list_as_text_is_left_out(rows):
    text = "[{'type': 'extra_forbidden', 'loc': ('body', 'stream_options'), 'msg': 'Extra inputs are not permitted', 'input': {}}]"
    refused = refusal_body(
        {"object": "error", "message": text, "type": "BadRequestError", "param": None, "code": 400}
    )
    rows.play(unless_without(refused, "stream_options"))
    response = await rows.chat("my/vllm", stream=True)
    assert (response.status_code, len(rows.requests)) == (200, 2)
    assert "stream_options" not in rows.sent


@pytest.mark.parametrize(
    ("message", "name"),
    [
        ("Argument not supported on this model: presencePenalty", "presence_penalty"),
        ("Completions.create() got an unexpected keyword argument 'top_k'", "top_k"),
        ("tools[0].function.strict: Extra inputs are not permitted", "tools.0.function.strict"),
        ("1 validation error\ntools.0.function.strict: Extra inputs are not permitted", "tools.0.function.strict"),
        ("tools.0.custom.function.strict: Extra inputs are not permitted", "tools.0.custom.function.strict"),
    ],
)  # fmt: skip
async def test_an_argument_in_the_words_of_the_server_s_language_is_left_out(rows, message, name):
    def rule(body):
        strict = body["tools"][0]["function"].get("strict") if "strict" in name else None
        return refusal(message=message) if strict or body.keys() & {name} else completion()

    rows.play(rule)
    tools = [{"type": "function", "function": {"name": "f", "parameters": {}, "strict": True}}]
    response = await rows.chat("my/vllm", tools=tools, presence_penalty=0.5, top_k=3)
    assert (response.status_code, len(rows.requests)) == (200, 2)
    assert response.headers["x-gatewayz-dropped"] == name


async def test_several_refusals_in_turn_are_followed_and_told(rows):
    def rule(body):
        first = next((name for name in ("seed", "logit_bias", "user") if name in body), None)
        return (
            completion()
            if first is None
            else refusal(message=f"Unknown parameter: '{first}'.", param=first)
        )

    rows.play(rule)
    response = await rows.chat("my/vllm", seed=1, logit_bias={"1": 2}, user="u")
    assert (response.status_code, len(rows.requests)) == (200, 4)
    assert response.headers["x-gatewayz-dropped"] == "seed, logit_bias, user"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "Unknown parameter: 'foo'."),
        (
            {"response_format": {"type": "json_object"}},
            "response_format is not supported with this model",
        ),
        ({"stop": ["END"]}, "Argument not supported on this model: stop"),
        ({"n": 2}, "Unsupported parameter: 'n' is not supported with this model."),
    ],
)
async def test_what_is_not_there_or_changes_the_meaning_is_no_second_request(rows, fields, message):
    rows.play(refusal(message=message))
    response = await rows.chat("my/vllm", **fields)
    assert (response.status_code, len(rows.requests)) == (400, 1)
    assert message in response.json()["error"]["message"]


LIMITS = ("max_tokens", "max_completion_tokens")


@pytest.mark.parametrize("surface", ["chat", "messages"])
@pytest.mark.parametrize("name", LIMITS)
async def test_a_limit_goes_under_the_name_that_the_provider_takes(rows, surface, name):
    [other] = {*LIMITS} - {name}
    message = (
        f"Unsupported parameter: '{name}' is not supported with this model. Use '{other}' instead."
    )
    refused = refusal(message=message, param=name, code="unsupported_parameter")
    rows.play(unless_without(refused, name))
    response = await getattr(rows, surface)("my/azure-openai", max_tokens=50)
    assert response.status_code == 200
    assert (rows.sent.get(other), rows.sent.get(name)) == (50, None)
    assert "x-gatewayz-dropped" not in response.headers


async def test_the_limit_of_a_deployment_goes_under_the_name_that_every_model_takes(rows):
    await rows.chat("my/azure-openai", max_completion_tokens=50)
    assert len(rows.requests) == 1
    assert (rows.sent["max_completion_tokens"], "max_tokens" in rows.sent) == (50, False)


async def test_a_limit_whose_both_names_are_refused_is_refused(rows):
    def rule(body):
        name = next(name for name in LIMITS if name in body)
        return refusal(message=f"Unsupported parameter: '{name}'", param=name)

    rows.play(rule)
    assert (await rows.chat("my/azure-openai", max_tokens=50)).status_code == 400
    assert len(rows.requests) == 2
