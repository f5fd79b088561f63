"""The audit log: whatever is done to it afterwards is found, on both databases."""

import asyncio

import pytest
from sqlalchemy import text

from gatewayz.control import accounts, audit
from gatewayz.control.audit import AuditEvent
from gatewayz.core.secrets import Secret
from gatewayz.store.secret import Peppers
from tests.support.clocks import ManualClock
from tests.support.control_transaction import SECRET, control_transaction


@pytest.fixture
async def transaction(database):
    transaction = control_transaction(database, ManualClock())
    for number in range(5):
        await transaction.commit_event(
            AuditEvent(action="test", subject=f"s{number}", detail={"n": number})
        )
    return transaction


async def test_entries_follow_each_other_and_tell_who_did_what(transaction):
    await accounts.create_account(transaction, "Acme", "prepaid", account="acme")
    await accounts.set_markup(transaction, "acme", 50)
    entries = await audit.list_entries_after(transaction.database, account="acme")
    assert [(entry.number, entry.actor, entry.action, entry.subject) for entry in entries] == [
        (6, "test", "account.create", "acme"),
        (7, "test", "account.markup", "acme"),
    ]
    assert entries[1].previous == entries[0].digest
    assert [entry.number for entry in await audit.list_latest_entries(transaction.database, 2)] == [
        6,
        7,
    ]
    assert await audit.verify_log(transaction.database, transaction.peppers) == (7, [])


async def test_a_change_that_fails_leaves_no_entry(transaction):
    for _ in range(2):
        await asyncio.gather(
            accounts.create_account(transaction, "Acme", "prepaid", account="acme"),
            return_exceptions=True,
        )
    assert len(await audit.list_entries_after(transaction.database, account="acme")) == 1


async def test_many_at_once_are_one_chain(transaction):
    await asyncio.gather(
        *(
            transaction.commit_event(AuditEvent(action="test", subject=f"at once {number}"))
            for number in range(20)
        )
    )
    assert await audit.verify_log(transaction.database, transaction.peppers) == (25, [])


@pytest.mark.parametrize(
    ("statement", "violation"),
    [
        (
            "UPDATE audit_log SET actor = 'somebody else' WHERE number = 3",
            ("entry 3", "changed after"),
        ),
        (
            "UPDATE audit_log SET detail = '{\"n\":9}' WHERE number = 5",
            ("entry 5", "changed after"),
        ),
        ("UPDATE audit_log SET at_ms = at_ms - 1 WHERE number = 1", ("entry 1", "changed after")),
        (
            "DELETE FROM audit_log WHERE number = 2",
            ("entry 3", "entries between 1 and it are missing"),
        ),
        ("DELETE FROM audit_log WHERE number > 3", ("the end", "5 were written, the last is 3")),
        ("DELETE FROM audit_log", ("the end", "5 were written, the last is 0")),
        (
            "UPDATE audit_log SET digest = (SELECT digest FROM audit_log WHERE number = 1), "
            "previous = '' WHERE number = 2",
            ("entry 2", "changed"),
        ),
    ],
)
async def test_tampering_is_found(transaction, database, statement, violation):
    async with database.begin() as connection:
        await connection.execute(text(statement.replace(":9", "\\:9")))
    _, violations = await audit.verify_log(database, transaction.peppers)
    subject, says = violation
    assert subject == violations[0].subject
    assert says in violations[0].says


CUTS = (
    "DELETE FROM audit_log WHERE number > {n}",
    "UPDATE revisions SET number = {n} WHERE subject = 'audit'",
)


@pytest.mark.parametrize("kept", [4, 3, 1])
@pytest.mark.parametrize("goes_on", [False, True])
@pytest.mark.parametrize(
    "more",
    [
        (),
        ("DELETE FROM revisions WHERE subject = 'audit_head'",),
        ("UPDATE revisions SET number = {n} WHERE subject = 'audit_head'",),
    ],
)
async def test_an_end_that_was_cut_off_with_its_count_is_found(
    transaction, database, kept, goes_on, more
):
    async with database.begin() as connection:
        for statement in (*CUTS, *more):
            await connection.execute(text(statement.format(n=kept)))
    if goes_on:
        # What is written afterwards does not heal it.
        for number in range(5):
            await transaction.commit_event(AuditEvent(action="test", subject=f"after {number}"))
    _, violations = await audit.verify_log(database, transaction.peppers)
    assert [found.subject for found in violations] == ["the end"]


async def test_a_log_that_was_cut_to_nothing_is_found(transaction, database):
    async with database.begin() as connection:
        await connection.execute(text("DELETE FROM audit_log"))
        await connection.execute(text("DELETE FROM revisions WHERE subject = 'audit'"))
    assert (await audit.verify_log(database, transaction.peppers))[1]
    await transaction.commit_event(AuditEvent(action="test", subject="after"))
    assert (await audit.verify_log(database, transaction.peppers))[1]


async def test_an_entry_that_was_made_up_without_the_secret_is_found(transaction, database):
    forger = control_transaction(database, ManualClock(), Secret("a guess"))
    await forger.commit_event(AuditEvent(action="credit.topup", subject="topup:mine"))
    _, violations = await audit.verify_log(database, transaction.peppers)
    assert [(found.subject, "not known here" in found.says) for found in violations] == [
        ("entry 6", True),
        ("the end", False),
    ]


async def test_the_log_goes_on_when_the_secret_changes(transaction, database):
    fresh = control_transaction(database, ManualClock(), Secret("new"), SECRET)
    await fresh.commit_event(AuditEvent(action="test", subject="after"))
    assert await audit.verify_log(database, fresh.peppers) == (6, [])
    assert len((await audit.verify_log(database, Peppers([Secret("new")])))[1]) == 5
