"""What providers with OpenAI's wire are sent: what each of them refuses is said as it takes it, and
what cannot be said without another meaning is refused before anybody is asked.
"""

import base64
import re
from hashlib import blake2b

import pytest

from tests.support.scripted_rows import (
    anthropic_message,
    call_piece,
    chunk,
    completion,
    event_stream,
    events_in,
    names_dropped,
    run_scripted_rows,
    tool_loop,
)

CITY = {"type": "object", "properties": {"city": {"type": "string"}}}
GET = {"type": "function", "function": {"name": "get", "parameters": CITY}}
PROVIDERS = (
    "openai",
    "azure-openai",
    "groq",
    "xai",
    "openrouter",
    "vllm",
    "mistral",
    "deepseek",
    "minimax",
    "perplexity",
    "anthropic",
)
MODELS = ("vllm:mistralai/Devstral-Small",)


@pytest.fixture
async def rows(tmp_path):
    async with run_scripted_rows(tmp_path, PROVIDERS, MODELS) as rows:
        yield rows


# Limits of the API whose dialect it is.


@pytest.mark.parametrize(
    "fields",
    [
        {"n": 10},
        {"n": 128},
        {"messages": [{"role": "user", "content": "q"}] * 2_047},
        {"messages": [{"role": "user", "content": "q"}] * 5_000},
        {"tools": [{"type": "function", "function": {"name": f"f{number}"}} for number in range(300)]},
        {"tools": [{"type": "function", "function": {"name": f"f{number}"}} for number in range(1_000)]},
    ],
    ids=["n 10", "n 128", "2,047 messages", "5,000 messages", "300 tools", "1,000 tools"],
)  # fmt: skip
async def test_what_the_api_allows_is_for_the_provider_to_refuse(rows, fields):
    name, value = next(iter(fields.items()))
    answer = completion()
    rows.play(answer)
    response = await rows.chat("my/vllm", **fields)
    assert response.status_code == 200, response.text
    sent = rows.sent[name]
    assert (len(sent) if isinstance(value, list) else sent) == (
        len(value) if isinstance(value, list) else value
    )


async def test_completions_have_as_many_answers_as_their_api(rows):
    body = {"model": "my/vllm", "prompt": "q", "n": 128}
    assert (await rows.post("/v1/completions", body)).status_code == 200
    assert rows.sent["n"] == 128


async def test_a_schema_that_is_only_asked_for_in_words_is_told(rows):
    format_ = {"type": "json_schema", "json_schema": {"name": "x", "schema": CITY}}
    response = await rows.chat("my/deepseek", response_format=format_)
    assert rows.sent["response_format"] == {"type": "json_object"}
    assert names_dropped(response) == {"response_format"}


@pytest.mark.parametrize("number", [0, 129])
async def test_more_answers_than_the_api_knows_are_refused(rows, number):
    assert (await rows.chat("my/vllm", n=number)).status_code == 400


@pytest.mark.parametrize("model", ["my/anthropic", "my/deepseek", "my/groq", "my/mistral"])
async def test_several_answers_where_there_is_one_are_refused_in_plain_words(rows, model):
    rows.play(completion())
    response = await rows.chat(model, n=2)
    if model == "my/mistral":
        assert response.status_code == 200
        return
    assert (response.status_code, rows.requests) == (400, [])
    assert "one answer a call" in response.json()["error"]["message"]


async def test_tools_where_there_are_none_are_refused_and_not_left_out(rows):
    response = await rows.chat("my/perplexity", tools=[GET])
    assert (response.status_code, rows.requests) == (400, [])
    assert "takes no tools" in response.json()["error"]["message"]


# A field and those that need it.


@pytest.mark.parametrize("choice", ["none", "auto"])
@pytest.mark.parametrize("model", ["my/openai", "my/azure-openai", "my/groq", "my/vllm", "my/xai"])
async def test_without_tools_nothing_is_said_of_them(rows, model, choice):
    response = await rows.chat(model, tools=[], tool_choice=choice, parallel_tool_calls=True)
    assert response.status_code == 200
    assert not rows.sent.keys() & {"tools", "tool_choice", "parallel_tool_calls"}


@pytest.mark.parametrize(
    "choice",
    [
        "required",
        {"type": "function", "function": {"name": "get"}},
        {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "get"}}]}},
    ],
)  # fmt: skip
async def test_a_tool_that_is_demanded_and_not_there_is_refused(rows, choice):
    response = await rows.chat("my/openai", tools=[], tool_choice=choice)
    assert (response.status_code, response.json()["error"]["param"]) == (400, "tool_choice")
    assert rows.requests == []


@pytest.mark.parametrize("choice", [{"type": "any"}, {"type": "tool", "name": "get"}])
async def test_a_tool_that_messages_demand_and_do_not_offer_is_refused_too(rows, choice):
    response = await rows.messages("my/openai", tool_choice=choice)
    assert (response.status_code, rows.requests) == (400, [])
    assert "tool_choice" in response.json()["error"]["message"]


async def test_what_needs_a_field_goes_with_it(rows):
    response = await rows.chat("my/minimax", logprobs=True, top_logprobs=3)
    assert not rows.sent.keys() & {"logprobs", "top_logprobs"}
    assert names_dropped(response) >= {"logprobs", "top_logprobs"}


async def test_options_of_a_stream_pass_between_equals_and_stay_behind_without_one(rows):
    rows.play(event_stream(chunk("stop", content="ok")))
    asked = {"include_usage": True, "include_obfuscation": False}
    await rows.chat("my/openai", stream=True, stream_options=asked)
    assert rows.sent["stream_options"] == asked
    await rows.chat("my/vllm", stream=True, stream_options={"continuous_usage_stats": True})
    assert rows.sent["stream_options"] == {"continuous_usage_stats": True, "include_usage": True}
    rows.play(completion())
    await rows.chat("my/openai", stream_options={"include_obfuscation": False})
    assert "stream_options" not in rows.sent


# Ids of calls.


@pytest.mark.parametrize("model", ["my/mistral", "my/mistralai/Devstral-Small"])
@pytest.mark.parametrize(
    "call_id", ["call_PTLP8xhu3uwZk4l3nlnrrJha", "get:0", "toolu_01", "äöüäöüäöü"]
)
async def test_ids_have_the_form_that_the_model_demands(rows, model, call_id):
    messages = [*tool_loop(call_id), *tool_loop("abcdefgh1", "other")[1:]]
    await rows.chat(model, messages=messages, tools=[GET])
    calls = [
        message["tool_calls"][0]["id"]
        for message in rows.sent["messages"]
        if "tool_calls" in message
    ]
    results = [
        message["tool_call_id"] for message in rows.sent["messages"] if "tool_call_id" in message
    ]
    assert calls == results
    assert all(re.fullmatch("[a-zA-Z0-9]{9}", sent) for sent in calls)
    assert (calls[1], len({*calls})) == ("abcdefgh1", 3)


async def test_ids_stay_where_any_will_do(rows):
    await rows.chat("my/openai", messages=tool_loop("get:0"), tools=[GET])
    assert rows.sent["messages"][1]["tool_calls"][0]["id"] == "get:0"


# Names of tools.

LONG = "mcp__plugin_chrome-devtools-mcp_chrome-devtools__get_console_message"
NAMES = (LONG, LONG.replace("message", "massage"), "files.read", "größe", "a/b")


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("name", NAMES)
async def test_a_name_that_is_not_taken_is_another_on_the_way_and_the_same_in_the_answer(
    rows, name, streamed
):
    def rule(body):
        sent = body["tools"][0]["function"]["name"]
        piece = call_piece("{}", index=0, id="c", type="function", name=sent)
        if body.get("stream"):
            return event_stream(chunk(role="assistant", tool_calls=[piece]), chunk("tool_calls"))
        return completion("tool_calls", content=None, tool_calls=[piece])

    rows.play(rule)
    history = [
        {"role": "user", "content": "q"},
        {
            "role": "assistant",
            "content": [{"type": "tool_use", "id": "t1", "name": name, "input": {}}],
        },
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "1"}]},
    ]
    tools = [{"name": name, "input_schema": CITY}, {"name": "get", "input_schema": CITY}]
    choice = {"type": "tool", "name": name}
    response = await rows.messages(
        "my/openai", messages=history, tools=tools, tool_choice=choice, stream=streamed
    )

    body = rows.sent
    sent = body["tools"][0]["function"]["name"]
    assert re.fullmatch("[a-zA-Z0-9_-]{1,64}", sent)
    assert body["tools"][1]["function"]["name"] == "get"
    assert body["tool_choice"] == {"type": "function", "function": {"name": sent}}
    assert body["messages"][1]["tool_calls"][0]["function"]["name"] == sent
    if streamed:
        blocks = [
            event["content_block"] for event in events_in(response) if "content_block" in event
        ]
    else:
        blocks = response.json()["content"]
    assert [block["name"] for block in blocks if block["type"] == "tool_use"] == [name]


@pytest.mark.parametrize("streamed", [False, True])
async def test_clients_of_chat_are_told_their_own_names_too(rows, streamed):
    def rule(body):
        piece = call_piece(
            "{}", index=0, id="c", type="function", name=body["tools"][0]["function"]["name"]
        )
        if body.get("stream"):
            return event_stream(chunk(role="assistant", tool_calls=[piece]), chunk("tool_calls"))
        return completion("tool_calls", content=None, tool_calls=[piece])

    rows.play(rule)
    tool = {"type": "function", "function": {"name": LONG, "parameters": CITY}}
    response = await rows.chat("my/openai", tools=[tool], stream=streamed)
    said = (
        [event["choices"][0]["delta"] for event in events_in(response)]
        if streamed
        else [response.json()["choices"][0]["message"]]
    )
    names = [call["function"]["name"] for part in said for call in part.get("tool_calls") or ()]
    assert names == [LONG]
    assert rows.sent["tools"][0]["function"]["name"] != LONG


async def test_claude_is_sent_names_that_it_takes_and_answers_by_the_clients(rows):
    def rule(body):
        return anthropic_message(
            {"type": "tool_use", "id": "t", "name": body["tools"][0]["name"], "input": {}},
            stop="tool_use",
        )

    rows.play(rule)
    tool = {"type": "function", "function": {"name": "files.read", "parameters": CITY}}
    response = await rows.chat("my/anthropic", tools=[tool])
    digest = blake2b(b"files.read", digest_size=4).hexdigest()
    assert rows.sent["tools"][0]["name"] == f"files_read_{digest}"
    assert (
        response.json()["choices"][0]["message"]["tool_calls"][0]["function"]["name"]
        == "files.read"
    )


# Schemas.


@pytest.mark.parametrize(
    ("schema", "sent"),
    [
        ({"type": "object"}, {"type": "object", "properties": {}}),
        ({}, {"type": "object", "properties": {}}),
        ({"type": "object", "properties": None}, {"type": "object", "properties": {}}),
        (CITY, CITY),
        (
            {"type": "object", "properties": {"tags": {"type": "array"}, "deep": {"type": "object", "properties": {"x": {"type": ["array", "null"]}}}}},
            {"type": "object", "properties": {"tags": {"type": "array", "items": {}}, "deep": {"type": "object", "properties": {"x": {"type": ["array", "null"], "items": {}}}}}},
        ),
    ],
)  # fmt: skip
async def test_a_schema_has_what_the_other_api_demands(rows, schema, sent):
    await rows.messages("my/openai", tools=[{"name": "get", "input_schema": schema}])
    assert rows.sent["tools"][0]["function"]["parameters"] == sent


STRICT = {
    "type": "object",
    "properties": {"a": {"type": "string"}},
    "required": ["a"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("schema", "name", "strict"),
    [
        (STRICT, "answer", True),
        ({**STRICT, "title": "My answer: 1"}, "My_answer_1", True),
        ({**STRICT, "title": "x" * 80}, "x" * 64, True),
        ({**STRICT, "title": "答え"}, "answer", True),
        ({**STRICT, "required": []}, "answer", None),
        ({**STRICT, "additionalProperties": True}, "answer", None),
        ({**STRICT, "properties": {"a": {"type": "string", "minLength": 3}}}, "answer", None),
        ({**STRICT, "properties": {"a": {"type": "object"}}}, "answer", None),
    ],
)
async def test_a_format_has_a_name_and_is_strict_where_it_can_be(rows, schema, name, strict):
    format_ = {"type": "json_schema", "schema": schema}
    await rows.messages("my/openai", output_config={"format": format_})
    sent = rows.sent["response_format"]["json_schema"]
    assert (sent["name"], sent.get("strict"), sent["schema"]) == (name, strict, schema)


@pytest.mark.parametrize(("schema", "strict"), [(STRICT, True), (CITY, False)])
async def test_a_strict_tool_stays_so_where_its_schema_is(rows, schema, strict):
    await rows.messages(
        "my/openai", tools=[{"name": "get", "input_schema": schema, "strict": True}]
    )
    assert rows.sent["tools"][0]["function"]["strict"] is strict


# Documents.

PDF = base64.b64encode(b"%PDF-1.4").decode()


def document(**fields):
    return {"type": "document", **fields}


def base64_source(kind, content):
    return {"type": "base64", "media_type": kind, "data": base64.b64encode(content).decode()}


@pytest.mark.parametrize(
    ("block", "part"),
    [
        (document(source=base64_source("application/pdf", b"%PDF-1.4")), {"type": "file", "file": {"filename": "document.pdf", "file_data": f"data:application/pdf;base64,{PDF}"}}),
        (document(title="Report", source=base64_source("application/pdf", b"%PDF-1.4")), {"type": "file", "file": {"filename": "Report.pdf", "file_data": f"data:application/pdf;base64,{PDF}"}}),
        (document(title="r.PDF", source=base64_source("application/pdf", b"%PDF-1.4")), {"type": "file", "file": {"filename": "r.PDF", "file_data": f"data:application/pdf;base64,{PDF}"}}),
        (document(source={"type": "text", "media_type": "text/plain", "data": "plain"}), {"type": "text", "text": "plain"}),
        (document(title="t", source={"type": "text", "media_type": "text/plain", "data": "plain"}), {"type": "text", "text": "t\n\nplain"}),
        (document(source=base64_source("text/csv", b"a,b")), {"type": "text", "text": "a,b"}),
        (document(source=base64_source("application/json", b"{}")), {"type": "text", "text": "{}"}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("place", ["a message", "a result"])
async def test_a_document_is_a_pdf_with_a_name_or_text(rows, block, part, place):
    question = {"type": "text", "text": "q"}
    messages = [{"role": "user", "content": [block, question]}]
    tools = [{"name": "read", "input_schema": CITY}]
    if place == "a result":
        messages = [
            {"role": "user", "content": "q"},
            {
                "role": "assistant",
                "content": [{"type": "tool_use", "id": "t1", "name": "read", "input": {}}],
            },
            {
                "role": "user",
                "content": [{"type": "tool_result", "tool_use_id": "t1", "content": [block]}],
            },
        ]
    response = await rows.messages("my/openai", messages=messages, tools=tools)
    assert response.status_code == 200, response.text
    contents = [message.get("content") for message in rows.sent["messages"]]
    parts = [item for content in contents if isinstance(content, list) for item in content]
    assert part in parts or part.get("text") in contents


@pytest.mark.parametrize(
    ("kind", "content", "sent"),
    [
        ("image/jpg", b"\xff\xd8\xff\xe0", "image/jpeg"),
        ("image/png", b"\xff\xd8\xff\xe0", "image/jpeg"),
        ("application/octet-stream", b"GIF89a", "image/gif"),
        ("image/png", b"\x89PNG\r\n\x1a\n", "image/png"),
    ],
)
async def test_an_image_has_the_type_that_its_bytes_say(rows, kind, content, sent):
    blocks = [{"type": "image", "source": base64_source(kind, content)}]
    await rows.messages("my/openai", messages=[{"role": "user", "content": blocks}])
    data = base64.b64encode(content).decode()
    url = rows.sent["messages"][0]["content"][0]["image_url"]["url"]
    assert url == f"data:{sent};base64,{data}"


# Marks that no page of the target knows.


MARK = {"type": "ephemeral"}
MARKED = {
    "messages": [
        {"role": "system", "content": [{"type": "text", "text": "S", "cache_control": MARK}]},
        {"role": "user", "content": [{"type": "text", "text": "u"}], "cache_control": MARK},
    ],
    "tools": [{**GET, "cache_control": MARK}],
}


@pytest.mark.parametrize("model", ["my/openai", "my/mistral", "my/groq", "my/azure-openai"])
async def test_marks_that_a_provider_is_known_to_refuse_are_left_out_and_named(rows, model):
    response = await rows.chat(model, **MARKED)
    assert "cache_control" not in str(rows.sent)
    assert names_dropped(response) == {"cache_control"}


@pytest.mark.parametrize("model", ["my/vllm", "my/openrouter"])
async def test_marks_and_unknown_fields_pass_where_nothing_is_known(rows, model):
    response = await rows.chat(model, **MARKED, foo={"bar": 1})
    assert str(rows.sent).count("'cache_control'") == 3
    assert rows.sent["foo"] == {"bar": 1}
    assert names_dropped(response) == set()
