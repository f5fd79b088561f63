"""How much to think, and what was thought before, as each OpenAI-shaped provider takes it."""

import pytest

from tests.support.scripted_rows import (
    anthropic_message,
    completion,
    names_dropped,
    run_scripted_rows,
    tool_loop,
)

PROVIDERS = (
    *("openai", "azure-openai", "groq", "xai", "openrouter", "vllm", "mistral", "deepseek"),
    *("moonshot", "minimax", "cerebras", "fireworks", "anthropic"),
)
MODELS = ("openai:gpt-5", "openai:gpt-4o", "openai:gpt-5.2", "openai:o3", "vllm:MiniMaxAI/MiniMax-M2", "groq:openai/gpt-oss-120b")  # fmt: skip
GET = {
    "type": "function",
    "function": {"name": "get", "parameters": {"type": "object", "properties": {}}},
}


@pytest.fixture
async def rows(tmp_path):
    async with run_scripted_rows(tmp_path, PROVIDERS, MODELS) as rows:
        yield rows


@pytest.mark.parametrize(
    ("model", "asked", "sent"),
    [
        ("my/gpt-5", "max", "high"),
        ("my/gpt-5", "none", "minimal"),
        ("my/gpt-5.2", "max", "xhigh"),
        ("my/o3", "minimal", "low"),
        ("my/azure-openai", "max", "high"),
        ("my/groq", "xhigh", "high"),
        ("my/openai/gpt-oss-120b", "minimal", "low"),
        ("my/xai", "xhigh", "high"),
        ("my/xai", "minimal", "low"),
        ("my/mistral", "low", "high"),
        ("my/cerebras", "max", "high"),
        ("my/fireworks", "minimal", "low"),
        ("my/gpt-5", "low", "low"),
    ],
)
@pytest.mark.parametrize("surface", ["chat", "messages"])
async def test_of_an_unknown_effort_the_nearest_is_sent_and_told(rows, surface, model, asked, sent):
    if surface == "chat":
        response = await rows.chat(model, reasoning_effort=asked)
    else:
        fields = {"thinking": {"type": "adaptive"}, "output_config": {"effort": asked}}
        response = await rows.messages(model, **fields)
    assert response.status_code == 200
    assert rows.sent["reasoning_effort"] == sent
    assert ("reasoning_effort" in names_dropped(response)) == (asked != sent)


async def test_the_effort_of_openrouter_keeps_every_word(rows):
    await rows.messages(
        "my/openrouter", thinking={"type": "adaptive"}, output_config={"effort": "max"}
    )
    assert rows.sent["reasoning"]["effort"] == "max"


async def test_a_word_on_no_ladder_is_passed_on(rows):
    await rows.chat("my/openai", reasoning_effort="ultra")
    assert rows.sent["reasoning_effort"] == "ultra"


@pytest.mark.parametrize("fields", [{"thinking": {"type": "adaptive"}}, {"top_k": 5}])
async def test_what_a_model_is_known_not_to_take_is_not_sent(rows, fields):
    response = await rows.messages("my/gpt-4o", **fields)
    assert (response.status_code, len(rows.requests)) == (200, 1)
    assert not rows.sent.keys() & {"reasoning_effort", "top_k", "reasoning", "thinking"}
    assert names_dropped(response) == {"reasoning_effort" if "thinking" in fields else "top_k"}


@pytest.mark.parametrize(
    ("model", "thinking", "sent"),
    [
        ("my/anthropic", {"type": "enabled", "budget_tokens": 2_000}, {"thinking": {"type": "enabled", "budget_tokens": 2_000}}),
        ("my/gpt-5", {"type": "enabled", "budget_tokens": 2_000}, {"reasoning_effort": "low"}),
        ("my/gpt-5", {"type": "disabled"}, {"reasoning_effort": "minimal"}),
        ("my/openrouter", {"type": "enabled", "budget_tokens": 2_000}, {"reasoning": {"max_tokens": 2_000, "enabled": True}}),
        ("my/deepseek", {"type": "enabled"}, {"thinking": {"type": "enabled"}}),
        ("my/deepseek", {"type": "disabled"}, {"thinking": {"type": "disabled"}}),
        ("my/moonshot", {"type": "enabled", "keep": "all"}, {"thinking": {"type": "enabled", "keep": "all"}}),
        ("my/moonshot", {"type": "unknown"}, {"thinking": {"type": "unknown"}}),
    ],
)  # fmt: skip
async def test_thinking_in_chat_is_what_it_is_in_the_other_apis(rows, model, thinking, sent):
    rows.play(anthropic_message() if model == "my/anthropic" else completion())
    response = await rows.chat(model, max_tokens=5_000, thinking=thinking)
    assert response.status_code == 200
    assert {name: rows.sent.get(name) for name in sent} == sent
    fields = {"thinking", "reasoning", "reasoning_effort"}
    assert rows.sent.keys() & fields == sent.keys() & fields
    assert "thinking" not in names_dropped(response)


async def test_a_budget_that_is_none_is_refused(rows):
    response = await rows.chat("my/openai", thinking={"type": "enabled", "budget_tokens": "many"})
    assert (response.status_code, response.json()["error"]["param"]) == (
        400,
        "thinking.budget_tokens",
    )


# Thoughts of earlier turns.


@pytest.mark.parametrize("model", ["my/deepseek", "my/moonshot"])
@pytest.mark.parametrize(
    "asked", [{}, {"reasoning_effort": "high"}, {"thinking": {"type": "enabled"}}]
)
async def test_without_its_thoughts_a_history_is_sent_with_thinking_off(rows, model, asked):
    response = await rows.chat(model, messages=tool_loop("c1"), tools=[GET], **asked)
    assert rows.sent["thinking"] == {"type": "disabled"}
    assert "reasoning_effort" in names_dropped(response)


@pytest.mark.parametrize("model", ["my/deepseek", "my/moonshot"])
async def test_with_its_thoughts_a_history_is_sent_as_it_is(rows, model):
    await rows.chat(model, messages=tool_loop("c1", "c2", thought="hmm"), tools=[GET])
    said = [message for message in rows.sent["messages"] if message["role"] == "assistant"]
    assert [message["reasoning_content"] for message in said] == ["hmm", "hmm"]
    assert "thinking" not in rows.sent


async def test_one_thought_that_is_missing_is_enough(rows):
    messages = [*tool_loop("c1", thought="hmm"), *tool_loop("c2")[1:]]
    await rows.chat("my/deepseek", messages=messages, tools=[GET])
    assert rows.sent["thinking"] == {"type": "disabled"}


@pytest.mark.parametrize("model", ["my/minimax", "my/MiniMaxAI/MiniMax-M2"])
@pytest.mark.parametrize("text", ["ok", None])
async def test_a_thought_goes_back_between_its_tags(rows, model, text):
    messages = tool_loop("c1", thought="hmm", text=text)
    await rows.chat(model, messages=messages, tools=[GET])
    assistant = rows.sent["messages"][1]
    assert assistant["content"] == f"<think>\nhmm\n</think>\n\n{text or ''}"
    assert "reasoning_content" not in assistant


async def test_a_thought_that_was_moved_out_goes_back_as_it_was(rows):
    content = "<think>\nhmm\n</think>\n\nok"
    rows.play(completion(content=content))
    said = (await rows.chat("my/minimax")).json()["choices"][0]["message"]
    assert (said["reasoning_content"].strip(), said["content"]) == ("hmm", "ok")
    messages = [{"role": "user", "content": "q"}, said, {"role": "user", "content": "and?"}]
    await rows.chat("my/minimax", messages=messages)
    assert rows.sent["messages"][1]["content"] == content


async def test_thoughts_that_were_split_off_go_back_as_they_came(rows):
    messages = tool_loop("c1", thought="hmm", text="ok")
    messages[1]["reasoning_details"] = [{"type": "reasoning.text", "text": "hmm"}]
    await rows.chat("my/minimax", messages=messages, tools=[GET])
    assert rows.sent["messages"][1]["reasoning_details"] == messages[1]["reasoning_details"]
    assert rows.sent["messages"][1]["content"] == "ok"
