"""The upstream transport over real sockets: reuse, TLS, names, cuts, bounds, and storms of cancellations."""

import asyncio
import datetime
import gzip
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gatewayz.core.calls import Wire
from gatewayz.core.faults import Fault
from gatewayz.routing.rules import Deadlines
from gatewayz.upstream.http1 import HttpTransport, tls_context

QUICK = Deadlines(connect_s=0.4, tls_s=0.4, pool_s=0.2)
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"


class Scripted:
    """A server that answers each connection with its script: bytes to send, seconds to wait, or `close`."""

    def __init__(self, *script, tls=None):
        self.script, self.tls, self.connections, self.requests, self.closed = script, tls, 0, 0, 0

    async def __aenter__(self):
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.tls)
        self.port = self.server.sockets[0].getsockname()[1]
        self.url = f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}/v1/x"
        return self

    async def _serve(self, reader, writer):
        self.connections += 1
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


@pytest.fixture
async def transport():
    one = HttpTransport(QUICK)
    yield one
    await one.close()


def wire(url):
    return Wire("POST", url, (("Content-Type", "application/json"),), b"{}")


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
                b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2;x=y\r\nab\r\n0\r\nt: 1\r\n\r\n",
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
    made = builder.sign(issuer[0] if issuer else key, hashes.SHA256())
    place = tmp_path / f"{made.serial_number}.pem"
    place.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return key, made, place


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
    made = {
        "good": lambda: certificate(tmp_path, issuer=authority),
        "self-signed": lambda: certificate(tmp_path),
        "expired": lambda: certificate(tmp_path, days=-1, issuer=authority),
        "wrong host": lambda: certificate(tmp_path, host="other.example", issuer=authority),
    }[kind]()
    transport = HttpTransport(QUICK, tls_context(str(authority[2])))
    async with Scripted(OK, tls=serving(made[2])) as server:
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


async def test_ten_thousand_cancellations_leave_the_pool_usable(transport):
    async with Scripted(0.002, OK) as server:

        async def one(number):
            task = asyncio.create_task(body_of(transport, server.url))
            await asyncio.sleep((number % 7) * 0.001)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        for start in range(0, 10_000, 100):
            await asyncio.gather(*(one(start + number) for number in range(100)))
        for _ in range(20):
            assert (await body_of(transport, server.url))[2] == b"{}"
        assert len(transport._open) <= 100
    await transport.close()
    assert transport._open == set()
    assert transport._slots._value == 8_192
