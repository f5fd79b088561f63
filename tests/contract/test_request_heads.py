"""What stands in a request's head, and nowhere else, says who calls: one value of each header, one form of the request
line, no trailers."""

import asyncio
from contextlib import suppress

import pytest

from gatewayz.web.asgi import headers_from_scope
from gatewayz.web.guard import SINGLE_HEADERS, GuardRules
from tests.contract.test_guard import BODY, answer_to, get, post, set_rules
from tests.support.running_gateway import run_gateway

CHUNKED = b"Transfer-Encoding: chunked"


def chunked(*headers, trailers=b""):
    """A chat request in chunks, with these lines after its last one."""
    body = b"%x\r\n%b\r\n0\r\n%b\r\n" % (len(BODY), BODY, trailers)
    return post(*headers, CHUNKED, body=body, length=False)


@pytest.mark.parametrize("name", ["Authorization", "authorization", "x-api-key", "api-key"])
async def test_a_key_in_a_trailer_authenticates_nobody(tmp_path, name):
    async with run_gateway(tmp_path) as gateway:
        scheme = "Bearer " if name.lower() == "authorization" else ""
        trailer = f"{name}: {scheme}{gateway.key}\r\n".encode()
        assert (await answer_to(gateway, chunked(trailers=trailer))).startswith(b"HTTP/1.1 401")


@pytest.mark.parametrize(
    "trailer",
    [
        b"X-Request-Timeout-Ms: -5\r\n",
        b"Idempotency-Key: " + b"x" * 300 + b"\r\n",
        b"X-Gatewayz-User: \xff\r\n",
        b"Host: evil.example\r\n",
        b"X-Forwarded-For: 203.0.113.7\r\n",
        b"Expect: 100-continue\r\n",
    ],
)
async def test_a_trailer_is_no_header_whichever_it_names(tmp_path, trailer):
    async with run_gateway(tmp_path) as gateway:
        answer = await answer_to(gateway, chunked(b"Authorization: Bearer KEY", trailers=trailer))
        assert answer.startswith(b"HTTP/1.1 200")
        assert b"100 Continue" not in answer


async def test_trailers_that_come_after_the_handler_has_begun_change_nothing(tmp_path):
    async with run_gateway(tmp_path) as gateway:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", int(gateway.url.rpartition(":")[2])
        )
        request = chunked(trailers=b"x-api-key: %b\r\n" % gateway.key.encode())
        middle = request.index(b"\r\n\r\n") + 10
        writer.write(request[:middle])
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 401")
        writer.transport.abort()


async def test_trailers_have_a_bound(tmp_path):
    async with run_gateway(tmp_path) as gateway:
        set_rules(gateway, head_bytes=1_024)
        trailers = b"".join(b"X-%d: a\r\n" % number for number in range(1_000))
        answer = await answer_to(gateway, chunked(b"Authorization: Bearer KEY", trailers=trailers))
        assert answer.startswith(b"HTTP/1.1 431")


@pytest.mark.parametrize("name", sorted({*SINGLE_HEADERS, b"host", b"content-length"}))
@pytest.mark.parametrize("second", [b"same", b"other"])
async def test_two_lines_of_a_header_that_decides_are_refused(tmp_path, name, second):
    async with run_gateway(tmp_path) as gateway:
        first = b"1" if name == b"content-length" else b"100-continue"
        value = first if second == b"same" else b"2"
        lines = (name + b": " + first, name.title() + b": " + value)
        answer = await answer_to(gateway, post(*lines, length=name != b"content-length"))
        assert answer.startswith(b"HTTP/1.1 400")
        assert not gateway.upstream.requests


async def test_lines_of_a_header_that_is_a_list_are_one_list(tmp_path):
    async with run_gateway(tmp_path) as gateway:
        lines = (b"X-Gatewayz-Tags: one", b"X-Gatewayz-Tags: " + b"x" * 900, b"X-Gatewayz-Tags: 3")
        answer = await answer_to(gateway, post(b"Authorization: Bearer KEY", *lines))
        # The second line is too long for a tag: each is read, none replaces another.
        assert answer.startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize("name", ["accept", "anthropic-beta", "if-none-match", "x-gatewayz-tags"])
def test_a_list_is_joined_in_the_order_of_its_lines(name):
    lines = [(b"host", b"x"), (name.encode(), b"a, b"), (b"z", b"1"), (name.encode(), b"c")]
    assert headers_from_scope({"headers": lines}) == {"host": "x", name: "a, b, c", "z": "1"}


@pytest.mark.parametrize(
    "data",
    [
        get(b" /health/live"),
        get(b"   /health/live"),
        get(b"/health/live "),
        get(b"/health/live", version=b"HTTP/2.0"),
        get(b"/health/live", version=b"HTTP/0.9"),
        get(b"/health/live", version=b"HTTP/1.2"),
        get(b"/health/live", version=b"http/1.1"),
        get(b"/health/live").replace(b"\r\n", b"\n"),
    ],
)
@pytest.mark.parametrize("before", [b"", get(b"/health/live")])
@pytest.mark.parametrize("step", [1, 4_096])
async def test_a_request_line_in_another_form_is_refused(tmp_path, data, before, step):
    async with run_gateway(tmp_path) as gateway:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", int(gateway.url.rpartition(":")[2])
        )
        async with asyncio.timeout(60):
            if before and step == 1:
                writer.write(before)
                assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
            elif before:
                data = before + data
            answer = b""
            # Whoever is refused in the middle of its request may find the connection reset.
            with suppress(ConnectionError):
                for start in range(0, len(data), step):
                    writer.write(data[start : start + step])
                    await asyncio.sleep(0)
                answer = await reader.read()
        after = answer[answer.rindex(b"HTTP/1.1 ") :] if b"HTTP/1.1 " in answer else b""
        assert not after or after.startswith(b"HTTP/1.1 400") or before
        assert answer.count(b"HTTP/1.1 200") <= bool(before)
        writer.transport.abort()


@pytest.mark.parametrize("size", [1, 7, 4_096])
async def test_a_request_in_small_pieces_is_served(tmp_path, size):
    async with run_gateway(tmp_path) as gateway:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", int(gateway.url.rpartition(":")[2])
        )
        data = post(b"Authorization: Bearer " + gateway.key.encode())
        for start in range(0, len(data), size):
            writer.write(data[start : start + size])
            await asyncio.sleep(0)
        async with asyncio.timeout(60):
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        writer.transport.abort()


async def test_a_body_that_stops_is_ended_after_its_own_bound_whatever_the_heads_is(tmp_path):
    """The timer that waits for a head must not add its time to the body's."""
    async with run_gateway(tmp_path) as gateway:
        set_rules(gateway, header_s=3_600.0, body_idle_s=0.3)
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", int(gateway.url.rpartition(":")[2])
        )
        head, _, _ = post(b"Authorization: Bearer " + gateway.key.encode()).partition(b"\r\n\r\n")
        # In two pieces, so that the timer of the head is armed before the body begins.
        writer.write(head[:20])
        await asyncio.sleep(0.05)
        writer.write(head[20:] + b"\r\n\r\n{")
        async with asyncio.timeout(60):
            assert (await reader.read()).startswith(b"HTTP/1.1 408")
        writer.transport.abort()


@pytest.mark.parametrize(
    "data",
    [
        get(b"/health/live"),
        get(b"/nothing"),
        get(b"/docs"),
        get(b"/openapi.json"),
        get(b"/health/live", host=b""),
        post(b"Authorization: Bearer KEY"),
        post(),
    ],
)
async def test_no_response_may_be_taken_for_another_type(tmp_path, data):
    async with run_gateway(tmp_path, database={"url": ""}) as gateway:
        answer = (await answer_to(gateway, data)).lower()
        assert answer.count(b"x-content-type-options: nosniff") == 1


def test_the_bounds_are_those_that_are_documented():
    assert (GuardRules().header_s, GuardRules().body_idle_s) == (10.0, 30.0)
