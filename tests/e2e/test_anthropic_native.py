"""What only Anthropic serves: passed on whole both ways, and refused by name elsewhere."""

import json
from typing import Any

import anthropic
import pytest

from gatewayz.simulator.exchanges import load_exchange
from tests.support.running_gateway import model_with_offers, run_gateway

HI: Any = [{"role": "user", "content": "When was Claude Shannon born?"}]
MAX: dict[str, Any] = {"max_tokens": 1_000}
SEARCH: Any = {"type": "web_search_20250305", "name": "web_search", "max_uses": 5}
PRICE = {
    "input": "1.00",
    "output": "2.00",
    "cache_read": "0.50",
    "cache_write": "1.25",
    "cache_write_1h": "2.00",
    "searches": "0.01",
}
SEARCH_NANOS = 10_000_000
MODEL: dict[str, Any] = {
    "models": [
        {
            "id": "test/model",
            "offers": [{"provider": "first", "upstream_id": "model", "price": PRICE}],
        }
    ]
}


@pytest.fixture
async def native(tmp_path):
    async with run_gateway(tmp_path, dialect="anthropic_messages", **MODEL) as running:
        yield running


@pytest.fixture(params=["openai_chat", "gemini"])
async def foreign(request, tmp_path):
    async with run_gateway(tmp_path, dialect=request.param) as running:
        yield running


def error_of(refused):
    """The `error` object that came with a refusal."""
    return refused.value.body["error"]


async def both(gateway, scene, **options):
    """The message of a scene, whole and from the stream helper, at the model that has a price."""
    gateway.upstream.script("model", [scene])
    options = {"messages": HI, **MAX, **options}
    yield await gateway.anthropic_client().messages.create(model="test/model", **options)
    async with gateway.anthropic_client().messages.stream(model="test/model", **options) as stream:
        yield await stream.get_final_message()


def owed(usage):
    """What this usage costs, in nano-dollars, written out by hand."""
    return (
        1_000 * usage.input_tokens
        + 2_000 * usage.output_tokens
        + 500 * (usage.cache_read_input_tokens or 0)
        + SEARCH_NANOS * (usage.server_tool_use.web_search_requests if usage.server_tool_use else 0)
    )


async def test_a_web_search_is_shown_cited_counted_and_paid(native):
    async for reply in both(native, "search", tools=[SEARCH]):
        assert [block.type for block in reply.content] == [
            "server_tool_use",
            "web_search_tool_result",
            "text",
        ]
        call, result, text = reply.content
        assert (call.name, call.input) == ("web_search", {"query": "claude shannon birth date"})
        assert result.tool_use_id == call.id
        assert result.content[0].encrypted_content.startswith("gwz.first.")
        assert text.text == "Paris is the capital of France."
        assert text.citations[0].url == "https://en.wikipedia.org/wiki/Claude_Shannon"
        assert text.citations[0].encrypted_index.startswith("gwz.first.")
        assert reply.usage.server_tool_use.web_search_requests == 1
        assert native.sent["tools"] == [SEARCH]
        assert native.last.usage.searches == 1
        assert native.last.cost == owed(reply.usage) > SEARCH_NANOS
        again = await native.anthropic_client().messages.create(
            model="test/model",
            tools=[SEARCH],
            **MAX,
            messages=[
                *HI,
                {"role": "assistant", "content": reply.content},
                {"role": "user", "content": "And where?"},
            ],
        )
        assert again.content
        assert "gwz." not in json.dumps(native.sent)
        assert "encrypted_content" in json.dumps(native.sent)
        assert native.last.dropped == ()


async def test_a_search_that_failed_costs_nothing(native):
    async for reply in both(native, "search-failed", tools=[SEARCH]):
        assert reply.content[1].content.error_code == "unavailable"
        assert native.last.usage.searches == 0
        assert native.last.cost == owed(reply.usage) < SEARCH_NANOS


async def test_a_client_that_leaves_after_a_search_pays_it(native):
    native.upstream.script("model", ["search-slow"])
    stream = await native.anthropic_client().messages.create(
        model="test/model", messages=HI, tools=[SEARCH], stream=True, **MAX
    )
    async for event in stream:
        if event.type == "content_block_start" and event.content_block.type == "text":
            break
    await stream.close()
    await native.wait_until_idle()
    assert native.last.fault == "client_gone"
    assert native.last.usage.searches == 1
    assert native.last.cost > SEARCH_NANOS


async def test_a_paused_turn_goes_on_where_it_stopped(native):
    async for paused in both(native, "search-pause", tools=[SEARCH]):
        assert paused.stop_reason == "pause_turn"
        assert native.last.usage.searches == 2
        rest = await native.anthropic_client().messages.create(
            model="test/model",
            tools=[SEARCH],
            messages=[*HI, {"role": "assistant", "content": paused.content}],
            **MAX,
        )
        assert [turn["role"] for turn in native.sent["messages"]] == ["user", "assistant"]
        assert "gwz." not in json.dumps(native.sent)
        assert rest.stop_reason == "end_turn"
        assert rest.content[-1].citations


async def test_what_one_account_was_given_encrypted_stays_there(tmp_path):
    async with run_gateway(
        tmp_path, dialect="anthropic_messages", providers=("first", "second")
    ) as gateway:
        client = gateway.anthropic_client()
        reply = await client.messages.create(
            model="first/search", messages=HI, tools=[SEARCH], **MAX
        )
        messages = [
            *HI,
            {"role": "assistant", "content": reply.content},
            {"role": "user", "content": "And where?"},
        ]
        assert (
            await client.messages.create(
                model="second/echo", messages=messages, tools=[SEARCH], **MAX
            )
        ).content[0].text == "And where?"
        assert "seal" in gateway.last.dropped
        assert "encrypted" not in json.dumps(gateway.sent)
        assert "Paris is the capital" in json.dumps(gateway.sent)


@pytest.mark.parametrize(
    "tool",
    [
        SEARCH,
        {"type": "web_fetch_20250910", "name": "web_fetch"},
        {"type": "code_execution_20250825", "name": "code_execution"},
        {"type": "bash_20250124", "name": "bash"},
        {"type": "text_editor_20250728", "name": "str_replace_based_edit_tool"},
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
async def test_a_server_tool_is_refused_by_name_where_nobody_has_it(foreign, tool, streamed):
    with pytest.raises(anthropic.BadRequestError) as refused:
        await foreign.anthropic_client().beta.messages.create(
            model="first/echo", messages=HI, tools=[tool], stream=streamed, **MAX
        )
    assert error_of(refused)["type"] == "invalid_request_error"
    assert f"'{tool['name']}'" in error_of(refused)["message"]
    assert not foreign.upstream.requests


async def test_a_call_with_a_server_tool_goes_to_the_offer_that_has_it(tmp_path):
    dialects = {"first": "openai_chat", "second": "gemini", "third": "anthropic_messages"}
    async with run_gateway(
        tmp_path,
        dialects=dialects,
        models=[model_with_offers(("first", "search"), ("second", "search"), ("third", "search"))],
    ) as gateway:
        reply = await gateway.anthropic_client().messages.create(
            model="test/model", messages=HI, tools=[SEARCH], **MAX
        )
        assert reply.content[-1].citations
        assert gateway.last.served == "third"


async def test_citations_of_documents_are_asked_for_and_kept(native):
    document = {
        "type": "document",
        "source": {"type": "text", "media_type": "text/plain", "data": "The grass is green."},
        "title": "Colours",
        "context": "A note",
        "citations": {"enabled": True},
    }
    messages = [{"role": "user", "content": [document, {"type": "text", "text": "What colour?"}]}]
    async for reply in both(native, "annotations", messages=messages):
        assert native.sent["messages"][0]["content"][0] == document
        assert reply.content[0].citations[0].cited_text
    search = {
        "type": "search_result",
        "source": "https://example.org",
        "title": "A page",
        "content": [{"type": "text", "text": "Green."}],
    }
    await native.anthropic_client().messages.create(
        model="test/model", messages=[{"role": "user", "content": [search]}], **MAX
    )
    assert native.sent["messages"][0]["content"] == [search]


async def test_content_that_nobody_else_takes_is_refused_by_name(foreign):
    search = {
        "type": "search_result",
        "source": "https://example.org",
        "title": "A page",
        "content": [{"type": "text", "text": "Green."}],
    }
    result = {"type": "tool_result", "tool_use_id": "t", "content": [search]}
    call = {"type": "tool_use", "id": "t", "name": "look", "input": {}}
    for messages in (
        [{"role": "user", "content": [search]}],
        [*HI, {"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}],
    ):
        with pytest.raises(anthropic.BadRequestError) as refused:
            await foreign.anthropic_client().messages.create(
                model="first/echo", messages=messages, **MAX
            )
        assert "'search_result'" in error_of(refused)["message"]


async def test_documents_and_results_of_tools_arrive_in_every_form(native):
    pdf = {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}
    image = {
        "type": "image",
        "source": {"type": "base64", "media_type": "image/webp", "data": "UklGRg=="},
    }
    blocks = [
        {"type": "document", "source": pdf, "title": "a.pdf"},
        {"type": "document", "source": {"type": "url", "url": "https://example.org/a.pdf"}},
        {
            "type": "document",
            "source": {"type": "content", "content": [{"type": "text", "text": "A part"}, image]},
        },
        {
            "type": "image",
            "source": {"type": "url", "url": "https://example.org/a.png"},
            "cache_control": {"type": "ephemeral"},
        },
        {"type": "text", "text": "And?"},
    ]
    calls = [
        {"type": "tool_use", "id": f"t{number}", "name": "look", "input": {"at": number}}
        for number in range(3)
    ]
    results = [
        {
            "type": "tool_result",
            "tool_use_id": "t0",
            "content": [image, {"type": "document", "source": pdf}],
            "cache_control": {"type": "ephemeral"},
        },
        {"type": "tool_result", "tool_use_id": "t1", "content": "no such place", "is_error": True},
        {"type": "tool_result", "tool_use_id": "t2"},
    ]
    messages = [
        *HI,
        {"role": "assistant", "content": calls},
        {"role": "user", "content": [*results, *blocks]},
    ]
    tools = [{"name": "look", "input_schema": {"type": "object"}}]
    await native.anthropic_client().messages.create(
        model="test/model", messages=messages, tools=tools, **MAX
    )
    assert native.sent["messages"] == messages


async def test_what_is_read_from_and_written_to_the_cache_is_told_and_paid(native):
    system = [
        {"type": "text", "text": "Rules. " * 200, "cache_control": {"type": "ephemeral"}},
        {
            "type": "text",
            "text": "More. " * 100,
            "cache_control": {"type": "ephemeral", "ttl": "1h"},
        },
    ]
    async for reply in both(native, "echo", system=system):
        assert native.sent["system"] == system
        written = reply.usage.cache_creation or native.last.usage
        short, long = native.last.usage.cache_write, native.last.usage.cache_write_1h
        assert short > long > 0
        assert reply.usage.cache_creation_input_tokens == short + long
        assert written
        assert native.last.cost == owed(reply.usage) + 1_250 * short + 2_000 * long
    async for reply in both(native, "usage-cached", system=system):
        assert reply.usage.cache_read_input_tokens == native.last.usage.cache_read == short + long
        assert native.last.cost == owed(reply.usage)
    chat = await native.client().chat.completions.create(
        model="test/model", messages=[{"role": "system", "content": system}, *HI]
    )
    assert chat.usage.prompt_tokens > chat.usage.prompt_tokens_details.cached_tokens


@pytest.mark.parametrize("dialect", ["openai_chat", "gemini"])
async def test_what_others_read_from_their_cache_is_told_in_anthropics_words(tmp_path, dialect):
    async with run_gateway(tmp_path, dialect=dialect, **MODEL) as gateway:
        async for reply in both(
            gateway,
            "usage-cached",
            system=[{"type": "text", "text": "Rules", "cache_control": {"type": "ephemeral"}}],
        ):
            assert (
                reply.usage.input_tokens,
                reply.usage.cache_read_input_tokens,
                reply.usage.cache_creation_input_tokens,
            ) == (248, 1_800, 0)
            assert gateway.last.usage.cache_read == 1_800
            assert gateway.last.cost == owed(reply.usage)
            assert "cache_control" in gateway.last.dropped


async def test_an_openai_client_is_told_what_claude_read_from_its_cache(native):
    native.upstream.script("model", ["usage-cached"])
    marked = [{"type": "text", "text": "Rules. " * 200, "cache_control": {"type": "ephemeral"}}]
    body = {"messages": [{"role": "system", "content": marked}, *HI]}
    reply = await native.client().chat.completions.create(model="test/model", **body)
    usage = native.last.usage
    assert reply.usage.prompt_tokens == usage.input + usage.cache_read
    assert reply.usage.prompt_tokens_details.cached_tokens == usage.cache_read


@pytest.mark.parametrize("streamed", [False, True])
async def test_beta_flags_and_what_they_allow_go_on_and_come_back(native, streamed):
    edits = {
        "edits": [
            {
                "type": "clear_tool_uses_20250919",
                "trigger": {"type": "input_tokens", "value": 30_000},
            }
        ]
    }
    options = {
        "messages": HI,
        "betas": ["context-management-2025-06-27", "interleaved-thinking-2025-05-14"],
        "context_management": edits,
        **MAX,
    }
    client = native.anthropic_client()
    if streamed:
        async with client.beta.messages.stream(model="test/model", **options) as stream:
            reply = await stream.get_final_message()
    else:
        reply = await client.beta.messages.create(model="test/model", **options)
    assert reply.context_management.applied_edits[0].type == "clear_tool_uses_20250919"
    request = native.upstream.requests[-1]
    assert (
        request.headers["anthropic-beta"]
        == "context-management-2025-06-27,interleaved-thinking-2025-05-14"
    )
    assert request.headers["anthropic-version"] == client.default_headers["anthropic-version"]
    assert native.sent["context_management"] == edits
    assert native.last.dropped == ()


async def test_a_refusal_is_a_stop_and_its_text_is_kept(tmp_path):
    for dialect in ("openai_chat", "anthropic_messages"):
        async with run_gateway(tmp_path, dialect=dialect, **MODEL) as gateway:
            async for reply in both(gateway, "refusal"):
                assert reply.stop_reason == "refusal"
                assert reply.content[0].text == "I cannot help with that."


async def test_fields_that_anthropic_knows_and_we_do_not_go_on(native):
    for field, value in {
        "container": "container_1",
        "inference_geo": "us",
        "service_tier": "standard_only",
    }.items():
        await native.anthropic_client().messages.create(
            model="test/model", messages=HI, extra_body={field: value}, **MAX
        )
        assert native.sent[field] == value


@pytest.mark.parametrize("scene", ["fault-400", "fault-context", "fault-413", "fault-529"])
async def test_a_refusal_of_anthropic_comes_back_in_its_own_words(native, scene):
    native.upstream.script("model", [scene])
    exchange = load_exchange(
        {"fault-context": "error_400_context"}.get(scene, scene.replace("fault-", "error_")),
        "anthropic_messages",
    )
    with pytest.raises(anthropic.APIStatusError) as refused:
        await native.anthropic_client().messages.create(model="test/model", messages=HI, **MAX)
    assert refused.value.status_code == exchange.status
    assert error_of(refused) == exchange.body["error"]
