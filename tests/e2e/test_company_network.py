"""A company's network: calls, lists, webhooks and tokens go through its proxy and trust its authority."""

import asyncio
import json
import os
import ssl
from typing import Any

import openai
import pytest

from gatewayz.cli.doctor.doctor import diagnose
from gatewayz.core.calls import HttpRequest
from gatewayz.core.clock import SystemClock
from gatewayz.core.faults import Fault
from gatewayz.core.secrets import Secret
from gatewayz.providers.spec import Credential
from gatewayz.routing.rules import Deadlines
from gatewayz.settings import load_settings
from gatewayz.settings_reference import render_settings
from gatewayz.simulator.server import Simulator
from gatewayz.upstream.google_tokens import GoogleTokens
from gatewayz.upstream.http1 import HttpTransport
from gatewayz.upstream.tls import tls_context
from tests.contract.test_transport import OK, Scripted, certificate, serving
from tests.support.connect_proxy import ConnectProxy
from tests.support.running_gateway import run_gateway

HI: Any = [{"role": "user", "content": "Tell me something, please"}]
CANARY = "proxy-password-canary"


def own(proxy, url="http://inference.test/v1"):
    return {"dialect": "openai_chat", "base_url": url, "key": "sk-own-canary", "proxy": proxy}


async def test_calls_and_lists_of_a_provider_go_through_its_own_proxy(tmp_path):
    async with (
        ConnectProxy(user="robot", password=CANARY) as proxy,
        run_gateway(
            tmp_path, more={"corp": own(f"http://robot:{CANARY}@127.0.0.1:{proxy.port}")}
        ) as gateway,
    ):
        host, _, port = gateway.upstream.url.removeprefix("http://").partition(":")
        proxy.names["inference.test:80"] = (host, int(port))
        client = gateway.client()
        answer = await client.chat.completions.create(model="corp/hello", messages=HI)
        assert answer.choices[0].message.content
        stream = await client.chat.completions.create(model="corp/hello", messages=HI, stream=True)
        assert [chunk async for chunk in stream]
        assert proxy.asked == ["inference.test:80"]
        (read,) = await gateway.built.sync.read_listings(["corp"])
        assert read.fault == ""
        await client.chat.completions.create(model="first/hello", messages=HI)
        assert set(proxy.asked) == {"inference.test:80"}
        gateway.built.bus.flush()
        log = await asyncio.to_thread((tmp_path / "log.jsonl").read_text)
        assert CANARY not in log


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (403, "does not allow the way there (403)"),
        (407, "name and password (407)"),
        (None, "in time"),
    ],
)
async def test_what_a_proxy_refuses_is_told_and_another_provider_answers(tmp_path, status, words):
    refusal = f"HTTP/1.1 {status} No\r\nx: {CANARY}\r\n\r\n".encode() if status else None
    quick = {"deadlines": {"connect_s": 0.2, "tls_s": 0.1}}
    async with (
        ConnectProxy(answer=refusal) as proxy,
        run_gateway(
            tmp_path,
            more={"corp": own(f"http://robot:{CANARY}@127.0.0.1:{proxy.port}")},
            routing=quick,
            models=[
                {
                    "id": "test/model",
                    "offers": [
                        {"provider": name, "upstream_id": "hello", "free": True}
                        for name in ("corp", "first")
                    ],
                }
            ],
        ) as gateway,
    ):
        client = gateway.client()
        with pytest.raises(openai.APIStatusError) as refused:
            await client.chat.completions.create(model="corp/hello", messages=HI)
        assert words in str(refused.value)
        answer = await client.chat.completions.create(model="test/model", messages=HI)
        assert answer.choices[0].message.content
        gateway.built.bus.flush()
        log = await asyncio.to_thread((tmp_path / "log.jsonl").read_text)
        assert CANARY not in log + str(refused.value)


async def test_tokens_of_google_are_fetched_through_the_proxy():
    async with Simulator() as simulator, ConnectProxy() as proxy:
        port = int(simulator.url.rpartition(":")[2])
        proxy.names["oauth2.test:80"] = ("127.0.0.1", port)
        # The token's audience is where it is asked for, which is the name that the proxy knows.
        account = simulator.accounts.create_user_credentials("http://oauth2.test")
        transport = HttpTransport(Deadlines())
        tokens = GoogleTokens(transport, SystemClock())
        credential = Credential(id="Vertex#1", key=Secret(json.dumps(account)))
        assert (await tokens.get_token(credential, proxy.url)).reveal().startswith("ya29.")
        assert proxy.asked == ["oauth2.test:80"]
        await transport.close()


async def test_webhooks_and_calls_take_the_same_way(tmp_path, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", f"http://robot:{CANARY}@proxy.test:3128")
    monkeypatch.setenv("NO_PROXY", "inside.test")
    database = {"url": f"sqlite:///{tmp_path / 'g.db'}"}
    async with run_gateway(tmp_path, database=database) as gateway:
        webhooks: Any = gateway.built.notifications._transport
        for transport in (gateway.built.transport, webhooks):
            for host, name in (("api.test", "proxy.test:3128"), ("a.inside.test", None)):
                for public in (False, True):
                    request = HttpRequest("POST", f"https://{host}/x", public=public)
                    proxy = transport.parse_address(request).origin.proxy
                    assert (proxy.name if proxy is not None else None) == name
        assert CANARY not in gateway.built.upstream._redactor.redact(f"pw {CANARY}")


def test_the_settings_and_the_doctor_show_no_password_of_a_proxy(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HTTPS_PROXY", f"http://robot:{CANARY}@127.0.0.1:9")
    flags = {"providers": {"corp": own(f"http://robot:{CANARY}@127.0.0.1:9")}}
    assert CANARY not in render_settings(load_settings("", flags).settings)
    findings = list(diagnose("", flags))
    assert CANARY not in str(findings)
    subjects = {finding.subject for finding in findings if "127.0.0.1:9" in finding.message}
    assert {"https proxy", "corp proxy"} <= subjects


@pytest.mark.parametrize(
    "proxy", ["socks5://x:1080", "https://x", f"http://robot:{CANARY}@x/path", "ftp://x", "x y"]
)
def test_a_proxy_that_is_none_is_a_sentence_at_the_start(tmp_path, monkeypatch, proxy):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Fault, match=r"providers.corp.proxy: .* is no HTTP proxy; write") as caught:
        load_settings("", {"providers": {"corp": own(proxy)}})
    assert CANARY not in caught.value.message


@pytest.mark.parametrize("how", ["setting", "variable", "both"])
async def test_an_upstream_of_a_companys_authority_is_trusted(tmp_path, how, monkeypatch):
    authority, other = certificate(tmp_path), certificate(tmp_path)
    leaf = certificate(tmp_path, issuer=authority)
    file, elsewhere = str(authority[2]), str(other[2])
    ca_file, variables = {
        "setting": (file, {}),
        "variable": ("", {"SSL_CERT_FILE": file}),
        "both": (file, {"SSL_CERT_FILE": elsewhere}),
    }[how]
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    async with Scripted(OK, tls=serving(leaf[2])) as server:
        loaded = load_settings("", {"tls": {"ca_file": ca_file}})
        transport = HttpTransport(Deadlines(), loaded.open_network())
        async with transport.send(HttpRequest("GET", server.url)) as exchange:
            assert exchange.status == 200
        await transport.close()


def test_the_setting_adds_to_the_systems_authorities_and_the_variable_takes_their_place(tmp_path):
    authority = str(certificate(tmp_path)[2])

    def count(*given):
        return tls_context(*given).cert_store_stats()["x509_ca"]

    system = ssl.create_default_context().cert_store_stats()["x509_ca"]
    assert count(authority, {}) == system + 1
    assert count("", {"SSL_CERT_FILE": authority}) == 1
    assert count(authority, {"SSL_CERT_FILE": authority}) == 1


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read: No such file"),
        (b"", "holds no certificates in PEM"),
        (b"\x30\x82\x01\x0a\xff", "holds no certificates in PEM"),
        (
            b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
            "holds no certificates",
        ),
        (b"-----BEGIN CERTIFICATE-----\nnot base64!\n-----END CERTIFICATE-----\n", "holds no cert"),
        ("folder", "cannot be read: Is a directory"),
    ],
)
@pytest.mark.parametrize("setting", ["tls.ca_file", "SSL_CERT_FILE"])
def test_a_wrong_file_of_authorities_is_a_sentence_that_names_it(
    tmp_path, content, words, setting, monkeypatch
):
    file = tmp_path / "ca.pem"
    if content == "folder":
        file.mkdir()
    elif content is not None:
        file.write_bytes(content)
    environment = {"SSL_CERT_FILE": str(file)} if setting == "SSL_CERT_FILE" else {}
    with pytest.raises(Fault, match=words) as caught:
        tls_context("" if environment else str(file), environment)
    assert caught.value.message.startswith(f"{setting}: {file}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(os.environ, "SSL_CERT_FILE", environment.get("SSL_CERT_FILE", ""))
    flags = {"tls": {"ca_file": "" if environment else str(file)}}
    bad = [finding.message for finding in diagnose("", flags) if finding.level == "bad"]
    assert any(message.startswith(f"{setting}: {file}") for message in bad)
