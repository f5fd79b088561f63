"""What is an answer in one dialect is one in all: empty ones, refusals with their reasons, documents in parts."""

from typing import Any

import openai
import pytest

from tests.support.scripted_upstream import answer_events, answer_json, run_scripted_gateway

HI = [{"role": "user", "content": "q"}]
WHY = "It may help to make something dangerous."
EMPTY_GEMINI = [
    {"candidates": [{"content": {"parts": [], "role": "model"}, "finishReason": "STOP", "index": 0}], "usageMetadata": {"promptTokenCount": 4, "totalTokenCount": 4}},
    {"candidates": [{"content": {"role": "model"}, "finishReason": "STOP"}]},
    {"candidates": [{"finishReason": "STOP"}]},
    {"candidates": [{"content": {"parts": [{"text": ""}]}, "finishReason": "STOP"}]},
]  # fmt: skip


async def both_clients(scripted, streamed):
    """What the clients of chat and of messages understood: text, refusal, why it stopped."""
    gateway = scripted.gateway
    asked = {"model": "test/model", "messages": HI, "max_tokens": 100}
    if streamed:
        async with gateway.client().chat.completions.stream(**asked) as stream:
            try:
                completion = await stream.get_final_completion()
            except openai.ContentFilterFinishReasonError as error:
                completion = error.completion
            chat = completion.choices[0]
        async with gateway.anthropic_client().messages.stream(**asked) as events:
            message = await events.get_final_message()
    else:
        chat = (await gateway.client().chat.completions.create(**asked)).choices[0]
        message = await gateway.anthropic_client().messages.create(**asked)
    return chat, message


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("body", EMPTY_GEMINI, ids=["no parts", "no list", "no content", "blank"])
async def test_an_empty_answer_of_gemini_is_an_answer(tmp_path, body, streamed):
    script = lambda request: answer_events(body) if ":stream" in request.path else answer_json(body)  # noqa: E731
    async with run_scripted_gateway(tmp_path, "gemini", script) as scripted:
        chat, message = await both_clients(scripted, streamed)
        assert (chat.message.content or "", chat.finish_reason) == ("", "stop")
        assert ([b for b in message.content if b.text], message.stop_reason) == ([], "end_turn")


def refusing_claude(request):
    """Claude begins, and refuses with its reason."""
    details = {"type": "refusal", "category": "bio", "explanation": WHY}
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "stop_sequence": None,
        "usage": {"input_tokens": 9, "output_tokens": 3},
    }
    if not request.body.get("stream"):
        content = [{"type": "text", "text": "Well"}]
        return answer_json(
            {**message, "content": content, "stop_reason": "refusal", "stop_details": details}
        )
    delta = {"stop_reason": "refusal", "stop_sequence": None, "stop_details": details}
    return answer_events(
        {"type": "message_start", "message": {**message, "content": [], "stop_reason": None}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "text_delta", "text": "Well"},
        },
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": delta, "usage": {"output_tokens": 3}},
        {"type": "message_stop"},
        names=True,
    )


@pytest.mark.parametrize("streamed", [False, True])
async def test_why_claude_refused_is_chats_refusal(tmp_path, streamed):
    async with run_scripted_gateway(tmp_path, "anthropic_messages", refusing_claude) as scripted:
        chat, message = await both_clients(scripted, streamed)
        assert chat.message.refusal == WHY
        assert (chat.message.content, chat.finish_reason) == ("Well", "content_filter")
        # Between equals it stays as it came, once.
        assert [block.text for block in message.content] == ["Well"]
        assert message.stop_reason == "refusal"
        if not streamed:
            assert message.stop_details.explanation == WHY


def refusing_chat(request):
    """OpenAI's model refuses in words."""
    head = {"id": "c", "created": 1, "model": "m"}
    if not request.body.get("stream"):
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": None, "refusal": WHY},
            "finish_reason": "stop",
        }
        return answer_json({**head, "object": "chat.completion", "choices": [choice]})
    deltas = [{"role": "assistant", "refusal": WHY[:9]}, {"refusal": WHY[9:]}]
    chunks = [
        {**head, "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta}]}
        for delta in deltas
    ]
    end = {"index": 0, "delta": {}, "finish_reason": "stop"}
    return answer_events(*chunks, {**chunks[0], "choices": [end]}, "[DONE]")


@pytest.mark.parametrize("streamed", [False, True])
async def test_chats_refusal_is_why_a_message_stopped(tmp_path, streamed):
    async with run_scripted_gateway(tmp_path, "openai_chat", refusing_chat) as scripted:
        gateway = scripted.gateway
        asked = {"model": "test/model", "messages": HI, "max_tokens": 100}
        details = None
        if streamed:
            async for event in await gateway.anthropic_client().messages.create(
                **asked, stream=True
            ):
                if event.type == "message_delta":
                    details = event.delta.model_dump()["stop_details"]
                    assert event.delta.stop_reason == "refusal"
        else:
            message = await gateway.anthropic_client().messages.create(**asked)
            assert (message.stop_reason, message.content[0].text) == ("refusal", WHY)
            details = message.stop_details.model_dump()
        assert details == {"type": "refusal", "category": None, "explanation": WHY}


CONTENTS = {
    "a text": ("It is 42.", ["It is 42."]),
    "texts": ([{"type": "text", "text": "one"}, {"type": "text", "text": "two"}], ["one", "two"]),
    "a text and an image": (
        [
            {"type": "text", "text": "see"},
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}},
        ],
        ["see"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CONTENTS)
@pytest.mark.parametrize("within", ["message", "tool result"])
async def test_a_document_in_parts_is_its_parts_for_others_and_itself_for_claude(
    tmp_path, name, within
):
    content, texts = CONTENTS[name]
    document = {
        "type": "document",
        "title": "Report",
        "source": {"type": "content", "content": content},
    }
    turns: list[Any] = [{"role": "user", "content": [document]}]
    if within == "tool result":
        turns = [
            *HI,
            {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "get", "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": [document]}]},
        ]  # fmt: skip
    for dialect in ("openai_chat", "gemini", "anthropic_messages"):
        async with run_scripted_gateway(tmp_path, dialect) as scripted:
            await scripted.gateway.anthropic_client().messages.create(
                model="test/model", max_tokens=9, messages=turns
            )
            if dialect == "anthropic_messages":
                sent = scripted.sent["messages"][-1]["content"][0]
                assert (sent["content"][0] if within == "tool result" else sent) == document
                continue
            sent = str(scripted.sent)
            assert all(text in sent for text in ["Report", *texts])
            assert ("iVBORw0KGgo=" in sent) == ("image" in name)
