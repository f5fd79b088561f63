"""A gateway whose callers pay: accounts with wallets in a real database, and what the books say of them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from sqlalchemy import func, select

from gatewayz.core.money import Nanos
from gatewayz.store.sql import accounts, keys
from gatewayz.store.sql.checking import violations
from gatewayz.store.sql.database import Location
from gatewayz.store.sql.tables import ATTEMPTS, CALLS, HOLDS, IDEMPOTENCY, TRANSFERS, WALLETS
from tests.support.databases import url_of
from tests.support.house import House, house, offers
from tests.support.money import pay

DOLLAR = 1_000_000_000
INPUT, OUTPUT = 1_000, 2_000
"""Nano-dollars per token of `tests.support.house.PRICE`."""


class Paying(House):
    """A house with accounts: `key` is that of a prepaid one."""

    def __init__(self, here: House) -> None:
        super().__init__(here.built, here.upstream, here.url, here.key)
        self.clients = here.clients
        self.house_key = here.key
        self.account = ""

    async def open(self, dollars: float, billing: str = "prepaid") -> tuple[str, str]:
        """A new account with so much in its wallet: its id and a key of it."""
        account = await accounts.create(self.built.desk, "test", billing)
        amount = Nanos(round(dollars * DOLLAR))
        if amount:
            await pay(self.books, account.id, amount)
        key, _ = await keys.make(self.built.desk, keys.Wish(account=account.id))
        return account.id, key

    @property
    def books(self):
        return self.built.books

    async def settled(self) -> None:
        """Waits until nothing is under way any more, here and upstream, and everything is booked."""
        for _ in range(1_000):
            running = self.built.app.inference.running
            if not running and not self.upstream.open_streams:
                await self.built.gateway.finished()
                await self.books.finished()
                return
            await asyncio.sleep(0.01)
        raise AssertionError(
            f"still running: {len(running)} calls, {self.upstream.open_streams} streams upstream"
        )

    async def rows(self, statement) -> list[Any]:
        async with self.built.store.database.begin(reading=True) as connection:
            return list((await connection.execute(statement)).all())

    async def calls(self, account: str = "") -> list[Any]:
        """The records of an account's calls, oldest first."""
        return await self.rows(
            select(CALLS)
            .where(CALLS.c.account_id == (account or self.account))
            .order_by(CALLS.c.received_ms, CALLS.c.id)
        )

    async def call(self) -> Any:
        """The record of the last call, with its usage as a dictionary."""
        await self.settled()
        record = (await self.calls())[-1]._asdict()
        return {**record, "usage": msgspec.json.decode(record["usage"])}

    async def attempts(self, call: str) -> list[Any]:
        return await self.rows(
            select(ATTEMPTS).where(ATTEMPTS.c.call_id == call).order_by(ATTEMPTS.c.number)
        )

    async def claims(self) -> list[Any]:
        return await self.rows(select(IDEMPOTENCY))

    async def wallet(self, account: str = "") -> Any:
        return (
            await self.rows(
                select(WALLETS).where(WALLETS.c.account_id == (account or self.account))
            )
        )[0]

    async def spent(self, account: str = "") -> int:
        """What left the account for usage, by its transfers."""
        paid = TRANSFERS.c.kind.in_(("usage", "overrun"))
        found = await self.rows(
            select(func.coalesce(func.sum(TRANSFERS.c.amount), 0)).where(
                TRANSFERS.c.account_id == (account or self.account), paid
            )
        )
        return int(found[0][0])

    async def balanced(self) -> None:
        """Nothing is held any more, and reconciliation finds nothing."""
        await self.settled()
        assert await self.rows(select(HOLDS)) == []
        found = await violations(self.built.store.database, self.built.gateway._clock.wall_ms())
        assert found == []


@asynccontextmanager
async def paying(
    tmp_path, location: Location, *, dollars: float = 1.0, model: str = "model", **own: Any
) -> AsyncIterator[Paying]:
    """A gateway over this store, with `test/model` played by the scene `model` and one prepaid account."""
    given = {"models": [offers(("first", model))], "observe": {"log": "off"}, **own}
    async with house(
        tmp_path, database={"url": url_of(location), "transaction_pooler": location.pooler}, **given
    ) as here:
        paying = Paying(here)
        paying.account, paying.key = await paying.open(dollars)
        yield paying


async def asked(client, model: str = "test/model", text: str = "Hello there", **more: Any) -> str:
    """The text of an answer, whole or folded from its stream; raises what the SDK raises."""
    messages = [{"role": "user", "content": text}]
    if not more.get("stream"):
        return (
            (await client.chat.completions.create(model=model, messages=messages, **more))
            .choices[0]
            .message.content
        )
    stream = await client.chat.completions.create(model=model, messages=messages, **more)
    return "".join(
        [chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices]
    )


async def leaves(
    here: Paying,
    model: str = "test/model",
    *,
    streamed: bool,
    after: int | None,
    text: str = "Hello there",
    key: str = "",
    until: asyncio.Event | None = None,
    **more: Any,
) -> None:
    """A client that breaks its connection off: after so many chunks, when something happens, or when it was asked upstream."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(here.url.rpartition(":")[2]))
    body = msgspec.json.encode(
        {
            "model": model,
            "messages": [{"role": "user", "content": text}],
            "stream": streamed,
            **more,
        }
    )
    named = f"Idempotency-Key: {key}\r\n" if key else ""
    before = len(here.upstream.requests)
    writer.write(
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {here.key}\r\n"
        f"{named}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        + body
    )
    await writer.drain()
    if until is not None:
        await until.wait()
    elif after is None:
        while len(here.upstream.requests) == before:
            await asyncio.sleep(0.005)
        await asyncio.sleep(0.02)
    else:
        seen = b""
        while seen.count(b"data: ") < after:
            got = await reader.read(4096)
            assert got, seen
            seen += got
    writer.transport.abort()
