"""The control plane on a real socket: callers with keys of every kind, on a store with two accounts."""

import asyncio
import io
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http.client import HTTPResponse
from pathlib import Path
from typing import Any, NamedTuple

from gatewayz.core.money import Nanos
from gatewayz.store.sql import accounts, keys, users
from gatewayz.store.sql.credits import Teller
from gatewayz.store.sql.database import Location
from tests.support.databases import url_of
from tests.support.house import House, house, offers

USD = 10**9
MODEL = "test/model"
ANSWER_S = 60


class Answer(NamedTuple):
    """What came back, read to its end."""

    status: int
    headers: Mapping[str, str]
    text: str

    def json(self) -> Any:
        return json.loads(self.text)


class Client(NamedTuple):
    """Sends whole requests, each at once on a connection of its own, so that an early refusal is heard."""

    host: str
    port: int

    async def request(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> Answer:
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self.host}:{self.port}", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        lines += [f"Content-Length: {len(body)}"] if body else []
        reader, writer = await asyncio.open_connection(self.host, self.port)
        try:
            writer.write("\r\n".join([*lines, "", ""]).encode() + body)
            async with asyncio.timeout(ANSWER_S):
                return _answer(await reader.read(), method)
        finally:
            writer.transport.abort()


class _Heard:
    """What was heard, where the standard library expects a socket."""

    def __init__(self, heard: bytes) -> None:
        self.heard = heard

    def makefile(self, mode: str) -> io.BytesIO:
        return io.BytesIO(self.heard)


def _answer(heard: bytes, method: str) -> Answer:
    response = HTTPResponse(_Heard(heard), method=method)
    response.begin()
    headers = {name.lower(): value for name, value in response.getheaders()}
    return Answer(response.status, headers, response.read().decode())


class Caller:
    """Asks with one key, and with the same headers each time."""

    def __init__(
        self, client: Client, key: str, key_id: str = "", user: str = "", **headers: str
    ) -> None:
        self.client = client
        self.key = key
        self.id = key_id
        self.user = user
        self.headers = headers

    async def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        given = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        given |= {} if body is None else {"Content-Type": "application/json"}
        given |= {name.replace("_", "-"): value for name, value in (self.headers | headers).items()}
        return await self.client.request(
            method, path, given, b"" if body is None else json.dumps(body).encode()
        )

    async def get(self, path: str, status: int = 200, **headers: str) -> Any:
        answer = await self("GET", path, **headers)
        assert answer.status == status, (path, answer.status, answer.text)
        return answer.json()

    async def does(
        self, method: str, path: str, body: Any = None, *, status: int = 200, **headers: str
    ) -> Any:
        answer = await self(method, path, body, **headers)
        assert answer.status == status, (method, path, answer.status, answer.text)
        return answer.json()

    async def calls(self, text: str = "Hello", **fields: Any) -> Answer:
        """Makes a call."""
        headers = fields.pop("headers", {})
        body = {"model": MODEL, "messages": [{"role": "user", "content": text}], **fields}
        return await self("POST", "/v1/chat/completions", body, **headers)


class Place:
    """A running gateway with the accounts `acme` and `other`, and whoever calls it."""

    def __init__(self, here: House, client: Client) -> None:
        self.here = here
        self.client = client
        self.desk = here.built.desk
        self.teller = Teller(self.desk, here.built.store.books.commits)
        self.operator = Caller(client, here.key, "bootstrap")
        self.nobody = Caller(client, "")

    async def account(self, name: str, usd: int = 0, **more: Any) -> None:
        await accounts.create(
            self.desk, name.title(), more.pop("billing", "prepaid"), account=name, **more
        )
        if usd:
            await self.teller.topup(name, Nanos(usd * USD), "bank")

    async def key(
        self, account: str, *scopes: str, role: str = "", email: str = "", **wish: Any
    ) -> Caller:
        """A caller with a new key of the account, a person's if a role is named."""
        user = ""
        if role:
            made = await users.create(
                self.desk, account, email or f"{role}.{account}@example.com", role
            )
            user = made.id
        key, record = await keys.make(
            self.desk,
            keys.Wish(account=account, user=user, scopes=scopes or ("inference",), **wish),
        )
        return Caller(self.client, key, record.id, user)


@asynccontextmanager
async def place(location: Location, tmp_path: Path, **own: Any) -> AsyncIterator[Place]:
    """The gateway, with `acme` rich and `other` poor."""
    given = {
        "models": [offers(("first", "echo"))],
        "providers": ("first",),
        "limits": LIMITS,
        **own,
    }
    async with house(tmp_path, database={"url": url_of(location)}, **given) as here:
        # Notices are sent when a test says so.
        await here.built.notices.stop()
        found = Place(here, Client("127.0.0.1", int(here.url.rpartition(":")[2])))
        await found.account("acme", usd=100)
        await found.account("other")
        yield found


LIMITS = {
    "page_rpm": 10_000_000,
    "key_rpm": 10_000_000,
    "account_rpm": 10_000_000,
    "system_rpm": 100_000_000,
    "burst": 1_000_000,
    "key_per_day": 100_000_000,
}
