"""The upstream transport on real sockets: reuse, TLS, names, cuts, bounds, cancellations."""

import asyncio
import datetime
import gzip
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gatewayz.core.calls import HttpRequest
from gatewayz.core.faults import Fault
from gatewayz.routing.rules import Deadlines
from gatewayz.upstream.http1 import HttpTransport
from gatewayz.upstream.network import Network
from gatewayz.upstream.tls import tls_context
from tests.support.examples import PROFILE

CANCELLATIONS = 10_000 if PROFILE == "new" else 1_000
QUICK = Deadlines(connect_s=2.0, tls_s=2.0, pool_s=2.0)
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"


class Scripted:
    """A server that answers each connection by its script: bytes, seconds to wait, or `close`."""

    def __init__(self, *script, tls=None):
        self.script, self.tls, self.connections, self.requests, self.closed = script, tls, 0, 0, 0
        self.writers = []

    async def __aenter__(self):
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.tls)
        self.port = self.server.sockets[0].getsockname()[1]
        self.url = f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}/v1/x"
        return self

    async def _serve(self, reader, writer):
        self.connections += 1
        self.writers.append(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(
                    head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0
                )
                await reader.readexactly(length)
                self.requests += 1
                for step in self.script:
                    if step == "close":
                        writer.close()
                        return
                    if isinstance(step, bytes):
                        writer.write(step)
                        await writer.drain()
                    else:
                        await asyncio.sleep(step)
        except (asyncio.IncompleteReadError, ConnectionError):
            self.closed += 1
        finally:
            writer.close()

    async def __aexit__(self, *_):
        self.server.close()
        while self.writers:
            self.writers.pop().transport.abort()
        # So that what was broken off is closed before its loop is.
        await asyncio.sleep(0.01)


@pytest.fixture
async def transport():
    http_transport = HttpTransport(QUICK)
    yield http_transport
    await http_transport.close()


def wire(url):
    return HttpRequest("POST", url, (("Content-Type", "application/json"),), b"{}")


async def body_of(transport, url, limit=10**6):
    async with transport.send(wire(url)) as exchange:
        return exchange.status, dict(exchange.headers), await exchange.read(limit)


async def fault_of(transport, url):
    with pytest.raises(Fault) as caught:
        await body_of(transport, url)
    return caught.value.kind


async def test_a_connection_is_used_again(transport):
    async with Scripted(OK) as server:
        for _ in range(5):
            assert (await body_of(transport, server.url))[2] == b"{}"
        assert (server.connections, server.requests) == (1, 5)


async def test_a_connection_that_the_server_closed_meanwhile_is_not_used(transport):
    async with Scripted(OK, "close") as server:
        for _ in range(3):
            assert (await body_of(transport, server.url))[2] == b"{}"
            await asyncio.sleep(0.05)
        assert server.connections == 3


async def test_a_body_that_is_not_read_breaks_its_connection(transport):
    async with Scripted(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nab", 5.0) as server:
        async with transport.send(wire(server.url)) as exchange:
            assert exchange.status == 200
        await asyncio.sleep(0.1)
        assert transport._open == set()


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        (["close"], "upstream_unreachable"),
        ([b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nab", "close"], "upstream_cut"),
        (
            [b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab", "close"],
            "upstream_cut",
        ),
        ([b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nab"], "upstream_broken"),
        ([b"SSH-2.0-x\r\n"], "upstream_broken"),
        ([b"HTTP/1.1 200 OK\r\nx: " + b"a" * 100_000], "upstream_broken"),
        (
            [b"HTTP/1.1 200 OK\r\ncontent-encoding: br\r\ncontent-length: 2\r\n\r\nab"],
            "upstream_broken",
        ),
        (
            [b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\nab"],
            "upstream_broken",
        ),
        (
            [
                b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 20\r\n\r\n"
                + gzip.compress(b"hello world, hello")[:20]
            ],
            "upstream_cut",
        ),
    ],
)
async def test_a_broken_answer_is_a_fault_of_its_kind(transport, script, kind):
    async with Scripted(*script) as server:
        assert await fault_of(transport, server.url) == kind


async def test_other_forms_of_answers_are_read(transport):
    packed = gzip.compress(b"hello" * 100)
    for script, want in (
        ((b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + OK,), b"{}"),
        ((b"HTTP/1.1 200 OK\r\n\r\nuntil the end", "close"), b"until the end"),
        (
            (
                b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n"
                % len(packed)
                + packed,
            ),
            b"hello" * 100,
        ),
        (
            (
                b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
                b"2;x=y\r\nab\r\n0\r\nt: 1\r\n\r\n",
            ),
            b"ab",
        ),
        ((b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",), b"ok"),
    ):
        async with Scripted(*script) as server:
            assert (await body_of(transport, server.url))[2] == want


async def test_a_reader_that_is_slow_holds_the_provider_back(transport):
    size = 64 * 2**20
    async with Scripted(
        b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size, *[b"a" * 2**20] * 64
    ) as server:
        async with transport.send(wire(server.url)) as exchange:
            chunks = exchange.chunks()
            read = len(await anext(chunks))
            await asyncio.sleep(0.3)
            connection = next(iter(transport._open))
            assert connection._waiting_bytes < 2**20
            async for chunk in chunks:
                read += len(chunk)
        assert read == size


async def test_names_and_ports_that_are_not_there(transport):
    assert await fault_of(transport, "http://nobody.invalid/v1") == "upstream_unreachable"
    assert await fault_of(transport, "http://127.0.0.1:9/v1") == "upstream_unreachable"
    assert await fault_of(transport, "ftp://127.0.0.1/v1") == "upstream_unreachable"


async def test_a_full_backlog_is_a_timeout(transport):
    import socket

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
            fillers.append(filler)
        await asyncio.sleep(0.05)
        assert await fault_of(transport, f"http://127.0.0.1:{port}/v1") == "upstream_timeout"
        for filler in fillers:
            filler.close()


def certificate(tmp_path, *, host="127.0.0.1", days=1, issuer=None):
    """A key and certificate, self-signed or of `issuer`."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name(
        [x509.NameAttribute(NameOID.COMMON_NAME, "authority" if issuer is None else "leaf")]
    )
    now = datetime.datetime.now(datetime.UTC)
    import ipaddress

    alternative = (
        x509.IPAddress(ipaddress.ip_address(host)) if host[0].isdigit() else x509.DNSName(host)
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer[1].subject if issuer else name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=9))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(
                (issuer[0] if issuer else key).public_key()
            ),
            critical=False,
        )
    )
    if issuer is None:
        builder = builder.add_extension(
            x509.KeyUsage(
                digital_signature=True,
                key_cert_sign=True,
                crl_sign=True,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
    signed = builder.sign(issuer[0] if issuer else key, hashes.SHA256())
    place = tmp_path / f"{signed.serial_number}.pem"
    place.write_bytes(
        signed.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return key, signed, place


def serving(place):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(place)
    return context


@pytest.mark.parametrize(
    ("kind", "works"),
    [("good", True), ("self-signed", False), ("expired", False), ("wrong host", False)],
)
async def test_certificates_are_verified(tmp_path, kind, works):
    authority = certificate(tmp_path)
    signed = {
        "good": lambda: certificate(tmp_path, issuer=authority),
        "self-signed": lambda: certificate(tmp_path),
        "expired": lambda: certificate(tmp_path, days=-1, issuer=authority),
        "wrong host": lambda: certificate(tmp_path, host="other.example", issuer=authority),
    }[kind]()
    transport = HttpTransport(QUICK, Network(tls_context(str(authority[2]))))
    async with Scripted(OK, tls=serving(signed[2])) as server:
        if works:
            for _ in range(3):
                assert (await body_of(transport, server.url))[2] == b"{}"
            assert server.connections == 1
        else:
            assert await fault_of(transport, server.url) == "upstream_unreachable"
    await transport.close()


async def test_a_handshake_that_stalls_is_a_timeout(transport):
    async with Scripted(5.0) as server:
        assert (
            await fault_of(transport, server.url.replace("http:", "https:")) == "upstream_timeout"
        )


async def test_cancellations_leave_the_pool_usable(transport):
    async with Scripted(0.002, OK) as server:

        async def http_transport(number):
            task = asyncio.create_task(body_of(transport, server.url))
            await asyncio.sleep((number % 7) * 0.001)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        for start in range(0, CANCELLATIONS, 100):
            await asyncio.gather(*(http_transport(start + number) for number in range(100)))
        for _ in range(20):
            assert (await body_of(transport, server.url))[2] == b"{}"
        assert len(transport._open) <= 100
    await transport.close()
    assert transport._open == set()
    assert transport._slots._value == 8_192


LATE = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlate"


@pytest.mark.parametrize("wait_s", [0.0, 0.02])
@pytest.mark.parametrize(
    "unasked",
    [LATE, b"H", b"\x00", b"\r\n", b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n"],
)
async def test_an_idle_connection_that_receives_anything_is_not_used_again(
    transport, unasked, wait_s
):
    """Else what came would be taken for the answer to the next request, which is somebody else's."""
    async with Scripted(OK, 0.02, unasked) as server:
        for number in range(3):
            assert (await body_of(transport, server.url))[2] == b"{}"
            await asyncio.sleep(0.06 + wait_s)
            assert server.connections == number + 1


async def test_what_the_loop_has_not_read_yet_counts_as_received(transport):
    async with Scripted(OK) as server:
        assert (await body_of(transport, server.url))[2] == b"{}"
        connection = next(iter(transport._open))
        assert connection.quiet
        # Nothing is read meanwhile: the bytes are in the socket, and the loop does not know.
        connection._transport.pause_reading()
        server.writers[-1].write(LATE)
        await server.writers[-1].drain()
        await asyncio.sleep(0.02)
        assert (connection.open, connection.quiet) == (True, False)


@pytest.mark.parametrize("second", [LATE, b"HTTP/1.1 200 OK\r\n", b"H"])
async def test_a_second_answer_in_one_packet_is_nobodys(transport, second):
    async with Scripted(OK + second) as server:
        for number in range(3):
            assert (await body_of(transport, server.url))[2] == b"{}"
            assert server.connections == number + 1


async def test_an_answer_that_was_not_read_whole_ends_its_connection(transport):
    body = b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n" + b"a" * 100_000
    async with Scripted(body) as server:
        for number in range(3):
            async with transport.send(wire(server.url)) as exchange:
                await asyncio.sleep(0.02)
                assert exchange.status == 200
            assert server.connections == number + 1


async def test_an_answer_that_comes_before_its_request_was_sent_ends_its_connection(transport):
    class Hasty(Scripted):
        async def _serve(self, reader, writer):
            self.connections += 1
            await reader.readuntil(b"\r\n\r\n")
            self.writers.append(writer)
            writer.write(OK)

    async with Hasty() as server:
        for number in range(2):
            request = HttpRequest("POST", server.url, (), b"x" * 50_000_000)
            async with transport.send(request) as exchange:
                assert await exchange.read(100) == b"{}"
            assert server.connections == number + 1


@pytest.mark.parametrize(
    "endless",
    [b"x-t: " + b"a" * 50_000 + b"\r\n", b"t: 1\r\n" * 5_000, b"x" * 50_000],
)
@pytest.mark.parametrize("before", [b"2\r\nab\r\n0\r\n", b"5;e=", b""])
async def test_what_is_no_content_has_a_bound(transport, endless, before):
    script = [b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n" + (b"\r\n" if before else b"")]
    async with Scripted(*script, before, *[endless, 0.005] * 40) as server:
        assert await fault_of(transport, server.url) == "upstream_broken"


async def test_trailers_are_no_headers(transport):
    body = b"2\r\nab\r\n0\r\ncontent-type: text/html\r\nx-request-id: t\r\n\r\n"
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    async with Scripted(head + body) as server, transport.send(wire(server.url)) as exchange:
        assert await exchange.read(10) == b"ab"
        assert "x-request-id" not in exchange.headers
        assert "content-type" not in exchange.headers


@pytest.mark.parametrize("public", [False, True])
@pytest.mark.parametrize(
    "url",
    [
        "http://[::1",
        "http://[x]/a",
        "http://host:99999/a",
        "http://host:port/a",
        "http://host/a b",
        "http://host/\x7f",
        "http://host/\u2028",
        "http://host/\ud800",
        "http://" + "a" * 10_000,
        "http:///a",
        "http://ho\u2100st/",
        "//host/a",
        "",
    ],
)
async def test_a_url_that_is_none_is_a_fault_of_the_provider(transport, url, public):
    with pytest.raises(Fault) as caught:
        async with transport.send(HttpRequest("GET", url, public=public)):
            pass
    assert caught.value.kind == ("upstream_broken" if public else "upstream_unreachable")
    assert caught.value.rule.status == 502
