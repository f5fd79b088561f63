"""Tokens for web pages: for calls alone, from their own pages, never more than their key, on both databases."""

import asyncio
import time

import pytest
from sqlalchemy import select, update

from gatewayz.control import accounts, budgets, keys, tokens, users
from gatewayz.control.accounts import AccountRules
from gatewayz.control.upkeep import Upkeep
from gatewayz.core.clock import SystemClock
from gatewayz.core.money import Nanos
from gatewayz.store.sql.tables import BUDGETS, TOKENS
from tests.support.control_plane import LIMITS, MODEL, ApiClient, run_control_plane
from tests.support.databases import on_sqlite
from tests.support.running_gateway import model_with_offers

PAGE = "https://app.example.com"
OTHER = "https://evil.example"
WAIT_S = 5


@pytest.fixture
async def control_plane(location, tmp_path):
    models = [
        model_with_offers(("first", "echo")),
        model_with_offers(("first", "hello"), model="test/other") | {"aliases": ["second"]},
    ]
    async with run_control_plane(
        location, tmp_path, models=models, web={"cors_origins": [PAGE]}
    ) as plane:
        yield plane


async def mint_page(caller, **more):
    """A page with a token of this caller's key, and what was said of it."""
    token = await caller.request("POST", "/v1/tokens", {"origins": [PAGE], **more})
    return ApiClient(caller.client, token["secret"], token["id"], Origin=PAGE), token


async def wait_until_refused(page, status, **more):
    """Waits until the page is refused, at most a little longer than every process may take."""
    deadline = time.monotonic() + WAIT_S
    while (answer := await page.chat(**more)).status != status:
        assert time.monotonic() < deadline, answer.text
        await asyncio.sleep(0.05)
    return answer.json()["error"]["message"]


async def test_a_page_calls_with_its_token_and_its_key_pays(control_plane):
    caller = await control_plane.create_key("acme", "inference", "account")
    page, token = await mint_page(caller, name="chat")
    assert (token["key"], token["state"], token["origins"], token["models"], token["limit"]) == (
        caller.id,
        "active",
        [PAGE],
        [],
        None,
    )
    assert 890_000 < token["expires_ms"] - token["created_ms"] <= 900_000
    answer = await page.chat()
    assert (answer.status, answer.headers["access-control-allow-origin"]) == (200, PAGE)
    assert (await page("GET", "/v1/models")).status == 200
    call = (await caller.get("/v1/calls"))["data"][0]
    assert (call["id"], call["key"]) == (answer.headers["x-request-id"], caller.id)
    (listed,) = (await caller.get("/v1/tokens"))["data"]
    assert listed == {name: value for name, value in token.items() if name != "secret"}
    assert token["secret"] not in str(listed)
    entry = (await control_plane.operator.get("/admin/audit?account=acme"))["data"][0]
    assert (entry["action"], entry["subject"], entry["actor"]) == (
        "token.mint",
        token["id"],
        f"key:{caller.id}",
    )


async def test_a_token_is_for_its_own_pages(control_plane):
    page, token = await mint_page(
        await control_plane.create_key("acme"), origins=[PAGE, "http://localhost:3000"]
    )
    for origin, status in (
        (PAGE, 200),
        ("http://localhost:3000", 200),
        (OTHER, 403),
        (PAGE + ".evil.example", 403),
        ("null", 403),
        (PAGE.upper(), 403),
    ):
        assert (await page.chat(headers={"Origin": origin})).status == status, origin
    assert (await ApiClient(control_plane.client, token["secret"]).chat()).status == 403


@on_sqlite
@pytest.mark.parametrize(
    "origins",
    [
        [],
        ["*"],
        ["null"],
        ["app.example.com"],
        ["https://app.example.com/"],
        ["https://app.example.com:443"],
        ["http://a.example:80"],
        ["https://user@app.example.com"],
        ["https://APP.example.com"],
        ["ftp://app.example.com"],
        ["https://*.example.com"],
        [PAGE] * 11,
        ["https://a\n"],
    ],
)
async def test_what_is_no_origin_is_refused(control_plane, origins):
    caller = await control_plane.create_key("acme")
    answer = await caller.request("POST", "/v1/tokens", {"origins": origins}, status=400)
    assert answer["error"]["param"].startswith("origins")
    assert (await caller.get("/v1/tokens"))["data"] == []


async def test_a_token_lives_at_most_an_hour_and_never_longer_than_its_key(control_plane):
    caller = await control_plane.create_key("acme", expires_ms=int(time.time() * 1000) + 60_000)
    for seconds in (0, -1, tokens.MAX_TTL_S + 1, 1.5, "60"):
        await caller.request(
            "POST", "/v1/tokens", {"origins": [PAGE], "expires_in_s": seconds}, status=400
        )
    _, token = await mint_page(caller, expires_in_s=tokens.MAX_TTL_S)
    assert (
        token["expires_ms"]
        == (await keys.get_key(control_plane.transaction.database, "acme", caller.id)).expires_ms
    )
    page, token = await mint_page(caller, expires_in_s=1)
    assert "expired" in await wait_until_refused(page, 401)
    assert [row["state"] for row in (await caller.get("/v1/tokens"))["data"]] == [
        "active",
        "expired",
    ]


async def test_a_token_reaches_no_further_than_its_key_and_its_account(control_plane):
    caller = await control_plane.create_key("acme", models=(MODEL,))
    wide, _ = await mint_page(caller)
    other, _ = await mint_page(caller, models=["test/other"])
    narrow, _ = await mint_page(await control_plane.create_key("acme"), models=["test/other"])
    statuses = {
        name: [(await page.chat(model=model)).status for model in (MODEL, "test/other")]
        for name, page in (("wide", wide), ("other", other), ("narrow", narrow))
    }
    assert statuses == {"wide": [200, 403], "other": [403, 403], "narrow": [403, 200]}
    await accounts.set_rules(control_plane.transaction, "acme", AccountRules(models=(MODEL,)))
    await wait_until_refused(narrow, 403, model="test/other")
    bound = await control_plane.create_key("acme", addresses=("127.0.0.1",))
    page, _ = await mint_page(bound)
    assert (await page.chat()).status == 200
    await keys.update_key(
        control_plane.transaction, "acme", bound.id, keys.KeyUpdate(addresses=("203.0.113.7",))
    )
    assert "may not be used from" in await wait_until_refused(page, 403)


async def test_a_token_has_what_is_left_of_its_own_limit_and_of_its_keys(control_plane):
    caller = await control_plane.create_key("acme", "inference", "account")
    page, token = await mint_page(caller, limit="0.0005")
    free, _ = await mint_page(caller)
    assert (token["limit"], token["spent"]) == ("0.0005", "0")
    while (answer := await page.chat("word " * 40, max_tokens=50)).status == 200:
        pass
    assert (answer.status, answer.json()["error"]["code"]) == (402, "insufficient_credit")
    assert (await free.chat()).status == 200
    row = (await caller.get("/v1/tokens"))["data"][0]
    assert 0 < row["spent_nanos"] <= 500_000
    assert (await caller.get("/v1/account/budgets"))["data"] == []
    await budgets.put_budget(
        control_plane.transaction,
        "acme",
        budgets.key_subject(caller.id),
        budgets.BudgetLimit(amount=Nanos(0), period="total"),
    )
    await wait_until_refused(free, 402)
    assert (await control_plane.operator.get("/admin/credits/check"))["adds_up"] is True


async def test_a_token_whose_limit_is_used_up_notifies_nobody(control_plane):
    caller = await control_plane.create_key("acme", "inference", "account")
    await caller.request("PUT", "/v1/account/webhook", {"url": "https://hooks.example/"})
    await caller.request("PUT", "/v1/account/budgets", {"key_id": caller.id, "limit": "1"})
    await mint_page(caller, limit="1")
    async with control_plane.transaction.database.begin() as connection:
        await connection.execute(update(BUDGETS).values(spent=BUDGETS.c.limit_nanos))
    await control_plane.send_notifications()
    (notification,) = (await caller.get("/v1/account/notifications"))["data"]
    assert notification["body"]["data"]["key"] == caller.id


async def test_the_limits_of_a_key_hold_for_all_its_tokens_together(location, tmp_path):
    async with run_control_plane(location, tmp_path, limits=LIMITS | {"burst": 3}) as control_plane:
        caller = await control_plane.create_key("acme", limits={"key_rpm": 3})
        statuses = []
        for _ in range(3):
            page, _ = await mint_page(caller)
            statuses += [(await page.chat()).status for _ in range(2)]
        assert statuses == [200, 200, 200, 429, 429, 429]


async def test_whoever_ends_the_key_the_person_or_the_account_ends_its_tokens(control_plane):
    ends = {
        "key": lambda caller: keys.revoke_key(control_plane.transaction, "acme", caller.id),
        "rotated": lambda caller: keys.rotate_key(control_plane.transaction, "acme", caller.id),
        "expired": lambda caller: keys.update_key(
            control_plane.transaction,
            "acme",
            caller.id,
            keys.KeyUpdate(
                expires=True, expires_ms=control_plane.transaction.clock.wall_ms() + 300
            ),
        ),
        "person": lambda caller: users.disable_user(control_plane.transaction, "acme", caller.user),
        "account": lambda caller: accounts.set_status(
            control_plane.transaction, "acme", "suspended"
        ),
    }
    for number, (name, end) in enumerate(ends.items()):
        caller = await control_plane.create_key(
            "acme", role="member", email=f"{number}@example.com"
        )
        page, _ = await mint_page(caller)
        assert (await page.chat()).status == 200, name
        await end(caller)
        assert "revoked" in await wait_until_refused(page, 401)


async def test_a_person_who_may_make_no_calls_any_more_has_no_tokens_that_do(control_plane):
    caller = await control_plane.create_key("house", role="operator")
    page, _ = await mint_page(caller)
    assert (await page.chat()).status == 200
    await users.set_role(control_plane.transaction, "house", caller.user, "metrics")
    await wait_until_refused(page, 403)


async def test_tokens_are_ended_by_whoever_may_see_them(control_plane):
    owner, other = await control_plane.create_key("acme"), await control_plane.create_key("acme")
    page, token = await mint_page(owner)
    assert (await other.get("/v1/tokens"))["data"] == []
    await other.request("DELETE", f"/v1/tokens/{token['id']}", status=404)
    assert (await page.chat()).status == 200
    assert (await owner.request("DELETE", f"/v1/tokens/{token['id']}"))["object"] == "token"
    await wait_until_refused(page, 401)
    await owner.request("DELETE", f"/v1/tokens/{token['id']}", status=404)
    assert (await owner.get("/v1/tokens"))["data"][0]["state"] == "revoked"
    _, token = await mint_page(owner)
    await (await control_plane.create_key("acme", "account")).request(
        "DELETE", f"/v1/tokens/{token['id']}"
    )


async def test_a_token_mints_nothing_and_a_key_of_the_settings_neither(control_plane):
    page, token = await mint_page(await control_plane.create_key("acme", "inference", "account"))
    await page.request("POST", "/v1/tokens", {"origins": [PAGE]}, status=403)
    await page.request("GET", "/v1/account", status=403)
    await control_plane.operator.request("POST", "/v1/tokens", {"origins": [PAGE]}, status=403)
    await (await control_plane.create_key("acme", "account")).request(
        "POST", "/v1/tokens", {"origins": [PAGE]}, status=403
    )
    await page.request("POST", "/v1/keys", {"scopes": ["inference"]}, status=403)
    operator = await control_plane.create_key("house", "operator", "inference")
    await operator.request("POST", "/v1/keys", {"scopes": ["browser"]}, status=400)
    assert token["secret"].startswith("gw_live_")


async def test_a_repeated_minting_is_the_same_token(control_plane):
    caller = await control_plane.create_key("acme")
    first, repeat = [
        await caller.request("POST", "/v1/tokens", {"origins": [PAGE]}, Idempotency_Key="k")
        for _ in range(2)
    ]
    assert first == repeat


async def test_a_key_has_only_so_many_tokens(control_plane):
    caller = await control_plane.create_key("acme")
    await mint_page(caller)
    async with control_plane.transaction.database.begin() as connection:
        row = dict((await connection.execute(select(TOKENS))).mappings().one())
        rows = [
            row | {"id": f"t{number}", "digest": f"d{number}"}
            for number in range(tokens.MAX_ACTIVE - 1)
        ]
        for start in range(0, len(rows), 1_000):
            await connection.execute(TOKENS.insert(), rows[start : start + 1_000])
    answer = await caller("POST", "/v1/tokens", {"origins": [PAGE]})
    assert (answer.status, answer.headers["retry-after"]) == (429, "60")
    await mint_page(await control_plane.create_key("acme"))


async def test_tokens_that_ended_long_ago_are_forgotten_with_their_budgets(control_plane):
    caller = await control_plane.create_key("acme", "inference", "account")
    for _ in range(2):
        await mint_page(caller, limit="1")
    now = SystemClock().wall_ms()
    async with control_plane.transaction.database.begin() as connection:
        (first, _) = (
            (await connection.execute(select(TOKENS.c.id).order_by(TOKENS.c.id))).scalars().all()
        )
        await connection.execute(
            update(TOKENS)
            .where(TOKENS.c.id == first)
            .values(expires_ms=now - tokens.RETENTION_MS - 1)
        )
    store = control_plane.gateway.built.store
    await Upkeep(
        control_plane.transaction.database,
        store.books.commits,
        store.journal,
        SystemClock(),
        store.books.owner,
        lambda fact: None,
    ).expire()
    async with control_plane.transaction.database.begin(reading=True) as connection:
        remaining = (await connection.execute(select(TOKENS.c.id))).scalars().all()
        assert (await connection.execute(select(BUDGETS.c.subject))).scalars().all() == [
            f"token:{id}" for id in remaining
        ]
    assert len(remaining) == 1
    assert first not in remaining


async def test_a_browser_may_ask_with_the_headers_of_the_official_sdks(control_plane):
    requested = "authorization, x-stainless-lang, anthropic-version, cookie, x-evil"
    preflight = {
        "Origin": PAGE,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": requested,
    }
    answer = await control_plane.nobody("OPTIONS", "/v1/chat/completions", **preflight)
    allowed = answer.headers["access-control-allow-headers"].split(", ")
    assert (
        answer.status,
        {"authorization", "x-stainless-lang", "anthropic-version"} <= set(allowed),
    ) == (204, True)
    assert not {"cookie", "x-evil"} & set(allowed)
    assert (
        "access-control-allow-origin"
        not in (
            await control_plane.nobody(
                "OPTIONS", "/v1/chat/completions", **preflight | {"Origin": OTHER}
            )
        ).headers
    )
