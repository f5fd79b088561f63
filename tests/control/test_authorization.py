"""Who may call what: every route that the running server shows × every credential × every target, and every spelling of a path.

The table below is this test's own; a route that is not in it fails. Whoever is refused has changed nothing.
"""

import asyncio
import time
from zlib import crc32

import pytest
from sqlalchemy import select

from gatewayz.core.keys import BASE62, masked
from gatewayz.dialects.registry import CLIENTS
from gatewayz.store.sql import accounts, keys, tokens
from gatewayz.store.sql.tables import METADATA
from tests.support.control import USD, Caller, place
from tests.support.probes import PROBES, Probe, Things, aimed

EXPIRED_S = 0.05
ANYBODY, CALLS, LOOKS, MINTS, MEMBER, ACCOUNT, METRICS, OPERATOR = (
    "anybody",
    "calls",
    "looks",
    "mints",
    "member",
    "account",
    "metrics",
    "operator",
)

WHO = {
    **dict.fromkeys(
        [
            "GET /",
            "GET /health/live",
            "GET /health/ready",
            "GET /openapi.json",
            "GET /docs",
            "GET /docs/style.css",
        ],
        ANYBODY,
    ),
    **dict.fromkeys(["GET /v1/models", "GET /v1/models/"], LOOKS),
    "GET /health/providers": OPERATOR,
    "GET /metrics": METRICS,
    **dict.fromkeys(
        [
            "GET /v1/account",
            "GET /v1/account/usage",
            "GET /v1/account/budgets",
            "GET /v1/keys",
            "GET /v1/keys/{id}",
            "GET /v1/calls",
            "GET /v1/calls/{id}",
            "GET /v1/credits",
            "GET /v1/key",
            "GET /v1/generation",
            "GET /v1/tokens",
            "DELETE /v1/tokens/{id}",
        ],
        MEMBER,
    ),
    "POST /v1/tokens": MINTS,
    **dict.fromkeys(
        [
            "GET /v1/account/transactions",
            "PUT /v1/account/budgets",
            "DELETE /v1/account/budgets",
            "GET /v1/account/webhook",
            "PUT /v1/account/webhook",
            "DELETE /v1/account/webhook",
            "POST /v1/account/webhook/test",
            "GET /v1/account/notices",
            "POST /v1/keys",
            "PATCH /v1/keys/{id}",
            "DELETE /v1/keys/{id}",
            "POST /v1/keys/{id}/rotate",
        ],
        ACCOUNT,
    ),
}
"""Method and path → who. Everything under `/admin/` is the operator's, and every path of a dialect is for calls."""

SCOPES = {
    ANYBODY: {"nobody", "inference", "account", "metrics", "operator", "browser"},
    CALLS: {"inference", "browser"},
    LOOKS: {"inference", "account", "operator", "browser"},
    MINTS: {"inference"},
    MEMBER: {"inference", "account", "operator"},
    ACCOUNT: {"account", "operator"},
    METRICS: {"metrics", "operator"},
    OPERATOR: {"operator"},
}
"""Who → the scopes of which one will do; all others get 403, and whoever has no key 401."""


PAGE = "https://app.example.com"


def who_of(method, path, clients):
    if path.startswith("/admin/"):
        return OPERATOR
    return CALLS if method == "POST" and path in clients else WHO.get(f"{method} {path}")


@pytest.fixture
async def there(location, tmp_path):
    async with place(location, tmp_path) as found:
        yield found


def shown(there):
    """(method, path) of everything that the server can be asked for."""
    return {(route.method, route.path): route for route in there.here.built.app.routes}


async def test_every_route_has_a_row_here_and_every_operation_of_the_document_is_a_route(there):
    clients = set(CLIENTS)
    routes = shown(there)
    assert [route for route in routes if who_of(*route, clients) is None] == []
    assert [
        route for route, found in routes.items() if found.row is not None and route not in PROBES
    ] == []
    document = await there.nobody.get("/openapi.json")
    told = {(method.upper(), path) for path, item in document["paths"].items() for method in item}
    assert told == {
        route
        for route, found in routes.items()
        if found.row is not None and found.access != "anonymous"
    }
    for method, path in told:
        assert document["paths"][path][method.lower()]["x-who"] == routes[method, path].access


async def credentials(there):
    """Name → (caller, scopes, account, person); nothing of the last three for keys that do not work."""
    await there.account("gone")
    wrong = {
        "none": "",
        "garbage": "abc",
        "check digits": there.operator.key[:-1] + ("a" if there.operator.key[-1] != "a" else "b"),
        "unknown": "gw_live_0000000000000000000000000000000000000000000"
        + _check("gw_live_" + "0" * 43),
    }
    found = {name: (Caller(there.client, key), None, "", "") for name, key in wrong.items()}
    expired = await there.key(
        "acme", "inference", "account", expires_ms=int((time.time() + EXPIRED_S) * 1000)
    )
    revoked = await there.key("acme", "inference", "account")
    await keys.revoke(there.desk, "acme", revoked.id)
    suspended = await there.key("gone", "inference", "account")
    await accounts.set_status(there.desk, "gone", "suspended")
    for name, caller in (("expired", expired), ("revoked", revoked), ("suspended", suspended)):
        found[name] = (caller, None, "", "")
    for account, scope in (
        ("acme", "inference"),
        ("acme", "account"),
        ("house", "metrics"),
        ("house", "operator"),
    ):
        found[f"scope {scope}"] = (await there.key(account, scope), {scope}, account, "")
    for role, account, scopes in (
        ("member", "acme", {"inference"}),
        ("admin", "acme", {"inference", "account"}),
        ("metrics", "house", {"metrics"}),
        ("operator", "house", {"inference", "account", "metrics", "operator"}),
    ):
        caller = await there.key(account, *scopes, role=role)
        found[role] = (caller, scopes, account, caller.user)
    minting = await there.key("acme")
    made = await minting.does("POST", "/v1/tokens", {"origins": [PAGE]})
    found["token"] = (
        Caller(there.client, made["secret"], minting.id, Origin=PAGE),
        {"browser"},
        "acme",
        "",
    )
    await asyncio.sleep(EXPIRED_S)
    return found


def _check(body):
    number, digits = crc32(body.encode()), ""
    for _ in range(6):
        number, digit = divmod(number, 62)
        digits = BASE62[digit] + digits
    return digits


async def everything(there):
    """All that is kept, but for calls and what only counts."""
    tables = [
        table
        for table in METADATA.sorted_tables
        if table.name not in {"calls", "attempts", "usage_days", "owners", "holds"}
    ]
    async with there.desk.database.begin(reading=True) as connection:
        return {
            table.name: [tuple(row) for row in (await connection.execute(select(table))).all()]
            for table in tables
        }


async def targets_of(things, probe, whoever, route):
    """Yields target, thing, status for who may call: own, of the same account, of another one, none at all."""
    caller, _, account, user = whoever
    kind, account = probe.thing, account or "acme"
    if not kind:
        if probe.own:
            await things.made(probe.own, account, user)
        yield "", "", 200
        return
    if kind == "key" and route[0] == "GET" and not user:
        yield "own", caller.id, 200
    elif kind == "token" and not user:
        wish = tokens.TokenWish(account=account, key=caller.id, origins=(PAGE,))
        yield "own", (await tokens.mint(things.desk, wish))[1].id, 200
    else:
        yield (
            "own",
            await things.made(kind, account, user or caller.id if kind == "call" else user),
            200,
        )
    yield "same", await things.made(kind, account, ""), 200
    yield (
        "other",
        await things.made(kind, "other", ""),
        200 if route[1].startswith("/admin/") else 404,
    )
    yield "none", await things.none(kind), 404


async def test_who_may_call_what(there):
    found = await credentials(there)
    things = Things(there)
    await there.operator.does(
        "PUT", "/admin/offers", {"model": "made/here", "provider": "first", "upstream_id": "hello"}
    )
    await there.teller.topup("other", 5 * USD, "bank")
    await make_calls(there, things, found)
    wrong = []
    for (method, path), route in shown(there).items():
        if route.row is None:
            continue
        probe, who = PROBES[method, path], who_of(method, path, set())
        may = {
            name
            for name, (_, scopes, _, _) in found.items()
            if who == ANYBODY or (scopes is not None and scopes & SCOPES[who])
        }
        thing = await things.made(probe.thing, "acme", "") if probe.thing else ""
        before = await everything(there)
        for name in found.keys() - may:
            caller, scopes, *_ = found[name]
            wrong += await tried(
                caller, (method, path), probe, thing, 401 if scopes is None else 403, name
            )
        if await everything(there) != before:
            wrong.append(f"{method} {path} was refused, and something has changed")
        for name in sorted(may):
            caller, scopes, *_ = found[name]
            keeps_account = scopes is not None and bool(scopes & {"account", "operator"})
            async for aim, thing, status in targets_of(things, probe, found[name], (method, path)):
                hidden = aim == "same" and who == MEMBER and not keeps_account
                wrong += await tried(
                    caller,
                    (method, path),
                    probe,
                    thing,
                    404 if hidden else status,
                    f"{name}, {aim}",
                )
    assert not wrong, "\n".join(wrong)


async def make_calls(there, things, found):
    """A call of every account, of every person, and of every key that is nobody's."""
    for account in ("acme", "other", "house"):
        things.calls[account, ""] = await a_call(there, account, "")
    for caller, scopes, account, user in found.values():
        if scopes == {"browser"}:
            continue
        if scopes and "inference" in scopes and not user:
            things.calls[account, caller.id] = (await caller.calls()).headers["x-request-id"]
        elif scopes:
            things.calls[account, user or caller.id] = (
                things.calls[account, ""]
                if "inference" not in scopes
                else await a_call(there, account, user)
            )


async def a_call(there, account, user):
    key, _ = await keys.make(there.desk, keys.Wish(account=account, user=user))
    return (await Caller(there.client, key).calls()).headers["x-request-id"]


async def tried(caller, route, probe, thing, want, told):
    """What is wrong with the answer."""
    where, body = aimed(route[1], probe, thing)
    answer = await caller(route[0], where, body)
    if answer.status != want:
        return [
            f"{route[0]} {where} as {told}: {answer.status} instead of {want}: {answer.text[:150]}"
        ]
    if answer.status >= 400 and set(answer.json()) != {"error"}:
        return [f"{route[0]} {where} as {told}: another shape of error: {answer.text[:150]}"]
    return []


async def test_calls_and_pages_ask_for_their_scopes(there):
    found = await credentials(there)
    clients = set(CLIENTS)
    wrong = []
    for (method, path), route in shown(there).items():
        if route.row is not None:
            continue
        who = who_of(method, path, clients)
        for name, (caller, scopes, _, _) in found.items():
            answer = await caller(
                method, path + ("nothing" if route.tail else ""), {} if method == "POST" else None
            )
            refused = (
                0
                if who == ANYBODY
                else 401
                if scopes is None
                else 0
                if scopes & SCOPES[who]
                else 403
            )
            if answer.status != refused if refused else answer.status in {401, 403}:
                wrong.append(f"{method} {path} as {name}: {answer.status} instead of {refused}")
    assert not wrong, "\n".join(wrong)


async def test_each_header_that_may_carry_a_key_is_held_alike(there):
    member, nobody = await there.key("acme"), there.nobody
    for header in ("x-api-key", "api-key", "Authorization"):
        value = f"Bearer {member.key}" if header == "Authorization" else member.key
        assert (await nobody("GET", "/v1/account", **{header: value})).status == 200
        assert (await nobody("GET", "/admin/accounts", **{header: value})).status == 403
        assert (await nobody("POST", "/v1/keys", {"name": "x"}, **{header: value})).status == 403
    assert (await member("GET", "/v1/account", **{"x-api-key": there.operator.key})).status == 400
    assert (await nobody("GET", f"/v1/account?key={member.key}")).status == 400
    assert masked(member.key)[:8] in member.key


def spellings(path):
    """The same path as others might spell it."""
    plain = path.replace("{id}", "01HZZZZZZZZZZZZZZZZZZZZZZZ")
    head, _, tail = plain[1:].partition("/")
    if not head:
        return
    yield "/" + head.upper() + ("/" + tail if tail else "")
    yield "/" + plain
    yield plain + "/"
    yield plain + "//"
    yield "/." + plain
    yield plain + "/."
    yield plain + "/.."
    yield plain + ";x"
    yield plain + ";x=1"
    yield plain + "%20"
    yield plain + "%00"
    yield plain + "."
    yield "/" + f"%{ord(head[0]):02x}" + plain[2:]
    if tail:
        yield f"/{head}//{tail}"
        yield f"/{head}/./{tail}"
        yield f"/{head}/x/../{tail}"
        yield f"/{head}%2f{tail}"
        yield f"/{head}%2F{tail}"
        yield f"/{head}\\{tail}"
        yield f"/{head};x/{tail}"


async def test_another_spelling_of_a_path_is_another_path(there):
    routes = shown(there)
    wrong = []
    for (method, path), route in routes.items():
        if route.tail:
            continue
        for spelled in spellings(path):
            if (method, spelled) in routes or spelled.startswith("/v1/models/"):
                continue
            for caller in (there.nobody, there.operator):
                answer = await caller(
                    method, spelled, {} if method in {"POST", "PUT", "PATCH"} else None
                )
                if answer.status not in {400, 404, 405}:
                    wrong.append(f"{method} {spelled}: {answer.status}")
    assert not wrong, "\n".join(wrong)


async def test_head_is_get_without_a_body_and_other_methods_are_not_served(there):
    routes = shown(there)
    for path in {path for _, path in routes}:
        served = {method for method, known in routes if known == path}
        plain = path.replace("{id}", "01HZZZZZZZZZZZZZZZZZZZZZZZ")
        if path.endswith("/"):
            continue
        if "GET" in served:
            for caller in (there.nobody, there.operator):
                got, head = await caller("GET", plain), await caller("HEAD", plain)
                assert (head.status, head.text) == (got.status, ""), path
        for method in ("OPTIONS", "TRACE", "DELETE", "PUT", "PATCH", "POST", "GET"):
            if method not in served:
                answer = await there.operator(method, plain)
                assert answer.status == 405, (method, plain, answer.status)
                assert set(answer.headers["allow"].replace(" ", "").split(",")) == served


def test_a_probe_says_what_it_is_aimed_at():
    assert aimed("/v1/keys/{id}", Probe("key", body={"a": "ID", "b": 1}), "K") == (
        "/v1/keys/K",
        {"a": "K", "b": 1},
    )
