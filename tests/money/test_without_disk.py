"""Neither store nor disk: what no customer pays for goes on, nobody waits for a store that is known to be away, and nothing
of it is told to customers in the words of a driver.
"""

import asyncio
import contextlib
import errno
import os
import sqlite3

import openai
import pytest
from sqlalchemy import select

from gatewayz.core.faults import Fault
from gatewayz.core.money import Nanos
from gatewayz.ledger.orders import OrderResult, SettleOrder
from gatewayz.store.sql.database import store_unavailable
from gatewayz.store.sql.ledger.group_commit import GroupCommit
from gatewayz.store.sql.ledger.journal import FOLDER
from gatewayz.store.sql.ledger.unsaved import UnsavedSettlements
from gatewayz.store.sql.tables import HOLDS
from tests.support.billing_gateway import complete_chat, run_billing_gateway
from tests.support.flaky_ledger import FlakyLedger
from tests.support.running_gateway import model_with_offers, wait_until

FULL = "database or disk is full"
MODELS = [
    model_with_offers(("first", scene), model=name) | {"aliases": []}
    for name, scene in (
        ("test/model", "echo"),
        ("test/broken", "fault-500"),
        ("test/empty", "nothing"),
    )
]


@pytest.fixture
def kind():
    """One database is enough: both say `unavailable`, and the rest is decided above them."""
    return "sqlite"


class DiskFull(FlakyLedger):
    """Every order is refused in SQLite's words, and it is remembered who was asked for."""

    def __init__(self, books) -> None:
        super().__init__(books)
        self.asked: list[str] = []
        self.full_after_next = False

    async def commit(self, orders):
        self.asked += [getattr(order, "call", "") for order in orders]
        if self.away:
            raise store_unavailable(sqlite3.OperationalError(FULL))
        results = await super().commit(orders)
        self.away = self.full_after_next
        return results


def fill_disk(here, tmp_path):
    """The store refuses, and where the journal would be there is no folder."""
    ledger = DiskFull(here.books)
    (tmp_path / "data" / FOLDER).write_text("no folder")
    ledger.away = True
    return ledger


def empty_disk(ledger, tmp_path):
    (tmp_path / "data" / FOLDER).unlink()
    ledger.away = False


async def test_on_a_full_disk_free_and_house_calls_go_on_and_are_booked_afterwards(
    tmp_path, location
):
    async with run_billing_gateway(tmp_path, location, models=MODELS) as here:
        ledger = fill_disk(here, tmp_path)
        house = here.client(api_key=here.house_key)
        for streamed in (True, False):
            assert await complete_chat(house, stream=streamed) == "Hello there"
            answer = await complete_chat(here.client(), "simulator/echo", stream=streamed)
            assert answer == "Hello there"
        with pytest.raises(openai.APIStatusError) as broken:
            await complete_chat(house, "test/broken")
        assert broken.value.status_code == 502
        assert not await here.calls("house")

        empty_disk(ledger, tmp_path)
        await wait_until(lambda: not len(here.books.unsaved))
        assert len(await here.calls("house")) == 3
        assert sum(record.cost > 0 for record in await here.calls("house")) == 2
        assert not here.books.unsaved.is_away
        await here.assert_balanced()


@pytest.mark.parametrize("model", ["test/broken", "test/empty"])
async def test_an_ending_that_costs_nothing_needs_no_disk_and_its_hold_is_given_back(
    tmp_path, location, model
):
    async with run_billing_gateway(tmp_path, location, models=MODELS) as here:
        ledger = DiskFull(here.books)
        (tmp_path / "data" / FOLDER).write_text("no folder")
        ledger.full_after_next = True
        with contextlib.suppress(openai.APIStatusError):
            await complete_chat(here.client(), model, max_tokens=100)
        await wait_until(lambda: len(here.books.unsaved))
        assert (await here.wallet()).held > 0

        ledger.full_after_next = False
        empty_disk(ledger, tmp_path)
        await wait_until(lambda: not len(here.books.unsaved))
        assert await here.rows(select(HOLDS)) == []
        assert (await here.wallet()).held == 0
        await here.assert_balanced()


async def test_a_store_that_is_known_to_be_away_is_not_asked_for_each_call_of_the_house(
    tmp_path, location
):
    async with run_billing_gateway(tmp_path, location, models=MODELS) as here:
        ledger = DiskFull(here.books)
        ledger.away = True
        house = here.client(api_key=here.house_key)
        await complete_chat(house)
        await wait_until(lambda: here.books.unsaved.is_away)
        (first,) = set(ledger.asked)
        answers = await asyncio.gather(*(complete_chat(house) for _ in range(10)))
        assert answers == ["Hello there"] * 10
        # Only the first is asked for again and again, until the store answers.
        assert set(ledger.asked) == {first}
        assert (
            len(
                (tmp_path / "data" / FOLDER)
                .joinpath(f"{here.books.owner}.jsonl")
                .read_bytes()
                .splitlines()
            )
            == 11
        )

        ledger.away = False
        await wait_until(lambda: not here.books.unsaved.is_away)
        store = here.built.store
        assert store is not None
        await store.upkeep.replay()
        assert len(await here.calls("house")) == 11
        await here.assert_balanced()


async def test_what_nobody_pays_for_leaves_half_of_the_journal_to_what_customers_pay(
    tmp_path, location
):
    async with run_billing_gateway(tmp_path, location, models=MODELS) as here:
        ledger, store = DiskFull(here.books), here.built.store
        assert store is not None
        ledger.away = True
        house = here.client(api_key=here.house_key)
        path = tmp_path / "data" / FOLDER / f"{here.books.owner}.jsonl"

        def lines_in_journal() -> int:
            return path.read_bytes().count(b"\n") if path.exists() else 0

        for _ in range(2):
            await complete_chat(house)
        # The house waits for no settlement.
        await wait_until(lambda: lines_in_journal() == 2 and not here.built.app.inference.running)
        # There is room for twice as many, and half of it is not theirs.
        store.journal.max_bytes = 2 * store.journal.waiting_bytes
        await complete_chat(house)
        await wait_until(lambda: lines_in_journal() + len(here.books.unsaved) == 3)
        assert len(here.books.unsaved) == 1
        ledger.away = False
        await wait_until(lambda: not len(here.books.unsaved))
        await store.upkeep.replay()
        assert len(await here.calls("house")) == 3
        await here.assert_balanced()


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/var/lib/gatewayz/gatewayz.db"),
        ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed ('10.0.0.7', 5432)"),
        sqlite3.OperationalError(FULL),
        TimeoutError(),
    ],
)
def test_customers_are_told_nothing_in_the_words_of_a_driver(error):
    fault = store_unavailable(error)
    assert fault.message == "The store cannot be used."
    assert fault.detail
    assert fault.detail in fault.operator_message


@pytest.mark.parametrize("streamed", [True, False])
async def test_a_customer_of_a_full_disk_is_told_to_come_back_in_plain_words(
    tmp_path, location, streamed
):
    async with run_billing_gateway(tmp_path, location, models=MODELS) as here:
        ledger = fill_disk(here, tmp_path)
        with pytest.raises(openai.APIStatusError) as refused:
            await complete_chat(here.client(), stream=streamed)
        assert refused.value.status_code == 503
        for word in ("full", "disk", "Errno", "sqlite", str(tmp_path), "journal"):
            assert word not in str(refused.value.body)
        empty_disk(ledger, tmp_path)
        await wait_until(lambda: not len(here.books.unsaved))
        await here.assert_balanced()


async def test_more_than_memory_should_hold_is_counted_and_forgotten():
    said: list[str] = []
    away = True

    async def commit(orders):
        if away:
            raise Fault("unavailable", "away", detail=FULL)
        return [OrderResult() for _ in orders]

    unsaved = UnsavedSettlements(GroupCommit(commit), said.append, max_unsaved=3)
    orders = [SettleOrder(call=f"c{n}", account="house", cost=Nanos(0)) for n in range(8)]
    for order in orders:
        unsaved.note_away(order, FULL)
        unsaved.keep(order)
    assert (len(unsaved), unsaved.lost) == (3, 5)
    assert sum("forgotten" in line for line in said) == 1
    assert sum("the store is away" in line for line in said) == 1
    away = False
    await unsaved.close()
    assert len(unsaved) == 0
