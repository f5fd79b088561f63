"""Marks of prompt caching: the client's own reach whoever knows them, and `caching: auto` sets the others."""

import json

import pytest

from tests.support.scripted_upstream import run_scripted_gateway

MARK = {"type": "ephemeral"}
HOUR = {"type": "ephemeral", "ttl": "1h"}
PRICE = {
    "input": "1.00",
    "output": "2.00",
    "cache_read": "0.10",
    "cache_write": "1.25",
    "cache_write_1h": "2.00",
}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
CALL = {"id": "c1", "type": "function", "function": {"name": "get", "arguments": "{}"}}


def text(words, mark=MARK):
    return {"type": "text", "text": words, "cache_control": mark}


def function(**fields):
    return {"type": "function", "function": {"name": "get", "parameters": SCHEMA}, **fields}


async def chat(scripted, messages, **fields):
    """What the upstream was sent of a chat, and the headers that came back."""
    answer = await scripted.gateway.client().chat.completions.with_raw_response.create(
        model="test/model", messages=messages, extra_body=fields
    )
    return scripted.sent, answer.headers


async def messages(scripted, turns, **fields):
    answer = await scripted.gateway.anthropic_client().messages.with_raw_response.create(
        model="test/model", messages=turns, max_tokens=100, extra_body=fields
    )
    return scripted.sent, answer.headers


def marked_texts(value):
    """The texts, names and kinds of all that is marked, in order."""
    if isinstance(value, list):
        return [found for item in value for found in marked_texts(item)]
    if not isinstance(value, dict):
        return []
    own = value.get("text") or value.get("name") or value.get("type") or value.get("role")
    if value.get("type") == "function":
        own = value["function"]["name"]
    inner = [found for name in ("tools", "system", "messages", "content") for found in marked_texts(value.get(name))]  # fmt: skip
    return [*([own] if "cache_control" in value else []), *inner]


async def test_marks_of_chat_stand_on_the_same_blocks_at_claude(tmp_path):
    async with run_scripted_gateway(tmp_path, "anthropic_messages", price=PRICE) as scripted:
        sent, headers = await chat(
            scripted,
            [
                {"role": "system", "content": [text("S")]},
                {"role": "user", "content": [{"type": "text", "text": "first"}, text("u", HOUR)]},
                {"role": "assistant", "content": None, "tool_calls": [CALL]},
                {"role": "tool", "tool_call_id": "c1", "content": [text("result")]},
            ],
            tools=[function(cache_control=MARK)],
        )
        assert sent["system"] == [text("S")]
        assert sent["messages"][0]["content"] == [
            {"type": "text", "text": "first"},
            text("u", HOUR),
        ]
        [result] = sent["messages"][2]["content"]
        assert (result["content"], result["cache_control"]) == ("result", MARK)
        assert sent["tools"] == [{"name": "get", "input_schema": SCHEMA, "cache_control": MARK}]
        assert "x-gatewayz-dropped" not in headers


@pytest.mark.parametrize(
    ("message", "tool"),
    [
        ({"role": "user", "content": "u", "cache_control": MARK}, function(cache_control=MARK)),
        (
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x.example/a.png"}, "cache_control": MARK}]},
            {"type": "function", "function": {"name": "get", "parameters": SCHEMA, "cache_control": MARK}},
        ),
    ],
    ids=["on a message", "on an image and in a function"],
)  # fmt: skip
async def test_marks_in_other_places_of_chat_are_translated_too(tmp_path, message, tool):
    async with run_scripted_gateway(tmp_path, "anthropic_messages", price=PRICE) as scripted:
        sent, headers = await chat(scripted, [message], tools=[tool])
        assert sent["messages"][0]["content"][-1]["cache_control"] == MARK
        assert sent["tools"][0]["cache_control"] == MARK
        assert "cache_control" not in sent["messages"][0]
        assert "x-gatewayz-dropped" not in headers


async def test_a_mark_for_the_whole_prompt_is_translated(tmp_path):
    async with run_scripted_gateway(tmp_path, "anthropic_messages", price=PRICE) as scripted:
        sent, _ = await chat(scripted, [{"role": "user", "content": "u"}], cache_control=MARK)
        assert sent["cache_control"] == MARK


@pytest.mark.parametrize("quirks", [{"cache_marks": "."}, {}], ids=["knows marks", "does not"])
async def test_marks_of_messages_reach_a_chat_that_knows_them_and_no_other(tmp_path, quirks):
    turns = [
        {"role": "user", "content": [text("u")]},
        {
            "role": "assistant",
            "content": [{"type": "tool_use", "id": "t1", "name": "get", "input": {}}],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "t1", "content": "r", "cache_control": MARK}
            ],
        },
    ]
    async with run_scripted_gateway(
        tmp_path, "openai_chat", quirks=quirks, price=PRICE
    ) as scripted:
        sent, headers = await messages(scripted, turns, system=[text("S")])
        if quirks:
            assert marked_texts(sent) == ["S", "u", "r"]
            assert "x-gatewayz-dropped" not in headers
        else:
            assert "cache_control" not in json.dumps(sent)
            assert headers["x-gatewayz-dropped"] == "cache_control"


CONVERSATION = [
    {"role": "user", "content": "one"},
    {"role": "assistant", "content": "two"},
    {"role": "user", "content": "three"},
    {"role": "assistant", "content": "four"},
    {"role": "user", "content": "five"},
]
OTHER = {**function(), "function": {"name": "other", "parameters": SCHEMA}}


@pytest.mark.parametrize(
    ("dialect", "quirks"), [("anthropic_messages", {}), ("openai_chat", {"cache_marks": "."})]
)
async def test_automatic_marks_are_where_tools_system_and_the_last_two_turns_end(
    tmp_path, dialect, quirks
):
    async with run_scripted_gateway(tmp_path, dialect, quirks=quirks, price=PRICE) as scripted:
        system = [{"type": "text", "text": "S1"}, {"type": "text", "text": "S2"}]
        sent, headers = await chat(
            scripted,
            [{"role": "system", "content": system}, *CONVERSATION],
            tools=[function(), OTHER],
            caching="auto",
        )
        assert marked_texts(sent) == ["other", "S2", "three", "five"]
        assert "caching" not in sent
        assert "x-gatewayz-dropped" not in headers

        tools = [{"name": name, "input_schema": SCHEMA} for name in ("get", "other")]
        sent, _ = await messages(scripted, CONVERSATION, system="S2", tools=tools, caching="auto")
        assert marked_texts(sent) == ["other", "S2", "three", "five"]
        assert "caching" not in sent


async def test_a_loop_of_tools_is_marked_at_its_last_two_results(tmp_path):
    loop = [
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": None, "tool_calls": [CALL, {**CALL, "id": "c2"}]},
        {"role": "tool", "tool_call_id": "c1", "content": "r1"},
        {"role": "tool", "tool_call_id": "c2", "content": "r2"},
    ]
    async with run_scripted_gateway(tmp_path, "anthropic_messages", price=PRICE) as scripted:
        sent, _ = await chat(scripted, loop, caching="auto")
        assert marked_texts(sent) == ["go", "tool_result"]
        assert sent["messages"][-1]["content"][-1]["cache_control"] == MARK


@pytest.mark.parametrize(
    ("turns", "expected"),
    [
        ([{"role": "user", "content": [text("mine")]}], ["tool", "S", "mine"]),
        ([{"role": "user", "content": [text("a"), text("b"), text("c"), text("d")]}], ["a", "b", "c", "d"]),
        ([{"role": "user", "content": [text("a"), text("b"), text("c"), {"type": "text", "text": "d"}]}], ["a", "b", "c", "d"]),
        # A mark that holds for an hour must not come after one that holds for five minutes.
        ([{"role": "user", "content": [text("h", HOUR)]}, CONVERSATION[1], CONVERSATION[2]], ["h", "three"]),
    ],
    ids=["beside", "full", "one left", "longer first"],
)  # fmt: skip
async def test_automatic_marks_never_replace_the_clients_own_and_are_four_in_all(
    tmp_path, turns, expected
):
    async with run_scripted_gateway(tmp_path, "anthropic_messages", price=PRICE) as scripted:
        tools = [{"name": "tool", "input_schema": SCHEMA}]
        sent, _ = await messages(scripted, turns, system="S", tools=tools, caching="auto")
        assert marked_texts(sent) == expected
        assert len(marked_texts(sent)) <= 4
        own = [block for block in sent["messages"][0]["content"] if "cache_control" in block]
        assert all(block["cache_control"] in (MARK, HOUR) for block in own)


async def test_a_mark_for_the_whole_prompt_leaves_the_others_to_the_provider(tmp_path):
    async with run_scripted_gateway(tmp_path, "anthropic_messages", price=PRICE) as scripted:
        sent, _ = await messages(
            scripted, CONVERSATION, system="S", caching="auto", cache_control=MARK
        )
        assert (sent["cache_control"], marked_texts(sent["messages"])) == (MARK, [])


async def test_nothing_is_marked_where_it_means_nothing_or_has_no_price(tmp_path):
    async with run_scripted_gateway(tmp_path / "a", "openai_chat", price=PRICE) as scripted:
        assert marked_texts((await chat(scripted, CONVERSATION, caching="auto"))[0]) == []
    unpriced = {"input": "1.00", "output": "2.00"}
    async with run_scripted_gateway(
        tmp_path / "b", "anthropic_messages", price=unpriced
    ) as scripted:
        assert marked_texts((await chat(scripted, CONVERSATION, caching="auto"))[0]) == []
    async with run_scripted_gateway(tmp_path / "c", "anthropic_messages", price=PRICE) as scripted:
        assert marked_texts((await chat(scripted, CONVERSATION, caching="off"))[0]) == []
        assert marked_texts((await chat(scripted, CONVERSATION))[0]) == []


async def test_another_word_for_caching_is_named(tmp_path):
    async with run_scripted_gateway(tmp_path, "anthropic_messages") as scripted:
        with pytest.raises(Exception, match="'caching': expected one of auto, off"):
            await chat(scripted, CONVERSATION, caching="always")


async def test_blocks_that_cannot_be_marked_are_passed_over(tmp_path):
    async with run_scripted_gateway(tmp_path, "anthropic_messages", price=PRICE) as scripted:
        tools = [
            {"name": "near", "input_schema": SCHEMA},
            {"name": "far", "input_schema": SCHEMA, "defer_loading": True},
        ]
        turns = [{"role": "user", "content": [{"type": "text", "text": "said"}, {"type": "text", "text": " "}]}]  # fmt: skip
        sent, _ = await messages(scripted, turns, tools=tools, caching="auto")
        assert marked_texts(sent["messages"]) == ["said"]
        assert marked_texts(sent["tools"]) == ["near"]
