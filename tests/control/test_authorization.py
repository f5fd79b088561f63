"""Who may call what: every route that the running server shows × every credential × every target, and every spelling of a path.

The table below is this test's own; a route that is not in it fails. Whoever is refused has changed nothing.
"""

import asyncio
import time
from zlib import crc32

import pytest
from sqlalchemy import select

from gatewayz.control import accounts, keys, tokens
from gatewayz.core.keys import BASE62, mask_key
from gatewayz.dialects.registry import CLIENTS
from gatewayz.store.sql.tables import METADATA
from tests.support.control_plane import USD, ApiClient, run_control_plane
from tests.support.route_requests import (
    ROUTE_REQUESTS,
    ResourceFactory,
    RouteRequest,
    render_request,
)

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
            "GET /docs/start.js",
            "GET /docs/swagger-ui.css",
            "GET /docs/swagger-ui-bundle.js",
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
            "GET /v1/account/notifications",
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


@pytest.fixture
def kind():
    """One database is enough: who may do what is decided above the store."""
    return "sqlite"


def who_of(method, path, clients):
    if path.startswith("/admin/"):
        return OPERATOR
    return CALLS if method == "POST" and path in clients else WHO.get(f"{method} {path}")


@pytest.fixture
async def control_plane(location, tmp_path):
    async with run_control_plane(location, tmp_path) as plane:
        yield plane


def routes_of(control_plane):
    """(method, path) of everything that the server can be asked for."""
    return {(route.method, route.path): route for route in control_plane.gateway.built.app.routes}


async def test_every_route_has_a_row_here_and_every_operation_of_the_document_is_a_route(
    control_plane,
):
    clients = set(CLIENTS)
    routes = routes_of(control_plane)
    assert [route for route in routes if who_of(route[0], route[1], clients) is None] == []
    assert [
        route
        for route, row in routes.items()
        if row.api_route is not None and route not in ROUTE_REQUESTS
    ] == []
    document = await control_plane.nobody.get("/openapi.json")
    documented = {
        (method.upper(), path) for path, item in document["paths"].items() for method in item
    }
    models = {("GET", "/v1/models"), ("GET", "/v1/models/{model}")}
    calls = {("POST", path) for path in clients} | models
    assert documented - calls == {
        route
        for route, row in routes.items()
        if row.api_route is not None and row.access != "anonymous"
    }
    assert calls <= documented
    for method, path in documented - {("GET", "/v1/models/{model}")}:
        assert document["paths"][path][method.lower()]["x-who"] == routes[method, path].access


async def credentials(control_plane):
    """Name → (caller, scopes, account, person); nothing of the last three for keys that do not work."""
    await control_plane.create_account("gone")
    bad_keys = {
        "none": "",
        "garbage": "abc",
        "check digits": control_plane.operator.key[:-1]
        + ("a" if control_plane.operator.key[-1] != "a" else "b"),
        "unknown": "gw_live_0000000000000000000000000000000000000000000"
        + _check("gw_live_" + "0" * 43),
    }
    callers: dict[str, tuple[ApiClient, set[str] | None, str, str]] = {
        name: (ApiClient(control_plane.client, key), None, "", "") for name, key in bad_keys.items()
    }
    expired = await control_plane.create_key(
        "acme", "inference", "account", expires_ms=int((time.time() + EXPIRED_S) * 1000)
    )
    revoked = await control_plane.create_key("acme", "inference", "account")
    await keys.revoke_key(control_plane.transaction, "acme", revoked.id)
    suspended = await control_plane.create_key("gone", "inference", "account")
    await accounts.set_status(control_plane.transaction, "gone", "suspended")
    for name, caller in (("expired", expired), ("revoked", revoked), ("suspended", suspended)):
        callers[name] = (caller, None, "", "")
    for account, scope in (
        ("acme", "inference"),
        ("acme", "account"),
        ("house", "metrics"),
        ("house", "operator"),
    ):
        callers[f"scope {scope}"] = (
            await control_plane.create_key(account, scope),
            {scope},
            account,
            "",
        )
    for role, account, scopes in (
        ("member", "acme", {"inference"}),
        ("admin", "acme", {"inference", "account"}),
        ("metrics", "house", {"metrics"}),
        ("operator", "house", {"inference", "account", "metrics", "operator"}),
    ):
        caller = await control_plane.create_key(account, *scopes, role=role)
        callers[role] = (caller, scopes, account, caller.user)
    minting = await control_plane.create_key("acme")
    token = await minting.request("POST", "/v1/tokens", {"origins": [PAGE]})
    callers["token"] = (
        ApiClient(control_plane.client, token["secret"], minting.id, Origin=PAGE),
        {"browser"},
        "acme",
        "",
    )
    await asyncio.sleep(EXPIRED_S)
    return callers


def _check(body):
    number, digits = crc32(body.encode()), ""
    for _ in range(6):
        number, digit = divmod(number, 62)
        digits = BASE62[digit] + digits
    return digits


async def everything(control_plane):
    """All that is kept, but for calls and what only counts."""
    tables = [
        table
        for table in METADATA.sorted_tables
        if table.name not in {"calls", "call_texts", "usage_models", "owners", "holds"}
    ]
    async with control_plane.transaction.database.begin(reading=True) as connection:
        return {
            table.name: [tuple(row) for row in (await connection.execute(select(table))).all()]
            for table in tables
        }


async def targets_of(resources, request, credential, route):
    """Yields target, thing, status for who may call: own, of the same account, of another one, none at all."""
    caller, _, account, user = credential
    kind, account = request.resource, account or "acme"
    if not kind:
        if request.prerequisite:
            await resources.create(request.prerequisite, account, user)
        yield "", "", 200
        return
    if kind == "key" and route[0] == "GET" and not user:
        yield "own", caller.id, 200
    elif kind == "token" and not user:
        spec = tokens.TokenSpec(account=account, key=caller.id, origins=(PAGE,))
        yield "own", (await tokens.create_token(resources.transaction, spec))[1].id, 200
    else:
        yield (
            "own",
            await resources.create(kind, account, user or caller.id if kind == "call" else user),
            200,
        )
    yield "same", await resources.create(kind, account, ""), 200
    yield (
        "other",
        await resources.create(kind, "other", ""),
        200 if route[1].startswith("/admin/") else 404,
    )
    yield "none", await resources.missing_id(kind), 404


async def test_who_may_call_what(control_plane):
    callers = await credentials(control_plane)
    resources = ResourceFactory(control_plane.transaction)
    await control_plane.operator.request(
        "PUT", "/admin/offers", {"model": "made/here", "provider": "first", "upstream_id": "hello"}
    )
    await control_plane.credits.topup("other", 5 * USD, "bank")
    await make_calls(control_plane, resources, callers)
    wrong = []
    for (method, path), route in routes_of(control_plane).items():
        if route.api_route is None:
            continue
        request, who = ROUTE_REQUESTS[method, path], who_of(method, path, set())
        allowed = {
            name
            for name, (_, scopes, _, _) in callers.items()
            if who == ANYBODY or (scopes is not None and scopes & SCOPES[who])
        }
        resource_id = (
            await resources.create(request.resource, "acme", "") if request.resource else ""
        )
        before = await everything(control_plane)
        for name in callers.keys() - allowed:
            caller, scopes, *_ = callers[name]
            wrong += await problems_with(
                caller, (method, path), request, resource_id, 401 if scopes is None else 403, name
            )
        if await everything(control_plane) != before:
            wrong.append(f"{method} {path} was refused, and something has changed")
        for name in sorted(allowed):
            caller, scopes, *_ = callers[name]
            keeps_account = scopes is not None and bool(scopes & {"account", "operator"})
            async for aim, resource_id, status in targets_of(
                resources, request, callers[name], (method, path)
            ):
                hidden = aim == "same" and who == MEMBER and not keeps_account
                wrong += await problems_with(
                    caller,
                    (method, path),
                    request,
                    resource_id,
                    404 if hidden else status,
                    f"{name}, {aim}",
                )
    assert not wrong, "\n".join(wrong)


async def make_calls(control_plane, resources, callers):
    """A call of every account, of every person, and of every key that is nobody's."""
    for account in ("acme", "other", "house"):
        resources.calls[account, ""] = await make_call(control_plane, account, "")
    for caller, scopes, account, user in callers.values():
        if scopes == {"browser"}:
            continue
        if scopes and "inference" in scopes and not user:
            resources.calls[account, caller.id] = (await caller.chat()).headers["x-request-id"]
        elif scopes:
            resources.calls[account, user or caller.id] = (
                resources.calls[account, ""]
                if "inference" not in scopes
                else await make_call(control_plane, account, user)
            )


async def make_call(control_plane, account, user):
    key, _ = await keys.create_key(
        control_plane.transaction, keys.KeySpec(account=account, user=user)
    )
    return (await ApiClient(control_plane.client, key).chat()).headers["x-request-id"]


async def problems_with(caller, route, request, resource_id, expected, who):
    """What is wrong with the answer."""
    target, body = render_request(route[1], request, resource_id)
    answer = await caller(route[0], target, body)
    described = f"{route[0]} {target} as {who}: {answer.status}: {answer.text[:150]}"
    if answer.status != expected:
        return [f"{described}: instead of {expected}"]
    if answer.status >= 400 and set(answer.json()) != {"error"}:
        return [f"{described}: another shape of error"]
    if answer.status == 404 and answer.json()["error"]["code"] != "not_found":
        return [f"{described}: not as what is missing"]
    return []


async def test_calls_and_pages_ask_for_their_scopes(control_plane):
    callers = await credentials(control_plane)
    clients = set(CLIENTS)
    wrong = []
    for (method, path), route in routes_of(control_plane).items():
        if route.api_route is not None:
            continue
        who = who_of(method, path, clients)
        for name, (caller, scopes, _, _) in callers.items():
            answer = await caller(
                method,
                path + ("nothing" if route.is_prefix else ""),
                {} if method == "POST" else None,
            )
            expected = (
                0
                if who == ANYBODY
                else 401
                if scopes is None
                else 0
                if scopes & SCOPES[who]
                else 403
            )
            if answer.status != expected if expected else answer.status in {401, 403}:
                wrong.append(f"{method} {path} as {name}: {answer.status} instead of {expected}")
    assert not wrong, "\n".join(wrong)


async def test_each_header_that_may_carry_a_key_is_held_alike(control_plane):
    member, nobody = await control_plane.create_key("acme"), control_plane.nobody
    for header in ("x-api-key", "api-key", "Authorization"):
        value = f"Bearer {member.key}" if header == "Authorization" else member.key
        assert (await nobody("GET", "/v1/account", **{header: value})).status == 200
        assert (await nobody("GET", "/admin/accounts", **{header: value})).status == 403
        assert (await nobody("POST", "/v1/keys", {"name": "x"}, **{header: value})).status == 403
    assert (
        await member("GET", "/v1/account", **{"x-api-key": control_plane.operator.key})
    ).status == 400
    assert (await nobody("GET", f"/v1/account?key={member.key}")).status == 400
    assert mask_key(member.key)[:8] in member.key


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


async def test_another_spelling_of_a_path_is_another_path(control_plane):
    routes = routes_of(control_plane)
    wrong = []
    for (method, path), route in routes.items():
        if route.is_prefix:
            continue
        for spelled in spellings(path):
            if (method, spelled) in routes or spelled.startswith("/v1/models/"):
                continue
            for caller in (control_plane.nobody, control_plane.operator):
                answer = await caller(
                    method, spelled, {} if method in {"POST", "PUT", "PATCH"} else None
                )
                if answer.status not in {400, 404, 405}:
                    wrong.append(f"{method} {spelled}: {answer.status}")
    assert not wrong, "\n".join(wrong)


async def test_head_is_get_without_a_body_and_other_methods_are_not_served(control_plane):
    routes = routes_of(control_plane)
    for path in {path for _, path in routes}:
        served = {method for method, known in routes if known == path}
        plain = path.replace("{id}", "01HZZZZZZZZZZZZZZZZZZZZZZZ")
        if path.endswith("/"):
            continue
        if "GET" in served:
            for caller in (control_plane.nobody, control_plane.operator):
                got, head = await caller("GET", plain), await caller("HEAD", plain)
                assert (head.status, head.text) == (got.status, ""), path
        for method in ("OPTIONS", "TRACE", "DELETE", "PUT", "PATCH", "POST", "GET"):
            if method not in served:
                answer = await control_plane.operator(method, plain)
                assert answer.status == 405, (method, plain, answer.status)
                assert set(answer.headers["allow"].replace(" ", "").split(",")) == served


def test_a_probe_says_what_it_is_aimed_at():
    assert render_request("/v1/keys/{id}", RouteRequest("key", body={"a": "ID", "b": 1}), "K") == (
        "/v1/keys/K",
        {"a": "K", "b": 1},
    )
