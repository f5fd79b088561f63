"""A gateway that is killed at random moments: nothing delivered is unpaid, nothing is paid twice, nothing stays held."""

import os
import sys
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest
from sqlalchemy import select

from gatewayz.control.open import open_store
from gatewayz.control.upkeep import Upkeep
from gatewayz.core.clock import SystemClock
from gatewayz.store.sql.ledger.reconcile import violations
from gatewayz.store.sql.tables import CALLS, HOLDS, TRANSFERS, WALLETS
from tests.support.kill_run import MIN_ANSWERS, PICO, KillRun
from tests.support.money import USD, LaterClock, expire_after_silence, issue_key, open_account
from tests.support.mutants import MUTANTS

KILLS = 25
MANY = 500
PAID = 20_000 * USD


@pytest.fixture
async def payer_key(store, database, tmp_path):
    await open_account(database, store.books, "payer", paid=PAID)
    return await issue_key(database, "payer", tmp_path / "data")


@dataclass
class Compared:
    """The three books side by side."""

    answered: int
    lost: list[str]
    wrong: list[str]
    twice: list[str]
    unended: list[str]
    unpaid_upstream: int
    violations: list

    @property
    def clean(self) -> bool:
        return not (self.lost or self.wrong or self.twice or self.unended or self.violations)


async def compared(run: KillRun, store, database) -> Compared:
    clock = LaterClock(3_600)
    later = Upkeep(database, store.books.commits, store.journal, clock, "later", lambda fact: None)
    await store.journal.replay(store.books.commits)
    await later.beat()
    await expire_after_silence(later, clock)
    async with database.begin(reading=True) as connection:
        charged = {
            row.id: row.cost for row in await connection.execute(select(CALLS.c.id, CALLS.c.cost))
        }
        usage = [
            row.call_id
            for row in await connection.execute(
                select(TRANSFERS.c.call_id).where(
                    TRANSFERS.c.kind == "usage", TRANSFERS.c.debit.like("held:%")
                )
            )
        ]
        held = [row.call_id for row in await connection.execute(select(HOLDS.c.call_id))]
    billed = run.invoices_by_text()
    ended = [one for one in run.calls if one.ended]
    paid = sum(cost > 0 for cost in charged.values())
    more = [f"{paid} charges for {len(billed)} answers"] if paid > len(billed) else []
    wrong = []
    for one in ended:
        invoice = billed[one.text]
        due = -(
            -(invoice.prompt_tokens * PICO["input"] + invoice.completion_tokens * PICO["output"])
            // 1_000
        )
        if one.call in charged and charged[one.call] != due:
            wrong.append(f"{one.call}: {charged[one.call]} instead of {due}")
        if one.usage is not None and one.usage != (
            invoice.prompt_tokens,
            invoice.completion_tokens,
        ):
            wrong.append(f"{one.call}: shown {one.usage}")
    return Compared(
        answered=len(ended),
        lost=[one.call for one in ended if one.call not in charged or not charged[one.call]],
        wrong=wrong,
        twice=[call for call, count in Counter(usage).items() if count > 1] + more,
        unended=held
        + [
            one.call
            for one in run.calls
            if run.has_time_to_settle(one) and not charged.get(one.call)
        ],
        unpaid_upstream=len(billed) - len(ended),
        violations=await violations(database, SystemClock().wall_ms()),
    )


async def killed(
    store, database, location, tmp_path, key, kills, **more
) -> tuple[KillRun, Compared]:
    run = KillRun(tmp_path / "data", location, key, **more)
    await run.run(kills)
    found = await compared(run, store, database)
    said = {
        name: len(getattr(found, name))
        for name in ("lost", "wrong", "twice", "unended", "violations")
    }
    sys.stderr.write(
        f"{location.kind}: {len(run.killed_at)} kills, {len(run.calls)} calls, {found.answered} answered, {said}\n"
    )
    return run, found


@pytest.mark.timeout(1_200)
async def test_nothing_is_lost_or_charged_twice_when_the_gateway_is_killed(
    store, database, location, tmp_path, payer_key, capsys
):
    with capsys.disabled():
        run, found = await killed(store, database, location, tmp_path, payer_key, KILLS)
    assert found == Compared(found.answered, [], [], [], [], found.unpaid_upstream, [])
    assert len(run.killed_at) == KILLS
    assert found.answered >= KILLS * MIN_ANSWERS / 2
    async with database.begin(reading=True) as connection:
        wallet = (
            await connection.execute(select(WALLETS).where(WALLETS.c.account_id == "payer"))
        ).one()
    assert 0 <= wallet.paid < PAID
    assert wallet.held == 0


@pytest.mark.timeout(1_200)
@pytest.mark.parametrize("mutant", MUTANTS)
async def test_a_gateway_with_a_mistake_in_its_settlement_is_caught(mutant, databases, tmp_path):
    """On SQLite alone: the mistakes are in the engine's half, which is the same for both databases."""
    location = databases.create_migrated("sqlite", tmp_path / "data")
    async with AsyncExitStack() as stack:
        store = await open_store(
            location, tmp_path / "data", SystemClock(), lambda fact: None, stack, serving=False
        )
        await open_account(store.database, store.books, "payer", paid=PAID)
        key = await issue_key(store.database, "payer", tmp_path / "data")
        command = ("-m", "tests.support.mutants", mutant, "serve")
        _, found = await killed(
            store,
            store.database,
            location,
            tmp_path,
            key,
            2,
            command=command,
            abort_share=0.3,
            quiet_s=4.0,
        )
        assert not found.clean


@pytest.mark.long(reason="500 kills a database")
@pytest.mark.timeout(0)
async def test_nothing_is_lost_over_many_kills(
    store, database, location, tmp_path, payer_key, capsys
):
    with capsys.disabled():
        _, found = await killed(
            store, database, location, tmp_path, payer_key, MANY, seed=int.from_bytes(os.urandom(4))
        )
    assert found.clean
