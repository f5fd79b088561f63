"""Over the wire: nothing is reachable without limits, and a key works from where, for what and as fast as it may."""

import asyncio
import secrets
from typing import get_args

import aiohttp
import openai
import pytest

from gatewayz.core.access import OPENS, SCOPES, Access
from gatewayz.core.keys import RANDOM_BYTES, key_from
from gatewayz.engine.gate import allowed
from gatewayz.store.sql import accounts, keys
from tests.support.house import house
from tests.support.paying import asked, paying

HOUR = {"key_per_day": 10**6, "system_rpm": 10**6, "burst": 10**4, "account_rpm": 10**6}


async def get(url, key="", **headers):
    async with aiohttp.ClientSession() as session:
        given = {"Authorization": f"Bearer {key}"} if key else {}
        async with session.get(url, headers=given | headers) as answer:
            return answer.status, answer.headers, await answer.text()


async def test_a_key_that_asks_too_fast_is_told_when_to_come_back(tmp_path):
    async with house(tmp_path, limits={**HOUR, "key_rpm": 2, "burst": 2}) as here:
        client = here.client()
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
            await asked(client, "first/echo")
        assert refused.value.response.headers["retry-after"] == "30"
        assert refused.value.response.headers["x-ratelimit-remaining-requests"] == "0"
        assert refused.value.code == "rate_limit_exceeded"


async def test_every_page_has_a_limit_and_so_has_what_is_not_there(tmp_path):
    async with house(tmp_path, limits={**HOUR, "page_rpm": 2}) as here:
        for route in here.built.app.routes:
            if route.page is None:
                continue
            here.built.gateway._limiter._arrivals.clear()
            said = [
                await get(f"{here.url}{route.path}{'x' if route.tail else ''}", here.key)
                for _ in range(3)
            ]
            assert [status for status, _, _ in said][2] == 429, route.path
            assert 429 not in [status for status, _, _ in said][:2], route.path
            assert int(said[2][1]["retry-after"]) >= 1
        here.built.gateway._limiter._arrivals.clear()
        assert [(await get(f"{here.url}/nowhere"))[0] for _ in range(3)] == [404, 404, 429]


async def test_whoever_tries_one_key_after_the_other_is_slowed_down_and_nobody_else_is(tmp_path):
    async with house(tmp_path, limits={**HOUR, "page_rpm": 3}) as here:
        tries = [
            await get(f"{here.url}/v1/models", key_from(secrets.token_bytes(RANDOM_BYTES)))
            for _ in range(5)
        ]
        assert [status for status, _, _ in tries] == [401, 401, 401, 429, 429]
        assert (await get(f"{here.url}/v1/models", here.key))[0] == 200
        assert (await get(f"{here.url}/health/live"))[0] == 200


def test_every_route_says_who_may_call_it():
    assert {*OPENS, "anonymous"} == set(get_args(Access))
    assert all(scopes for scopes in OPENS.values())


async def test_routes_open_to_the_scopes_of_the_table_and_to_no_other(tmp_path, location):
    async with paying(tmp_path, location) as here:
        made = {}
        for scope in SCOPES:
            made[scope], _ = await keys.make(
                here.built.desk, keys.Wish(account="house", name=scope, scopes=(scope,))
            )
        for route in here.built.app.routes:
            if route.page is None or route.access == "anonymous":
                continue
            path = f"{here.url}{route.path}{'x' if route.tail else ''}"
            assert (await get(path))[0] == 401, route.path
            for scope, key in made.items():
                status, _, _ = await get(path, key)
                assert (status == 403) == (scope not in OPENS[route.access]), (route.path, scope)
        with pytest.raises(openai.PermissionDeniedError):
            await asked(here.client(api_key=made["metrics"]))


async def test_a_key_works_from_its_networks_only(tmp_path, location):
    async with paying(tmp_path, location, web={"trusted_proxies": ["127.0.0.1"]}) as here:
        key, _ = await keys.make(
            here.built.desk,
            keys.Wish(account=here.account, addresses=("203.0.113.0/24", "2001:db8::/32")),
        )
        for address, status in (
            ("203.0.113.9", 200),
            ("2001:db8::1", 200),
            ("::ffff:203.0.113.9", 200),
            ("198.51.100.1", 403),
            ("nonsense", 403),
        ):
            assert (await get(f"{here.url}/v1/models", key, **{"X-Forwarded-For": address}))[
                0
            ] == status, address
        with pytest.raises(openai.PermissionDeniedError, match="may not be used from 127.0.0.1"):
            await asked(here.client(api_key=key))


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
    assert allowed(address, networks) == may


async def test_an_accounts_models_are_all_that_its_keys_may_use(tmp_path, location):
    async with paying(tmp_path, location) as here:
        await accounts.set_rules(
            here.built.desk, here.account, accounts.AccountRules(models=("other/model",))
        )
        await asyncio.sleep(2)
        with pytest.raises(openai.APIStatusError) as refused:
            await asked(here.client())
        assert refused.value.status_code in {403, 404}


async def test_a_revoked_key_and_a_suspended_account_are_refused_within_two_seconds(
    tmp_path, location
):
    async with paying(tmp_path, location) as here:
        key, record = await keys.make(here.built.desk, keys.Wish(account=here.account))
        other, client = here.client(api_key=key), here.client()
        assert await asked(client) == await asked(other)
        await keys.revoke(here.built.desk, here.account, record.id)
        await asyncio.sleep(2)
        with pytest.raises(openai.AuthenticationError):
            await asked(other)
        assert await asked(client)
        await accounts.set_status(here.built.desk, here.account, "suspended")
        await asyncio.sleep(2)
        with pytest.raises(openai.AuthenticationError):
            await asked(client)
