"""What is old is deleted in slices, on both databases; bookings, holds and sums of days stay, the books and the log stay whole."""

import os
from functools import partial

import pytest
from msgspec.structs import replace
from sqlalchemy import func, select, text, update

from gatewayz.control import audit, retention, usage
from gatewayz.control.access import OwnerFilter
from gatewayz.control.audit import AuditEvent
from gatewayz.core.calls import first_ulid
from gatewayz.core.ceiling import Ceiling
from gatewayz.core.clock import DAY_MS
from gatewayz.core.faults import Fault
from gatewayz.core.money import Nanos
from gatewayz.ledger.orders import SettleOrder
from gatewayz.store.sql.ledger.journal import DiskJournal
from gatewayz.store.sql.ledger.reconcile import violations
from gatewayz.store.sql.ledger.records import rows_of
from gatewayz.store.sql.tables import AUDIT_LOG, CALLS, HOLDS, TRANSFERS, USAGE_MODELS
from gatewayz.workers.retention import Retention
from tests.support.clocks import ManualClock
from tests.support.control_transaction import control_transaction
from tests.support.money import call_of, open_account, outcome_of

TODAY = 20_785
NOW_MS = TODAY * DAY_MS + DAY_MS // 2


async def count(database, table):
    async with database.begin(reading=True) as connection:
        return (await connection.execute(select(func.count()).select_from(table))).scalar_one()


def call_on(day, number):
    """A call of a day, in the middle of it."""
    at_ms = day * DAY_MS + DAY_MS // 3
    call = call_of("acme")
    return replace(call, id=f"{first_ulid(at_ms)[:10]}{number:016}", received_ms=at_ms)


@pytest.fixture
async def acme(store, database):
    """An account with a paid call on each of the last ten days, and one that still runs since the first."""
    await open_account(database, store.books, "acme", paid=10**9)
    await store.books.hold(call_on(TODAY - 9, 99), Ceiling(Nanos(777)))
    for number, day in enumerate(range(TODAY - 9, TODAY + 1)):
        call = call_on(day, number)
        hold = await store.books.hold(call, Ceiling(Nanos(500)))
        await store.books.settle(call, hold, outcome_of(100 + number))
    await store.books.finish()


async def delete_all(database, keep_days):
    deleted = 0
    while rows := await retention.delete_old_calls(database, keep_days, NOW_MS):
        deleted += rows
    return deleted


async def test_old_calls_go_and_what_they_cost_stays(acme, store, database):
    transfers = await count(database, TRANSFERS)
    by = usage.parse_dimensions("day,model")
    span = usage.Days(TODAY - 9, TODAY)
    before = await usage.aggregate_usage(database, OwnerFilter("acme"), by, span)
    assert await delete_all(database, 3) == 6
    assert await count(database, CALLS) == 4
    assert await count(database, TRANSFERS) == transfers
    assert await count(database, HOLDS) == 1
    assert await count(database, USAGE_MODELS) == 10
    assert await usage.aggregate_usage(database, OwnerFilter("acme"), by, span) == before
    spending = await usage.get_spending(database, "acme", NOW_MS)
    assert spending.ever == sum(100 + number for number in range(10))
    checks = {each.check for each in await violations(database, NOW_MS)}
    assert checks <= {"no_hold_is_stale"}


async def test_a_missing_call_is_still_found_among_those_that_must_be_there(acme, database):
    await delete_all(database, 3)
    async with database.begin() as connection:
        await connection.execute(CALLS.delete().where(CALLS.c.received_ms >= TODAY * DAY_MS))
    checks = {each.check for each in await violations(database, NOW_MS)}
    assert {"cost_is_usage_transfers", "days_are_their_calls"} <= checks


async def test_sums_of_what_only_calls_know_are_refused_for_deleted_days(acme, database):
    await delete_all(database, 3)
    by = usage.parse_dimensions("end_user")
    with pytest.raises(Fault, match="are deleted"):
        await usage.aggregate_usage(database, OwnerFilter(""), by, usage.Days(TODAY - 5, TODAY))
    [group] = await usage.aggregate_usage(
        database, OwnerFilter(""), by, usage.Days(TODAY - 3, TODAY)
    )
    assert group.calls == 4


async def test_it_goes_in_slices_and_a_longer_time_brings_nothing_back(acme, database):
    sizes = []
    while rows := await retention.delete_old_calls(database, 3, NOW_MS, slice_rows=2):
        sizes.append(rows)
    assert sizes == [2, 2, 2]
    assert await retention.delete_old_calls(database, 30, NOW_MS) == 0
    with pytest.raises(Fault, match="are deleted"):
        await usage.aggregate_usage(
            database, OwnerFilter(""), ("tag",), usage.Days(TODAY - 4, TODAY)
        )


@pytest.fixture
async def log(database):
    """A log of ten entries, one a day."""
    clock = ManualClock()
    transaction = control_transaction(database, clock)
    for number in range(10):
        await transaction.commit_event(AuditEvent(action="test", subject=f"day {number}"))
        clock.advance(DAY_MS // 1000)
    return transaction


async def test_the_beginning_of_the_log_goes_and_the_rest_is_verified(log, database):
    now_ms = log.clock.wall_ms()
    assert await retention.delete_old_entries(database, log.peppers, 4, now_ms) == 6
    entries, problems = await audit.verify_log(database, log.peppers)
    assert (entries, problems) == (10, [])
    assert await count(database, AUDIT_LOG) == 4
    await log.commit_event(AuditEvent(action="test", subject="after"))
    assert await audit.verify_log(database, log.peppers) == (11, [])
    # The last one stays, however old it is.
    far = now_ms + 10_000 * DAY_MS
    await retention.delete_old_entries(database, log.peppers, 1, far)
    assert await count(database, AUDIT_LOG) == 1
    assert await audit.verify_log(database, log.peppers) == (11, [])


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM audit_log WHERE number = 7",
        "DELETE FROM audit_log WHERE number = 7; UPDATE revisions SET number = 7 WHERE subject = 'audit_deleted'",
        "UPDATE revisions SET number = 1 WHERE subject = 'audit_deleted_seal'",
        "DELETE FROM revisions WHERE subject LIKE 'audit_deleted%'",
    ],
)
async def test_a_beginning_that_somebody_else_deleted_is_found(log, database, statement):
    await retention.delete_old_entries(database, log.peppers, 4, log.clock.wall_ms())
    async with database.begin() as connection:
        for each in statement.split("; "):
            await connection.execute(text(each))
    assert (await audit.verify_log(database, log.peppers))[1]


async def test_an_entry_that_was_changed_is_not_deleted(log, database):
    async with database.begin() as connection:
        await connection.execute(
            update(AUDIT_LOG).where(AUDIT_LOG.c.number == 9).values(at_ms=0, actor="nobody")
        )
        await connection.execute(update(AUDIT_LOG).where(AUDIT_LOG.c.number < 9).values(at_ms=0))
    with pytest.raises(Fault, match="Entry 1 of the audit log stays"):
        await retention.delete_old_entries(database, log.peppers, 4, log.clock.wall_ms())
    assert await count(database, AUDIT_LOG) == 10


async def test_the_worker_deletes_both_and_nothing_unless_it_is_set(acme, database):
    transaction = control_transaction(database, ManualClock(NOW_MS))
    facts: list[object] = []
    assert await Retention(transaction, facts.append, 0, 0).run_once() == 0
    assert await Retention(transaction, facts.append, 3, 30).run_once() == 6
    assert (await count(database, CALLS), facts) == (4, [])


async def test_a_settlement_found_after_its_record_was_deleted_is_not_booked_again(
    acme, store, database, location, tmp_path
):
    await delete_all(database, 3)
    books, folder = store.books, tmp_path / "journals"
    dead = DiskJournal(folder, "dead", lambda _: None)
    for number, day in ((0, TODAY - 9), (9, TODAY)):
        call = call_on(day, number)
        rows = rows_of(call, outcome_of(100 + number), 500)
        await dead.append(
            SettleOrder(call=call.id, account="acme", cost=Nanos(100 + number), rows=rows)
        )
    # As if its process had died: the lock is gone, the file is there.
    os.close(dead._descriptor)
    before = await count(database, TRANSFERS)
    journal = DiskJournal(folder, "alive", lambda _: None)
    journal.first_call = partial(retention.first_call_on_record, database)
    assert await journal.replay(books.commits) == 0
    assert await count(database, TRANSFERS) == before
    [line] = (folder / "journal" / "rejected.log").read_text().splitlines()
    assert call_on(TODAY - 9, 0).id in line
    assert "are deleted" in line
