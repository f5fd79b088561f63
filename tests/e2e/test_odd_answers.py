"""Answers of OpenAI-shaped providers that are odd, mended for every client, whole and streamed."""

import json

import openai
import pytest

from tests.support.scripted_rows import (
    call_piece,
    chunk,
    completion,
    event_stream,
    events_in,
    run_scripted_rows,
)
from tests.support.scripted_upstream import ScriptedAnswer

GET = {
    "type": "function",
    "function": {
        "name": "get",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
A, B = '{"city":"A"}', '{"city":"B"}'


@pytest.fixture
async def scripted(tmp_path):
    async with run_scripted_rows(tmp_path, ["vllm", "ollama", "minimax"]) as gateway:
        yield gateway


def streamed_calls(*deltas):
    """A stream in which each of these lists of pieces is a chunk."""
    chunks = [chunk(tool_calls=pieces) for pieces in deltas]
    return event_stream(chunk(role="assistant", content=""), *chunks, chunk("tool_calls"))


PARALLEL = {
    "the same id at another index": streamed_calls(
        [call_piece(A, index=0, id="call_0", type="function", name="get")],
        [call_piece(B, index=1, id="call_0", type="function", name="put")],
    ),
    "the same id at another index, in pieces": streamed_calls(
        [call_piece(A[:5], index=0, id="call_0", type="function", name="get")],
        [call_piece(A[5:], index=0, id="call_0")],
        [call_piece(B[:5], index=1, id="call_0", type="function", name="put")],
        [call_piece(B[5:], index=1, id="call_0")],
    ),
    "the same id without an index": streamed_calls(
        [call_piece(A, id="call_0", type="function", name="get")],
        [call_piece(B, id="call_0", type="function", name="put")],
    ),
    "the same id and index in one chunk": streamed_calls(
        [
            call_piece(A, index=0, id="call_0", type="function", name="get"),
            call_piece(B, index=0, id="call_0", type="function", name="put"),
        ]
    ),
    "indexes from one": streamed_calls(
        [call_piece("", index=1, id="a", type="function", name="get")],
        [call_piece(A, index=1)],
        [call_piece(B, index=2, id="b", type="function", name="put")],
    ),
    "indexes with gaps": streamed_calls(
        [call_piece(A, index=3, id="a", type="function", name="get")],
        [call_piece(B[:4], index=7, id="b", type="function", name="put")],
        [call_piece(B[4:], index=7)],
    ),
    "every index is nought": streamed_calls(
        [call_piece(A, index=0, id="a", type="function", name="get")],
        [call_piece(B[:4], index=0, id="b", type="function", name="put")],
        [call_piece(B[4:], index=0)],
    ),
    "whole, with one id": completion(
        "tool_calls",
        content=None,
        tool_calls=[
            call_piece(A, id="c1", type="function", name="get"),
            call_piece(B, id="c1", type="function", name="put"),
        ],
    ),
    "whole, with one id and index": completion(
        "tool_calls",
        content=None,
        tool_calls=[
            call_piece(A, index=0, id="c1", type="function", name="get"),
            call_piece(B, index=0, id="c1", type="function", name="put"),
        ],
    ),
}


@pytest.mark.parametrize("answer", PARALLEL.values(), ids=PARALLEL)
async def test_a_call_is_known_by_its_place_and_has_an_id_and_index_of_its_own(scripted, answer):
    scripted.play(answer)
    streamed = answer.content_type != "application/json"
    client = scripted.gateway.client().chat.completions
    asked = {"model": "my/vllm", "messages": [{"role": "user", "content": "q"}], "tools": [GET]}
    if streamed:
        async with client.stream(**asked) as stream:
            reply = await stream.get_final_completion()
    else:
        reply = await client.create(**asked)
    calls = reply.choices[0].message.tool_calls
    assert [(call.function.name, call.function.arguments) for call in calls] == [
        ("get", A),
        ("put", B),
    ]
    assert len({call.id for call in calls}) == 2

    tool = {"name": "get", "input_schema": {"type": "object", "properties": {}}}
    response = await scripted.messages("my/vllm", tools=[tool], stream=streamed)
    if streamed:
        events = events_in(response)
        blocks = [event["content_block"] for event in events if "content_block" in event]
        inputs = {
            place: json.loads(
                "".join(
                    event["delta"]["partial_json"]
                    for event in events
                    if event["type"] == "content_block_delta"
                    and event["index"] == place
                    and "partial_json" in event["delta"]
                )
            )
            for place in {event["index"] for event in events if "index" in event}
            if any(
                event.get("content_block", {}).get("type") == "tool_use" and event["index"] == place
                for event in events
            )
        }
        blocks = [block for block in blocks if block["type"] == "tool_use"]
        assert list(inputs.values()) == [json.loads(A), json.loads(B)]
    else:
        blocks = [block for block in response.json()["content"] if block["type"] == "tool_use"]
        assert [block["input"] for block in blocks] == [json.loads(A), json.loads(B)]
    assert [block["name"] for block in blocks] == ["get", "put"]
    assert len({block["id"] for block in blocks}) == 2


REPEATED = streamed_calls(
    [call_piece('{"city"', index=0, id="a", type="function", name="get")],
    [call_piece(':"A"', index=0, id="a", type="function", name="get")],
    [call_piece("}", index=0, id="a", type="function", name="get")],
)


async def test_a_call_whose_id_and_name_are_repeated_with_each_piece_stays_one(scripted):
    scripted.play(REPEATED)
    client = scripted.gateway.client().chat.completions
    async with client.stream(
        model="my/vllm", messages=[{"role": "user", "content": "q"}], tools=[GET]
    ) as stream:
        reply = await stream.get_final_completion()
    [call] = reply.choices[0].message.tool_calls
    assert (call.id, call.function.name, call.function.arguments) == ("a", "get", A)


FAILURES = {
    "flat": {"object": "error", "message": "boom", "type": "InternalServerError", "code": 500},
    "flat without an object": {"message": "boom", "code": 503},
    "a reason": {"message": "boom", "reason": "INTERNAL", "code": 500},
    "detail": {"detail": "boom"},
    "a list of details": {"detail": [{"loc": ["body"], "msg": "boom", "type": "x"}]},
    "errors": {"errors": [{"code": 5007, "message": "boom"}], "success": False},
    "fault": {"fault": {"faultstring": "boom"}},
    "anthropic": {"type": "error", "error": {"type": "overloaded_error", "message": "boom"}},
    "error text": {"error": "boom"},
    "in a list": [{"error": {"message": "boom", "code": 500}}],
    "base_resp": {"base_resp": {"status_code": 1000, "status_msg": "boom"}},
    "error_code": {"error_code": 336100, "error_msg": "boom"},
    "error_code beside a text": {"text": "boom", "error_code": 50001},
}


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
async def test_an_error_of_any_shape_in_a_stream_ends_the_answer_as_failed(scripted, failure):
    scripted.play(event_stream(chunk(role="assistant", content="Hel"), failure))
    response = await scripted.chat("my/vllm", stream=True)
    *_, last_chunk, error = events_in(response)
    assert last_chunk["choices"][0]["finish_reason"] == "error"
    assert error.keys() == {"error"}
    assert "[DONE]" not in response.text


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
async def test_an_error_of_any_shape_before_the_answer_is_an_error_status(scripted, failure):
    scripted.play(event_stream(failure))
    response = await scripted.chat("my/vllm", stream=True)
    assert response.status_code >= 500


@pytest.mark.parametrize(
    "event",
    [
        {"type": "ping"},
        {"status": {"code": 10000, "description": "Ok"}},
        {"id": "c"},
        {"base_resp": {"status_code": 0, "status_msg": ""}},
        {"error_code": 0, "error_msg": ""},
    ],
)
async def test_an_event_that_is_neither_a_chunk_nor_an_error_changes_nothing(scripted, event):
    scripted.play(event_stream(event, chunk(content="Hel"), event, chunk("stop", content="lo")))
    response = await scripted.chat("my/vllm", stream=True)
    text = "".join(
        item["choices"][0]["delta"].get("content") or ""
        for item in events_in(response)
        if item["choices"]
    )
    assert (response.status_code, text) == (200, "Hello")
    assert response.text.endswith("data: [DONE]\n\n")


async def test_the_last_frame_of_a_stream_that_fails_is_an_error_and_nothing_else(scripted):
    broken = event_stream(chunk(role="assistant", content="Hel"), {"error": {"message": "boom"}})
    scripted.play(broken)
    response = await scripted.chat("my/vllm", stream=True)
    first, *_, last_chunk, error = events_in(response)
    assert error == {"error": last_chunk["error"]}
    assert (last_chunk["created"], last_chunk["id"]) == (first["created"], first["id"])
    assert response.headers["x-gatewayz-attempts"] == "1"

    with pytest.raises(openai.APIError, match="failed"):
        stream = await scripted.gateway.client().chat.completions.create(
            model="my/vllm", messages=[{"role": "user", "content": "q"}], stream=True
        )
        async for _ in stream:
            pass


async def test_completions_tell_a_broken_stream_in_a_frame_of_its_own(scripted):
    broken = event_stream(chunk(role="assistant", content="Hel"), {"error": {"message": "boom"}})
    scripted.play(broken)
    response = await scripted.post(
        "/v1/completions", {"model": "my/vllm", "prompt": "q", "stream": True}
    )
    assert events_in(response)[-1].keys() == {"error"}


@pytest.mark.parametrize(
    ("usage", "cost"),
    [
        (
            {"prompt_tokens": 1000, "completion_tokens": 7, "total_tokens": 1007, "cache_read_input_tokens": 600, "cache_creation_input_tokens": 300},
            "0.000714",
        ),
        ({"prompt_tokens": 1000, "completion_tokens": 7, "cached_input_tokens": 600}, "0.000714"),
        ({"prompt_tokens": 1000, "completion_tokens": 7, "num_cached_tokens": 600}, "0.000714"),
    ],
)  # fmt: skip
async def test_each_spelling_of_what_came_from_the_cache_has_its_price(scripted, usage, cost):
    scripted.play(completion(usage=usage))
    response = await scripted.chat("my/vllm")
    assert f"{response.json()['usage']['cost']:f}" == cost


@pytest.mark.parametrize("pieces", [["", "{}"], ["{", "}"], ["", "{", "}"]])
async def test_a_call_whose_name_comes_after_its_id_begins_with_its_name(scripted, pieces):
    first, *middle, last = pieces
    scripted.play(
        event_stream(
            chunk(tool_calls=[call_piece(first, index=0, id="a", type="function")]),
            *(chunk(tool_calls=[call_piece(piece, index=0)]) for piece in middle),
            chunk(tool_calls=[call_piece(last, index=0, name="get")]),
            chunk("tool_calls"),
        )
    )
    told = events_in(await scripted.messages("my/vllm", stream=True))
    (block,) = [item["content_block"] for item in told if item["type"] == "content_block_start"]
    deltas = [item["delta"] for item in told if item["type"] == "content_block_delta"]
    assert (block["id"], block["name"]) == ("a", "get")
    assert "".join(delta["partial_json"] for delta in deltas) == "{}"


SAYS_HI = {"role": "assistant", "content": "Hi"}
STREAMED_CHOICES = {
    "counted from 1": [{"index": 1, "delta": SAYS_HI}, {"index": 1, "delta": {}, "finish_reason": "stop"}],
    "not counted": [{"delta": SAYS_HI}, {"delta": {"content": "!"}}, {"delta": {}, "finish_reason": "stop"}],
    "counted below 0": [{"index": -1, "delta": SAYS_HI}, {"index": -1, "delta": {}, "finish_reason": "stop"}],
    "begun without a delta": [{"index": 0, "delta": None}, {"index": 0, "delta": SAYS_HI}, {"index": 0, "delta": {}, "finish_reason": "stop"}],
    "ended without a delta": [{"index": 0, "delta": SAYS_HI}, {"index": 0, "finish_reason": "stop"}],
    "a message for a delta": [{"index": 0, "message": SAYS_HI, "finish_reason": "stop"}],
}  # fmt: skip


@pytest.mark.parametrize("choices", STREAMED_CHOICES.values(), ids=STREAMED_CHOICES)
async def test_what_the_sdk_needs_of_a_choice_is_mended_in_the_echo(scripted, choices):
    head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    scripted.play(event_stream(*({**head, "choices": [choice]} for choice in choices)))
    request = {"model": "my/vllm", "messages": [{"role": "user", "content": "q"}]}
    async with scripted.gateway.client().chat.completions.stream(**request) as stream:
        answer = await stream.get_final_completion()
    (choice,) = answer.choices
    assert (choice.index, choice.finish_reason) == (0, "stop")
    assert choice.message.content.startswith("Hi")
    told = await scripted.messages("my/vllm", stream=True)
    assert '"text":"Hi"' in told.text.replace(" ", "")


@pytest.mark.parametrize("index", [None, 1, 7])
async def test_so_it_is_when_the_answer_is_whole(scripted, index):
    choice = {"message": SAYS_HI, "finish_reason": "stop"} | ({"index": index} if index else {})
    body = {"id": "c", "object": "chat.completion", "choices": [choice]}
    scripted.play(ScriptedAnswer(json.dumps(body).encode()))
    answer = await scripted.chat("my/vllm")
    assert [item["index"] for item in answer.json()["choices"]] == [0]


async def test_choices_that_were_asked_for_keep_their_indexes(scripted):
    pieces = [{"index": 1, "delta": SAYS_HI}, {"index": 0, "delta": SAYS_HI}]
    ends: list[dict[str, object]] = [
        {"index": index, "delta": {}, "finish_reason": "stop"} for index in (0, 1)
    ]
    scripted.play(event_stream(*({"id": "c", "choices": [item]} for item in [*pieces, *ends])))
    told = events_in(await scripted.chat("my/vllm", stream=True, n=2))
    assert [item["choices"][0]["index"] for item in told if item["choices"]] == [1, 0, 0, 1]


async def test_broken_arguments_of_a_call_are_the_same_whole_and_streamed(scripted):
    piece = call_piece('{"city": "A', id="a", type="function", name="get", index=0)
    scripted.play(completion("tool_calls", content=None, tool_calls=[piece]))
    whole = (await scripted.chat("my/vllm", tools=[GET])).json()["choices"][0]["message"]
    scripted.play(streamed_calls([piece]))
    streamed = events_in(await scripted.chat("my/vllm", tools=[GET], stream=True))
    text = "".join(
        call["function"]["arguments"]
        for event in streamed
        for choice in event["choices"]
        for call in choice["delta"].get("tool_calls", ())
    )
    assert whole["tool_calls"][0]["function"]["arguments"] == text == '{"city": "A'


def get_piece(**fields):
    return call_piece("", **{"index": 0, "id": "a", "type": "function", "name": "get", **fields})


EMPTY_CALLS = {
    "whole": completion("tool_calls", content=None, tool_calls=[get_piece()]),
    "streamed": streamed_calls([get_piece()]),
    "at once": event_stream(chunk("tool_calls", tool_calls=[get_piece()])),
    "in two chunks": event_stream(
        chunk(role="assistant", content="ok"),
        chunk(tool_calls=[get_piece()]),
        chunk("stop", content=""),
    ),
    "without an end": event_stream(chunk(tool_calls=[get_piece(index=None)])),
}


@pytest.mark.parametrize("answer", EMPTY_CALLS.values(), ids=EMPTY_CALLS)
async def test_a_call_without_arguments_has_an_empty_object(scripted, answer):
    scripted.play(answer)
    client = scripted.gateway.client().chat.completions
    asked = {"model": "my/vllm", "messages": [{"role": "user", "content": "q"}], "tools": [GET]}
    if answer.content_type == "application/json":
        reply = await client.create(**asked)
    else:
        async with client.stream(**asked) as stream:
            reply = await stream.get_final_completion()
    assert reply.choices[0].finish_reason == "tool_calls"
    [call] = reply.choices[0].message.tool_calls
    assert (call.id, call.function.name, call.function.arguments) == ("a", "get", "{}")


async def test_what_waits_for_a_tag_comes_after_the_text_that_it_came_with(scripted):
    scripted.play(event_stream(chunk(content="a"), chunk("stop", content="b <th")))
    reply = await scripted.chat("my/minimax", stream=True)
    texts = [
        item["choices"][0]["delta"].get("content") or ""
        for item in events_in(reply)
        if item["choices"]
    ]
    assert "".join(texts) == "ab <th"
    scripted.play(event_stream(chunk(content="a"), chunk("stop", content="b <th")))
    reply = await scripted.messages("my/minimax", stream=True)
    texts = [
        event["delta"]["text"] for event in events_in(reply) if "text" in event.get("delta", {})
    ]
    assert "".join(texts) == "ab <th"


@pytest.mark.parametrize("streamed", [False, True])
async def test_an_empty_answer_is_an_answer(scripted, streamed):
    empty = (
        event_stream(chunk(role="assistant"), chunk("stop")) if streamed else completion(content="")
    )
    scripted.play(empty)
    response = await scripted.chat("my/vllm", stream=streamed)
    assert response.status_code == 200


async def test_an_answer_that_is_no_json_object_is_an_error(scripted):
    scripted.play(ScriptedAnswer(b"[]"))
    assert (await scripted.chat("my/vllm")).status_code == 502
