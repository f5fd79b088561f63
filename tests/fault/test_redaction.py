"""A provider that quotes its key and the prompt, in every field and spelling: neither reaches anybody, on any sink."""

import asyncio
import base64
import json
from contextlib import asynccontextmanager
from urllib.parse import quote

import aiohttp
import pytest

from gatewayz.core.conversation import Message, Text
from gatewayz.core.redaction import MIN_CONTENT_PIECE, Redactor, cut_content, texts_of
from gatewayz.core.requests import ChatRequest
from gatewayz.settings import load_settings
from gatewayz.settings_reference import render_settings
from tests.support.running_gateway import model_with_offers, run_gateway

KEY = "Zq7/vault+of-Provider=9xKw2LmT4r"
TEAM = "team-header-value-8841"
PROMPT = "My mother's maiden name is Wolkenstein-Trostburg, tell nobody"
PIECES = ("Wolkenstein", "maiden name is", "vault+of", "of-Provider", "team-header-value")
SPELLINGS = {
    "plain": KEY,
    "in a sentence": f"bad key ({KEY})!",
    "half": KEY[:16] + "...",
    "escaped": quote(KEY, safe=""),
    "base64": base64.b64encode(f"Bearer {KEY}".encode()).decode(),
    "base64url": base64.urlsafe_b64encode(KEY.encode()).decode(),
    "hex": KEY.encode().hex(),
    "a header": TEAM,
}
SHAPES = {
    "openai": lambda text: {"error": {"message": text, "type": text, "code": text, "param": text}},
    "fastapi": lambda text: {
        "detail": [{"loc": ["body", text], "msg": text, "type": text, "input": text}]
    },
    "fastapi in an error": lambda text: {"error": {"message": {"detail": [{"input": text}]}}},
    "anthropic": lambda text: {"type": "error", "error": {"type": text, "message": text}},
    "flat": lambda text: {"message": text, "code": text},
    "text": lambda text: {"error": text},
    "nobody's": lambda text: {"oh": {"no": [text]}},
}
STATUSES = (400, 413, 422, 429, 500)


def is_clean(text, *more):
    """None of what was quoted is in a text, nor in what it spells."""
    canaries = (*PIECES, *SPELLINGS.values(), KEY[:16], KEY.encode().hex()[:24], *more)
    return not [canary for canary in canaries if canary in text]


class Quoter:
    """A provider that answers each request with what it was told to say, status and body."""

    def __init__(self):
        self.status, self.body, self.headers = 500, b"{}", ""

    async def serve(self, reader, writer):
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
            await reader.readexactly(length)
            lines = f"HTTP/1.1 {self.status} No\r\nContent-Type: application/json\r\n{self.headers}"
            tail = f"Connection: close\r\nContent-Length: {len(self.body)}\r\n\r\n"
            writer.write((lines + tail).encode() + self.body)
            await writer.drain()
        finally:
            writer.close()


@asynccontextmanager
async def run_quoter(tmp_path, dialect="openai_chat"):
    quoter = Quoter()
    server = await asyncio.start_server(quoter.serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    row = {"dialect": dialect, "base_url": url, "key": KEY, "headers": {"X-Team": TEAM}}
    async with run_gateway(
        tmp_path,
        more={"quoter": row},
        models=[model_with_offers(("quoter", "echo"))],
        database={"url": ""},
        routing={"breaker": {"failures": 1_000_000}},
    ) as gateway:
        yield gateway, quoter
    server.close()


async def ask(gateway, path="/v1/chat/completions", **more):
    body = {"model": "test/model", "messages": [{"role": "user", "content": PROMPT}], **more}
    headers = {"Authorization": f"Bearer {gateway.key}"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{gateway.url}{path}", json=body, headers=headers) as response,
    ):
        return response.status, f"{dict(response.headers)} {await response.text()}"


async def read(gateway, path):
    headers = {"Authorization": f"Bearer {gateway.key}"}
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{gateway.url}{path}", headers=headers) as response,
    ):
        return await response.text()


def stored_bytes(tmp_path):
    """All that the installation has written, the database and its log of changes included."""
    paths = [path for path in tmp_path.rglob("*") if path.is_file()]
    return b"\n".join(path.read_bytes() for path in paths).decode("latin-1")


@pytest.mark.parametrize("dialect", ["openai_chat", "anthropic_messages"])
async def test_what_a_provider_quotes_reaches_no_sink(tmp_path, dialect):
    async with run_quoter(tmp_path, dialect) as (gateway, quoter):
        wrong = []
        for number, (name, spelling) in enumerate(SPELLINGS.items()):
            for shape, build in SHAPES.items():
                quoter.status = STATUSES[(number + len(shape)) % len(STATUSES)]
                text = f"no: {spelling} said '{PROMPT}' {spelling}"
                quoter.body = json.dumps(build(text)).encode()
                quoter.headers = f"X-Request-Id: {KEY}\r\n" if number % 2 else f"Cf-Ray: {TEAM}\r\n"
                path = "/v1/messages" if number % 3 == 0 else "/v1/chat/completions"
                status, answer = await ask(gateway, path, max_tokens=9)
                assert status >= 400
                if not is_clean(answer):
                    wrong.append((name, shape, quoter.status, answer))
        assert wrong == []
        # The last one: after it nobody is asked with this key.
        quoter.status = 401
        assert is_clean((await ask(gateway))[1])
        await gateway.built.gateway.finish()
        calls = json.loads(await read(gateway, "/v1/calls?limit=100"))["data"]
        story = await read(gateway, f"/v1/calls/{calls[0]['id']}")
        for sink in (json.dumps(calls), story, await read(gateway, "/metrics")):
            assert is_clean(sink)
    stored = stored_bytes(tmp_path)
    assert "upstream_" in stored
    assert is_clean(stored)


async def test_what_a_provider_quotes_in_a_stream_reaches_no_sink(tmp_path):
    async with run_quoter(tmp_path) as (gateway, quoter):
        chunk = {"choices": [{"index": 0, "delta": {"content": "Hi"}}], "model": "m"}
        for spelling in SPELLINGS.values():
            error = {
                "error": {"message": f"{spelling}: {PROMPT}", "code": spelling, "type": PROMPT}
            }
            events = b"".join(b"data: %b\n\n" % json.dumps(one).encode() for one in (chunk, error))
            quoter.status, quoter.body = 200, events
            quoter.headers = "Content-Type: text/event-stream\r\n"
            for streamed in (True, False):
                _, answer = await ask(gateway, stream=streamed)
                assert is_clean(answer), answer
        await gateway.built.gateway.finish()
    assert is_clean(stored_bytes(tmp_path))


def test_the_settings_that_are_printed_hold_no_header_of_a_provider(tmp_path):
    row = {"dialect": "openai_chat", "base_url": "http://x", "headers": {"X-Any": TEAM, "y": KEY}}
    loaded = load_settings("", {"data_dir": str(tmp_path), "providers": {"own": row}})
    text = render_settings(loaded.settings)
    assert is_clean(text)
    assert "X-Any: '***'" in text


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_secret_is_masked_in_every_spelling(spelling):
    words = Redactor([KEY, TEAM]).redact_words(f"Incorrect key {SPELLINGS[spelling]} given")
    assert is_clean(words)
    assert words.startswith("Incorrect")


@pytest.mark.parametrize(
    "words",
    [
        "The parameter 'max_completion_tokens' must be below 4096.",
        "prompt is too long: 213462 tokens > 200000 maximum",
        "This model's maximum context length is 128000 tokens.",
        "Invalid schema for function 'get_weather': additionalProperties is required",
    ],
)
def test_words_that_clients_act_on_stay_as_they_are(words):
    request = ChatRequest(
        dialect="openai_chat", model="m", messages=(Message("user", (Text(PROMPT),)),)
    )
    assert Redactor([KEY]).redact_words(words, request) == words
    about_it = (Text("it says: prompt is too long: 213462 tokens > 200000 maximum, why?"),)
    request = ChatRequest(dialect="openai_chat", model="m", messages=(Message("user", about_it),))
    assert Redactor([KEY]).redact_words(words, request) == words


@pytest.mark.parametrize(
    "shown", [PROMPT, PROMPT[:30], PROMPT[20:], json.dumps(PROMPT + "\n\u00e9")]
)
def test_a_piece_of_the_request_is_cut_out_wherever_it_begins(shown):
    words = cut_content(f"cannot use {shown!r} here", (PROMPT + "\n\u00e9 and more of it",))
    assert is_clean(words, PROMPT[22 : 22 + MIN_CONTENT_PIECE])


def test_a_text_about_a_request_that_is_too_large_to_compare_keeps_only_its_phrases():
    words = "prompt is too long: 9 tokens > 8 maximum near Wolkenstein"
    assert cut_content(words, ("x" * 3_000_000,)) == "prompt is too long: 9 tokens > 8 maximum"


def test_texts_that_have_much_in_common_are_cut_without_much_work():
    assert cut_content("a" * 600, ("a" * 1_000_000,)) == "…"


def test_names_of_things_are_no_content():
    request = ChatRequest(
        dialect="openai_chat", model="a/long-name-of-a-model", messages=(Message("user", ()),)
    )
    assert list(texts_of(request)) == []
