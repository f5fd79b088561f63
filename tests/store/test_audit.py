"""The audit log: whatever is done to it afterwards is found, on both databases."""

import asyncio

import pytest
from sqlalchemy import text

from gatewayz.core.secrets import Secret
from gatewayz.store.secret import Peppers
from gatewayz.store.sql import accounts, audit
from gatewayz.store.sql.audit import Deed
from tests.support.clocks import ManualClock
from tests.support.desks import SECRET, desk_at


@pytest.fixture
async def desk(database):
    found = desk_at(database, ManualClock())
    for number in range(5):
        await found.tell(Deed(action="test", subject=f"s{number}", detail={"n": number}))
    return found


async def test_entries_follow_each_other_and_tell_who_did_what(desk):
    await accounts.create(desk, "Acme", "prepaid", account="acme")
    await accounts.set_markup(desk, "acme", 50)
    found = await audit.entries(desk.database, account="acme")
    assert [(one.number, one.actor, one.action, one.subject) for one in found] == [
        (6, "test", "account.create", "acme"),
        (7, "test", "account.markup", "acme"),
    ]
    assert found[1].previous == found[0].digest
    assert [one.number for one in await audit.last_entries(desk.database, 2)] == [6, 7]
    assert await audit.verified(desk.database, desk.peppers) == (7, [])


async def test_a_change_that_fails_leaves_no_entry(desk):
    for _ in range(2):
        await asyncio.gather(
            accounts.create(desk, "Acme", "prepaid", account="acme"), return_exceptions=True
        )
    assert len(await audit.entries(desk.database, account="acme")) == 1


async def test_many_at_once_are_one_chain(desk):
    await asyncio.gather(
        *(desk.tell(Deed(action="test", subject=f"at once {number}")) for number in range(20))
    )
    assert await audit.verified(desk.database, desk.peppers) == (25, [])


@pytest.mark.parametrize(
    ("done", "found"),
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
            "UPDATE audit_log SET digest = (SELECT digest FROM audit_log WHERE number = 1), previous = '' WHERE number = 2",
            ("entry 2", "changed"),
        ),
    ],
)
async def test_tampering_is_found(desk, database, done, found):
    async with database.begin() as connection:
        await connection.execute(text(done.replace(":9", "\\:9")))
    _, wrong = await audit.verified(database, desk.peppers)
    where, why = found
    assert where == wrong[0].subject
    assert why in wrong[0].says


async def test_an_entry_that_was_made_up_without_the_secret_is_found(desk, database):
    forger = desk_at(database, ManualClock(), Secret("a guess"))
    await forger.tell(Deed(action="credit.topup", subject="topup:mine"))
    _, wrong = await audit.verified(database, desk.peppers)
    assert [(one.subject, "not known here" in one.says) for one in wrong] == [("entry 6", True)]


async def test_the_log_goes_on_when_the_secret_changes(desk, database):
    fresh = desk_at(database, ManualClock(), Secret("new"), SECRET)
    await fresh.tell(Deed(action="test", subject="after"))
    assert await audit.verified(database, fresh.peppers) == (6, [])
    assert len((await audit.verified(database, Peppers([Secret("new")])))[1]) == 5
