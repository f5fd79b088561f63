"""The control plane on a real socket: callers with keys of every kind, on a store with two accounts."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
from yarl import URL

from gatewayz.core.money import Nanos
from gatewayz.store.sql import accounts, keys, users
from gatewayz.store.sql.credits import Teller
from gatewayz.store.sql.database import Location
from tests.support.databases import url_of
from tests.support.house import House, house, offers

USD = 10**9
MODEL = "test/model"


class Answer(NamedTuple):
    """What came back, read to its end."""

    status: int
    headers: Mapping[str, str]
    text: str

    def json(self) -> Any:
        return json.loads(self.text)


class Client(NamedTuple):
    """Connections to one gateway."""

    url: str
    session: aiohttp.ClientSession


class Caller:
    """Asks with one key."""

    def __init__(self, client: Client, key: str, key_id: str = "", user: str = "") -> None:
        self.client = client
        self.key = key
        self.id = key_id
        self.user = user

    async def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        auth = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        given = {**auth, **{name.replace("_", "-"): value for name, value in headers.items()}}
        more = {} if body is None else {"json": body}
        url = URL(self.client.url + path, encoded=True)
        async with self.client.session.request(method, url, headers=given, **more) as answer:
            return Answer(answer.status, answer.headers, await answer.text())

    async def get(self, path: str, status: int = 200, **headers: str) -> Any:
        answer = await self("GET", path, **headers)
        assert answer.status == status, (path, answer.status, answer.text)
        return answer.json()

    async def does(self, method: str, path: str, body: Any = None, *, status: int = 200, **headers: str) -> Any:
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
        await accounts.create(self.desk, name.title(), more.pop("billing", "prepaid"), account=name, **more)
        if usd:
            await self.teller.topup(name, Nanos(usd * USD), "bank")

    async def key(self, account: str, *scopes: str, role: str = "", email: str = "", **wish: Any) -> Caller:
        """A caller with a new key of the account, a person's if a role is named."""
        user = ""
        if role:
            made = await users.create(self.desk, account, email or f"{role}.{account}@example.com", role)
            user = made.id
        key, record = await keys.make(self.desk, keys.Wish(account=account, user=user, scopes=scopes or ("inference",), **wish))
        return Caller(self.client, key, record.id, user)


@asynccontextmanager
async def place(location: Location, tmp_path: Path, **own: Any) -> AsyncIterator[Place]:
    """The gateway, with `acme` rich and `other` poor."""
    given = {"models": [offers(("first", "echo"))], "providers": ("first",), "limits": LIMITS, **own}
    async with house(tmp_path, database={"url": url_of(location)}, **given) as here, aiohttp.ClientSession() as session:
        found = Place(here, Client(here.url, session))
        await found.account("acme", usd=100)
        await found.account("other")
        yield found


LIMITS = {"page_rpm": 10_000_000, "key_rpm": 10_000_000, "account_rpm": 10_000_000, "system_rpm": 100_000_000, "burst": 1_000_000,
          "key_per_day": 100_000_000}
