"""Turns of tools that one dialect allows and another refuses: repeated ids, results in any order."""

import json

import pytest

from tests.support.scripted_upstream import answer_events, answer_json, run_scripted_gateway

TOOL = {"type": "function", "function": {"name": "get", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}  # fmt: skip


def call(call_id, name="get", arguments="{}"):
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def calls(*made):
    return {"role": "assistant", "content": None, "tool_calls": list(made)}


def result(call_id, content):
    return {"role": "tool", "tool_call_id": call_id, "content": content}


USER = {"role": "user", "content": "q"}
HISTORIES = {
    "anew at every turn": [
        USER,
        calls(call("get:0")),
        result("get:0", "1"),
        calls(call("get:0")),
        result("get:0", "2"),
        calls(call("get:0")),
        result("get:0", "3"),
    ],
    "twice in a turn": [
        USER,
        calls(call("a"), call("a")),
        result("a", "1"),
        result("a", "2"),
        calls(call("a")),
        result("a", "3"),
    ],
    "like one that is made": [
        USER,
        calls(call("x"), call("x_2")),
        result("x", "1"),
        result("x_2", "2"),
        calls(call("x")),
        result("x", "3"),
    ],
}


async def chat(scripted, turns, **fields):
    await scripted.gateway.client().chat.completions.create(
        model="test/model", messages=turns, tools=[TOOL], **fields
    )
    return scripted.sent


@pytest.mark.parametrize("name", HISTORIES)
async def test_every_call_at_claude_has_an_id_of_its_own_and_its_result_the_same(tmp_path, name):
    async with run_scripted_gateway(tmp_path, "anthropic_messages") as scripted:
        sent = await chat(scripted, HISTORIES[name])
        blocks = [block for turn in sent["messages"][1:] for block in turn["content"]]
        ids = [block["id"] for block in blocks if block["type"] == "tool_use"]
        results = [
            (block["tool_use_id"], block["content"])
            for block in blocks
            if block["type"] == "tool_result"
        ]
        assert len(set(ids)) == len(ids) == 3
        assert results == list(zip(ids, ["1", "2", "3"], strict=True))


async def test_ids_that_do_not_repeat_stay_as_they_are(tmp_path):
    async with run_scripted_gateway(tmp_path, "anthropic_messages") as scripted:
        sent = await chat(
            scripted, [USER, calls(call("a"), call("b")), result("b", "2"), result("a", "1")]
        )
        assert [block["id"] for block in sent["messages"][1]["content"]] == ["a", "b"]


@pytest.mark.parametrize("ids", [("call_g_x_0_0", "call_g_x_0_1", "call_g_x_0_2"), ("a", "b", "c")])
@pytest.mark.parametrize("between", [[], [{"role": "user", "content": "and?"}]])
async def test_results_at_gemini_stand_in_the_order_of_their_calls(tmp_path, ids, between):
    first, second, third = ids
    turns = [
        USER,
        calls(call(first, "one"), call(second, "two"), call(third, "three")),
        result(third, "3"),
        *between,
        result(first, "1"),
        result(second, "2"),
    ]
    async with run_scripted_gateway(tmp_path, "gemini") as scripted:
        sent = await chat(scripted, turns)
        responses = [part["functionResponse"] for part in sent["contents"][2]["parts"]]
        assert [(one["name"], one["response"]) for one in responses] == [
            ("one", {"output": "1"}),
            ("two", {"output": "2"}),
            ("three", {"output": "3"}),
        ]
        assert len(sent["contents"]) == 3 + bool(between)


def chat_calls(request):
    """Two calls, the first under an id that the conversation has had before."""
    made = [call("get:0"), call("get:1")]
    if not request.body.get("stream"):
        message = {"role": "assistant", "content": None, "tool_calls": made}
        choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
        return answer_json({"id": "c", "object": "chat.completion", "choices": [choice]})
    chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    deltas = [
        {"role": "assistant", "tool_calls": [{**one, "index": n}]} for n, one in enumerate(made)
    ]
    return answer_events(
        *({**chunk, "choices": [{"index": 0, "delta": delta}]} for delta in deltas),
        {**chunk, "choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]},
        "[DONE]",
    )


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_client_of_messages_gets_each_id_once_in_a_conversation(tmp_path, streamed):
    turns = [
        USER,
        {"role": "assistant", "content": [{"type": "tool_use", "id": "get:0", "name": "get", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "get:0", "content": "1"}]},
    ]  # fmt: skip
    tools = [{"name": "get", "input_schema": {"type": "object"}}]
    asked = {"model": "test/model", "max_tokens": 100, "messages": turns, "tools": tools}
    async with run_scripted_gateway(tmp_path, "openai_chat", chat_calls) as scripted:
        client = scripted.gateway.anthropic_client().messages
        if streamed:
            async with client.stream(**asked) as stream:
                message = await stream.get_final_message()
        else:
            message = await client.create(**asked)
        ids = [block.id for block in message.content if block.type == "tool_use"]
        assert len({*ids, "get:0"}) == 3

        # What it sends back belongs together at the provider.
        answers = [{"type": "tool_result", "tool_use_id": one, "content": one} for one in ids]
        back = [
            *turns,
            {"role": "assistant", "content": message.content},
            {"role": "user", "content": answers},
        ]
        await client.create(**{**asked, "messages": back})
        sent = json.loads(json.dumps(scripted.sent))["messages"]
        assert [one["id"] for one in sent[3]["tool_calls"]] == ids
        assert [one["tool_call_id"] for one in sent[4:]] == ids
