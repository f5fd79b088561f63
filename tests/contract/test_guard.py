"""Raw HTTP/1.1: what a gateway must not let through. Each stream of bytes gets a 4xx or a closed connection."""

import asyncio
import json
from typing import Any

import pytest

from gatewayz.core.access import ACCESS_SCOPES, HOUSE
from gatewayz.web.guard import GuardRules, protocol_with_rules
from tests.support.money import issue_key
from tests.support.running_gateway import run_gateway

BODY = json.dumps({"model": "first/echo", "messages": [{"role": "user", "content": "hi"}]}).encode()
HOST = b"Host: 127.0.0.1\r\n"


def post(*headers, body=BODY, line=b"POST /v1/chat/completions HTTP/1.1", host=HOST, length=True):
    length_header = b"Content-Length: %d\r\n" % len(body) if length else b""
    return (
        line
        + b"\r\n"
        + host
        + b"".join(header + b"\r\n" for header in headers)
        + length_header
        + b"\r\n"
        + body
    )


def get(path, *headers, method=b"GET", host=HOST, version=b"HTTP/1.1"):
    return (
        method
        + b" "
        + path
        + b" "
        + version
        + b"\r\n"
        + host
        + b"".join(header + b"\r\n" for header in headers)
        + b"\r\n"
    )


REFUSED = {
    "no host": get(b"/health/live", host=b""),
    "two hosts": get(b"/health/live", b"Host: 127.0.0.1"),
    "empty host": get(b"/health/live", host=b"Host: \r\n"),
    "a host that we are not": get(b"/health/live", host=b"Host: evil.example\r\n"),
    "a host with our name in front": get(b"/health/live", host=b"Host: localhost.evil.example\r\n"),
    "length and chunked": post(b"Transfer-Encoding: chunked"),
    "two lengths": post(b"Content-Length: 5"),
    "two equal lengths": post(b"Content-Length: %d" % len(BODY)),
    "negative length": post(b"Content-Length: -5", length=False),
    "length with plus": post(b"Content-Length: +5", length=False),
    "length in hex": post(b"Content-Length: 0x10", length=False),
    "length list": post(b"Content-Length: 5, 5", length=False),
    "huge length": post(b"Content-Length: 99999999999999999999999", length=False),
    "length above the limit": post(
        b"Authorization: Bearer KEY", b"Content-Length: 1000000000", length=False
    ),
    "chunked twice": post(
        b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", length=False
    ),
    "gzip, chunked": post(b"Transfer-Encoding: gzip, chunked", length=False),
    "chunked, identity": post(b"Transfer-Encoding: chunked, identity", length=False),
    "xchunked": post(b"Transfer-Encoding: xchunked", length=False),
    "tab chunked": post(b"Transfer-Encoding:\tchunked", b"Content-Length: 3", length=False),
    "negative chunk": post(b"Transfer-Encoding: chunked", body=b"-1\r\n\r\n", length=False),
    "huge chunk": post(b"Transfer-Encoding: chunked", body=b"fffffffffffffffff\r\n", length=False),
    "chunk that is no hex": post(
        b"Transfer-Encoding: chunked", body=b"zz\r\nab\r\n0\r\n\r\n", length=False
    ),
    "space before colon": get(b"/health/live", b"X-A : b"),
    "header without colon": get(b"/health/live", b"nonsense"),
    "header name with space": get(b"/health/live", b"X A: b"),
    "nul in a header": get(b"/health/live", b"X-A: b\x00c"),
    "nul in the path": get(b"/health/\x00live"),
    "obs-fold": get(b"/health/live", b"X-A: b\r\n c"),
    "bare cr": b"GET /health/live HTTP/1.1\rHost: 127.0.0.1\r\r",
    "http/0.9": b"GET /health/live\r\n\r\n",
    "http/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "http/3.0": get(b"/health/live", version=b"HTTP/3.0"),
    "no version": b"GET /health/live \r\n\r\n",
    "lower-case method": get(b"/health/live", method=b"get"),
    "no method": b" /health/live HTTP/1.1\r\n\r\n",
    "connect": b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n",
    "upgrade": get(
        b"/health/live", b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Key: x"
    ),
    "h2c": get(
        b"/health/live",
        b"Connection: Upgrade, HTTP2-Settings",
        b"Upgrade: h2c",
        b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA",
    ),
    "10,000 headers": get(b"/health/live", *[b"X-%d: a" % number for number in range(10_000)]),
    "101 headers": get(b"/health/live", *[b"X-%d: a" % number for number in range(101)]),
    "a long header": get(b"/health/live", b"X-A: " + b"a" * 9_000),
    "a large head": get(
        b"/health/live", *[b"X-%d: " % number + b"a" * 4_000 for number in range(20)]
    ),
    "an endless header": get(b"/health/live", b"X-A: " + b"a" * 200_000)[:-4],
    "a long path": get(b"/" + b"a" * 70_000),
    "garbage": bytes(range(256)),
    "tls hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64,
    "an absolute path that is no route": get(b"http://evil.example/v1/models"),
    "a key in the query": get(b"/v1/models?key=gw_live_x"),
    "an api_key in the query": get(b"/v1/models?a=b&api_key=gw_live_x"),
    "an access_token in the query": post(line=b"POST /v1/chat/completions?access_token=x HTTP/1.1"),
    "bad json": post(b"Authorization: Bearer KEY", body=b"{"),
    "json of depth 100,000": post(b"Authorization: Bearer KEY", body=b"[" * 100_000),
    "json of depth 65": post(
        b"Authorization: Bearer KEY",
        body=b'{"model":"m","messages":' + b"[" * 65 + b"]" * 65 + b"}",
    ),
    "a lone surrogate": post(
        b"Authorization: Bearer KEY", body=b'{"model": "\\ud800", "messages": []}'
    ),
    "a number of a million digits": post(
        b"Authorization: Bearer KEY",
        body=b'{"model": "m", "messages": [], "n": ' + b"9" * 1_000_000 + b"}",
    ),
    "nan": post(
        b"Authorization: Bearer KEY", body=b'{"model": "m", "messages": [], "temperature": NaN}'
    ),
    "a million keys": post(
        b"Authorization: Bearer KEY",
        body=b"{" + b",".join(b'"k%d":1' % number for number in range(200_000)) + b"}",
    ),
    "100,000 messages": post(
        b"Authorization: Bearer KEY",
        body=b'{"model":"m","messages":['
        + b",".join([b'{"role":"user","content":"x"}'] * 50_000)
        + b"]}",
    ),
    "no key": post(),
    "two keys": post(b"Authorization: Bearer a", b"x-api-key: b"),
    "a basic login": post(b"Authorization: Basic YTpi"),
    "invalid utf-8 in the key": post(b"Authorization: Bearer \xff\xfe"),
    **{
        f"path {path.decode('latin-1')}": post(
            b"Authorization: Bearer KEY", line=b"POST " + path + b" HTTP/1.1"
        )
        for path in (
            b"/V1/chat/completions",
            b"/v1//chat/completions",
            b"//v1/chat/completions",
            b"/v1/./chat/completions",
            b"/v1/x/../chat/completions",
            b"/v1/chat%2fcompletions",
            b"/v1/chat/completions/",
            b"/v1/chat/completions;x",
            b"/v1/chat/completions%00",
            b"/v1/chat/completions.",
            b"/v1%2fchat/completions",
            b"/%76%31/chat/completions",
            b"/v1/chat/completions%20",
            b"/admin",
            b"/admin%2fx",
            b"/.env",
            b"/",
        )
    },
    **{
        f"method {method.decode()}": get(b"/v1/chat/completions", method=method)
        for method in (b"GET", b"PUT", b"DELETE", b"PATCH", b"OPTIONS", b"HEAD", b"TRACE")
    },
    **{
        f"page without a key {path.decode()}": get(path)
        for path in (b"/v1/models", b"/v1/models/x", b"/metrics", b"/health/providers")
    },
    "a chunk extension bomb": post(
        b"Transfer-Encoding: chunked", body=b"5;" + b"a" * 90_000 + b"\r\nhello\r\n", length=False
    ),
    "a body of nothing": post(b"Authorization: Bearer KEY", body=b""),
    "a body that is a number": post(b"Authorization: Bearer KEY", body=b"5"),
    "a body that is null": post(b"Authorization: Bearer KEY", body=b"null"),
    "invalid utf-8 in the body": post(
        b"Authorization: Bearer KEY", body=b'{"model": "\xff", "messages": []}'
    ),
    "a body of zeros": post(b"Authorization: Bearer KEY", body=b"\x00" * 1_000),
    "a method override": get(b"/v1/chat/completions", b"X-HTTP-Method-Override: POST"),
    "post to a page": post(b"Authorization: Bearer KEY", line=b"POST /v1/models HTTP/1.1"),
    "dots in the tail": get(b"/v1/models/../metrics"),
    "slashes in the tail": get(b"/v1/models//x", b"Authorization: Bearer KEY"),
    "a model that is not there": get(b"/v1/models/%2e%2e%2fmetrics", b"Authorization: Bearer KEY"),
    "a bad timeout": post(b"Authorization: Bearer KEY", b"X-Request-Timeout-Ms: -5"),
    "an absurd timeout": post(b"Authorization: Bearer KEY", b"X-Request-Timeout-Ms: 99999999999"),
}


def set_rules(gateway, **rules):
    """Other bounds for the connections that are opened from now on."""
    protocol: Any = gateway.built.server.config.http_protocol_class
    protocol.rules = GuardRules(**rules)


async def answer_to(gateway, data, wait_s=60.0):
    reader, writer = await asyncio.open_connection("127.0.0.1", int(gateway.url.rpartition(":")[2]))
    try:
        writer.write(data.replace(b"Bearer KEY", b"Bearer " + gateway.key.encode()))
        await writer.drain()
        head = b""
        async with asyncio.timeout(wait_s):
            while b"\r\n\r\n" not in head:
                piece = await reader.read(65_536)
                if not piece:
                    return head
                head += piece
            await asyncio.sleep(0.02)
            buffer: Any = vars(reader)["_buffer"]
            while not reader.at_eof() and buffer:
                head += await reader.read(65_536)
        return head
    except (ConnectionError, BrokenPipeError):
        return b""
    finally:
        writer.transport.abort()


async def test_each_stream_of_bytes_is_refused_and_the_server_lives(tmp_path):
    assert len(REFUSED) >= 100
    async with run_gateway(tmp_path) as gateway:
        set_rules(
            gateway,
            header_s=0.4,
            body_idle_s=0.4,
            hosts=frozenset({"127.0.0.1", "localhost", "[::1]"}),
        )
        wrong = {}
        for name, data in REFUSED.items():
            answer = await answer_to(gateway, data)
            if answer and not (
                answer.startswith(b"HTTP/1.1 4") and answer.count(b"HTTP/1.1 ") == 1
            ):
                wrong[name] = answer[:80]
        assert wrong == {}
        assert not gateway.upstream.requests
        good = await answer_to(gateway, post(b"Authorization: Bearer KEY"))
        assert good.startswith(b"HTTP/1.1 200")


GOOD = {
    "chunked": post(
        b"Authorization: Bearer KEY",
        b"Transfer-Encoding: chunked",
        body=b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY),
        length=False,
    ),
    "chunked with trailers": post(
        b"Authorization: Bearer KEY",
        b"Transfer-Encoding: chunked",
        body=b"%x\r\n%b\r\n0\r\nX-T: 1\r\n\r\n" % (len(BODY), BODY),
        length=False,
    ),
    "another key beside ours": post(b"Authorization: Bearer KEY", b"x-api-key: sk-something"),
    "host with a port": post(b"Authorization: Bearer KEY", host=b"Host: localhost:9999\r\n"),
    "http/1.0": post(b"Authorization: Bearer KEY", line=b"POST /v1/chat/completions HTTP/1.0"),
}


@pytest.mark.parametrize("name", GOOD)
async def test_what_is_right_is_served(tmp_path, name):
    async with run_gateway(tmp_path) as gateway:
        answer = await answer_to(gateway, GOOD[name])
        assert answer.startswith(b"HTTP/1.1 200")
        assert b'"content":"hi"' in answer or b'"content": "hi"' in answer


@pytest.mark.parametrize("header", ["x-api-key", "api-key"])
async def test_all_three_headers_carry_a_key(tmp_path, header):
    async with run_gateway(tmp_path) as gateway:
        answer = await answer_to(gateway, post(header.encode() + b": " + gateway.key.encode()))
        assert answer.startswith(b"HTTP/1.1 200")


async def test_100_continue_is_answered(tmp_path):
    async with run_gateway(tmp_path) as gateway:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", int(gateway.url.rpartition(":")[2])
        )
        head = post(
            b"Authorization: Bearer " + gateway.key.encode(), b"Expect: 100-continue", body=b""
        )
        writer.write(head.replace(b"Content-Length: 0", b"Content-Length: %d" % len(BODY)))
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100")
        writer.write(BODY)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        writer.transport.abort()


async def test_pipelined_requests_are_answered_in_order(tmp_path):
    async with run_gateway(tmp_path) as gateway:
        request = post(b"Authorization: Bearer " + gateway.key.encode())
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", int(gateway.url.rpartition(":")[2])
        )
        writer.write(request + request.replace(b'"hi"', b'"ho"'))
        answers = b""
        async with asyncio.timeout(60):
            while answers.count(b"HTTP/1.1 200") < 2 or b'"ho"' not in answers:
                answers += await reader.read(65_536)
        assert answers.index(b'"hi"') < answers.index(b'"ho"')
        writer.transport.abort()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"POST /v1/chat",
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nX-A:",
        post(b"Authorization: Bearer KEY")[:-5],
    ],
)
async def test_two_hundred_slow_senders_are_closed_in_time_and_others_do_not_notice(tmp_path, data):
    async with run_gateway(tmp_path) as gateway:
        set_rules(gateway, header_s=0.3, body_idle_s=0.3)
        port = int(gateway.url.rpartition(":")[2])
        slow = [await asyncio.open_connection("127.0.0.1", port) for _ in range(200)]
        for _, writer in slow:
            writer.write(data.replace(b"Bearer KEY", b"Bearer " + gateway.key.encode()))
        assert (await answer_to(gateway, post(b"Authorization: Bearer KEY"))).startswith(
            b"HTTP/1.1 200"
        )
        async with asyncio.timeout(60):
            for reader, writer in slow:
                answer = await reader.read()
                assert answer == b"" or answer.startswith(b"HTTP/1.1 408")
                writer.transport.abort()
        await gateway.wait_until_idle()


async def test_an_unread_body_does_not_spoil_the_next_request(tmp_path):
    async with run_gateway(tmp_path) as gateway:
        refused = post(body=b"x" * 300_000)
        good = post(b"Authorization: Bearer " + gateway.key.encode())
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", int(gateway.url.rpartition(":")[2])
        )
        writer.write(refused + good)
        answers = b""
        async with asyncio.timeout(60):
            while b"200 OK" not in answers:
                piece = await reader.read(65_536)
                if not piece:
                    break
                answers += piece
        assert answers.startswith(b"HTTP/1.1 401")
        writer.transport.abort()


async def test_a_refused_request_whose_body_never_ends_gets_one_answer(tmp_path):
    async with run_gateway(tmp_path) as gateway:
        set_rules(gateway, header_s=0.3, body_idle_s=0.3)
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", int(gateway.url.rpartition(":")[2])
        )
        writer.write(post(body=b"x" * 1_000)[:-500])
        async with asyncio.timeout(60):
            answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 401")
        assert answer.count(b"HTTP/1.1 ") == 1
        writer.transport.abort()


async def test_every_route_says_who_may_call_it(tmp_path):
    async with run_gateway(tmp_path) as gateway:
        for route in gateway.built.app.routes:
            assert route.access in {"anonymous", *ACCESS_SCOPES}
            if route.access == "anonymous":
                assert route.path.startswith("/health/") or route.path in {
                    "/",
                    "/openapi.json",
                    "/docs",
                    "/docs/start.js",
                    "/docs/swagger-ui.css",
                    "/docs/swagger-ui-bundle.js",
                }
        paths = {route.path for route in gateway.built.app.routes}
        assert {
            "/v1/chat/completions",
            "/v1/models",
            "/v1/models/",
            "/health/live",
            "/health/ready",
            "/metrics",
            "/health/providers",
        } <= paths


async def test_pages_for_operators_and_scrapers(tmp_path):
    async with run_gateway(tmp_path) as gateway:
        for path in (
            b"/metrics",
            b"/health/providers",
            b"/health/live",
            b"/health/ready",
            b"/v1/models",
        ):
            assert (await answer_to(gateway, get(path, b"Authorization: Bearer KEY"))).startswith(
                b"HTTP/1.1 200"
            )
        head = await answer_to(gateway, get(b"/health/live", method=b"HEAD"))
        assert head.startswith(b"HTTP/1.1 200")
        assert head.endswith(b"\r\n\r\n")


async def test_scopes_are_held(tmp_path):
    async with run_gateway(tmp_path, database={"url": ""}) as gateway:
        assert gateway.built.store is not None
        database = gateway.built.store.database
        bearer = (
            b"Authorization: Bearer "
            + (await issue_key(database, HOUSE, tmp_path / "data", scopes=("metrics",))).encode()
        )
        assert (await answer_to(gateway, get(b"/metrics", bearer))).startswith(b"HTTP/1.1 200")
        assert (await answer_to(gateway, get(b"/health/providers", bearer))).startswith(
            b"HTTP/1.1 403"
        )
        assert (await answer_to(gateway, post(bearer))).startswith(b"HTTP/1.1 403")


@pytest.mark.parametrize(
    ("origins", "origin", "allowed"),
    [
        ([], b"https://a.example", False),
        (["https://a.example"], b"https://a.example", True),
        (["https://a.example"], b"https://b.example", False),
        (["*"], b"https://b.example", True),
    ],
)
async def test_cors_is_only_for_configured_origins(tmp_path, origins, origin, allowed):
    async with run_gateway(tmp_path, web={"cors_origins": origins}) as gateway:
        answer = await answer_to(gateway, post(b"Authorization: Bearer KEY", b"Origin: " + origin))
        assert (b"access-control-allow-origin: " + origin in answer) == allowed
        assert b"access-control-allow-credentials" not in answer
        preflight = await answer_to(
            gateway,
            get(
                b"/v1/chat/completions",
                b"Origin: " + origin,
                b"Access-Control-Request-Method: POST",
                method=b"OPTIONS",
            ),
        )
        assert preflight.startswith(b"HTTP/1.1 204") == allowed


def test_the_rules_are_the_protocols():
    assert protocol_with_rules(GuardRules(header_count=7)).rules.header_count == 7
