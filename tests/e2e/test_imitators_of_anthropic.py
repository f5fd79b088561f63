"""Upstreams that speak Anthropic's wire loosely: what its SDK cannot do without is mended in the echo."""

from typing import Any

import pytest

from tests.support.scripted_upstream import answer_events, answer_json, run_scripted_gateway

ASKED = {
    "model": "test/model",
    "max_tokens": 100,
    "messages": [{"role": "user", "content": "Hello there"}],
}
USAGE = {"input_tokens": 9, "output_tokens": 3}
MESSAGE = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m"}
START: Any = {"type": "message_start", "message": {**MESSAGE, "content": [], "stop_reason": None, "stop_sequence": None, "usage": USAGE}}  # fmt: skip
BLOCK: Any = {
    "type": "content_block_start",
    "index": 0,
    "content_block": {"type": "text", "text": ""},
}
DELTA: Any = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Fine then."}}  # fmt: skip
STOP = {"type": "content_block_stop", "index": 0}
END: Any = {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": USAGE}  # fmt: skip
DONE = {"type": "message_stop"}


def without(event, *path):
    """The event without what stands at a path."""
    name, *rest = path
    if not rest:
        return {key: value for key, value in event.items() if key != name}
    return {**event, name: without(event[name], *rest)}


STREAMS = {
    "no usage at all": [without(START, "message", "usage"), BLOCK, DELTA, STOP, without(END, "usage"), DONE],
    "usage null": [{**START, "message": {**START["message"], "usage": None}}, BLOCK, DELTA, STOP, {**END, "usage": None}, DONE],
    "usage only at the start": [START, BLOCK, DELTA, STOP, without(END, "usage"), DONE],
    "usage without output": [START, BLOCK, DELTA, STOP, {**END, "usage": {"input_tokens": 9}}, DONE],
    "zeros at the end": [START, BLOCK, DELTA, STOP, {**END, "usage": {"input_tokens": 0, "output_tokens": 0}}, DONE],
    "a start without content": [without(START, "message", "content"), BLOCK, DELTA, STOP, END, DONE],
    "a start with the id alone": [{"type": "message_start", "message": {"id": "x"}}, BLOCK, DELTA, STOP, END, DONE],
    "a block without text": [START, {**BLOCK, "content_block": {"type": "text"}}, DELTA, STOP, END, DONE],
    "an end without delta": [START, BLOCK, DELTA, STOP, without(END, "delta"), DONE],
    "an end with delta null": [START, BLOCK, DELTA, STOP, {**END, "delta": None}, DONE],
    "no end of the message": [START, BLOCK, DELTA, STOP, DONE],
}  # fmt: skip


@pytest.mark.parametrize("name", STREAMS)
async def test_the_sdk_reads_a_stream_that_leaves_fields_out(tmp_path, name):
    script = lambda _: answer_events(*STREAMS[name], names=True)  # noqa: E731
    async with run_scripted_gateway(tmp_path, "anthropic_messages", script) as scripted:
        async with scripted.gateway.anthropic_client().messages.stream(**ASKED) as stream:
            message = await stream.get_final_message()
        assert [block.text for block in message.content] == ["Fine then."]
        assert (message.role, message.stop_reason) == ("assistant", "end_turn")
        await scripted.gateway.wait_until_idle()
        usage = scripted.gateway.last.usage
        # What is shown is what is charged, and nothing that was delivered is free.
        assert message.usage.output_tokens == usage.completion > 0
        assert usage.prompt > 0
        assert scripted.gateway.last.cost > 0


BODY = {**MESSAGE, "content": [{"type": "text", "text": "Fine then."}], "stop_reason": "end_turn"}
BODIES = {
    "no usage": BODY,
    "usage null": {**BODY, "usage": None},
    "usage empty": {**BODY, "usage": {}},
    "zeros": {**BODY, "usage": {"input_tokens": 0, "output_tokens": 0}},
    "no role": {"content": BODY["content"], "stop_reason": "end_turn", "usage": USAGE},
}


@pytest.mark.parametrize("name", BODIES)
async def test_the_sdk_reads_a_body_that_leaves_fields_out(tmp_path, name):
    script = lambda _: answer_json(BODIES[name])  # noqa: E731
    async with run_scripted_gateway(tmp_path, "anthropic_messages", script) as scripted:
        message = await scripted.gateway.anthropic_client().messages.create(**ASKED)
        assert (message.role, message.type, message.content[0].text) == (
            "assistant",
            "message",
            "Fine then.",
        )
        usage = scripted.gateway.last.usage
        assert (message.usage.input_tokens, message.usage.output_tokens) == (
            usage.prompt,
            usage.completion,
        )
        assert min(usage.prompt, usage.completion, scripted.gateway.last.cost) > 0


TOOL_STREAM = [
    START,
    {"type": "content_block_start", "index": 0, "content_block": {"type": "tool_use", "id": "t", "name": "get"}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": '{"a": 1}'}},
    STOP,
    {**END, "delta": {"stop_reason": "tool_use"}},
    DONE,
]  # fmt: skip
THOUGHT_STREAM = [
    START,
    {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking"}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "Hm."}},
    STOP,
    END,
    DONE,
]  # fmt: skip


async def test_blocks_of_every_kind_begin_with_what_grows_in_them(tmp_path):
    async with run_scripted_gateway(tmp_path, "anthropic_messages") as scripted:
        client = scripted.gateway.anthropic_client().messages
        scripted.upstream.script = lambda _: answer_events(*TOOL_STREAM, names=True)
        async with client.stream(**ASKED) as stream:
            assert (await stream.get_final_message()).content[0].input == {"a": 1}
        scripted.upstream.script = lambda _: answer_events(*THOUGHT_STREAM, names=True)
        async with client.stream(**ASKED) as stream:
            assert (await stream.get_final_message()).content[0].thinking == "Hm."
