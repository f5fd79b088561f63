"""The control plane as its own document describes it, held by schemathesis: no request makes it fail, and every answer
has the shape that the document says.
"""

import asyncio
from typing import Any, cast
from urllib.parse import parse_qsl, urlsplit

import pytest
import schemathesis
import yaml
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from gatewayz.control import accounts, keys, tokens
from gatewayz.control.transactions import ControlTransaction
from gatewayz.core.clock import SystemClock
from gatewayz.core.money import Nanos
from gatewayz.core.secrets import Secret
from gatewayz.store.secret import load_peppers
from gatewayz.store.sql.database import Database
from gatewayz.web.api.handlers import HANDLERS, RESPONSE_MODELS
from gatewayz.web.api.routes import ROUTES
from tests.support.control_plane import LIMITS, MODEL, USD, ApiClient, RawClient, run_control_plane
from tests.support.databases import url_of
from tests.support.examples import examples
from tests.support.gateway_process import GatewayProcess
from tests.support.route_requests import OFFER, ROUTE_REQUESTS, ResourceFactory, render_request
from tests.support.running_gateway import PRICE

EXAMPLES = 6
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
WAIT_S = 30


def with_known_ids(case, ids):
    """The case with names of things that there are, where it names any."""
    for part in (case.path_parameters, case.query, case.body):
        if isinstance(part, dict):
            part.update({name: ids[name] for name in part.keys() & ids.keys()})
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

    def ask_valid(self, request, resource_id):
        """Asks what can be answered."""
        path, body = render_request(self.operation.path, request, resource_id)
        options: dict[str, Any] = {}
        if "{id}" in self.operation.path:
            options["path_parameters"] = {"id": resource_id}
        options |= {"body": body, "media_type": "application/json"} if body is not None else {}
        self.ask(self.operation.Case(query=dict(parse_qsl(urlsplit(path).query)), **options))

    def ask_anything(self, ids):
        @examples(500, few=EXAMPLES, suppress_health_check=list(HealthCheck))
        @given(case=self.operation.as_strategy(), known=st.booleans())
        def ask_one(case, known):
            self.ask(with_known_ids(case, ids) if known else case)

        ask_one()


class GatewayUnderTest:
    """A gateway in a process of its own, and the store that it works with."""

    def __init__(self, database, data_dir, port):
        self.transaction = ControlTransaction(
            database, SystemClock(), load_peppers(data_dir, Secret("")), "test"
        )
        self.client = RawClient("127.0.0.1", port)
        self.url = f"http://127.0.0.1:{port}"
        self.resources = ResourceFactory(self.transaction)

    async def create_key(self, account, *scopes):
        key, record = await keys.create_key(
            self.transaction, keys.KeySpec(account=account, scopes=scopes)
        )
        return ApiClient(self.client, key, record.id)

    async def create_offer(self):
        """An offer of the installation's own, which can be priced, named and hidden."""
        operator = await self.create_key("house", "operator")
        await operator.request("PUT", "/admin/offers", {"model": "made/here", **OFFER})


@pytest.fixture
async def control_plane(databases, tmp_path):
    data_dir = tmp_path / "data"
    location = databases.create_migrated("sqlite", data_dir)
    settings = {
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
    (tmp_path / "gatewayz.yaml").write_text(yaml.safe_dump(settings))
    database = Database(location)
    process = await asyncio.to_thread(GatewayProcess, tmp_path)
    try:
        await asyncio.to_thread(process.wait_for, "http://", 40)
        gateway = GatewayUnderTest(database, data_dir, process.port)
        for name in ("acme", TARGET):
            await accounts.create_account(
                gateway.transaction, name, "credit", credit_line=Nanos(100 * USD), account=name
            )
        yield gateway
    finally:
        await asyncio.to_thread(process.stop)
        await database.close()


async def things_of(control_plane, request, account, caller):
    """What the probe is aimed at, and what fields may be called here."""
    resource_id = ""
    for kind in (request.prerequisite, request.resource):
        resource_id = (
            await control_plane.resources.create(kind, account, caller.id if kind == "call" else "")
            if kind
            else resource_id
        )
    if request.resource == "token":
        spec = tokens.TokenSpec(
            account=account, key=caller.id, origins=("https://app.example.com",)
        )
        resource_id = (await tokens.create_token(control_plane.transaction, spec))[1].id
    key, call = (
        await control_plane.resources.create("key", account, ""),
        control_plane.resources.calls[account, ""],
    )
    return resource_id, {
        "id": resource_id,
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


def test_every_route_has_a_handler_and_every_handler_a_route():
    assert sorted(route.operation for route in ROUTES) == sorted(HANDLERS)
    assert RESPONSE_MODELS.keys() <= set(HANDLERS.values())


@pytest.mark.timeout(300)
async def test_no_request_makes_it_fail_and_every_answer_is_as_the_document_says(control_plane):
    await control_plane.create_offer()
    wrong = []
    for who, (account, *scopes) in WHO.items():
        caller = await control_plane.create_key(account, *scopes)
        for name, other in (
            (TARGET, await control_plane.create_key(TARGET, "inference")),
            (account, caller),
        ):
            control_plane.resources.calls[name, caller.id] = control_plane.resources.calls[
                name, ""
            ] = (await other.chat()).headers["x-request-id"]
        document = await caller.get("/openapi.json")
        for result in schemathesis.openapi.from_dict(document).get_all_operations():
            operation = cast("Any", result).ok()
            if operation.tags == ["models"]:
                # Made for reading; the calls themselves are tested by their dialects.
                continue
            admin = operation.path.startswith("/admin/")
            if admin and who != "operator":
                continue
            request = ROUTE_REQUESTS[operation.method.upper(), operation.path]
            tries = Tries(operation, control_plane.url, caller.key)
            resource_id, ids = await things_of(
                control_plane, request, TARGET if admin else account, caller
            )
            tries.ask_valid(
                request, caller.id if request.resource == "key" and who == "member" else resource_id
            )
            tries.ask_anything(ids)
            access = document["paths"][operation.path][operation.method]["x-who"]
            if (200 in tries.statuses) != (access in {"member", "minting"} or who != "member"):
                wrong.append(f"{who}: {operation.method} {operation.path}: {tries.statuses}")
    assert wrong == []


async def test_an_answer_that_is_not_as_the_document_says_is_found(databases, tmp_path):
    async with run_control_plane(
        databases.create_migrated("sqlite", tmp_path / "data"), tmp_path
    ) as control_plane:
        caller = await control_plane.create_key("acme")
        document = await caller.get("/openapi.json")
        document["components"]["schemas"]["AccountView"]["properties"]["balance"] = {
            "type": "integer"
        }
        tries = Tries(
            schemathesis.openapi.from_dict(document)["/v1/account"]["GET"],
            control_plane.gateway.url,
            caller.key,
        )
        with pytest.raises(FailureGroup):
            await asyncio.to_thread(tries.ask_valid, ROUTE_REQUESTS["GET", "/v1/account"], "")
