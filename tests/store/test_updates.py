"""A change of several fields happens whole, or not at all, on both databases."""

from contextlib import asynccontextmanager

import pytest

from gatewayz.control import accounts, audit, users
from gatewayz.control.accounts import AccountUpdate
from gatewayz.core.faults import Fault
from gatewayz.core.money import Nanos
from gatewayz.store.sql.database import Database, store_unavailable
from tests.support.clocks import ManualClock
from tests.support.control_transaction import control_transaction


class CountedConnection:
    """A connection whose statement number `fails_at` fails, the first one being 1."""

    def __init__(self, connection, database):
        self._connection = connection
        self._database = database

    def __getattr__(self, name):
        return getattr(self._connection, name)

    async def execute(self, *arguments):
        self._database.statements += 1
        if self._database.statements == self._database.fails_at:
            raise store_unavailable(ConnectionResetError("in the middle"))
        return await self._connection.execute(*arguments)


class InterruptedDatabase(Database):
    """A real store that is taken away in the middle of a transaction."""

    def __init__(self, database):
        self._database = database
        self.statements = 0
        self.fails_at = 0

    @asynccontextmanager
    async def begin(self, *, reading=False, frozen=False):
        async with self._database.begin(reading=reading, frozen=frozen) as connection:
            yield connection if reading else CountedConnection(connection, self)


WHOLE = AccountUpdate(
    name="Another",
    status="suspended",
    billing="credit",
    credit_line=Nanos(7),
    markup_bp=9,
    limits={"account_rpm": 3},
    models=("a/one",),
    caching="auto",
)
ACCOUNT_UPDATES = {
    "all": WHOLE,
    "name and status": AccountUpdate(name="Another", status="suspended"),
    "billing and limits": AccountUpdate(billing="house", limits={"key_rpm": 2}),
    "markup and caching": AccountUpdate(markup_bp=None, caching="auto"),
}


@pytest.fixture
async def plain(database):
    """A transaction on the store as it is, with an account and a person in it."""
    transaction = control_transaction(database, ManualClock())
    await accounts.create_account(transaction, "Acme", "prepaid", account="acme")
    await accounts.set_markup(transaction, "acme", 50)
    return transaction


async def snapshot(transaction):
    """All that a change of an account or of a person could leave behind."""
    people = await users.list_all_users(transaction.database, "acme")
    entries = await audit.list_entries_after(transaction.database)
    return await accounts.get_account(transaction.database, "acme"), people, entries


async def check_all_or_nothing(plain, change):
    """The change fails at every statement, and nothing has happened; then it is made."""
    interrupted = InterruptedDatabase(plain.database)
    transaction = control_transaction(interrupted, plain.clock)
    before = await snapshot(plain)
    for fails_at in range(1, 100):
        interrupted.statements, interrupted.fails_at = 0, fails_at
        try:
            await change(transaction)
        except Fault as fault:
            assert fault.kind == "unavailable"
            assert await snapshot(plain) == before
        else:
            break
    assert fails_at > 3
    assert (await audit.verify_log(plain.database, plain.peppers))[1] == []
    after = await snapshot(plain)
    assert after != before
    return after


@pytest.mark.parametrize("update", ACCOUNT_UPDATES.values(), ids=ACCOUNT_UPDATES)
async def test_a_change_of_an_account_that_breaks_in_the_middle_leaves_nothing(plain, update):
    account, _, entries = await check_all_or_nothing(
        plain, lambda transaction: accounts.update_account(transaction, "acme", update)
    )
    if update is WHOLE:
        assert (account.name, account.status, account.billing) == ("Another", "suspended", "credit")
        assert (account.markup_bp, account.floor, account.caching) == (9, -7, "auto")
        assert account.rules == accounts.AccountRules({"account_rpm": 3}, ("a/one",))
        assert {entry.action for entry in entries[2:]} == {
            f"account.{name}"
            for name in ("billing", "rules", "markup", "caching", "name", "suspended")
        }


async def test_a_change_of_a_person_that_breaks_in_the_middle_leaves_nothing(plain):
    person = await users.create_user(plain, "acme", "eve@example.com", "member")
    _, people, entries = await check_all_or_nothing(
        plain,
        lambda transaction: users.update_user(
            transaction, "acme", person.id, role="admin", disabled=True
        ),
    )
    assert people[0].role == "admin"
    assert people[0].disabled_ms
    assert [entry.action for entry in entries[-2:]] == ["user.role", "user.disable"]


@pytest.mark.parametrize(
    "update",
    [
        AccountUpdate(name="Another", credit_line=Nanos(7)),
        AccountUpdate(name="Another", billing="credit"),
        AccountUpdate(status="suspended", limits={"account_rpm": 0}),
        AccountUpdate(status="suspended", markup_bp=-1),
        AccountUpdate(name="", caching="auto"),
        AccountUpdate(name="Another", caching="sometimes"),
    ],
)
async def test_a_change_of_which_one_field_is_refused_changes_no_other(plain, update):
    before = await snapshot(plain)
    with pytest.raises(Fault) as caught:
        await accounts.update_account(plain, "acme", update)
    assert caught.value.kind == "bad_request"
    assert await snapshot(plain) == before
