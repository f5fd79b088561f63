"""The control plane as its own document describes it, held by schemathesis: no request makes it fail, and every answer
has the shape that the document says.
"""

import asyncio
from urllib.parse import parse_qsl, urlsplit

import pytest
import schemathesis
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from gatewayz.core.clock import SystemClock
from gatewayz.core.secrets import Secret
from gatewayz.store.secret import peppers
from gatewayz.store.sql import accounts, keys, tokens
from gatewayz.store.sql.database import Database
from gatewayz.store.sql.desk import Desk
from tests.support.control import LIMITS, MODEL, USD, Caller, Client, place
from tests.support.databases import url_of
from tests.support.house import PRICE
from tests.support.probes import OFFER, PROBES, Things, aimed
from tests.support.served import Served

EXAMPLES = 20
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
WAIT_S = 30


def pointed(case, things):
    """The case with names of things that there are, where it names any."""
    for part in (case.path_parameters, case.query, case.body):
        if isinstance(part, dict):
            part.update({name: things[name] for name in part.keys() & things.keys()})
    return case


class Tries:
    """Asks one operation many things, the same on every run; what it answered with."""

    def __init__(self, operation, url, key):
        self.operation, self.url, self.headers = operation, url, {"Authorization": f"Bearer {key}"}
        self.statuses = set()

    def ask(self, case):
        answer = case.call(base_url=self.url, headers=self.headers, timeout=WAIT_S)
        self.statuses.add(answer.status_code)
        case.validate_response(answer, checks=CHECKS)

    def surely(self, probe, thing):
        """Asks what can be answered."""
        path, body = aimed(self.operation.path, probe, thing)
        more = {"path_parameters": {"id": thing}} if "{id}" in self.operation.path else {}
        more |= {"body": body, "media_type": "application/json"} if body is not None else {}
        self.ask(self.operation.Case(query=dict(parse_qsl(urlsplit(path).query)), **more))

    def anything(self, things):
        @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
        @given(case=self.operation.as_strategy(), known=st.booleans())
        def asked(case, known):
            self.ask(pointed(case, things) if known else case)

        asked()


class Place:
    """A gateway in a process of its own, and the store that it works with."""

    def __init__(self, database, data_dir, port):
        self.desk = Desk(database, SystemClock(), peppers(data_dir, Secret("")), "test")
        self.client = Client("127.0.0.1", port)
        self.url = f"http://127.0.0.1:{port}"
        self.things = Things(self)

    async def key(self, account, *scopes):
        key, record = await keys.make(self.desk, keys.Wish(account=account, scopes=scopes))
        return Caller(self.client, key, record.id)

    async def prepared(self):
        """An offer of the installation's own, which can be priced, named and hidden."""
        boss = await self.key("house", "operator")
        await boss.does("PUT", "/admin/offers", {"model": "made/here", **OFFER})


@pytest.fixture
async def there(databases, tmp_path):
    data_dir = tmp_path / "data"
    location = databases.fresh("sqlite", data_dir)
    given = {
        "database": {"url": url_of(location)},
        "data_dir": str(data_dir),
        "limits": LIMITS,
        "observe": {"log": "off"},
        "providers": {
            OFFER["provider"]: {"dialect": "openai_chat", "base_url": "http://127.0.0.1:9/v1"}
        },
        "models": [
            {
                "id": MODEL,
                "offers": [{"provider": "simulator", "upstream_id": "echo", "price": PRICE}],
            }
        ],
    }
    (tmp_path / "gatewayz.yaml").write_text(yaml.safe_dump(given))
    database = Database(location)
    served = await asyncio.to_thread(Served, tmp_path)
    try:
        await asyncio.to_thread(served.until, "http://", 40)
        found = Place(database, data_dir, served.port)
        for name in ("acme", TARGET):
            await accounts.create(found.desk, name, "credit", credit_line=100 * USD, account=name)
        yield found
    finally:
        await asyncio.to_thread(served.stop)
        await database.close()


async def things_of(there, probe, account, caller):
    """What the probe is aimed at, and what fields may be called here."""
    named = ""
    for kind in (probe.own, probe.thing):
        named = (
            await there.things.made(kind, account, caller.id if kind == "call" else "")
            if kind
            else named
        )
    if probe.thing == "token":
        wish = tokens.TokenWish(
            account=account, key=caller.id, origins=("https://app.example.com",)
        )
        named = (await tokens.mint(there.desk, wish))[1].id
    key, call = await there.things.made("key", account, ""), there.things.calls[account, ""]
    return named, {
        "id": named,
        "account": account,
        "key_id": key,
        "call": call,
        **OFFER,
        "model": "made/here",
    }


WHO = {
    "operator": ("house", "operator", "inference", "account", "metrics"),
    "admin": ("acme", "account", "inference"),
    "member": ("acme", "inference"),
}
"""Who asks → their account, their scopes."""
TARGET = "target"
"""The account that the operator's operations are aimed at."""


@pytest.mark.timeout(300)
async def test_no_request_makes_it_fail_and_every_answer_is_as_the_document_says(there):
    await there.prepared()
    wrong = []
    for who, (account, *scopes) in WHO.items():
        caller = await there.key(account, *scopes)
        for name, other in ((TARGET, await there.key(TARGET, "inference")), (account, caller)):
            there.things.calls[name, caller.id] = there.things.calls[name, ""] = (
                await other.calls()
            ).headers["x-request-id"]
        document = await caller.get("/openapi.json")
        for found in schemathesis.openapi.from_dict(document).get_all_operations():
            operation = found.ok()
            admin = operation.path.startswith("/admin/")
            if admin and who != "operator":
                continue
            probe = PROBES[operation.method.upper(), operation.path]
            tries = Tries(operation, there.url, caller.key)
            named, things = await things_of(there, probe, TARGET if admin else account, caller)
            tries.surely(probe, caller.id if probe.thing == "key" and who == "member" else named)
            tries.anything(things)
            access = document["paths"][operation.path][operation.method]["x-who"]
            if (200 in tries.statuses) != (access in {"member", "minting"} or who != "member"):
                wrong.append(f"{who}: {operation.method} {operation.path}: {tries.statuses}")
    assert wrong == []


async def test_an_answer_that_is_not_as_the_document_says_is_found(databases, tmp_path):
    async with place(databases.fresh("sqlite", tmp_path / "data"), tmp_path) as there:
        caller = await there.key("acme")
        document = await caller.get("/openapi.json")
        document["components"]["schemas"]["AccountShown"]["properties"]["balance"] = {
            "type": "integer"
        }
        tries = Tries(
            schemathesis.openapi.from_dict(document)["/v1/account"]["GET"],
            there.here.url,
            caller.key,
        )
        with pytest.raises(FailureGroup):
            await asyncio.to_thread(tries.surely, PROBES["GET", "/v1/account"], "")
