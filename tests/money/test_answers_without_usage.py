"""Answers without usage: the SDK of each wire reads the estimate that was charged, marked as one, and does not break."""

import pytest

from tests.support.billing_gateway import run_billing_gateway

HI = [{"role": "user", "content": "Hello there"}]
PRICE = {"input": "1.00", "output": "2.00"}
MODELS = [
    {
        "id": "test/model",
        "offers": [{"provider": "first", "upstream_id": "usage-9", "price": PRICE}],
    }
]


@pytest.fixture
def kind():
    """One database is enough: what is shown is decided above the store."""
    return "sqlite"


@pytest.mark.parametrize("dialect", ["anthropic_messages", "openai_chat"])
@pytest.mark.parametrize("streamed", [False, True])
async def test_the_anthropic_sdk_reads_what_was_charged(tmp_path, location, dialect, streamed):
    async with run_billing_gateway(tmp_path, location, dialect=dialect, models=MODELS) as here:
        asked = {"model": "test/model", "messages": HI, "max_tokens": 100}
        client = here.anthropic_client()
        if streamed:
            async with client.messages.stream(**asked) as stream:
                message = await stream.get_final_message()
        else:
            message = await client.messages.create(**asked)
        call = await here.call()
        assert call["estimated"]
        assert message.usage.output_tokens == call["usage"]["output"] > 0
        # A stream's message is folded by the SDK from the fields that it knows.
        assert streamed or message.usage.estimated is True
        assert call["cost"] == await here.usage_total() > 0
        await here.assert_balanced()


@pytest.mark.parametrize("dialect", ["anthropic_messages", "openai_chat"])
async def test_the_openai_sdk_reads_what_was_charged(tmp_path, location, dialect):
    async with run_billing_gateway(tmp_path, location, dialect=dialect, models=MODELS) as here:
        client = here.client().chat.completions
        whole = await client.create(model="test/model", messages=HI)
        chunks = await client.create(
            model="test/model", messages=HI, stream=True, stream_options={"include_usage": True}
        )
        streamed = [chunk.usage async for chunk in chunks if chunk.usage is not None]
        await here.wait_until_idle()
        for usage, call in zip((whole.usage, streamed[-1]), await here.calls(), strict=True):
            assert call.estimated
            assert usage.estimated is True
            assert usage.completion_tokens == call.usage["output"] > 0
            assert usage.prompt_tokens == call.usage["input"]
        await here.assert_balanced()
