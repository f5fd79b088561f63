"""Hosts that the operator did not name: public addresses only, and the one that was checked."""

import pytest

from gatewayz.core.addresses import is_public
from gatewayz.core.calls import HttpRequest
from gatewayz.core.faults import Fault
from gatewayz.upstream.http1 import HttpTransport
from gatewayz.upstream.resolver import PublicResolver
from tests.contract.test_transport import OK, QUICK, Scripted

PRIVATE = [
    "127.0.0.1",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "0.0.0.0",
    "224.0.0.1",
    "255.255.255.255",
    "192.0.2.1",
    "198.18.0.1",
    "::1",
    "::",
    "fe80::1",
    "fe80::1%eth0",
    "fc00::1",
    "fec0::1",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "2002:7f00:1::",
    "2001:0:7f00:1::",
    "2001:db8::1",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_what_not_everybody_reaches_is_not_public(address):
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "::ffff:8.8.8.8"]
)
def test_what_everybody_reaches_is_public(address):
    assert is_public(address)


class Names(PublicResolver):
    """A resolver with names of its own."""

    def __init__(self, **names):
        self.names, self.looked_up = names, []

    async def resolve(self, host, port):
        self.looked_up.append(host)
        return self.names[host]


class Pinned(Names):
    """Calls its addresses public, so that a test may listen on one."""

    async def resolve_public(self, host, port):
        return (await self.resolve(host, port))[0]


async def fetch(transport, url, *, public=True):
    try:
        async with transport.send(HttpRequest("GET", url, public=public)) as exchange:
            return await exchange.read(100)
    finally:
        await transport.close()


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["8.8.8.8", "10.0.0.1"], ["::1"], []])
async def test_a_name_with_one_address_that_is_not_public_is_refused(addresses):
    with pytest.raises(Fault, match="not a public address") as error:
        await fetch(HttpTransport(QUICK, resolver=Names(evil=addresses)), "http://evil/file.png")
    assert error.value.kind == "upstream_broken"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "2130706433", "0x7f.1"])
async def test_an_address_in_the_url_is_checked_too(host):
    async with Scripted(OK) as server:
        with pytest.raises(Fault) as error:
            await fetch(HttpTransport(QUICK), f"http://{host}:{server.port}/file.png")
        assert error.value.kind in {"upstream_broken", "upstream_unreachable"}
        assert server.connections == 0


async def test_the_connection_goes_to_the_address_that_was_checked():
    async with Scripted(OK) as server:
        names = Pinned(files=["127.0.0.1"])
        assert (
            await fetch(HttpTransport(QUICK, resolver=names), f"http://files:{server.port}/a.png")
            == b"{}"
        )
        assert names.looked_up == ["files"]


async def test_a_connection_that_the_operator_configured_does_not_serve_a_public_request():
    async with Scripted(OK) as server:
        transport = HttpTransport(QUICK)
        async with transport.send(HttpRequest("GET", server.url)) as exchange:
            await exchange.read(100)
        with pytest.raises(Fault, match="not a public address"):
            await fetch(transport, server.url)
        assert server.requests == 1


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://user:pw@8.8.8.8/x", "password"),
        ("ftp://8.8.8.8/x", "http"),
        ("file:///etc/passwd", "http"),
    ],
)
async def test_a_public_url_is_http_and_carries_no_password(url, why):
    with pytest.raises(Fault, match=why):
        await fetch(HttpTransport(QUICK), url)
