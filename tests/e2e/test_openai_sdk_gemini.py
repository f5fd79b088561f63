"""The official OpenAI SDK on a Gemini upstream: every feature, there and in the answer."""

import json
from typing import Any

import pytest
from pydantic import BaseModel

from gatewayz.simulator.gemini_validation import SIGNATURE
from tests.support.running_gateway import run_gateway

PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city", "days"],
}
TOOL: dict[str, Any] = {
    "type": "function",
    "function": {"name": "weather", "description": "Tells the weather", "parameters": PARAMETERS},
}
CLOCK = {
    "type": "function",
    "function": {"name": "clock", "parameters": {"type": "object", "properties": {}}},
}
HI: Any = [{"role": "user", "content": "Tell me something, please"}]
SAID = [{"role": "user", "parts": [{"text": "Tell me something, please"}]}]


@pytest.fixture
async def gateway(tmp_path):
    async with run_gateway(tmp_path, dialect="gemini") as running:
        yield running


async def both(gateway, scene, model="", **fields):
    """The message of a scene, whole and folded from its stream, and both requests upstream."""
    client = gateway.client()
    fields = {"messages": HI, **fields}
    if model:
        gateway.upstream.script(model, [scene])
    whole = await client.chat.completions.create(model=f"first/{model or scene}", **fields)
    first = gateway.sent
    assert (
        gateway.upstream.requests[-1].path
        == f"/first/v1beta/models/{model or scene}:generateContent"
    )
    async with client.chat.completions.stream(model=f"first/{model or scene}", **fields) as stream:
        streamed = await stream.get_final_completion()
    assert (
        gateway.upstream.requests[-1].path
        == f"/first/v1beta/models/{model or scene}:streamGenerateContent?alt=sse"
    )
    assert gateway.sent == first
    return whole, streamed, first


async def test_text_whole_and_streamed(gateway):
    whole, streamed, sent = await both(gateway, "echo")
    assert sent == {"contents": SAID}
    for reply in (whole, streamed):
        assert reply.choices[0].message.content == "Tell me something, please"
        assert reply.choices[0].message.role == "assistant"
        assert reply.choices[0].finish_reason == "stop"
        assert reply.model == "first/echo"
    invoice = gateway.upstream.invoices[-1]
    assert (whole.usage.prompt_tokens, whole.usage.completion_tokens) == (
        invoice.prompt_tokens,
        invoice.completion_tokens,
    )
    assert (gateway.last.usage.prompt, gateway.last.usage.completion) == (
        invoice.prompt_tokens,
        invoice.completion_tokens,
    )
    assert not gateway.last.usage.estimated


async def test_the_key_goes_in_googles_header_and_nothing_of_the_client_goes_on(gateway):
    await gateway.client(default_headers={"X-Strange": "1"}).chat.completions.create(
        model="first/echo", messages=HI
    )
    headers = gateway.upstream.requests[-1].headers
    assert gateway.key not in json.dumps(headers)
    assert "x-strange" not in headers


@pytest.mark.parametrize(
    ("fields", "config"),
    [
        (
            {"temperature": 0.5, "top_p": 0.9, "presence_penalty": 0.25, "frequency_penalty": -0.5},
            {"temperature": 0.5, "topP": 0.9, "presencePenalty": 0.25, "frequencyPenalty": -0.5},
        ),
        ({"seed": 7}, {"seed": 7}),
        ({"seed": 2**40 + 7}, {"seed": 7}),
        ({"stop": ["END", "STOP"]}, {"stopSequences": ["END", "STOP"]}),
        ({"max_tokens": 20}, {"maxOutputTokens": 20}),
        ({"max_completion_tokens": 20}, {"maxOutputTokens": 20}),
        ({"logprobs": True, "top_logprobs": 2}, {"responseLogprobs": True, "logprobs": 2}),
        ({"extra_body": {"top_k": 40}}, {"topK": 40}),
        ({"n": 2}, {"candidateCount": 2}),
        ({"response_format": {"type": "json_object"}}, {"responseMimeType": "application/json"}),
    ],
)
async def test_a_parameter_reaches_the_upstream_in_its_words(gateway, fields, config):
    await gateway.client().chat.completions.create(model="first/echo", messages=HI, **fields)
    assert gateway.sent == {"contents": SAID, "generationConfig": config}
    assert gateway.last.dropped == ()


async def test_what_cannot_be_said_is_left_out_and_named(gateway):
    fields = {
        "logit_bias": {"1": 2},
        "user": "someone",
        "metadata": {"a": "b"},
        "parallel_tool_calls": False,
        "stop": ["a", "b", "c", "d", "e", "f"],
        "reasoning_effort": "high",
    }
    await gateway.client().chat.completions.create(
        model="first/hello", messages=HI, tools=[TOOL], **fields
    )
    assert set(gateway.last.dropped) == {
        "logit_bias",
        "user",
        "metadata",
        "parallel_tool_calls",
        "stop",
        "reasoning_effort",
    }
    assert gateway.sent["generationConfig"] == {"stopSequences": ["a", "b", "c", "d", "e"]}


async def test_system_and_developer_messages_are_the_instruction(gateway):
    messages = [
        {"role": "developer", "content": "Be brief"},
        {"role": "system", "content": "Be kind"},
        *HI,
        {"role": "assistant", "content": "Yes?"},
        {"role": "system", "content": "Now be long"},
        {"role": "user", "content": "Go"},
    ]
    await gateway.client().chat.completions.create(model="first/echo", messages=messages)
    assert gateway.sent == {
        "systemInstruction": {"parts": [{"text": "Be brief"}, {"text": "Be kind"}]},
        "contents": [
            *SAID,
            {"role": "model", "parts": [{"text": "Yes?"}]},
            {"role": "user", "parts": [{"text": "Now be long"}, {"text": "Go"}]},
        ],
    }


async def test_a_model_without_an_instruction_is_told_at_the_beginning(gateway):
    gateway.upstream.script("gemma-3-27b-it", ["echo"])
    await gateway.client().chat.completions.create(
        model="first/gemma-3-27b-it", messages=[{"role": "system", "content": "Be brief"}, *HI]
    )
    assert gateway.sent == {"contents": [{"role": "user", "parts": [{"text": "Be brief"}]}, *SAID]}


@pytest.mark.parametrize(
    ("choice", "calling"),
    [
        ("auto", {"mode": "AUTO"}),
        ("required", {"mode": "ANY"}),
        (
            {"type": "function", "function": {"name": "weather"}},
            {"mode": "ANY", "allowedFunctionNames": ["weather"]},
        ),
        (
            {
                "type": "allowed_tools",
                "allowed_tools": {
                    "mode": "auto",
                    "tools": [{"type": "function", "function": {"name": "weather"}}],
                },
            },
            {"mode": "VALIDATED", "allowedFunctionNames": ["weather"]},
        ),
        (
            {
                "type": "allowed_tools",
                "allowed_tools": {
                    "mode": "required",
                    "tools": [{"type": "function", "function": {"name": "weather"}}],
                },
            },
            {"mode": "ANY", "allowedFunctionNames": ["weather"]},
        ),
    ],
)
async def test_one_tool_call(gateway, choice, calling):
    whole, streamed, sent = await both(gateway, "tools", tools=[TOOL, CLOCK], tool_choice=choice)
    declared = [
        {"name": "weather", "description": "Tells the weather", "parameters": PARAMETERS},
        {"name": "clock"},
    ]
    assert sent["tools"] == [{"functionDeclarations": declared}]
    assert sent["toolConfig"] == {"functionCallingConfig": calling}
    for reply in (whole, streamed):
        (tool,) = reply.choices[0].message.tool_calls
        assert tool.function.name == "weather"
        assert json.loads(tool.function.arguments) == {"city": "Paris", "days": 7}
        assert reply.choices[0].finish_reason == "tool_calls"


async def test_no_tool_is_called_when_none_may_be(gateway):
    whole, _, sent = await both(gateway, "tools", tools=[TOOL], tool_choice="none")
    assert sent["toolConfig"] == {"functionCallingConfig": {"mode": "NONE"}}
    assert whole.choices[0].message.tool_calls is None


async def test_parallel_tool_calls(gateway):
    whole, streamed, _ = await both(gateway, "parallel-tools", tools=[TOOL, CLOCK])
    for reply in (whole, streamed):
        assert [tool.function.name for tool in reply.choices[0].message.tool_calls] == [
            "weather",
            "clock",
        ]
        assert len({tool.id for tool in reply.choices[0].message.tool_calls}) == 2


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("scene", ["tools", "tools-no-id"])
async def test_in_a_tool_loop_the_signature_comes_back_to_its_call(gateway, scene, streamed):
    gateway.upstream.script("gemini-3-pro", [scene])
    client = gateway.client()
    fields = {"model": "first/gemini-3-pro", "tools": [TOOL, CLOCK]}
    if streamed:
        async with client.chat.completions.stream(messages=HI, **fields) as stream:
            first = await stream.get_final_completion()
    else:
        first = await client.chat.completions.create(messages=HI, **fields)
    turn = first.choices[0].message.model_dump(exclude_none=True, exclude={"parsed"})
    (tool,) = turn["tool_calls"]
    assert tool["extra_content"]["google"]["thought_signature"] == f"gwz.first.{SIGNATURE}"
    assert tool["id"].startswith("call_g_" if scene == "tools-no-id" else "call_")
    result = {"role": "tool", "tool_call_id": tool["id"], "content": "sunny"}
    second = await client.chat.completions.create(messages=[*HI, turn, result], **fields)
    assert second.choices[0].message.content == "The tool said: sunny"
    named = {} if scene == "tools-no-id" else {"id": tool["id"]}
    call = {**named, "name": "weather", "args": {"city": "Paris", "days": 7}}
    assert gateway.sent["contents"][1:] == [
        {"role": "model", "parts": [{"functionCall": call, "thoughtSignature": SIGNATURE}]},
        {
            "role": "user",
            "parts": [
                {"functionResponse": {**named, "name": "weather", "response": {"output": "sunny"}}}
            ],
        },
    ]
    assert gateway.last.dropped == ()


async def test_a_strangers_signature_is_left_out_and_the_call_excused(gateway):
    gateway.upstream.script("gemini-3-pro", ["tools"])
    call = {
        "id": "c1",
        "type": "function",
        "function": {"name": "weather", "arguments": '{"city": "Rome"}'},
        "extra_content": {"google": {"thought_signature": "gwz.elsewhere.FOREIGN"}},
    }
    messages = [
        *HI,
        {"role": "assistant", "tool_calls": [call, {**call, "id": "c2"}]},
        {"role": "tool", "tool_call_id": "c1", "content": '{"sky": "blue"}'},
        {"role": "tool", "tool_call_id": "c2", "content": "[1]"},
    ]
    await gateway.client().chat.completions.create(
        model="first/gemini-3-pro", messages=messages, tools=[TOOL]
    )
    assert gateway.last.dropped == ("seal",)
    model, results = gateway.sent["contents"][1:]
    assert [part.get("thoughtSignature") for part in model["parts"]] == [
        "skip_thought_signature_validator",
        None,
    ]
    assert [part["functionResponse"] for part in results["parts"]] == [
        {"id": "c1", "name": "weather", "response": {"sky": "blue"}},
        {"id": "c2", "name": "weather", "response": {"output": "[1]"}},
    ]
    assert "FOREIGN" not in json.dumps(gateway.sent)


@pytest.mark.parametrize(
    ("model", "fields", "thinking", "lost"),
    [
        (
            "gemini-2.5-flash",
            {"reasoning_effort": "high"},
            {"includeThoughts": True, "thinkingBudget": 24_576},
            (),
        ),
        ("gemini-2.5-flash", {"reasoning_effort": "none"}, {"thinkingBudget": 0}, ()),
        (
            "gemini-2.5-pro",
            {"reasoning_effort": "none"},
            {"thinkingBudget": 128},
            ("reasoning_effort",),
        ),
        (
            "gemini-2.5-pro",
            {"extra_body": {"reasoning": {"max_tokens": 99_999}}},
            {"includeThoughts": True, "thinkingBudget": 32_768},
            (),
        ),
        (
            "gemini-2.5-flash-lite",
            {"extra_body": {"reasoning": {"max_tokens": 9}}},
            {"includeThoughts": True, "thinkingBudget": 512},
            (),
        ),
        (
            "gemini-2.5-flash",
            {"extra_body": {"reasoning": {"enabled": True}}},
            {"includeThoughts": True, "thinkingBudget": -1},
            (),
        ),
        (
            "gemini-3-pro-preview",
            {"reasoning_effort": "medium"},
            {"includeThoughts": True, "thinkingLevel": "high"},
            (),
        ),
        (
            "gemini-3-pro-preview",
            {"reasoning_effort": "minimal"},
            {"includeThoughts": True, "thinkingLevel": "low"},
            (),
        ),
        (
            "gemini-3.1-pro-preview",
            {"reasoning_effort": "medium"},
            {"includeThoughts": True, "thinkingLevel": "medium"},
            (),
        ),
        (
            "gemini-3-flash-preview",
            {"reasoning_effort": "minimal"},
            {"includeThoughts": True, "thinkingLevel": "minimal"},
            (),
        ),
        (
            "gemini-3-flash-preview",
            {"reasoning_effort": "xhigh"},
            {"includeThoughts": True, "thinkingLevel": "high"},
            (),
        ),
        (
            "gemini-3-flash-preview",
            {"extra_body": {"reasoning": {"max_tokens": 2_000, "exclude": True}}},
            {"thinkingLevel": "medium"},
            (),
        ),
        (
            "gemini-3-flash-preview",
            {"reasoning_effort": "none"},
            {"thinkingLevel": "minimal"},
            ("reasoning_effort",),
        ),
        ("gemini-2.0-flash", {"reasoning_effort": "high"}, None, ("reasoning_effort",)),
    ],
)
async def test_thinking_is_asked_for_in_the_models_words(gateway, model, fields, thinking, lost):
    gateway.upstream.script(model, ["echo"])
    await gateway.client().chat.completions.create(model=f"first/{model}", messages=HI, **fields)
    assert gateway.sent.get("generationConfig", {}).get("thinkingConfig") == thinking
    assert gateway.last.dropped == lost


async def test_reasoning_comes_out_in_one_place_and_is_counted(gateway):
    client = gateway.client()
    gateway.upstream.script("gemini-2.5-pro", ["reasoning"])
    fields = {"model": "first/gemini-2.5-pro", "messages": HI, "reasoning_effort": "low"}
    whole = await client.chat.completions.create(**fields)
    message = whole.choices[0].message
    assert message.reasoning_content.startswith("The user wants")
    assert message.content == HI[0]["content"]
    assert message.extra_content == {"google": {"thought_signature": f"gwz.first.{SIGNATURE}"}}
    thought = text = ""
    signed = []
    async for chunk in await client.chat.completions.create(**fields, stream=True):
        delta = chunk.choices[0].delta
        thought += getattr(delta, "reasoning_content", None) or ""
        text += delta.content or ""
        signed += [delta.extra_content] if getattr(delta, "extra_content", None) else []
    assert (thought, text, signed) == (
        message.reasoning_content,
        message.content,
        [message.extra_content],
    )
    assert (
        whole.usage.completion_tokens_details.reasoning_tokens == gateway.last.usage.reasoning > 0
    )
    turn = message.model_dump(exclude_none=True)
    await client.chat.completions.create(**fields | {"messages": [*HI, turn, *HI]})
    assert gateway.sent["contents"][1] == {
        "role": "model",
        "parts": [{"text": HI[0]["content"], "thoughtSignature": SIGNATURE}],
    }


@pytest.mark.parametrize(
    ("model", "name"),
    [("gemini-2.5-flash", "responseJsonSchema"), ("gemini-2.0-flash", "responseSchema")],
)
async def test_structured_output_is_parsed(gateway, model, name):
    class Weather(BaseModel):
        city: str
        degrees: int

    gateway.upstream.script(model, ["json"])
    reply = await gateway.client().chat.completions.parse(
        model=f"first/{model}", messages=HI, response_format=Weather
    )
    assert reply.choices[0].message.parsed == Weather(city="Paris", degrees=7)
    config = gateway.sent["generationConfig"]
    assert config["responseMimeType"] == "application/json"
    assert config[name]["required"] == ["city", "degrees"]
    assert ("additionalProperties" in config[name]) == (name == "responseJsonSchema")
    assert set(gateway.last.dropped) == {"format_name"} | (
        {"schema.additionalProperties"} if name == "responseSchema" else set()
    )


async def test_a_format_beside_tools_is_said_in_words_to_models_that_take_only_one(gateway):
    schema = {
        "type": "json_schema",
        "json_schema": {
            "name": "n",
            "schema": {"type": "object", "properties": {"a": {"type": "string"}}},
        },
    }
    await gateway.client().chat.completions.create(
        model="first/hello", messages=HI, tools=[TOOL], response_format=schema
    )
    assert "JSON Schema" in gateway.sent["systemInstruction"]["parts"][-1]["text"]
    assert "generationConfig" not in gateway.sent
    assert "response_format" in gateway.last.dropped


async def test_images_sound_and_files_go_on(gateway):
    parts = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
        {"type": "image_url", "image_url": {"url": "https://example.org/a.webp?x=1"}},
        {"type": "input_audio", "input_audio": {"data": "BBBB", "format": "wav"}},
        {
            "type": "file",
            "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,CCCC"},
        },
    ]
    whole, streamed, sent = await both(
        gateway, "vision", messages=[{"role": "user", "content": parts}]
    )
    assert sent["contents"][0]["parts"] == [
        {"text": "What is this?"},
        {"inlineData": {"mimeType": "image/png", "data": "AAAA"}},
        {"fileData": {"mimeType": "image/webp", "fileUri": "https://example.org/a.webp?x=1"}},
        {"inlineData": {"mimeType": "audio/wav", "data": "BBBB"}},
        {"inlineData": {"mimeType": "application/pdf", "data": "CCCC"}},
    ]
    assert "2 image(s)" in whole.choices[0].message.content == streamed.choices[0].message.content
    assert gateway.last.dropped == ()


async def test_an_image_comes_out_as_an_address(gateway):
    whole = await gateway.client().chat.completions.create(
        model="first/exchange-image_out", messages=HI
    )
    assert whole.choices[0].message.content == "Here it is"
    assert whole.choices[0].message.images == [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    ]
    assert gateway.last.usage.image_output == 1290


async def test_sound_comes_out(gateway):
    whole = await gateway.client().chat.completions.create(model="first/audio", messages=HI)
    assert whole.choices[0].message.audio.data


async def test_several_choices(gateway):
    client = gateway.client()
    whole = await client.chat.completions.create(model="first/echo", messages=HI, n=3)
    assert [choice.index for choice in whole.choices] == [0, 1, 2]
    seen: dict[int, str] = {}
    async for chunk in await client.chat.completions.create(
        model="first/echo", messages=HI, n=3, stream=True
    ):
        for choice in chunk.choices:
            seen[choice.index] = seen.get(choice.index, "") + (choice.delta.content or "")
    assert seen == dict.fromkeys(range(3), "Tell me something, please")


async def test_logprobs_come_back(gateway):
    whole, streamed, _ = await both(gateway, "logprobs", logprobs=True, top_logprobs=2)
    assert len(whole.choices[0].logprobs.content[0].top_logprobs) == 2
    assert (
        "".join(item.token for item in streamed.choices[0].logprobs.content)
        == "Tell me something, please"
    )


@pytest.mark.parametrize(
    ("scene", "finish"),
    [
        ("length", "length"),
        ("filter", "content_filter"),
        ("exchange-error_400_filter", "content_filter"),
        ("exchange-finish_image_safety", "content_filter"),
    ],
)
async def test_why_it_stopped(gateway, scene, finish):
    client = gateway.client()
    whole = await client.chat.completions.create(model=f"first/{scene}", messages=HI)
    assert whole.choices[0].finish_reason == finish
    reasons = [
        chunk.choices[0].finish_reason
        async for chunk in await client.chat.completions.create(
            model=f"first/{scene}", messages=HI, stream=True
        )
    ]
    assert reasons[-1] == finish
