"""Workload identity federation: tokens of others are exchanged for Google's, within bounds and at known hosts."""

import asyncio
import json

import pytest

from gatewayz.core.clock import SystemClock
from gatewayz.core.faults import Fault
from gatewayz.core.secrets import Secret
from gatewayz.providers.spec import Credential
from gatewayz.routing.rules import Deadlines
from gatewayz.simulator.server import Simulator
from gatewayz.upstream import google_accounts, google_requests
from gatewayz.upstream.google_requests import TokenRequests
from gatewayz.upstream.google_tokens import GoogleTokens
from gatewayz.upstream.http1 import HttpTransport
from tests.contract.test_transport import Scripted

SUBJECT = "eyJhbGciOiJSUzI1NiJ9.subject-canary.signature"


@pytest.fixture
async def issuer():
    """A simulator, and tokens that are fetched from it."""
    async with Simulator() as simulator:
        transport = HttpTransport(Deadlines())
        yield simulator, GoogleTokens(transport, SystemClock())
        await transport.close()


def credential(document):
    return Credential(id="Vertex#1", key=Secret(json.dumps(document)))


def subject_answer(body: str) -> bytes:
    return f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode()


@pytest.mark.parametrize("form", ["file", "JSON file", "url", "JSON url"])
@pytest.mark.parametrize("impersonated", [False, True])
async def test_a_token_from_a_file_or_a_url_is_exchanged(issuer, tmp_path, form, impersonated):
    simulator, tokens = issuer
    text = json.dumps({"id_token": SUBJECT}) if "JSON" in form else SUBJECT
    shape = {"type": "json", "subject_token_field_name": "id_token"} if "JSON" in form else None
    (tmp_path / "token").write_text(text)
    async with Scripted(subject_answer(text)) as server:
        where = {"url": server.url} if "url" in form else {"file": str(tmp_path / "token")}
        source = {**where, **({"format": shape} if shape else {})}
        account = simulator.accounts.create_external_account(simulator.url, source, SUBJECT)
        if impersonated:
            account["service_account_impersonation_url"] = (
                f"{simulator.url}/v1/projects/-/serviceAccounts/robot:generateAccessToken"
            )
        token = await tokens.get_token(credential(account))
        assert token.reveal() in simulator.accounts.tokens
        assert simulator.accounts.issued == (2 if impersonated else 1)
        assert await tokens.get_token(credential(account)) == token
        assert server.requests == ("url" in form)


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        ({"credential_source": {"file": "/nowhere/token"}}, "upstream_auth", "is not there"),
        ({"credential_source": {"file": "/dev/zero"}}, "upstream_auth", "no file of at most"),
        ({"credential_source": {"file": "/"}}, "upstream_auth", "no file of at most"),
        ({"credential_source": {}}, "upstream_auth", "external_account"),
        ({"credential_source": None}, "upstream_auth", "no credential_source"),
        ({"credential_source": {"executable": {"command": "id"}}}, "upstream_auth", "not served"),
        ({"credential_source": {"certificate": {}}}, "upstream_auth", "not served"),
        ({"credential_source": {"environment_id": "aws9"}}, "upstream_auth", "external_account"),
        ({"audience": ""}, "upstream_auth", "has no audience"),
        ({"audience": "//iam.googleapis.com/other"}, "upstream_auth", "HTTP 400 (invalid_grant)"),
        ({"token_url": "ftp://x"}, "upstream_auth", "not Google's"),
        ({"token_url": "http://127.0.0.1:9/token"}, "upstream_unreachable", "cannot be reached"),
    ],
)
async def test_an_account_that_cannot_be_used_is_said_to_be_so(
    issuer, tmp_path, change, kind, words
):
    simulator, tokens = issuer
    (tmp_path / "token").write_text(SUBJECT)
    source = {"file": str(tmp_path / "token")}
    account = simulator.accounts.create_external_account(simulator.url, source, SUBJECT) | change
    with pytest.raises(Fault, match="Vertex#1") as caught:
        await tokens.get_token(credential(account))
    assert caught.value.kind == kind
    assert words in caught.value.message
    shown = f"{caught.value!r} {caught.value.__context__!r} {caught.value.__cause__!r}"
    assert "subject-canary" not in shown


async def test_a_token_that_a_url_gives_without_end_is_bounded(issuer):
    simulator, tokens = issuer
    head = b"HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n"
    async with Scripted(head, *[b"a" * 2**16] * 64) as server:
        account = simulator.accounts.create_external_account(
            simulator.url, {"url": server.url}, SUBJECT
        )
        with pytest.raises(Fault) as caught:
            await tokens.get_token(credential(account))
        assert caught.value.kind == "upstream_auth"
        exchanged = [request for request in simulator.requests if request.path == "/v1/token"]
        assert all(
            len(request.body) < 4 * google_requests.MAX_ANSWER_BYTES for request in exchanged
        )


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.test/token",
        "https://googleapis.com.evil.test/",
        "https://evilgoogleapis.com/",
        "http://sts.googleapis.com/v1/token",
        "https://sts.googleapis.com@evil.test/",
        "file:///etc/passwd",
        "",
    ],
)
async def test_only_googles_hosts_and_those_of_the_account_are_asked(issuer, url):
    _, tokens = issuer
    requests = TokenRequests(tokens._transport, frozenset({"issuer.test"}), "")
    with pytest.raises(Fault, match="not Google's"):
        await asyncio.to_thread(requests, url)
    assert requests._may_ask("sts.googleapis.com", tls=True)
    assert requests._may_ask("issuer.test", tls=False)


async def test_the_requests_of_one_token_are_counted_and_end_with_whoever_waits(issuer):
    _, tokens = issuer
    async with Scripted(subject_answer("x")) as server:
        requests = TokenRequests(tokens._transport, frozenset({"127.0.0.1"}), "")
        for _ in range(google_requests.MAX_REQUESTS):
            assert (await asyncio.to_thread(requests, server.url)).data == b"x"
        with pytest.raises(Fault, match="too many"):
            await asyncio.to_thread(requests, server.url)
    idle = set(tokens._transport._open)
    async with Scripted(60.0) as server:
        requests = TokenRequests(tokens._transport, frozenset({"127.0.0.1"}), "")
        waiting = asyncio.create_task(asyncio.to_thread(requests, server.url))
        while not server.requests:
            await asyncio.sleep(0.005)
        requests.close()
        with pytest.raises(Fault, match="in time"):
            await waiting
        assert tokens._transport._open == idle


def test_the_library_is_not_loaded_before_an_account_needs_it():
    import subprocess
    import sys

    code = (
        "import gatewayz.assemble, sys; print([n for n in sys.modules if n.startswith('google')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_account_says_nothing_of_itself():
    account = google_accounts.GoogleAccount("external_account", Secret(json.dumps({"a": SUBJECT})))
    assert "subject-canary" not in repr(account)
