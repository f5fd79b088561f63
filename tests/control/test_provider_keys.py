"""Keys and switches of providers while gateways serve: set by API and by command, used at once by every process, shown
to nobody, in the audit log; and what holds where several places have a key.
"""

from contextlib import AsyncExitStack
from typing import Any

import pytest
from sqlalchemy import select

from gatewayz.control.overrides import SqlCatalogOverrides
from gatewayz.control.provider_keys import (
    MAX_KEYS,
    changes_from_overrides,
    check_provider_key,
    put_provider_key,
    switch_provider,
)
from gatewayz.core.faults import Fault
from gatewayz.core.secrets import Secret
from gatewayz.providers.registry import provider_rows, providers_from
from gatewayz.providers.spec import Credential, ProviderChange, ProviderSettings
from gatewayz.simulator.server import Simulator
from gatewayz.store.sql.tables import PROVIDER_KEYS
from tests.support.clocks import ManualClock
from tests.support.control_plane import run_control_plane
from tests.support.control_transaction import control_transaction
from tests.support.databases import on_sqlite, url_of
from tests.support.running_gateway import run_gateway, wait_until

KEY, OTHER_KEY = "sk-live-set-by-api-000000001", "sk-live-set-by-api-000000002"
PROVIDERS = providers_from(provider_rows(), {}, {})


def keyless(url):
    """A provider that waits for its key, as a row of the package does."""
    return {"dialect": "openai_chat", "base_url": url, "auth": "bearer"}


@pytest.fixture
async def upstream():
    async with Simulator() as simulator:
        yield simulator


@pytest.fixture
async def control_plane(location, tmp_path, upstream):
    more = {"waiting": keyless(f"{upstream.url}/waiting/v1")}
    async with run_control_plane(location, tmp_path, more=more) as plane:
        yield plane


async def ask(control_plane, status=200):
    answer = await control_plane.operator.chat(model="waiting/echo")
    assert answer.status == status, answer.text
    return answer


def key_of(request):
    return dict(request.headers)["authorization"].removeprefix("Bearer ")


async def test_a_key_that_is_set_is_used_at_once_and_shown_to_nobody(control_plane, upstream):
    operator = control_plane.operator
    before = await operator.get("/admin/providers/waiting")
    assert (before["state"], before["keys_from"]) == ("off", "")
    await ask(control_plane, 404)

    stored = await operator.request(
        "POST", "/admin/provider-keys", {"provider": "waiting", "key": KEY}
    )
    after = await operator.get("/admin/providers/waiting")
    assert (after["state"], after["keys_from"], after["credentials"]) == ("on", "store", 1)
    await ask(control_plane)
    assert key_of(upstream.requests[-1]) == KEY

    everywhere = [
        str(stored),
        str(after),
        str(await operator.get("/admin/provider-keys")),
        str(await operator.get("/admin/audit")),
    ]
    async with control_plane.transaction.database.begin(reading=True) as connection:
        everywhere.append(str((await connection.execute(select(PROVIDER_KEYS))).all()))
    assert [text for text in everywhere if KEY in text] == []
    assert "sk-…0001" in everywhere[2]


async def test_another_key_takes_its_place_or_stands_beside_it_and_is_removed(
    control_plane, upstream
):
    operator = control_plane.operator
    for key in (KEY, OTHER_KEY):
        await operator.request("POST", "/admin/provider-keys", {"provider": "waiting", "key": key})
    await ask(control_plane)
    assert key_of(upstream.requests[-1]) == OTHER_KEY
    body = {"provider": "waiting", "key": KEY, "beside": True, "weight": 3}
    await operator.request("POST", "/admin/provider-keys", body)
    rows = (await operator.get("/admin/provider-keys?provider=waiting"))["data"]
    assert [row["weight"] for row in rows] == [1, 3]
    for row in rows:
        await operator.request("DELETE", f"/admin/provider-keys/{row['id']}")
    assert (await operator.get("/admin/providers/waiting"))["state"] == "off"
    await operator.request("DELETE", f"/admin/provider-keys/{rows[0]['id']}", status=404)
    actions = [entry["action"] for entry in (await operator.get("/admin/audit"))["data"]]
    assert actions.count("provider.key.set") == 3
    assert actions.count("provider.key.removed") == 2


async def test_a_provider_is_switched_off_and_on_while_calls_go_on(control_plane):
    operator = control_plane.operator
    assert (await operator.chat()).status == 200
    body = {"enabled": False, "reason": "their incident"}
    off = await operator.request("PATCH", "/admin/providers/first", body)
    assert off["why"] == "switched off by an operator: their incident"
    assert (await operator.chat()).status in {400, 403, 404, 503}
    on = await operator.request("PATCH", "/admin/providers/first", {"enabled": True})
    assert (on["state"], on["why"]) == ("on", "")
    assert (await operator.chat()).status == 200
    actions = [entry["action"] for entry in (await operator.get("/admin/audit"))["data"]]
    assert {"provider.off", "provider.on"} <= set(actions)


async def test_what_the_configuration_sets_is_changed_there(location, tmp_path, upstream):
    more = {
        "listed": {**keyless(f"{upstream.url}/v1"), "credentials": [{"key": "sk-configured"}]},
        "stopped": {**keyless(f"{upstream.url}/v1"), "enabled": False},
    }
    async with run_control_plane(location, tmp_path, more=more) as plane:
        operator = plane.operator
        for name, path in (("first", "providers.first.key"), ("listed", "providers.listed.cred")):
            body = {"provider": name, "key": KEY}
            answer = await operator.request("POST", "/admin/provider-keys", body, status=409)
            assert answer["error"]["code"] == "config_locked"
            assert path in answer["error"]["message"]
        answer = await operator.request(
            "PATCH", "/admin/providers/stopped", {"enabled": True}, status=409
        )
        assert "providers.stopped.enabled" in answer["error"]["message"]
        # What is on by the file is still switched off live: that only ever takes away.
        await operator.request("PATCH", "/admin/providers/listed", {"enabled": False})


async def test_every_gateway_on_the_store_takes_it_over(location, tmp_path, upstream):
    settings: dict[str, Any] = {"database": {"url": url_of(location)}, "providers": ("first",)}
    more = {"waiting": keyless(f"{upstream.url}/waiting/v1")}
    async with AsyncExitStack() as stack:
        gateways = []
        for name in ("one", "two"):
            folder = tmp_path / name
            folder.mkdir()
            started = run_gateway(
                folder, more=more, secret_key="the-secret-of-both-gateways", **settings
            )
            gateways.append(await stack.enter_async_context(started))
        transaction = gateways[0].built.control_transaction
        provider = gateways[0].built.catalog.providers["waiting"]
        await put_provider_key(transaction, provider, KEY, weight=1, beside=False)

        def are_on():
            return [not each.built.catalog.providers["waiting"].off for each in gateways]

        await wait_until(lambda: all(are_on()))
        await switch_provider(transaction, provider, on=False)
        await wait_until(lambda: not any(are_on()))
        reasons = {each.built.catalog.providers["waiting"].off for each in gateways}
        assert reasons == {"switched off by an operator"}


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("“sk-curly”", "U+201C"),
        ("sk-a b", "space or line break"),
        ("sk-a\nX-Injected: 1", "space or line break"),
        ("sk-\x00", "U+0000"),
        ("ключ", "U+043A"),
        (" \n", "empty"),
        ("k" * 9_000, "9000 characters"),
    ],
)
def test_a_key_that_no_header_carries_is_refused_without_quoting_it(key, says):
    with pytest.raises(Fault, match=says.replace("+", r"\+")) as caught:
        check_provider_key(PROVIDERS["openai"], key)
    assert caught.value.kind == "bad_request"
    assert len(key.strip()) < 3 or key.strip() not in caught.value.message


def test_a_key_is_taken_without_the_line_end_of_a_file_and_an_account_is_a_document():
    assert check_provider_key(PROVIDERS["openai"], " sk-plain\r\n") == "sk-plain"
    google = providers_from(provider_rows(), {"GOOGLE_APPLICATION_CREDENTIALS": "/x.json"}, {})[
        "google-vertex"
    ]
    with pytest.raises(Fault, match="JSON document"):
        check_provider_key(google, "/home/me/key.json")
    assert check_provider_key(google, '{"type": "service_account"}\n').startswith("{")


def test_settings_hold_over_the_store_and_the_store_over_the_environment():
    stored = ProviderChange(credentials=(Credential(id="groq#1", key=Secret("stored")),))
    environment = {"GROQ_API_KEY": "variable"}

    def key(settings, change):
        changes = {"groq": change} if change else {}
        provider = providers_from(provider_rows(), environment, settings, changes)["groq"]
        [credential] = provider.credentials
        return credential.key.reveal(), provider.keys_from, provider.key_source

    own = {"groq": ProviderSettings(key="written")}
    assert key(own, stored) == ("written", "settings", "providers.groq.key")
    assert key({}, stored) == ("stored", "store", "set by command or API")
    assert key({}, None) == ("variable", "environment", "GROQ_API_KEY")
    # A file that names a variable which is not set has set nothing.
    assert key({"groq": ProviderSettings(key="")}, stored)[1] == "store"


@on_sqlite
async def test_a_key_of_another_secret_is_said_to_be_unreadable(database):
    transaction = control_transaction(database, ManualClock(), Secret("the-first-secret"))
    await put_provider_key(transaction, PROVIDERS["groq"], KEY, weight=1, beside=False)
    other = control_transaction(database, ManualClock(), Secret("another-secret"))
    overrides = await SqlCatalogOverrides(database).read(0)
    changes = changes_from_overrides(overrides, other.peppers)
    provider = providers_from(provider_rows(), {}, {}, changes)["groq"]
    assert "another secret" in provider.off
    both = control_transaction(
        database, ManualClock(), Secret("another-secret"), Secret("the-first-secret")
    )
    changes = changes_from_overrides(overrides, both.peppers)
    assert changes["groq"].credentials[0].key.reveal() == KEY


@on_sqlite
async def test_a_stored_key_is_bound_to_its_provider_and_keys_are_bounded(database):
    transaction = control_transaction(database, ManualClock())
    for _ in range(MAX_KEYS):
        await put_provider_key(transaction, PROVIDERS["groq"], KEY, weight=1, beside=True)
    with pytest.raises(Fault, match="the most that are stored"):
        await put_provider_key(transaction, PROVIDERS["groq"], KEY, weight=1, beside=True)
    async with database.begin() as connection:
        await connection.execute(PROVIDER_KEYS.update().values(provider="openai"))
    overrides = await SqlCatalogOverrides(database).read(0)
    moved = changes_from_overrides(overrides, transaction.peppers)["openai"]
    assert (moved.credentials, moved.unreadable) == ((), MAX_KEYS)
