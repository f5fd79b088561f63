"""Headers that change what a body means: encodings are decoded within bounds, others refused by name."""

import asyncio
import gzip
import json
import random
import zlib

import pytest

from gatewayz.core.faults import Fault
from gatewayz.web.request_bodies import decode_body
from tests.support.running_gateway import run_gateway

CHAT = {"model": "first/echo", "messages": [{"role": "user", "content": "Hello there"}]}
MESSAGES = {**CHAT, "max_tokens": 100}
SURFACES = [("/v1/chat/completions", CHAT), ("/v1/messages", MESSAGES)]


def raw_deflate(body):
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(body) + compressor.flush()


ENCODERS = {
    "gzip": gzip.compress,
    "GZIP": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "deflate ": raw_deflate,
    "identity": bytes,
    "": bytes,
}


async def post(gateway, path, body, **headers):
    """The status, headers and JSON body of an answer, over a plain socket."""
    host, _, port = gateway.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    lines = {
        "host": host,
        "authorization": f"Bearer {gateway.key}",
        "content-type": "application/json",
        "content-length": str(len(body)),
        "connection": "close",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    writer.write(f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + body)
    answer = await reader.read()
    writer.close()
    head_bytes, _, content = answer.partition(b"\r\n\r\n")
    first, *others = head_bytes.decode().lower().split("\r\n")
    return int(first.split()[1]), dict(line.split(": ", 1) for line in others), json.loads(content)


@pytest.fixture
async def gateway(tmp_path):
    async with run_gateway(tmp_path) as running:
        yield running


@pytest.mark.parametrize(("path", "body"), SURFACES)
@pytest.mark.parametrize("encoding", ENCODERS)
async def test_a_compressed_body_is_the_body_that_it_holds(gateway, path, body, encoding):
    encoded = ENCODERS[encoding](json.dumps(body).encode())
    status, headers, answer = await post(gateway, path, encoded, content_encoding=encoding)
    assert status == 200, answer
    assert "Hello there" in json.dumps(answer)
    assert "content-encoding" not in headers


async def test_members_of_gzip_that_follow_each_other_are_one_body(gateway):
    text = json.dumps(CHAT).encode()
    body = gzip.compress(text[:20]) + gzip.compress(text[20:])
    assert (await post(gateway, SURFACES[0][0], body, content_encoding="gzip"))[0] == 200


@pytest.mark.parametrize(
    "encoding", ["br", "zstd", "compress", "gzip, gzip", "gzip, br", "aes128gcm"]
)
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
async def test_another_encoding_is_415_and_says_what_may_be_sent(gateway, path, encoding):
    status, headers, answer = await post(gateway, path, b"\x00\x01", content_encoding=encoding)
    assert status == 415
    assert headers["accept-encoding"] == "gzip, deflate, identity"
    assert encoding in answer["error"]["message"]


@pytest.mark.parametrize("charset", ["utf-16", "iso-8859-1"])
async def test_another_charset_is_415(gateway, charset):
    body = json.dumps(CHAT).encode("utf-16")
    kind = f"application/json; charset={charset}"
    status, _, answer = await post(gateway, SURFACES[0][0], body, content_type=kind)
    assert (status, answer["error"]["code"]) == (415, "unsupported_encoding")
    kind = 'application/json; charset="UTF-8"'
    body = json.dumps(CHAT).encode()
    assert (await post(gateway, SURFACES[0][0], body, content_type=kind))[0] == 200


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"not gzip", "not valid gzip"),
        (gzip.compress(json.dumps(CHAT).encode())[:-9], "ends before its gzip does"),
        (gzip.compress(b"{}") + b"more", "not valid gzip"),
        (gzip.compress(b"{}") * 17, "goes on after"),
        (b"", "ends before its gzip does"),
    ],
    ids=["another", "cut", "more", "many members", "nothing"],
)
async def test_what_is_not_so_encoded_is_400_and_says_so(gateway, body, message):
    status, _, answer = await post(gateway, SURFACES[0][0], body, content_encoding="gzip")
    assert status == 400
    assert message in answer["error"]["message"]


@pytest.mark.parametrize(
    ("encode", "encoding"), [(gzip.compress, "gzip"), (zlib.compress, "deflate")]
)
async def test_a_body_that_grows_too_much_is_broken_off(gateway, encode, encoding):
    for size, message in ((2**25, "200 times its size"), (2**28, "larger than 33554432 bytes")):
        body = encode(b" " * size)
        status, _, answer = await post(gateway, SURFACES[0][0], body, content_encoding=encoding)
        assert status == 413
        assert message in answer["error"]["message"]


@pytest.mark.parametrize("size", [2**16, 2**16 + 1])
def test_the_limit_is_that_of_the_decoded_body(size):
    text = random.Random(0).randbytes(size // 2).hex().encode().ljust(size)
    if size <= 2**16:
        assert decode_body(gzip.compress(text), "gzip", 2**16) == text
    else:
        with pytest.raises(Fault) as caught:
            decode_body(gzip.compress(text), "gzip", 2**16)
        assert caught.value.kind == "too_large"


async def test_the_same_body_is_the_same_request_however_it_is_encoded(gateway):
    text = json.dumps(CHAT).encode()
    first = await post(gateway, SURFACES[0][0], text, idempotency_key="one")
    body = gzip.compress(text)
    again = await post(
        gateway, SURFACES[0][0], body, idempotency_key="one", content_encoding="gzip"
    )
    assert again[2] == first[2]
