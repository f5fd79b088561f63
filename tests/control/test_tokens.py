"""Tokens for web pages: for calls alone, from their own pages, never more than their key, on both databases."""

import asyncio
import time

import pytest
from sqlalchemy import select, update

from gatewayz.core.clock import SystemClock
from gatewayz.store.sql import accounts, budgets, keys, tokens, users
from gatewayz.store.sql.accounts import AccountRules
from gatewayz.store.sql.tables import BUDGETS, TOKENS
from gatewayz.store.sql.upkeep import Upkeep
from tests.support.control import LIMITS, MODEL, Caller, place
from tests.support.house import offers

PAGE = "https://app.example.com"
OTHER = "https://evil.example"
WAIT_S = 5


@pytest.fixture
async def there(location, tmp_path):
    models = [
        offers(("first", "echo")),
        offers(("first", "hello"), model="test/other") | {"aliases": ["second"]},
    ]
    async with place(location, tmp_path, models=models, web={"cors_origins": [PAGE]}) as found:
        yield found


async def minted(caller, **more):
    """A page with a token of this caller's key, and what was said of it."""
    made = await caller.does("POST", "/v1/tokens", {"origins": [PAGE], **more})
    return Caller(caller.client, made["secret"], made["id"], Origin=PAGE), made


async def refused(page, status, **more):
    """Waits until the page is refused, at most a little longer than every process may take."""
    end = time.monotonic() + WAIT_S
    while (answer := await page.calls(**more)).status != status:
        assert time.monotonic() < end, answer.text
        await asyncio.sleep(0.05)
    return answer.json()["error"]["message"]


async def test_a_page_calls_with_its_token_and_its_key_pays(there):
    caller = await there.key("acme", "inference", "account")
    page, made = await minted(caller, name="chat")
    assert (made["key"], made["state"], made["origins"], made["models"], made["limit"]) == (
        caller.id,
        "active",
        [PAGE],
        [],
        None,
    )
    assert 890_000 < made["expires_ms"] - made["created_ms"] <= 900_000
    answer = await page.calls()
    assert (answer.status, answer.headers["access-control-allow-origin"]) == (200, PAGE)
    assert (await page("GET", "/v1/models")).status == 200
    call = (await caller.get("/v1/calls"))["data"][0]
    assert (call["id"], call["key"]) == (answer.headers["x-request-id"], caller.id)
    (listed,) = (await caller.get("/v1/tokens"))["data"]
    assert listed == {name: value for name, value in made.items() if name != "secret"}
    assert made["secret"] not in str(listed)
    entry = (await there.operator.get("/admin/audit?account=acme"))["data"][0]
    assert (entry["action"], entry["subject"], entry["actor"]) == (
        "token.mint",
        made["id"],
        f"key:{caller.id}",
    )


async def test_a_token_is_for_its_own_pages(there):
    page, made = await minted(await there.key("acme"), origins=[PAGE, "http://localhost:3000"])
    for origin, status in (
        (PAGE, 200),
        ("http://localhost:3000", 200),
        (OTHER, 403),
        (PAGE + ".evil.example", 403),
        ("null", 403),
        (PAGE.upper(), 403),
    ):
        assert (await page.calls(headers={"Origin": origin})).status == status, origin
    assert (await Caller(there.client, made["secret"]).calls()).status == 403


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
async def test_what_is_no_origin_is_refused(there, origins):
    caller = await there.key("acme")
    said = await caller.does("POST", "/v1/tokens", {"origins": origins}, status=400)
    assert said["error"]["param"].startswith("origins")
    assert (await caller.get("/v1/tokens"))["data"] == []


async def test_a_token_lives_at_most_an_hour_and_never_longer_than_its_key(there):
    caller = await there.key("acme", expires_ms=int(time.time() * 1000) + 60_000)
    for seconds in (0, -1, tokens.MAX_TTL_S + 1, 1.5, "60"):
        await caller.does(
            "POST", "/v1/tokens", {"origins": [PAGE], "expires_in_s": seconds}, status=400
        )
    _, made = await minted(caller, expires_in_s=tokens.MAX_TTL_S)
    assert made["expires_ms"] == (await keys.one(there.desk.database, "acme", caller.id)).expires_ms
    page, made = await minted(caller, expires_in_s=1)
    assert "expired" in await refused(page, 401)
    assert [one["state"] for one in (await caller.get("/v1/tokens"))["data"]] == [
        "active",
        "expired",
    ]


async def test_a_token_reaches_no_further_than_its_key_and_its_account(there):
    caller = await there.key("acme", models=(MODEL,))
    wide, _ = await minted(caller)
    other, _ = await minted(caller, models=["test/other"])
    narrow, _ = await minted(await there.key("acme"), models=["test/other"])
    found = {
        name: [(await page.calls(model=model)).status for model in (MODEL, "test/other")]
        for name, page in (("wide", wide), ("other", other), ("narrow", narrow))
    }
    assert found == {"wide": [200, 403], "other": [403, 403], "narrow": [403, 200]}
    await accounts.set_rules(there.desk, "acme", AccountRules(models=(MODEL,)))
    await refused(narrow, 403, model="test/other")
    bound = await there.key("acme", addresses=("127.0.0.1",))
    page, _ = await minted(bound)
    assert (await page.calls()).status == 200
    await keys.change(there.desk, "acme", bound.id, keys.Change(addresses=("203.0.113.7",)))
    assert "may not be used from" in await refused(page, 403)


async def test_a_token_has_what_is_left_of_its_own_limit_and_of_its_keys(there):
    caller = await there.key("acme", "inference", "account")
    page, made = await minted(caller, limit="0.0005")
    free, _ = await minted(caller)
    assert (made["limit"], made["spent"]) == ("0.0005", "0")
    while (answer := await page.calls("word " * 40, max_tokens=50)).status == 200:
        pass
    assert (answer.status, answer.json()["error"]["code"]) == (402, "insufficient_credit")
    assert (await free.calls()).status == 200
    shown = (await caller.get("/v1/tokens"))["data"][0]
    assert 0 < shown["spent_nanos"] <= 500_000
    assert (await caller.get("/v1/account/budgets"))["data"] == []
    await budgets.put(
        there.desk, "acme", budgets.of_key(caller.id), budgets.Limit(amount=0, period="total")
    )
    await refused(free, 402)
    assert (await there.operator.get("/admin/credits/check"))["adds_up"] is True


async def test_a_token_whose_limit_is_used_up_is_no_notice_for_its_account(there):
    caller = await there.key("acme", "inference", "account")
    await caller.does("PUT", "/v1/account/webhook", {"url": "https://hooks.example/"})
    await caller.does("PUT", "/v1/account/budgets", {"key_id": caller.id, "limit": "1"})
    await minted(caller, limit="1")
    async with there.desk.database.begin() as connection:
        await connection.execute(update(BUDGETS).values(spent=BUDGETS.c.limit_nanos))
    await there.here.built.notices.round()
    (notice,) = (await caller.get("/v1/account/notices"))["data"]
    assert notice["body"]["data"]["key"] == caller.id


async def test_the_limits_of_a_key_hold_for_all_its_tokens_together(location, tmp_path):
    async with place(location, tmp_path, limits=LIMITS | {"burst": 3}) as there:
        caller = await there.key("acme", limits={"key_rpm": 3})
        statuses = []
        for _ in range(3):
            page, _ = await minted(caller)
            statuses += [(await page.calls()).status for _ in range(2)]
        assert statuses == [200, 200, 200, 429, 429, 429]


async def test_whoever_ends_the_key_the_person_or_the_account_ends_its_tokens(there):
    ends = {
        "key": lambda caller: keys.revoke(there.desk, "acme", caller.id),
        "rotated": lambda caller: keys.rotate(there.desk, "acme", caller.id),
        "expired": lambda caller: keys.change(
            there.desk,
            "acme",
            caller.id,
            keys.Change(expires=True, expires_ms=there.desk.clock.wall_ms() + 300),
        ),
        "person": lambda caller: users.disable(there.desk, "acme", caller.user),
        "account": lambda caller: accounts.set_status(there.desk, "acme", "suspended"),
    }
    for number, (name, end) in enumerate(ends.items()):
        caller = await there.key("acme", role="member", email=f"{number}@example.com")
        page, _ = await minted(caller)
        assert (await page.calls()).status == 200, name
        await end(caller)
        assert "revoked" in await refused(page, 401)


async def test_a_person_who_may_make_no_calls_any_more_has_no_tokens_that_do(there):
    caller = await there.key("house", role="operator")
    page, _ = await minted(caller)
    assert (await page.calls()).status == 200
    await users.set_role(there.desk, "house", caller.user, "metrics")
    await refused(page, 403)


async def test_tokens_are_ended_by_whoever_may_see_them(there):
    one, two = await there.key("acme"), await there.key("acme")
    page, made = await minted(one)
    assert (await two.get("/v1/tokens"))["data"] == []
    await two.does("DELETE", f"/v1/tokens/{made['id']}", status=404)
    assert (await page.calls()).status == 200
    assert (await one.does("DELETE", f"/v1/tokens/{made['id']}"))["object"] == "token"
    await refused(page, 401)
    await one.does("DELETE", f"/v1/tokens/{made['id']}", status=404)
    assert (await one.get("/v1/tokens"))["data"][0]["state"] == "revoked"
    _, made = await minted(one)
    await (await there.key("acme", "account")).does("DELETE", f"/v1/tokens/{made['id']}")


async def test_a_token_mints_nothing_and_a_key_of_the_settings_neither(there):
    page, made = await minted(await there.key("acme", "inference", "account"))
    await page.does("POST", "/v1/tokens", {"origins": [PAGE]}, status=403)
    await page.does("GET", "/v1/account", status=403)
    await there.operator.does("POST", "/v1/tokens", {"origins": [PAGE]}, status=403)
    await (await there.key("acme", "account")).does(
        "POST", "/v1/tokens", {"origins": [PAGE]}, status=403
    )
    await page.does("POST", "/v1/keys", {"scopes": ["inference"]}, status=403)
    boss = await there.key("house", "operator", "inference")
    await boss.does("POST", "/v1/keys", {"scopes": ["browser"]}, status=400)
    assert made["secret"].startswith("gw_live_")


async def test_a_repeated_minting_is_the_same_token(there):
    caller = await there.key("acme")
    first, again = [
        await caller.does("POST", "/v1/tokens", {"origins": [PAGE]}, Idempotency_Key="k")
        for _ in range(2)
    ]
    assert first == again


async def test_a_key_has_only_so_many_tokens(there):
    caller = await there.key("acme")
    await minted(caller)
    async with there.desk.database.begin() as connection:
        row = dict((await connection.execute(select(TOKENS))).mappings().one())
        rows = [
            row | {"id": f"t{number}", "digest": f"d{number}"}
            for number in range(tokens.MAX_ACTIVE - 1)
        ]
        for start in range(0, len(rows), 1_000):
            await connection.execute(TOKENS.insert(), rows[start : start + 1_000])
    answer = await caller("POST", "/v1/tokens", {"origins": [PAGE]})
    assert (answer.status, answer.headers["retry-after"]) == (429, "60")
    await minted(await there.key("acme"))


async def test_tokens_that_ended_long_ago_are_forgotten_with_their_budgets(there):
    caller = await there.key("acme", "inference", "account")
    for _ in range(2):
        await minted(caller, limit="1")
    now = SystemClock().wall_ms()
    async with there.desk.database.begin() as connection:
        (first, _) = (
            (await connection.execute(select(TOKENS.c.id).order_by(TOKENS.c.id))).scalars().all()
        )
        await connection.execute(
            update(TOKENS).where(TOKENS.c.id == first).values(expires_ms=now - tokens.KEPT_MS - 1)
        )
    store = there.here.built.store
    await Upkeep(
        there.desk.database,
        store.books.commits,
        store.journal,
        SystemClock(),
        store.books.owner,
        lambda fact: None,
    ).expire()
    async with there.desk.database.begin(reading=True) as connection:
        left = (await connection.execute(select(TOKENS.c.id))).scalars().all()
        assert (await connection.execute(select(BUDGETS.c.subject))).scalars().all() == [
            f"token:{one}" for one in left
        ]
    assert len(left) == 1
    assert first not in left


async def test_a_browser_may_ask_with_the_headers_of_the_official_sdks(there):
    asked = "authorization, x-stainless-lang, anthropic-version, cookie, x-evil"
    preflight = {
        "Origin": PAGE,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": asked,
    }
    answer = await there.nobody("OPTIONS", "/v1/chat/completions", **preflight)
    allowed = answer.headers["access-control-allow-headers"].split(", ")
    assert (
        answer.status,
        {"authorization", "x-stainless-lang", "anthropic-version"} <= set(allowed),
    ) == (204, True)
    assert not {"cookie", "x-evil"} & set(allowed)
    assert (
        "access-control-allow-origin"
        not in (
            await there.nobody("OPTIONS", "/v1/chat/completions", **preflight | {"Origin": OTHER})
        ).headers
    )
