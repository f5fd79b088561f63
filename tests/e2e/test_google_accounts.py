"""Vertex by account: keys are signed with, tokens are kept, renewed and replaced, and nothing of them is told."""

import asyncio
import base64
import json

import openai
import pytest

from gatewayz.core.faults import Fault
from gatewayz.core.secrets import Secret
from gatewayz.providers.registry import providers_from, rows
from gatewayz.providers.spec import Credential, ProviderSettings
from gatewayz.routing.rules import Deadlines
from gatewayz.simulator.server import Simulator
from gatewayz.upstream.google_accounts import account_from
from gatewayz.upstream.google_tokens import EARLY_S, FRESH_S, GoogleTokens
from gatewayz.upstream.http1 import HttpTransport
from tests.support.house import house

HI = [{"role": "user", "content": "Tell me something, please"}]
VERTEX = "SIM/{location}/v1/projects/acme/locations/{location}"


class Clock:
    """Both clocks stand still until they are moved; the date is today's, because assertions are checked against it."""

    def __init__(self, wall_ms):
        self.seconds, self._wall_ms = 1_000.0, wall_ms

    def now(self):
        return self.seconds

    def wall_ms(self):
        return self._wall_ms


@pytest.fixture
async def desk():
    """A simulator, and tokens that are fetched from it."""
    import time

    async with Simulator() as simulator:
        transport = HttpTransport(Deadlines())
        clock = Clock(time.time_ns() // 1_000_000)
        yield simulator, GoogleTokens(transport, clock), clock
        await transport.close()


def credential(value):
    return Credential(
        id="Vertex#1", key=Secret(value if isinstance(value, str) else json.dumps(value))
    )


@pytest.mark.parametrize("form", ["json", "base64", "path", "escaped"])
async def test_a_service_account_is_understood_in_every_form(desk, tmp_path, form):
    simulator, tokens, _ = desk
    account = simulator.accounts.service_account(simulator.url)
    text = json.dumps(account)
    if form == "base64":
        text = base64.b64encode(text.encode()).decode()
    if form == "escaped":
        text = json.dumps(account | {"private_key": account["private_key"].replace("\n", "\\n")})
    if form == "path":
        (tmp_path / "key.json").write_text(text)
        text = str(tmp_path / "key.json")
    token = await tokens.token(credential(text))
    assert simulator.accounts.tokens.keys() == {token.reveal()}
    assert simulator.accounts.refused == []


async def test_users_and_machines_have_tokens_too(desk):
    simulator, tokens, _ = desk
    user = await tokens.token(credential(simulator.accounts.authorized_user(simulator.url)))
    machine = await tokens.token(credential(f"metadata:{simulator.url}"))
    assert simulator.accounts.tokens.keys() == {user.reveal(), machine.reveal()}


async def test_one_flight_serves_everyone_and_the_token_is_kept(desk):
    simulator, tokens, clock = desk
    held = credential(simulator.accounts.service_account(simulator.url))
    together = await asyncio.gather(*(tokens.token(held) for _ in range(50)))
    assert len(set(together)) == 1
    clock.seconds += simulator.accounts.life_s - EARLY_S - 1
    assert await tokens.token(held) == together[0]
    assert simulator.accounts.issued == 1
    clock.seconds += 2
    assert await tokens.token(held) != together[0]
    assert simulator.accounts.issued == 2


async def test_one_who_leaves_does_not_take_the_token_from_the_others(desk):
    simulator, tokens, _ = desk
    held = credential(simulator.accounts.service_account(simulator.url))
    waiting = [asyncio.ensure_future(tokens.token(held)) for _ in range(5)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    got = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(got[0], asyncio.CancelledError)
    assert len({token.reveal() for token in got[1:]}) == 1


async def test_an_old_token_serves_while_no_new_one_is_to_be_had_and_not_longer(desk):
    simulator, tokens, clock = desk
    held = credential(simulator.accounts.service_account(simulator.url))
    old = await tokens.token(held)
    simulator.script("token", ["fault-503"])
    clock.seconds += simulator.accounts.life_s - 1
    assert await tokens.token(held) == old
    clock.seconds += 2
    with pytest.raises(Fault) as caught:
        await tokens.token(held)
    assert caught.value.kind == "upstream_error"


async def test_a_refused_token_is_replaced_unless_it_is_fresh(desk):
    simulator, tokens, clock = desk
    held = credential(simulator.accounts.service_account(simulator.url))
    old = await tokens.token(held)
    assert not tokens.refused(held, old)
    clock.seconds += FRESH_S + 1
    assert tokens.refused(held, old)
    assert tokens.refused(held, old)
    assert await tokens.token(held) != old


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
async def test_what_the_issuer_says_is_a_fault_by_kind(desk, scene, kind):
    simulator, tokens, _ = desk
    account = simulator.accounts.service_account(simulator.url)
    simulator.script("token", [scene])
    with pytest.raises(Fault) as caught:
        await tokens.token(credential(account))
    assert caught.value.kind == kind
    told = f"{caught.value!r} {caught.value.message} {caught.value.__cause__!r} {caught.value.__context__!r}"
    assert account["private_key"][40:80] not in told
    assert account["client_email"] not in told
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
async def test_a_credential_that_is_none_is_said_to_be_so(desk, wrong):
    simulator, tokens, _ = desk
    with pytest.raises(Fault) as caught:
        await tokens.token(credential(simulator.accounts.service_account(simulator.url) | wrong))
    assert caught.value.kind == "upstream_auth"
    assert "nonsense" not in caught.value.message
    assert simulator.accounts.issued == 0


@pytest.mark.parametrize(
    "text",
    ["no JSON at all", "/nowhere/to/be/found.json", "[]", "{", "metadata:http://127.0.0.1:1"],
)
async def test_an_account_that_cannot_be_read_or_reached_is_a_fault(desk, text):
    _, tokens, _ = desk
    with pytest.raises(Fault) as caught:
        await tokens.token(credential(text))
    assert caught.value.kind in {"upstream_auth", "upstream_unreachable"}


async def test_a_stranger_with_the_same_name_has_no_token(desk):
    simulator, tokens, _ = desk
    real = simulator.accounts.service_account(simulator.url)
    forged = simulator.accounts.service_account(simulator.url) | {
        "private_key_id": real["private_key_id"]
    }
    with pytest.raises(Fault) as caught:
        await tokens.token(credential(forged))
    assert caught.value.kind == "upstream_auth"
    assert simulator.accounts.refused == ["Invalid JWT Signature."]


def test_nothing_of_an_account_is_in_its_repr():
    user = {
        "type": "authorized_user",
        "client_id": "c",
        "client_secret": "SECRET-ONE",
        "refresh_token": "SECRET-TWO",
    }
    assert "SECRET" not in repr(account_from(json.dumps(user)))


def vertex(account, **more):
    return {"google-vertex": {"base_url": VERTEX, "auth": "google", "key": account, **more}}


@pytest.fixture
async def here(tmp_path):
    file = tmp_path / "key.json"
    async with house(tmp_path, more=vertex(str(file), locations=["europe-west4", "global"])) as one:
        file.write_text(json.dumps(one.upstream.accounts.service_account(one.upstream.url)))
        yield one


async def test_a_call_is_served_with_a_token_and_the_next_one_with_the_same(here):
    for streamed in (False, True, False):
        reply = await here.client().chat.completions.create(
            model="google-vertex/echo", messages=HI, stream=streamed
        )
        if streamed:
            async for _ in reply:
                pass
    asked = [request for request in here.upstream.requests if "publishers" in request.path]
    assert {request.path.partition("/publishers")[0] for request in asked} == {
        "/europe-west4/v1/projects/acme/locations/europe-west4"
    }
    assert len({request.headers["authorization"] for request in asked}) == 1
    assert here.upstream.accounts.issued == 1


async def test_a_revoked_token_is_replaced_within_the_call(here, tmp_path):
    client = here.client()
    await client.chat.completions.create(model="google-vertex/echo", messages=HI)
    here.upstream.accounts.revoke()
    tokens = here.built.asker._tokens
    (kept,) = tokens._kept.values()
    kept.token = type(kept.token)(
        kept.token.secret, kept.token.fetched_at - FRESH_S - 1, kept.token.expires_at
    )
    reply = await client.chat.completions.create(model="google-vertex/echo", messages=HI)
    assert reply.choices[0].message.content == HI[0]["content"]
    assert here.upstream.accounts.issued == 2
    assert len(here.last.attempts) == 1
    log = (tmp_path / "log.jsonl").read_text()
    assert "ya29" not in log
    assert "PRIVATE" not in log


async def test_a_token_that_is_refused_again_is_the_end_of_it(here):
    here.upstream.accounts.life_s = -1
    with pytest.raises(openai.InternalServerError) as caught:
        await here.client().chat.completions.create(model="google-vertex/echo", messages=HI)
    assert caught.value.status_code == 503
    assert here.upstream.accounts.issued <= 2
    assert "ya29" not in str(caught.value)


@pytest.mark.parametrize("refusal", ["exchange-error_429_vertex", "exchange-error_404_vertex"])
@pytest.mark.parametrize("streamed", [False, True])
async def test_the_next_location_is_asked_within_the_attempt(here, refusal, streamed):
    here.upstream.script("gemini-3-pro", [refusal, "echo"])
    reply = await here.client().chat.completions.create(
        model="google-vertex/gemini-3-pro", messages=HI, stream=streamed
    )
    if streamed:
        async for _ in reply:
            pass
    paths = [request.path for request in here.upstream.requests if "publishers" in request.path]
    assert [path.partition("/v1")[0] for path in paths] == ["/europe-west4", "/global"]
    (attempt,) = here.last.attempts
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
async def test_when_every_location_refuses_the_refusal_that_tells_most_counts(here, answers, error):
    here.upstream.script("gemini-3-pro", answers)
    with pytest.raises(error):
        await here.client().chat.completions.create(model="google-vertex/gemini-3-pro", messages=HI)
    assert len(
        [request for request in here.upstream.requests if "publishers" in request.path]
    ) == len(answers)


def urls(environment, **said):
    provider = providers_from(
        rows(), environment, {"google-vertex": ProviderSettings(**said)} if said else {}
    )["google-vertex"]
    return provider, (provider.base_url, *provider.elsewhere)


ACCOUNT = {"GOOGLE_APPLICATION_CREDENTIALS": "/key.json", "GOOGLE_CLOUD_PROJECT": "acme"}


@pytest.mark.parametrize(
    ("environment", "said", "want"),
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
def test_where_vertex_is_asked(environment, said, want):
    provider, found = urls(environment, **said)
    assert provider.off == ""
    assert found == tuple(f"https://{url}" for url in want)


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
        ({"type": "external_account"}, "bad", "of type 'external_account' cannot be used"),
        (None, "bad", "its file cannot be read"),
    ],
)
def test_the_doctor_reads_accounts_before_a_call_needs_them(tmp_path, written, level, says):
    from gatewayz.cli.accountchecks import account_findings
    from gatewayz.settings import loaded

    file = tmp_path / "key.json"
    if written is not None:
        file.write_text(json.dumps(written))
    providers = providers_from(
        rows(),
        ACCOUNT | {"GOOGLE_APPLICATION_CREDENTIALS": str(file), "GOOGLE_CLOUD_LOCATION": "eu"},
        {},
    )
    (finding,) = account_findings(loaded("", {}), providers)
    assert (finding.level, finding.subject) == (level, "google-vertex")
    assert says in finding.says
    if level == "ok":
        assert finding.says.endswith(
            "for aiplatform.eu.rep.googleapis.com, aiplatform.googleapis.com"
        )
