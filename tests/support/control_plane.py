"""The control plane on a real socket: clients with keys of every kind, on a store with two accounts."""

import asyncio
import io
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http.client import HTTPResponse
from pathlib import Path
from typing import Any, Literal, NamedTuple

from gatewayz.control import accounts, keys, users
from gatewayz.control.credits import Credits
from gatewayz.core.access import Role
from gatewayz.core.money import Nanos
from gatewayz.store.sql.database import Location
from tests.support.databases import url_of
from tests.support.running_gateway import RunningGateway, model_with_offers, run_gateway

USD = 10**9
MODEL = "test/model"
ANSWER_S = 60


class ApiResponse(NamedTuple):
    """What came back, read to its end."""

    status: int
    headers: Mapping[str, str]
    text: str

    def json(self) -> Any:
        return json.loads(self.text)


class RawClient(NamedTuple):
    """Sends whole requests, each on a connection of its own, so that an early refusal is read too."""

    host: str
    port: int

    async def request(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> ApiResponse:
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self.host}:{self.port}", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        lines += [f"Content-Length: {len(body)}"] if body else []
        reader, writer = await asyncio.open_connection(self.host, self.port)
        try:
            writer.write("\r\n".join([*lines, "", ""]).encode() + body)
            async with asyncio.timeout(ANSWER_S):
                return _parse_response(await reader.read(), method)
        finally:
            writer.transport.abort()


class _ResponseSocket:
    """The bytes of a response, where the standard library expects a socket."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw

    def makefile(self, mode: str) -> io.BytesIO:
        return io.BytesIO(self.raw)


def _parse_response(raw: bytes, method: str) -> ApiResponse:
    response = HTTPResponse(_ResponseSocket(raw), method=method)  # type: ignore[arg-type]
    response.begin()
    headers = {name.lower(): value for name, value in response.getheaders()}
    return ApiResponse(response.status, headers, response.read().decode())


class ApiClient:
    """Asks with one key, and with the same headers each time."""

    def __init__(
        self, client: RawClient, key: str, key_id: str = "", user: str = "", **headers: str
    ) -> None:
        self.client = client
        self.key = key
        self.id = key_id
        self.user = user
        self.headers = headers

    async def __call__(
        self, method: str, path: str, body: Any = None, **headers: str
    ) -> ApiResponse:
        sent = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        sent |= {} if body is None else {"Content-Type": "application/json"}
        sent |= {name.replace("_", "-"): value for name, value in (self.headers | headers).items()}
        return await self.client.request(
            method, path, sent, b"" if body is None else json.dumps(body).encode()
        )

    async def get(self, path: str, status: int = 200, **headers: str) -> Any:
        answer = await self("GET", path, **headers)
        assert answer.status == status, (path, answer.status, answer.text)
        return answer.json()

    async def request(
        self, method: str, path: str, body: Any = None, *, status: int = 200, **headers: str
    ) -> Any:
        answer = await self(method, path, body, **headers)
        assert answer.status == status, (method, path, answer.status, answer.text)
        return answer.json()

    async def chat(self, text: str = "Hello", **fields: Any) -> ApiResponse:
        """Makes a call."""
        headers = fields.pop("headers", {})
        body = {"model": MODEL, "messages": [{"role": "user", "content": text}], **fields}
        return await self("POST", "/v1/chat/completions", body, **headers)


class ControlPlane:
    """A running gateway with the accounts `acme` and `other`, and its clients."""

    def __init__(self, gateway: RunningGateway, client: RawClient) -> None:
        self.gateway = gateway
        self.client = client
        store, transaction = gateway.built.store, gateway.built.control_transaction
        assert store is not None
        assert transaction is not None
        assert gateway.built.notifications is not None
        self.notifications = gateway.built.notifications
        self.transaction = transaction
        self.credits = Credits(transaction, store.books.commits)
        self.operator = ApiClient(client, gateway.key, "bootstrap")
        self.nobody = ApiClient(client, "")

    async def create_account(self, name: str, usd: int = 0, **more: Any) -> None:
        await accounts.create_account(
            self.transaction, name.title(), more.pop("billing", "prepaid"), account=name, **more
        )
        if usd:
            await self.credits.topup(name, Nanos(usd * USD), "bank")

    async def create_key(
        self,
        account: str,
        *scopes: str,
        role: Role | Literal[""] = "",
        email: str = "",
        **spec: Any,
    ) -> ApiClient:
        """A client with a new key of the account, a person's if a role is named."""
        user = ""
        if role:
            person = await users.create_user(
                self.transaction, account, email or f"{role}.{account}@example.com", role
            )
            user = person.id
        key, record = await keys.create_key(
            self.transaction,
            keys.KeySpec(account=account, user=user, scopes=scopes or ("inference",), **spec),
        )
        return ApiClient(self.client, key, record.id, user)

    async def finish_calls(self) -> None:
        """Waits until all calls are settled, and those that were refused are recorded."""
        await self.gateway.built.gateway.finish()

    async def send_notifications(self) -> None:
        """Finds what is to be notified, and sends it."""
        await self.notifications.run_once()


@asynccontextmanager
async def run_control_plane(
    location: Location, tmp_path: Path, **own: Any
) -> AsyncIterator[ControlPlane]:
    """The gateway, with `acme` rich and `other` poor."""
    settings = {
        "models": [model_with_offers(("first", "echo"))],
        "providers": ("first",),
        "limits": LIMITS,
        **own,
    }
    url = url_of(location)
    async with run_gateway(tmp_path, database={"url": url}, **settings) as gateway:
        port = int(gateway.url.rpartition(":")[2])
        control_plane = ControlPlane(gateway, RawClient("127.0.0.1", port))
        # Notifications are sent when a test says so.
        await control_plane.notifications.stop()
        await control_plane.create_account("acme", usd=100)
        await control_plane.create_account("other")
        yield control_plane


LIMITS = {
    "api_rpm": 10_000_000,
    "key_rpm": 10_000_000,
    "account_rpm": 10_000_000,
    "system_rpm": 100_000_000,
    "burst": 1_000_000,
    "key_per_day": 100_000_000,
}
