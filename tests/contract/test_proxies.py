"""Proxies on real sockets: ways are opened and used again, refusals are told, passwords are not."""

import asyncio
import ssl

import pytest

from gatewayz.core.calls import HttpRequest
from gatewayz.core.faults import Fault
from gatewayz.routing.rules import Deadlines
from gatewayz.upstream.http1 import HttpTransport
from gatewayz.upstream.network import Network, network_from
from gatewayz.upstream.proxies import ProxyRules, proxy_from_url, proxy_rules_from
from gatewayz.upstream.tls import tls_context
from tests.contract.test_public_addresses import Names
from tests.contract.test_transport import OK, QUICK, Scripted, certificate, serving
from tests.support.connect_proxy import OPEN, ConnectProxy

PASSWORD = "correct horse/battery"
USERINFO = "robot:correct%20horse%2Fbattery@"
IMPATIENT = Deadlines(connect_s=0.3, tls_s=0.1, pool_s=2.0)


def request(url, **more):
    return HttpRequest("POST", url, (("Content-Type", "application/json"),), b"{}", **more)


async def body_of(transport, url, **more):
    async with transport.send(request(url, **more)) as exchange:
        return await exchange.read(1_000)


async def fault_of(transport, url, **more):
    with pytest.raises(Fault) as caught:
        await body_of(transport, url, **more)
    return caught.value


def through(proxy, tls=None, deadlines=QUICK, **options):
    rules = ProxyRules(proxy_from_url(proxy), proxy_from_url(proxy))
    network = Network(tls, rules) if tls is not None else Network(proxies=rules)
    return HttpTransport(deadlines, network, **options)


@pytest.fixture
def authority(tmp_path):
    return certificate(tmp_path)


def trusting(authority) -> ssl.SSLContext:
    return tls_context(str(authority[2]))


async def test_a_way_through_a_proxy_is_opened_once_and_used_again(tmp_path, authority):
    leaf = certificate(tmp_path, host="api.test", issuer=authority)
    async with (
        Scripted(OK, tls=serving(leaf[2])) as server,
        ConnectProxy({"api.test:443": ("127.0.0.1", server.port)}) as proxy,
    ):
        transport = through(proxy.url, trusting(authority))
        for _ in range(4):
            assert await body_of(transport, "https://api.test/v1/x") == b"{}"
        assert (proxy.asked, server.connections, server.requests) == (["api.test:443"], 1, 4)
        await transport.close()


async def test_a_way_without_tls_is_opened_likewise():
    async with (
        Scripted(OK) as server,
        ConnectProxy({"api.test:8080": ("127.0.0.1", server.port)}) as proxy,
    ):
        transport = through(proxy.url)
        for _ in range(2):
            assert await body_of(transport, "http://api.test:8080/v1/x") == b"{}"
        assert (proxy.asked, server.connections) == (["api.test:8080"], 1)
        await transport.close()


@pytest.mark.parametrize("host", ["other.test", "proxy.test"])
async def test_tls_ends_at_the_upstream_whose_name_was_asked_for(tmp_path, authority, host):
    leaf = certificate(tmp_path, host=host, issuer=authority)
    async with (
        Scripted(OK, tls=serving(leaf[2])) as server,
        ConnectProxy({"api.test:443": ("127.0.0.1", server.port)}) as proxy,
    ):
        transport = through(proxy.url, trusting(authority))
        fault = await fault_of(transport, "https://api.test/v1/x")
        assert fault.kind == "upstream_unreachable"
        assert "TLS failed" in fault.message
        assert server.requests == 0
        await transport.close()


async def test_a_proxy_gets_the_name_and_the_password_of_its_url():
    async with (
        Scripted(OK) as server,
        ConnectProxy(
            {"api.test:80": ("127.0.0.1", server.port)}, user="robot", password=PASSWORD
        ) as proxy,
    ):
        transport = through(f"http://{USERINFO}127.0.0.1:{proxy.port}")
        assert await body_of(transport, "http://api.test/v1/x") == b"{}"
        await transport.close()


@pytest.mark.parametrize("userinfo", ["", "robot:wrong@", "robot@", ":@"])
async def test_a_name_that_a_proxy_does_not_take_is_told_without_the_password(userinfo):
    async with ConnectProxy(user="robot", password=PASSWORD) as proxy:
        transport = through(f"http://{userinfo}127.0.0.1:{proxy.port}")
        fault = await fault_of(transport, "https://api.test/v1/x")
        assert fault.kind == "upstream_unreachable"
        assert "its proxy does not take its name and password (407)" in fault.message
        assert (fault.blame, fault.detail) == ("gateway", f"the proxy at 127.0.0.1:{proxy.port}")
        assert "wrong" not in fault.operator_message
        assert "127.0.0.1" not in fault.message
        await transport.close()


REFUSALS = [
    (b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n", "upstream_unreachable", "provider"),
    (b"HTTP/1.1 502 Bad Gateway\r\n\r\n<html>", "upstream_unreachable", "provider"),
    (b"HTTP/1.0 503 No\r\n\r\n", "upstream_unreachable", "provider"),
    (b"HTTP/1.1 504 Late\r\n\r\n", "upstream_timeout", "provider"),
    (
        b"HTTP/1.1 302 Found\r\nlocation: http://login.test/\r\n\r\n",
        "upstream_unreachable",
        "provider",
    ),
    (b"HTTP/1.1 401 Who\r\n\r\n", "upstream_unreachable", "gateway"),
    (b"HTTP/1.1 405 No\r\n\r\n", "upstream_unreachable", "gateway"),
    (b"SSH-2.0-x\r\n\r\n", "upstream_unreachable", "gateway"),
    (b"HTTP/1.1 2000 OK\r\n\r\n", "upstream_unreachable", "gateway"),
    (b"HTTP/1.1 200 OK\r\nx: " + b"a" * 100_000, "upstream_unreachable", "gateway"),
    # What follows would be taken for the answer to the first request.
    (OPEN + b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", "upstream_unreachable", "gateway"),
]


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(("answer", "kind", "blame"), REFUSALS)
async def test_a_proxy_that_does_not_open_the_way_is_a_fault_of_its_kind(
    answer, kind, blame, scheme
):
    async with Scripted(OK) as server:
        names = {f"api.test:{port}": ("127.0.0.1", server.port) for port in (80, 443)}
        async with ConnectProxy(names, answer=answer) as proxy:
            transport = through(proxy.url)
            fault = await fault_of(transport, f"{scheme}://api.test/v1/x")
            assert (fault.kind, fault.blame) == (kind, blame)
            assert "its proxy" in fault.message
            assert (transport._open, transport._slots._value) == (set(), 8_192)
            assert server.requests == 0
            await transport.close()


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200", b"HTTP/1.1 103 Early\r\n\r\n"])
async def test_a_proxy_that_closes_or_hangs_is_a_fault_in_time(answer):
    def closing(head):
        return answer or b"\r\n"

    for behaviour, kind in ((None, "upstream_timeout"), (closing, "upstream_unreachable")):
        async with ConnectProxy(answer=behaviour) as proxy:
            transport = through(proxy.url, deadlines=IMPATIENT)
            fault = await fault_of(transport, "https://api.test/v1/x")
            assert fault.kind == kind
            assert "proxy" in fault.message
            assert transport._slots._value == 8_192
            await transport.close()


async def test_an_upstream_that_hangs_behind_a_proxy_is_a_timeout():
    async with (
        Scripted(5.0) as server,
        ConnectProxy({"api.test:443": ("127.0.0.1", server.port)}) as proxy,
    ):
        transport = through(proxy.url, deadlines=IMPATIENT)
        fault = await fault_of(transport, "https://api.test/v1/x")
        assert (fault.kind, fault.blame) == ("upstream_timeout", "provider")
        await transport.close()


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "http://nobody.invalid:3128"])
async def test_a_proxy_that_is_not_there_is_no_providers_doing(url):
    transport = through(url)
    fault = await fault_of(transport, "https://api.test/v1/x")
    assert (fault.kind, fault.blame) == ("upstream_unreachable", "gateway")
    assert "its proxy does not answer" in fault.message
    await transport.close()


async def test_an_interim_answer_of_a_proxy_is_none():
    interim = b"HTTP/1.1 100 Continue\r\n\r\n" + OPEN
    async with (
        Scripted(OK) as server,
        ConnectProxy({"api.test:80": ("127.0.0.1", server.port)}, answer=interim) as proxy,
    ):
        transport = through(proxy.url)
        assert await body_of(transport, "http://api.test/v1/x") == b"{}"
        await transport.close()


async def test_cancelled_connections_leave_no_way_open():
    async with ConnectProxy(answer=None) as proxy:
        transport = through(proxy.url)
        tasks = [
            asyncio.create_task(body_of(transport, f"https://api{number}.test/"))
            for number in range(20)
        ]
        while proxy.open < len(tasks):
            await asyncio.sleep(0.005)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        while proxy.open:
            await asyncio.sleep(0.005)
        assert (transport._open, transport._slots._value) == (set(), 8_192)
        await transport.close()


async def test_connections_are_pooled_by_the_proxy_that_they_go_through():
    async with Scripted(OK) as server:
        where = {f"127.0.0.1:{server.port}": ("127.0.0.1", server.port)}
        async with ConnectProxy(where) as one, ConnectProxy(where) as two:
            transport = HttpTransport(QUICK)
            for _ in range(2):
                for proxy in (
                    one.url,
                    two.url,
                    f"http://robot:pw@127.0.0.1:{two.port}",
                    "direct",
                    "",
                ):
                    assert await body_of(transport, server.url, proxy=proxy) == b"{}"
            assert (len(one.asked), len(two.asked), server.connections) == (1, 2, 4)
            await transport.close()


async def test_a_host_that_others_named_is_checked_here_and_asked_for_by_its_address():
    async with ConnectProxy(answer=b"HTTP/1.1 403 No\r\n\r\n") as proxy:
        names = Names(
            files=["8.8.8.8"], six=["2606:4700:4700::1111"], inside=["8.8.8.8", "10.0.0.1"]
        )
        names.names["127.0.0.1"] = ["127.0.0.1"]
        transport = through(proxy.url, resolver=names)
        for url in ("https://inside/a", "https://inside:8443/"):
            fault = await fault_of(transport, url, public=True)
            assert "not a public address" in fault.message
        assert proxy.asked == []
        for host in ("files", "six"):
            await fault_of(transport, f"https://{host}/a.png", public=True)
        # The operator's own hosts are the proxy's to resolve, and need not be known here.
        await fault_of(transport, "https://api.test/v1")
        assert proxy.asked == ["8.8.8.8:443", "[2606:4700:4700::1111]:443", "api.test:443"]
        await transport.close()


PROXY = "http://proxy.test:3128"
CHOICES = [
    ({"HTTPS_PROXY": PROXY}, "https://api.test/", True),
    ({"https_proxy": PROXY}, "https://api.test/", True),
    ({"HTTPS_PROXY": "proxy.test:3128"}, "https://api.test/", True),
    ({"HTTPS_PROXY": PROXY}, "http://api.test/", False),
    ({"HTTP_PROXY": PROXY}, "http://api.test/", True),
    ({"http_proxy": PROXY}, "https://api.test/", False),
    ({"HTTPS_PROXY": ""}, "https://api.test/", False),
    ({"HTTPS_PROXY": PROXY, "NO_PROXY": "api.test"}, "https://api.test/", False),
    ({"HTTPS_PROXY": PROXY, "NO_PROXY": "test"}, "https://api.test/", False),
    ({"HTTPS_PROXY": PROXY, "NO_PROXY": ".test"}, "https://api.test/", False),
    ({"HTTPS_PROXY": PROXY, "NO_PROXY": "*.test"}, "https://api.test/", False),
    ({"HTTPS_PROXY": PROXY, "NO_PROXY": "pi.test"}, "https://api.test/", True),
    ({"HTTPS_PROXY": PROXY, "NO_PROXY": "API.test:443"}, "https://api.test/", False),
    ({"HTTPS_PROXY": PROXY, "NO_PROXY": "api.test:8443"}, "https://api.test/", True),
    ({"HTTPS_PROXY": PROXY, "no_proxy": "a b,api.test"}, "https://api.test/", False),
    ({"HTTPS_PROXY": PROXY, "no_proxy": "x", "NO_PROXY": "api.test"}, "https://api.test/", True),
    ({"HTTPS_PROXY": PROXY, "NO_PROXY": "*"}, "https://api.test/", False),
    ({"HTTPS_PROXY": PROXY, "NO_PROXY": "10.0.0.0/8"}, "https://10.1.2.3/", False),
    ({"HTTPS_PROXY": PROXY, "NO_PROXY": "10.0.0.0/8"}, "https://11.1.2.3/", True),
    ({"HTTPS_PROXY": PROXY, "NO_PROXY": "10.1.2.3:443"}, "https://10.1.2.3/", False),
    ({"HTTPS_PROXY": PROXY, "NO_PROXY": "[2001:db8::1]"}, "https://[2001:db8::1]/", False),
    ({"HTTPS_PROXY": PROXY, "NO_PROXY": "2001:db8::/32"}, "https://[2001:db8::1]/", False),
    ({"HTTPS_PROXY": PROXY}, "https://localhost/", False),
    ({"HTTPS_PROXY": PROXY}, "https://127.0.0.9/", False),
    ({"HTTPS_PROXY": PROXY}, "https://[::1]/", False),
    ({"HTTP_PROXY": PROXY}, "http://169.254.169.254/", False),
    ({"HTTP_PROXY": PROXY}, "http://metadata.google.internal/", False),
]


@pytest.mark.parametrize(("environment", "url", "is_proxied"), CHOICES)
async def test_the_usual_variables_say_what_goes_through_a_proxy(environment, url, is_proxied):
    transport = HttpTransport(QUICK, network_from("", environment))
    origin = transport.parse_address(request(url)).origin
    assert (origin.proxy is not None) == is_proxied
    assert transport.parse_address(request(url, proxy="direct")).origin.proxy is None
    own = transport.parse_address(request(url, proxy="http://own.test:1")).origin.proxy
    assert own.name == "own.test:1"


@pytest.mark.parametrize(
    "text",
    [
        "socks5://robot:hunter2hunter2@proxy.test:1080",
        "https://robot:hunter2hunter2@proxy.test",
        "http://robot:hunter2hunter2@proxy test",
        "http://robot:hunter2hunter2@proxy.test:99999",
        "http://robot:hunter2hunter2@proxy.test/path",
        "robot:hunter2hunter2@",
        "http://",
    ],
)
@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY"])
def test_a_variable_that_names_no_proxy_is_a_sentence_without_its_password(name, text):
    with pytest.raises(
        Fault, match=f"{name}: .* is no HTTP proxy; write http://host:port"
    ) as caught:
        proxy_rules_from({name: text})
    assert "hunter2" not in caught.value.message
