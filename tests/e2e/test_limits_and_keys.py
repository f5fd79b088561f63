"""Over the wire: nothing is reachable without limits, and a key works from where, for what and as fast as it may."""

import asyncio
import secrets
from typing import Any, get_args

import aiohttp
import openai
import pytest

from gatewayz.control import accounts, keys
from gatewayz.core.access import ACCESS_SCOPES, SCOPES, Access
from gatewayz.core.keys import RANDOM_BYTES, key_from_random
from gatewayz.engine.authenticator import is_in_networks
from tests.support.billing_gateway import complete_chat, run_billing_gateway
from tests.support.running_gateway import run_gateway

HOUR = {"key_per_day": 10**6, "system_rpm": 10**6, "burst": 10**4, "account_rpm": 10**6}


async def get(url, key="", **headers):
    async with aiohttp.ClientSession() as session:
        authorization = {"Authorization": f"Bearer {key}"} if key else {}
        async with session.get(url, headers=authorization | headers) as answer:
            return answer.status, answer.headers, await answer.text()


async def test_what_headers_say_of_a_limit_is_of_one_scale(tmp_path):
    for limits in ({"key_rpm": 250, "burst": 100}, {"key_rpm": 7, "burst": 100}, {}):
        async with run_gateway(tmp_path, limits={**HOUR, **limits}) as gateway:
            raw = await gateway.client().chat.completions.with_raw_response.create(
                model="first/echo", messages=[{"role": "user", "content": "x"}]
            )
            limit = int(raw.headers["x-ratelimit-limit-requests"])
            assert int(raw.headers["x-ratelimit-remaining-requests"]) == limit - 1


async def test_a_key_that_asks_too_fast_is_told_when_to_come_back(tmp_path):
    async with run_gateway(tmp_path, limits={**HOUR, "key_rpm": 2, "burst": 2}) as gateway:
        client = gateway.client()
        for remaining in ("1", "0"):
            raw = await client.chat.completions.with_raw_response.create(
                model="first/echo", messages=[{"role": "user", "content": "x"}]
            )
            assert (
                raw.headers["x-ratelimit-limit-requests"],
                raw.headers["x-ratelimit-remaining-requests"],
            ) == ("2", remaining)
            assert raw.headers["x-ratelimit-reset-requests"].endswith("s")
        with pytest.raises(openai.RateLimitError) as refused:
            await complete_chat(client, "first/echo")
        assert refused.value.response.headers["retry-after"] == "30"
        assert refused.value.response.headers["x-ratelimit-remaining-requests"] == "0"
        assert refused.value.code == "rate_limit_exceeded"


async def test_every_route_has_a_limit_and_so_has_what_is_not_there(tmp_path):
    async with run_gateway(tmp_path, limits={**HOUR, "api_rpm": 2}) as gateway:
        limiter: Any = gateway.built.gateway._limiter
        for route in gateway.built.app.routes:
            if route.handler is None:
                continue
            limiter._arrivals.clear()
            answers = [
                await get(f"{gateway.url}{route.path}{'x' if route.is_prefix else ''}", gateway.key)
                for _ in range(3)
            ]
            assert [status for status, _, _ in answers][2] == 429, route.path
            assert 429 not in [status for status, _, _ in answers][:2], route.path
            assert int(answers[2][1]["retry-after"]) >= 1
        limiter._arrivals.clear()
        assert [(await get(f"{gateway.url}/nowhere"))[0] for _ in range(3)] == [404, 404, 429]


async def test_whoever_tries_one_key_after_the_other_is_slowed_down_and_nobody_else_is(tmp_path):
    async with run_gateway(tmp_path, limits={**HOUR, "api_rpm": 3}) as gateway:
        answers = [
            await get(
                f"{gateway.url}/v1/models", key_from_random(secrets.token_bytes(RANDOM_BYTES))
            )
            for _ in range(5)
        ]
        assert [status for status, _, _ in answers] == [401, 401, 401, 429, 429]
        assert (await get(f"{gateway.url}/v1/models", gateway.key))[0] == 200
        assert (await get(f"{gateway.url}/health/live"))[0] == 200


def test_every_route_says_who_may_call_it():
    assert {*ACCESS_SCOPES, "anonymous"} == set(get_args(Access))
    assert all(scopes for scopes in ACCESS_SCOPES.values())


async def test_routes_open_to_the_scopes_of_the_table_and_to_no_other(tmp_path, location):
    async with run_billing_gateway(tmp_path, location) as gateway:
        keys_by_scope = {}
        for scope in SCOPES:
            keys_by_scope[scope], _ = await keys.create_key(
                gateway.built.control_transaction,
                keys.KeySpec(account="house", name=scope, scopes=(scope,)),
            )
        for route in gateway.built.app.routes:
            if route.handler is None or route.access == "anonymous":
                continue
            path = f"{gateway.url}{route.path}{'x' if route.is_prefix else ''}"
            assert (await get(path))[0] == 401, route.path
            for scope, key in keys_by_scope.items():
                status, _, _ = await get(path, key)
                assert (status == 403) == (scope not in ACCESS_SCOPES[route.access]), (
                    route.path,
                    scope,
                )
        with pytest.raises(openai.PermissionDeniedError):
            await complete_chat(gateway.client(api_key=keys_by_scope["metrics"]))


async def test_a_key_works_from_its_networks_only(tmp_path, location):
    async with run_billing_gateway(
        tmp_path, location, web={"trusted_proxies": ["127.0.0.1"]}
    ) as gateway:
        key, _ = await keys.create_key(
            gateway.built.control_transaction,
            keys.KeySpec(account=gateway.account, addresses=("203.0.113.0/24", "2001:db8::/32")),
        )
        for address, status in (
            ("203.0.113.9", 200),
            ("2001:db8::1", 200),
            ("::ffff:203.0.113.9", 200),
            ("198.51.100.1", 403),
            ("nonsense", 403),
        ):
            assert (await get(f"{gateway.url}/v1/models", key, **{"X-Forwarded-For": address}))[
                0
            ] == status, address
        with pytest.raises(openai.PermissionDeniedError, match="may not be used from 127.0.0.1"):
            await complete_chat(gateway.client(api_key=key))


@pytest.mark.parametrize(
    ("address", "networks", "may"),
    [
        ("10.1.2.3", ("10.0.0.0/8",), True),
        ("11.1.2.3", ("10.0.0.0/8",), False),
        ("", ("0.0.0.0/0",), False),
        ("::ffff:10.1.2.3", ("10.0.0.0/8",), True),
        ("2001:db8::5", ("2001:db8::5",), True),
        ("2001:db8::5", ("0.0.0.0/0",), False),
    ],
)
def test_an_address_is_allowed_when_it_is_known_and_in_a_network(address, networks, may):
    assert is_in_networks(address, networks) == may


async def test_an_accounts_models_are_all_that_its_keys_may_use(tmp_path, location):
    async with run_billing_gateway(tmp_path, location) as gateway:
        await accounts.set_rules(
            gateway.built.control_transaction,
            gateway.account,
            accounts.AccountRules(models=("other/model",)),
        )
        await gateway.refresh_keys()
        with pytest.raises(openai.APIStatusError) as refused:
            await complete_chat(gateway.client())
        assert refused.value.status_code in {403, 404}


PROMISED_S = 2.0


async def wait_until_refused(seconds, client):
    """Two seconds are promised; the machine of a test may be five times as slow."""
    async with asyncio.timeout(seconds):
        while True:
            try:
                await complete_chat(client)
            except openai.AuthenticationError:
                return
            await asyncio.sleep(0.05)


async def test_a_revoked_key_and_a_suspended_account_are_refused_within_two_seconds(
    tmp_path, location
):
    async with run_billing_gateway(tmp_path, location) as gateway:
        key, record = await keys.create_key(
            gateway.built.control_transaction, keys.KeySpec(account=gateway.account)
        )
        other, client = gateway.client(api_key=key), gateway.client()
        assert await complete_chat(client) == await complete_chat(other)
        await keys.revoke_key(gateway.built.control_transaction, gateway.account, record.id)
        await wait_until_refused(PROMISED_S * 5, other)
        assert await complete_chat(client)
        await accounts.set_status(gateway.built.control_transaction, gateway.account, "suspended")
        await wait_until_refused(PROMISED_S * 5, client)
