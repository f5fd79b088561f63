"""A gateway whose callers pay: accounts with wallets in a real database, and what the books say of them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import msgspec
from sqlalchemy import func, select

from gatewayz.control import accounts, keys
from gatewayz.control.calls import get_call, list_latest_calls
from gatewayz.core.money import Nanos
from gatewayz.ledger.values import Billing
from gatewayz.store.sql.database import Location
from gatewayz.store.sql.ledger.reconcile import violations
from gatewayz.store.sql.pagination import MAX_ROWS
from gatewayz.store.sql.tables import HOLDS, IDEMPOTENCY, TRANSFERS, WALLETS
from tests.support.databases import url_of
from tests.support.flaky_ledger import PATIENT
from tests.support.money import top_up
from tests.support.running_gateway import RunningGateway, model_with_offers, run_gateway

DOLLAR = 1_000_000_000
INPUT, OUTPUT = 1_000, 2_000
"""Nano-dollars per token of `tests.support.running_gateway.PRICE`."""


class BillingGateway(RunningGateway):
    """A gateway with accounts: `key` is that of a prepaid one."""

    def __init__(self, here: RunningGateway) -> None:
        super().__init__(here.built, here.upstream, here.url, here.key)
        self.clients = here.clients
        self.house_key = here.key
        self.account = ""

    async def open_account(self, dollars: float, billing: Billing = "prepaid") -> tuple[str, str]:
        """A new account with so much in its wallet: its id and a key of it."""
        account = await accounts.create_account(self.built.control_transaction, "test", billing)
        amount = Nanos(round(dollars * DOLLAR))
        if amount:
            await top_up(self.books, account.id, amount)
        key, _ = await keys.create_key(
            self.built.control_transaction, keys.KeySpec(account=account.id)
        )
        return account.id, key

    @property
    def books(self):
        return self.built.books

    async def wait_until_idle(self) -> None:
        """Waits until nothing is under way any more, here and upstream, and everything is booked."""
        await super().wait_until_idle()
        await self.built.gateway.finish()
        await self.books.finish()

    def _is_busy(self) -> bool:
        return bool(self.built.app.inference.running or self.upstream.open_streams)

    async def rows(self, statement) -> list[Any]:
        async with self.built.store.database.begin(reading=True) as connection:
            return list((await connection.execute(statement)).all())

    async def calls(self, account: str = "") -> list[Any]:
        """The records of an account's calls, oldest first, with a name for each column."""
        database, account = self.built.store.database, account or self.account
        records = await list_latest_calls(database, MAX_ROWS, account)
        return [SimpleNamespace(**record) for record in records]

    async def call(self) -> Any:
        """The record of the last call, with its usage as a dictionary."""
        await self.wait_until_idle()
        call = (await self.calls())[-1].id
        details = await get_call(self.built.store.database, self.account, call)
        return details.record

    async def attempts(self, call: str) -> list[Any]:
        """The attempts of a call, as values with a name for each column."""
        details = await get_call(self.built.store.database, self.account, call)
        return [SimpleNamespace(**attempt) for attempt in details.attempts]

    async def claims(self) -> list[Any]:
        return await self.rows(select(IDEMPOTENCY))

    async def wallet(self, account: str = "") -> Any:
        return (
            await self.rows(
                select(WALLETS).where(WALLETS.c.account_id == (account or self.account))
            )
        )[0]

    async def usage_total(self, account: str = "") -> int:
        """What left the account for usage, by its transfers."""
        paid = TRANSFERS.c.kind.in_(("usage", "overrun"))
        result = await self.rows(
            select(func.coalesce(func.sum(TRANSFERS.c.amount), 0)).where(
                TRANSFERS.c.account_id == (account or self.account), paid
            )
        )
        return int(result[0][0])

    async def assert_balanced(self) -> None:
        """Nothing is held any more, and reconciliation finds nothing."""
        await self.wait_until_idle()
        assert await self.rows(select(HOLDS)) == []
        result = await violations(self.built.store.database, self.built.gateway._clock.wall_ms())
        assert result == []


@asynccontextmanager
async def run_billing_gateway(
    tmp_path, location: Location, *, dollars: float = 1.0, model: str = "model", **own: Any
) -> AsyncIterator[BillingGateway]:
    """A gateway over this store, with `test/model` played by the scene `model` and one prepaid account."""
    settings = {"models": [model_with_offers(("first", model))], "observe": {"log": "off"}, **own}
    async with run_gateway(
        tmp_path,
        database={"url": url_of(location), "transaction_pooler": location.pooler},
        **settings,
    ) as here:
        billing_gateway = BillingGateway(here)
        # Generous: a busy machine is no store that is away.
        billing_gateway.books.timeouts = PATIENT
        billing_gateway.account, billing_gateway.key = await billing_gateway.open_account(dollars)
        yield billing_gateway


async def complete_chat(
    client, model: str = "test/model", text: str = "Hello there", **fields: Any
) -> str:
    """The text of an answer, whole or folded from its stream; raises what the SDK raises."""
    messages = [{"role": "user", "content": text}]
    if not fields.get("stream"):
        return (
            (await client.chat.completions.create(model=model, messages=messages, **fields))
            .choices[0]
            .message.content
        )
    stream = await client.chat.completions.create(model=model, messages=messages, **fields)
    return "".join(
        [chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices]
    )


async def abort_call(
    here: BillingGateway,
    model: str = "test/model",
    *,
    streamed: bool,
    after: int | None,
    text: str = "Hello there",
    key: str = "",
    until: asyncio.Event | None = None,
    **fields: Any,
) -> None:
    """A client that breaks its connection off: after so many chunks, when something happens, or when it was asked upstream."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(here.url.rpartition(":")[2]))
    body = msgspec.json.encode(
        {
            "model": model,
            "messages": [{"role": "user", "content": text}],
            "stream": streamed,
            **fields,
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
