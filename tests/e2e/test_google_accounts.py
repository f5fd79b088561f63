"""Vertex by account: keys sign, tokens are cached, renewed and replaced, and both stay secret."""

import asyncio
import base64
import json
from typing import Any

import openai
import pytest
from msgspec.structs import replace

from gatewayz.core.faults import Fault
from gatewayz.core.secrets import Secret
from gatewayz.providers.registry import provider_rows, providers_from
from gatewayz.providers.spec import Credential, ProviderSettings
from gatewayz.simulator.server import Simulator
from gatewayz.upstream.google_accounts import account_from_text
from gatewayz.upstream.google_tokens import MIN_REFRESH_AGE_S, REFRESH_EARLY_S, GoogleTokens
from gatewayz.upstream.http1 import HttpTransport
from tests.support.running_gateway import PATIENT, run_gateway

HI: Any = [{"role": "user", "content": "Tell me something, please"}]
VERTEX = "SIM/{location}/v1/projects/acme/locations/{location}"


class Clock:
    """Both clocks stand still until they are moved.

    The date is today's, because assertions are checked against it.
    """

    def __init__(self, wall_ms):
        self.seconds, self._wall_ms = 1_000.0, wall_ms

    def now(self):
        return self.seconds

    def wall_ms(self):
        return self._wall_ms


@pytest.fixture
async def google_tokens():
    """A simulator, and tokens that are fetched from it."""
    import time

    async with Simulator() as simulator:
        transport = HttpTransport(PATIENT)
        clock = Clock(time.time_ns() // 1_000_000)
        yield simulator, GoogleTokens(transport, clock), clock
        await transport.close()


def credential(value):
    return Credential(
        id="Vertex#1", key=Secret(value if isinstance(value, str) else json.dumps(value))
    )


@pytest.mark.parametrize("form", ["json", "base64", "path", "escaped"])
async def test_a_service_account_is_understood_in_every_form(google_tokens, tmp_path, form):
    simulator, tokens, _ = google_tokens
    account = simulator.accounts.create_service_account(simulator.url)
    text = json.dumps(account)
    if form == "base64":
        text = base64.b64encode(text.encode()).decode()
    if form == "escaped":
        text = json.dumps(account | {"private_key": account["private_key"].replace("\n", "\\n")})
    if form == "path":
        (tmp_path / "key.json").write_text(text)
        text = str(tmp_path / "key.json")
    token = await tokens.get_token(credential(text))
    assert simulator.accounts.tokens.keys() == {token.reveal()}
    assert simulator.accounts.refused == []


async def test_users_and_machines_have_tokens_too(google_tokens):
    simulator, tokens, _ = google_tokens
    user = await tokens.get_token(
        credential(simulator.accounts.create_user_credentials(simulator.url))
    )
    machine = await tokens.get_token(credential(f"metadata:{simulator.url}"))
    assert simulator.accounts.tokens.keys() == {user.reveal(), machine.reveal()}


async def test_one_flight_serves_everyone_and_the_token_is_kept(google_tokens):
    simulator, tokens, clock = google_tokens
    service = credential(simulator.accounts.create_service_account(simulator.url))
    together = await asyncio.gather(*(tokens.get_token(service) for _ in range(50)))
    assert len(set(together)) == 1
    clock.seconds += simulator.accounts.life_s - REFRESH_EARLY_S - 1
    assert await tokens.get_token(service) == together[0]
    assert simulator.accounts.issued == 1
    clock.seconds += 2
    assert await tokens.get_token(service) != together[0]
    assert simulator.accounts.issued == 2


async def test_one_who_leaves_does_not_take_the_token_from_the_others(google_tokens):
    simulator, tokens, _ = google_tokens
    service = credential(simulator.accounts.create_service_account(simulator.url))
    waiting = [asyncio.ensure_future(tokens.get_token(service)) for _ in range(5)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    cancelled, *others = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(cancelled, asyncio.CancelledError)
    assert len({token.reveal() for token in others if isinstance(token, Secret)}) == 1
    assert len(others) == 4


async def test_an_old_token_serves_while_no_new_one_is_to_be_had_and_not_longer(google_tokens):
    simulator, tokens, clock = google_tokens
    service = credential(simulator.accounts.create_service_account(simulator.url))
    old = await tokens.get_token(service)
    simulator.script("token", ["fault-503"])
    clock.seconds += simulator.accounts.life_s - 1
    assert await tokens.get_token(service) == old
    clock.seconds += 2
    with pytest.raises(Fault) as caught:
        await tokens.get_token(service)
    assert caught.value.kind == "upstream_error"


async def test_a_refused_token_is_replaced_unless_it_is_fresh(google_tokens):
    simulator, tokens, clock = google_tokens
    service = credential(simulator.accounts.create_service_account(simulator.url))
    old = await tokens.get_token(service)
    assert not tokens.invalidate(service, old)
    clock.seconds += MIN_REFRESH_AGE_S + 1
    assert tokens.invalidate(service, old)
    assert tokens.invalidate(service, old)
    assert await tokens.get_token(service) != old


@pytest.mark.parametrize(
    ("scene", "kind"),
    [
        ("Invalid JWT Signature.", "upstream_auth"),
        ("fault-401", "upstream_auth"),
        ("fault-403", "upstream_auth"),
        ("fault-429", "upstream_limited"),
        ("fault-500", "upstream_error"),
        ("fault-503", "upstream_error"),
        ("fault-504", "upstream_timeout"),
    ],
)
async def test_what_the_issuer_says_is_a_fault_by_kind(google_tokens, scene, kind):
    simulator, tokens, _ = google_tokens
    account = simulator.accounts.create_service_account(simulator.url)
    simulator.script("token", [scene])
    with pytest.raises(Fault) as caught:
        await tokens.get_token(credential(account))
    assert caught.value.kind == kind
    fault = caught.value
    shown = f"{fault!r} {fault.message} {fault.__cause__!r} {fault.__context__!r}"
    assert account["private_key"][40:80] not in shown
    assert account["client_email"] not in shown
    assert "Vertex#1" in caught.value.message


@pytest.mark.parametrize(
    "wrong",
    [
        {"private_key": "-----BEGIN PRIVATE KEY-----\nnonsense\n-----END PRIVATE KEY-----\n"},
        {"private_key": ""},
        {"client_email": 5},
        {"type": "external_account"},
        {"type": None},
    ],
)
async def test_a_credential_that_is_none_is_said_to_be_so(google_tokens, wrong):
    simulator, tokens, _ = google_tokens
    with pytest.raises(Fault) as caught:
        await tokens.get_token(
            credential(simulator.accounts.create_service_account(simulator.url) | wrong)
        )
    assert caught.value.kind == "upstream_auth"
    assert "nonsense" not in caught.value.message
    assert simulator.accounts.issued == 0


@pytest.mark.parametrize(
    "text",
    ["no JSON at all", "/nowhere/to/be/found.json", "[]", "{", "metadata:http://127.0.0.1:1"],
)
async def test_an_account_that_cannot_be_read_or_reached_is_a_fault(google_tokens, text):
    _, tokens, _ = google_tokens
    with pytest.raises(Fault) as caught:
        await tokens.get_token(credential(text))
    assert caught.value.kind in {"upstream_auth", "upstream_unreachable"}


async def test_a_stranger_with_the_same_name_has_no_token(google_tokens):
    simulator, tokens, _ = google_tokens
    real = simulator.accounts.create_service_account(simulator.url)
    forged = simulator.accounts.create_service_account(simulator.url) | {
        "private_key_id": real["private_key_id"]
    }
    with pytest.raises(Fault) as caught:
        await tokens.get_token(credential(forged))
    assert caught.value.kind == "upstream_auth"
    assert simulator.accounts.refused == ["Invalid JWT Signature."]


def test_nothing_of_an_account_is_in_its_repr():
    user = {
        "type": "authorized_user",
        "client_id": "c",
        "client_secret": "SECRET-ONE",
        "refresh_token": "SECRET-TWO",
    }
    assert "SECRET" not in repr(account_from_text(json.dumps(user)))


def vertex(account, **more):
    return {"google-vertex": {"base_url": VERTEX, "auth": "google", "key": account, **more}}


@pytest.fixture
async def gateway(tmp_path):
    file = tmp_path / "key.json"
    async with run_gateway(
        tmp_path, more=vertex(str(file), locations=["europe-west4", "global"])
    ) as running:
        account = running.upstream.accounts.create_service_account(running.upstream.url)
        file.write_text(json.dumps(account))
        yield running


async def test_a_call_is_served_with_a_token_and_the_next_one_with_the_same(gateway):
    for streamed in (False, True, False):
        reply = await gateway.client().chat.completions.create(
            model="google-vertex/echo", messages=HI, stream=streamed
        )
        if streamed:
            async for _ in reply:
                pass
    requests = [request for request in gateway.upstream.requests if "publishers" in request.path]
    assert {request.path.partition("/publishers")[0] for request in requests} == {
        "/europe-west4/v1/projects/acme/locations/europe-west4"
    }
    assert len({request.headers["authorization"] for request in requests}) == 1
    assert gateway.upstream.accounts.issued == 1


async def test_a_revoked_token_is_replaced_within_the_call(gateway, tmp_path):
    client = gateway.client()
    await client.chat.completions.create(model="google-vertex/echo", messages=HI)
    gateway.upstream.accounts.revoke_tokens()
    (state,) = gateway.built.upstream._tokens._states.values()
    # As if it were old enough to be replaced.
    state.token = replace(state.token, fetched_at=state.token.fetched_at - MIN_REFRESH_AGE_S - 1)
    reply = await client.chat.completions.create(model="google-vertex/echo", messages=HI)
    assert reply.choices[0].message.content == HI[0]["content"]
    assert gateway.upstream.accounts.issued == 2
    assert len(gateway.last.attempts) == 1
    log = (tmp_path / "log.jsonl").read_text()
    assert "ya29" not in log
    assert "PRIVATE" not in log


async def test_a_token_that_is_refused_again_is_the_end_of_it(gateway):
    gateway.upstream.accounts.life_s = -1
    with pytest.raises(openai.InternalServerError) as caught:
        await gateway.client().chat.completions.create(model="google-vertex/echo", messages=HI)
    assert caught.value.status_code == 503
    assert gateway.upstream.accounts.issued <= 2
    assert "ya29" not in str(caught.value)


@pytest.mark.parametrize("refusal", ["exchange-error_429_vertex", "exchange-error_404_vertex"])
@pytest.mark.parametrize("streamed", [False, True])
async def test_the_next_location_is_asked_within_the_attempt(gateway, refusal, streamed):
    gateway.upstream.script("gemini-3-pro", [refusal, "echo"])
    reply = await gateway.client().chat.completions.create(
        model="google-vertex/gemini-3-pro", messages=HI, stream=streamed
    )
    if streamed:
        async for _ in reply:
            pass
    paths = [request.path for request in gateway.upstream.requests if "publishers" in request.path]
    assert [path.partition("/v1")[0] for path in paths] == ["/europe-west4", "/global"]
    (attempt,) = gateway.last.attempts
    assert (attempt.fault, attempt.status) == ("", 200)


@pytest.mark.parametrize(
    ("answers", "error"),
    [
        (["exchange-error_429_vertex", "exchange-error_429_vertex"], openai.RateLimitError),
        (["exchange-error_429_vertex", "exchange-error_404_vertex"], openai.RateLimitError),
        (["exchange-error_404_vertex", "exchange-error_429_vertex"], openai.RateLimitError),
        (["exchange-error_404_vertex", "exchange-error_404_vertex"], openai.NotFoundError),
        (["fault-400"], openai.BadRequestError),
        (["fault-503"], openai.InternalServerError),
    ],
)
async def test_when_every_location_refuses_the_refusal_that_tells_most_counts(
    gateway, answers, error
):
    gateway.upstream.script("gemini-3-pro", answers)
    with pytest.raises(error):
        await gateway.client().chat.completions.create(
            model="google-vertex/gemini-3-pro", messages=HI
        )
    assert len(
        [request for request in gateway.upstream.requests if "publishers" in request.path]
    ) == len(answers)


def urls(environment, **row):
    provider = providers_from(
        provider_rows(), environment, {"google-vertex": ProviderSettings(**row)} if row else {}
    )["google-vertex"]
    return provider, (provider.base_url, *provider.fallback_base_urls)


ACCOUNT = {"GOOGLE_APPLICATION_CREDENTIALS": "/key.json", "GOOGLE_CLOUD_PROJECT": "acme"}


@pytest.mark.parametrize(
    ("environment", "row", "want"),
    [
        (ACCOUNT, {}, ["aiplatform.googleapis.com/v1/projects/acme/locations/global"]),
        (
            ACCOUNT | {"GOOGLE_CLOUD_LOCATION": "europe-west4"},
            {},
            [
                "europe-west4-aiplatform.googleapis.com/v1/projects/acme/locations/europe-west4",
                "aiplatform.googleapis.com/v1/projects/acme/locations/global",
            ],
        ),
        (
            ACCOUNT | {"GOOGLE_VERTEX_LOCATION": "eu, us"},
            {},
            [
                "aiplatform.eu.rep.googleapis.com/v1/projects/acme/locations/eu",
                "aiplatform.us.rep.googleapis.com/v1/projects/acme/locations/us",
                "aiplatform.googleapis.com/v1/projects/acme/locations/global",
            ],
        ),
        (
            ACCOUNT | {"GOOGLE_CLOUD_LOCATION": "us-east1"},
            {"locations": ("eu",)},
            ["aiplatform.eu.rep.googleapis.com/v1/projects/acme/locations/eu"],
        ),
        ({"GOOGLE_VERTEX_API_KEY": "k"}, {}, ["aiplatform.googleapis.com/v1"]),
        (ACCOUNT | {"GOOGLE_VERTEX_API_KEY": "k"}, {}, ["aiplatform.googleapis.com/v1"]),
        (
            ACCOUNT | {"GOOGLE_VERTEX_API_KEY": "k"},
            {"auth": "google"},
            ["aiplatform.googleapis.com/v1/projects/acme/locations/global"],
        ),
    ],
)
def test_where_vertex_is_asked(environment, row, want):
    provider, addresses = urls(environment, **row)
    assert provider.off == ""
    assert addresses == tuple(f"https://{url}" for url in want)


def test_what_is_missing_for_vertex_is_said():
    assert "GOOGLE_VERTEX_API_KEY" in urls({})[0].off
    assert "GOOGLE_CLOUD_PROJECT" in urls({"GOOGLE_APPLICATION_CREDENTIALS": "/key.json"})[0].off


@pytest.mark.parametrize(
    ("written", "level", "says"),
    [
        (
            {
                "type": "authorized_user",
                "client_id": "c",
                "client_secret": "s",
                "refresh_token": "t",
            },
            "ok",
            "application-default credentials of a user",
        ),
        ({"type": "external_account"}, "bad", "the Google credential has no audience"),
        ({"type": "gdch_service_account"}, "bad", "of type 'gdch_service_account' cannot be used"),
        (None, "bad", "its file cannot be read"),
    ],
)
def test_the_doctor_reads_accounts_before_a_call_needs_them(tmp_path, written, level, says):
    from gatewayz.cli.doctor.account_checks import account_findings
    from gatewayz.settings import load_settings

    file = tmp_path / "key.json"
    if written is not None:
        file.write_text(json.dumps(written))
    providers = providers_from(
        provider_rows(),
        ACCOUNT | {"GOOGLE_APPLICATION_CREDENTIALS": str(file), "GOOGLE_CLOUD_LOCATION": "eu"},
        {},
    )
    (finding,) = account_findings(load_settings("", {}), providers)
    assert (finding.level, finding.subject) == (level, "google-vertex")
    assert says in finding.message
    if level == "ok":
        assert finding.message.endswith(
            "for aiplatform.eu.rep.googleapis.com, aiplatform.googleapis.com"
        )
