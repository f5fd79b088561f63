"""TLS on the listener: it serves, alone and with workers, takes up renewed files, and says what is wrong."""

import shutil
import ssl

import aiohttp
import openai
import pytest
from cryptography.hazmat.primitives import serialization

from gatewayz.cli.doctor.doctor import diagnose
from gatewayz.core.faults import Fault
from gatewayz.web.tls import ListenerTls, ListenerTlsSettings
from tests.contract.test_transport import certificate
from tests.support.gateway_process import GatewayProcess
from tests.support.running_gateway import run_gateway


def trusting(authority) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(authority[2]))


def client_of(url, key, authority):
    web = openai.DefaultAsyncHttpxClient(verify=trusting(authority))
    return openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0, http_client=web)


async def text_of(client, **more):
    messages = [{"role": "user", "content": "Hello"}]
    return await client.chat.completions.create(model="simulator/hello", messages=messages, **more)


async def test_calls_are_served_over_tls_and_not_without(tmp_path):
    authority = certificate(tmp_path)
    leaf = certificate(tmp_path, issuer=authority)
    web = {"tls": {"cert_file": str(leaf[2])}}
    async with run_gateway(tmp_path, web=web) as gateway:
        url = gateway.url.replace("http:", "https:")
        async with client_of(url, gateway.key, authority) as client:
            assert (await text_of(client)).choices[0].message.content
            chunks = [chunk async for chunk in await text_of(client, stream=True)]
            assert chunks[-1].choices == [] or chunks[-1].choices[0].finish_reason
        async with gateway.client() as plain:
            with pytest.raises(openai.APIConnectionError):
                await text_of(plain)


async def test_a_renewed_certificate_is_taken_up_and_half_of_one_is_not(tmp_path):
    first, second = certificate(tmp_path), certificate(tmp_path)
    leaves = [certificate(tmp_path, issuer=authority) for authority in (first, second)]
    file = tmp_path / "live.pem"
    shutil.copy(leaves[0][2], file)
    async with run_gateway(tmp_path, web={"tls": {"cert_file": str(file)}}) as gateway:
        url = gateway.url.replace("http:", "https:")
        renew = gateway.built.server.config.callback_notify

        async def serves(authority):
            async with client_of(url, gateway.key, authority) as client:
                try:
                    await text_of(client)
                except openai.APIConnectionError:
                    return False
                return True

        assert (await serves(first), await serves(second)) == (True, False)
        for half in (b"", b"no certificate", certificate_alone(leaves[1])):
            file.write_bytes(half)
            await renew()
            await renew()
            assert await serves(first)
        shutil.copy(leaves[1][2], file)
        await renew()
        assert (await serves(first), await serves(second)) == (False, True)
        gateway.built.bus.flush()
        log = (tmp_path / "log.jsonl").read_text()
        assert log.count("goes on to serve") == 3


def certificate_alone(leaf) -> bytes:
    return leaf[1].public_bytes(serialization.Encoding.PEM)


def key_alone(leaf, password=b"") -> bytes:
    encryption = (
        serialization.BestAvailableEncryption(password)
        if password
        else serialization.NoEncryption()
    )
    return leaf[0].private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
    )


WRONG = {
    "no key": (certificate_alone, None, "no private key in PEM"),
    "key of another": (certificate_alone, "other", "is not that of the certificate"),
    "key with a password": (
        certificate_alone,
        lambda leaf: key_alone(leaf, b"pw"),
        "without a password",
    ),
    "key that is none": (certificate_alone, lambda leaf: b"x", "no private key in PEM"),
    "no certificate": (key_alone, key_alone, "holds no certificate"),
    "nothing": (lambda leaf: b"", key_alone, "holds no certificate"),
    "no file": (None, key_alone, "cannot be read: No such file"),
    "no key file": (certificate_alone, "missing", "cannot be read: No such file"),
    "a key alone": ("unset", key_alone, "web.tls.cert_file is not"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_certificate_that_is_no_use_is_a_sentence_at_the_start(tmp_path, what):
    leaf, other = certificate(tmp_path), certificate(tmp_path)
    cert, key, words = WRONG[what]
    cert_file, key_file = tmp_path / "tls.crt", tmp_path / "tls.key"
    if callable(cert):
        cert_file.write_bytes(cert(leaf))
    if key == "other":
        key_file.write_bytes(key_alone(other))
    elif callable(key):
        key_file.write_bytes(key(leaf))
    settings = ListenerTlsSettings(
        cert_file="" if cert == "unset" else str(cert_file),
        key_file="" if key is None else str(key_file),
    )
    with pytest.raises(Fault, match=words) as caught:
        ListenerTls(settings, lambda _: None)
    assert "web.tls." in caught.value.message


@pytest.mark.parametrize(
    ("days", "level", "words"),
    [(100, "ok", "ends on"), (5, "note", "renew it"), (-2, "bad", "has ended on")],
)
def test_the_doctor_says_when_the_certificate_ends(tmp_path, monkeypatch, days, level, words):
    monkeypatch.chdir(tmp_path)
    leaf = certificate(tmp_path, days=days)
    flags = {"web": {"tls": {"cert_file": str(leaf[2])}}}
    findings = {each.subject: each for each in diagnose("", flags)}
    assert findings["listener's TLS"].level == level
    assert words in findings["listener's TLS"].message


async def test_workers_serve_over_tls(tmp_path):
    authority = certificate(tmp_path)
    leaf = certificate(tmp_path, issuer=authority)
    process = GatewayProcess(
        tmp_path, "--workers", "2", env={"GATEWAYZ_WEB__TLS__CERT_FILE": str(leaf[2])}
    )
    try:
        said = process.wait_for("asked:")
        assert f"https://127.0.0.1:{process.port}/v1" in said
        for _ in range(6):
            url = f"https://127.0.0.1:{process.port}/health/live"
            async with (
                aiohttp.ClientSession() as session,
                session.get(url, ssl=trusting(authority)) as answer,
            ):
                assert answer.status == 200
    finally:
        process.stop()
