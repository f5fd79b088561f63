"""What the client would miss is translated or refused by name before anybody is asked, and never dropped with a 200."""

import json

import anthropic
import openai
import pytest

from tests.support.scripted_upstream import answer_json, run_scripted_gateway

HI = [{"role": "user", "content": "Hello"}]
NOT_ANTHROPIC = ["openai_chat", "gemini"]
SCHEMA = {
    "type": "object",
    "properties": {"a": {"type": "string"}},
    "required": ["a"],
    "additionalProperties": False,
}
STATEFUL = {
    "thread": {"type": "create"},
    "container": "container_011",
    "mcp_servers": [{"type": "url", "url": "https://mcp.example/", "name": "m"}],
    "context_management": {"edits": [{"type": "compact_20260112"}]},
    "compaction": {"type": "enabled"},
    "inference_geo": "us",
}
CHAT_STATEFUL = {
    "previous_response_id": "resp_1",
    "conversation": "conv_1",
    "container": {"id": "c"},
    "prompt": {"id": "pmpt_1"},
    "functions": [{"name": "f"}],
    "modalities": ["text", "audio"],
    "web_search_options": {},
    "search_parameters": {"mode": "auto"},
    "plugins": [{"id": "file-parser"}, {"id": "web"}],
    "enable_search": True,
    "response_format": {"type": "grammar", "grammar": "root ::= x"},
    "structured_outputs": {"regex": "[0-9]+"},
    "guided_json": {"type": "object"},
    "guided_choice": ["yes", "no"],
    "grammar": "root ::= x",
}
CHAT_PARTS = [
    {"type": "file", "file": {"file_id": "file-abc"}},
    {"type": "file", "file": {"file_data": "data:application/msword;base64,0M8R", "filename": "a.doc"}},
    {"type": "image_url", "image_url": {"url": "data:image/heic;base64,AAAAJGZ0eXBoZWljAAAA"}},
    {"type": "image_url", "image_url": {"url": "data:image/svg+xml;base64,PHN2Zz48L3N2Zz4="}},
    {"type": "image_url", "image_url": {"url": "data:application/octet-stream;base64,SUkqAAAAAAAA"}},
]  # fmt: skip


async def messages(scripted, **fields):
    return await scripted.gateway.anthropic_client().messages.create(
        model="test/model", messages=HI, max_tokens=100, extra_body=fields
    )


async def chat(scripted, turns=HI, **fields):
    return await scripted.gateway.client().chat.completions.create(
        model="test/model", messages=turns, extra_body=fields
    )


@pytest.mark.parametrize("dialect", NOT_ANTHROPIC)
@pytest.mark.parametrize("field", STATEFUL)
async def test_a_field_that_decides_what_comes_next_is_refused_by_name(tmp_path, dialect, field):
    async with run_scripted_gateway(tmp_path, dialect) as scripted:
        with pytest.raises(
            anthropic.BadRequestError, match=f"'{field}' cannot be served"
        ) as caught:
            await messages(scripted, **{field: STATEFUL[field]})
        assert caught.value.body["error"]["type"] == "invalid_request_error"
        assert scripted.upstream.requests == []


@pytest.mark.parametrize("field", CHAT_STATEFUL)
async def test_so_it_is_from_chat_to_another_dialect(tmp_path, field):
    async with run_scripted_gateway(tmp_path, "anthropic_messages") as scripted:
        with pytest.raises(openai.BadRequestError, match=f"'{field}' cannot be served") as caught:
            await chat(scripted, **{field: CHAT_STATEFUL[field]})
        assert caught.value.param == field
        assert scripted.upstream.requests == []


@pytest.mark.parametrize("thread", [{"type": "create"}, {"type": "continue", "previous_message_id": "msg_1"}])  # fmt: skip
@pytest.mark.parametrize("dialect", NOT_ANTHROPIC)
async def test_a_thread_is_refused_so_that_the_sdk_goes_on_without_one(tmp_path, dialect, thread):
    async with run_scripted_gateway(tmp_path, dialect) as scripted:
        with pytest.raises(anthropic.BadRequestError) as caught:
            await messages(scripted, thread=thread)
        error = caught.value.body["error"]
        assert error["details"] == {
            "error_code": "thread_unsupported_request",
            "unsupported": ["thread"],
        }


@pytest.mark.parametrize(
    "fields",
    [{"search_parameters": {"mode": "off"}}, {"plugins": []}, {"plugins": [{"id": "web", "enabled": False}]}, {"enable_search": False}],
)  # fmt: skip
async def test_what_is_asked_not_to_be_done_needs_nobody_who_can(tmp_path, fields):
    async with run_scripted_gateway(tmp_path, "anthropic_messages") as scripted:
        await chat(scripted, **fields)
        assert not scripted.sent.keys() & fields.keys()


async def test_between_equals_fields_pass_and_an_error_keeps_its_details(tmp_path):
    details = {"error_code": "thread_unsupported_request", "unsupported": ["cache_control"]}
    error = {"type": "invalid_request_error", "message": "no threads", "details": details}
    async with run_scripted_gateway(tmp_path, "anthropic_messages") as scripted:
        for field, value in STATEFUL.items():
            await messages(scripted, **{field: value})
            assert scripted.sent[field] == value
        scripted.upstream.script = lambda _: answer_json({"type": "error", "error": error}, 400)
        with pytest.raises(anthropic.BadRequestError) as caught:
            await messages(scripted, thread={"type": "create"})
        assert caught.value.body["error"] == error


async def test_details_that_hold_more_than_names_are_not_passed_on(tmp_path):
    error = {
        "type": "invalid_request_error",
        "message": "no",
        "details": {"key": "sk-scripted-canary"},
    }
    async with run_scripted_gateway(tmp_path, "anthropic_messages") as scripted:
        scripted.upstream.script = lambda _: answer_json({"type": "error", "error": error}, 400)
        with pytest.raises(anthropic.BadRequestError) as caught:
            await messages(scripted)
        assert "details" not in caught.value.body["error"]


@pytest.mark.parametrize("dialect", NOT_ANTHROPIC)
async def test_what_only_clears_old_results_is_left_out_and_named(tmp_path, dialect):
    clearing = {
        "edits": [{"type": "clear_tool_uses_20250919"}, {"type": "clear_thinking_20251015"}]
    }
    async with run_scripted_gateway(tmp_path, dialect) as scripted:
        answer = await scripted.gateway.anthropic_client().messages.with_raw_response.create(
            model="test/model", messages=HI, max_tokens=9,
            extra_body={"context_management": clearing},
        )  # fmt: skip
        assert answer.headers["x-gatewayz-dropped"] == "context_management"


@pytest.mark.parametrize("part", CHAT_PARTS, ids=lambda part: json.dumps(part)[:60])
async def test_content_that_claude_cannot_read_is_refused_by_its_position(tmp_path, part):
    turns = [{"role": "user", "content": [{"type": "text", "text": "Look"}, part]}]
    async with run_scripted_gateway(tmp_path, "anthropic_messages") as scripted:
        with pytest.raises(openai.BadRequestError, match=r"'messages\[0\]' cannot be served"):
            await chat(scripted, turns)
        assert scripted.upstream.requests == []


async def test_a_file_of_another_provider_is_refused_at_gemini_and_an_address_is_not(tmp_path):
    part = {"type": "file", "file": {"file_id": "file-abc"}}
    web = {"type": "file", "file": {"file_id": "gs://bucket/a.pdf"}}
    async with run_scripted_gateway(tmp_path, "gemini") as scripted:
        with pytest.raises(openai.BadRequestError, match="file-abc"):
            await chat(scripted, [{"role": "user", "content": [part]}])
        await chat(scripted, [{"role": "user", "content": [web]}])
        [part] = scripted.sent["contents"][0]["parts"]
        assert part["fileData"]["fileUri"] == "gs://bucket/a.pdf"


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("data:image/jpg;base64,/9j/4AAQSkZJRg==", "image/jpeg"),
        ("data:image/pjpeg;base64,/9j/4AAQSkZJRg==", "image/jpeg"),
        ("data:image/png;base64,/9j/4AAQSkZJRg==", "image/jpeg"),
        ("data:application/octet-stream;base64,iVBORw0KGgoAAAANSUhEUg==", "image/png"),
        ("data:image/x-png;base64,iVBORw0KGgoAAAANSUhEUg==", "image/png"),
        ("data:;base64,R0lGODlhAQABAAAAACw=", "image/gif"),
        ("data:IMAGE/WEBP;base64,UklGRiQAAABXRUJQVlA4", "image/webp"),
    ],
)
@pytest.mark.parametrize("dialect", ["anthropic_messages", "gemini"])
async def test_an_image_is_what_its_bytes_say(tmp_path, url, kind, dialect):
    turns = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]
    async with run_scripted_gateway(tmp_path, dialect) as scripted:
        if dialect == "gemini" and kind == "image/gif":
            with pytest.raises(openai.BadRequestError, match="image/gif"):
                await chat(scripted, turns)
            return
        await chat(scripted, turns)
        assert kind in json.dumps(scripted.sent)
        assert json.dumps(scripted.sent).count("image/") == 1


@pytest.mark.parametrize("dialect", NOT_ANTHROPIC)
@pytest.mark.parametrize("config", [{}, {"output_config": {"effort": "low"}}])
async def test_structured_output_under_its_older_name_is_translated(tmp_path, dialect, config):
    fields = {"output_format": {"type": "json_schema", "schema": SCHEMA}, **config}
    async with run_scripted_gateway(tmp_path, dialect) as scripted:
        await messages(scripted, **fields)
        sent = json.dumps(scripted.sent)
        assert '"a"' in sent and ("response_format" in sent or "responseJsonSchema" in sent)


async def test_between_equals_the_older_name_stays(tmp_path):
    fields = {"output_format": {"type": "json_schema", "schema": SCHEMA}}
    async with run_scripted_gateway(tmp_path, "anthropic_messages") as scripted:
        await messages(scripted, **fields)
        assert scripted.sent["output_format"] == fields["output_format"]
        assert "output_config" not in scripted.sent


BILLING = "x-anthropic-billing-header: cc_version=2.1.177.01c; cc_entrypoint=cli; cch=36ee5;"


@pytest.mark.parametrize(
    "system",
    [
        [{"type": "text", "text": BILLING}, {"type": "text", "text": "You are Claude Code"}],
        [{"type": "text", "text": f"{BILLING}\nYou are Claude Code"}],
        f"{BILLING}\n\nYou are Claude Code",
    ],
)
async def test_what_is_meant_for_anthropic_alone_is_no_prompt_of_others(tmp_path, system):
    turns = [{"role": "user", "content": BILLING}]
    for dialect in ("openai_chat", "gemini", "anthropic_messages"):
        async with run_scripted_gateway(tmp_path, dialect) as scripted:
            client = scripted.gateway.anthropic_client().messages.with_raw_response
            response = await client.create(
                model="test/model", max_tokens=9, system=system, messages=turns
            )
            sent = json.dumps(scripted.sent)
            assert "You are Claude Code" in sent
            # What the user says stays; to Anthropic all of it goes on.
            assert sent.count("cch=36ee5") == (2 if dialect == "anthropic_messages" else 1)
            named = response.headers.get("x-gatewayz-dropped", "")
            assert ("x-anthropic-billing-header" in named) == (dialect != "anthropic_messages")
