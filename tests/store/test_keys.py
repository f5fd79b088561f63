"""Keys over the store: what a key may do, and how soon a change is heard of, on both databases."""

import asyncio

import pytest

from gatewayz.core.access import SCOPES
from gatewayz.core.faults import Fault
from gatewayz.core.keys import RANDOM_BYTES, key_from, well_formed
from gatewayz.core.money import Nanos
from gatewayz.core.secrets import Secret
from gatewayz.store.secret import Peppers, peppers
from gatewayz.store.sql import accounts, budgets, keys, users
from gatewayz.store.sql.known_keys import STALE_S, UNKNOWN_S, SqlKeys
from gatewayz.store.sql.opening import ensure_house
from tests.support.clocks import ManualClock
from tests.support.desks import SECRET, AwayDatabase, desk_at

NOBODYS = key_from(bytes(RANDOM_BYTES))


class Office:
    """A desk with one account, and a gateway's keys beside it."""

    def __init__(self, database, clock):
        self.clock = clock
        self.desk = desk_at(database, clock)
        self.database = AwayDatabase(database)
        self.keys = SqlKeys(self.database, self.desk.peppers, clock, Secret(""))

    async def make(self, **wish):
        return await keys.make(self.desk, keys.Wish(**{"account": "acme", "name": "test", **wish}))

    async def refused(self, key):
        with pytest.raises(Fault) as refused:
            await self.keys.principal(key)
        return refused.value.kind


@pytest.fixture
async def office(database):
    clock = ManualClock()
    await ensure_house(database, clock)
    found = Office(database, clock)
    await accounts.create(found.desk, "Acme", "prepaid", account="acme")
    yield found
    await found.keys.close()


async def test_a_key_carries_all_that_it_may_do(office):
    await accounts.set_markup(office.desk, "acme", 500)
    await accounts.set_rules(
        office.desk,
        "acme",
        accounts.AccountRules(limits={"account_rpm": 5}, models=("a/one", "a/two")),
    )
    key, record = await office.make(
        models=("a/two", "b/three"), addresses=("10.0.0.0/8",), limits={"key_rpm": 3}
    )
    await budgets.put(
        office.desk, "acme", budgets.of_key(record.id), budgets.Limit(amount=Nanos(1), period="day")
    )
    await budgets.put(
        office.desk,
        "acme",
        budgets.of_end_user("acme", "eve"),
        budgets.Limit(amount=Nanos(1), period="total"),
    )
    assert well_formed(key)
    found = await office.keys.principal(key)
    assert (found.account, found.key, found.billing, found.markup_bp) == (
        "acme",
        record.id,
        "prepaid",
        500,
    )
    assert found.scopes == {"inference"}
    assert found.models == ("a/two",)
    assert found.addresses == ("10.0.0.0/8",)
    assert found.limits == (("key_rpm", 3),)
    assert found.granted == (("account_rpm", 5),)
    assert found.budgets == (f"key:{record.id}", "user:acme/")


async def test_a_key_whose_models_its_account_does_not_allow_may_use_none(office):
    await accounts.set_rules(office.desk, "acme", accounts.AccountRules(models=("a/one",)))
    key, _ = await office.make(models=("b/two",))
    assert (await office.keys.principal(key)).models == ("",)


async def test_only_the_digest_is_kept(office, database):
    key, record = await office.make()
    async with database.begin() as connection:
        rows = [
            str(row)
            for table in ("api_keys", "audit_log")
            for row in (await connection.exec_driver_sql(f"SELECT * FROM {table}")).all()
        ]
    assert rows
    assert not [row for row in rows if key in row or key[12:-4] in row]
    assert record.shown == f"{key[:12]}…{key[-4:]}"


CHANGES = {
    "revoked": lambda office, record, person: keys.revoke(office.desk, "acme", record.id),
    "rotated": lambda office, record, person: keys.rotate(office.desk, "acme", record.id),
    "suspended": lambda office, record, person: accounts.set_status(
        office.desk, "acme", "suspended"
    ),
    "disabled": lambda office, record, person: users.disable(office.desk, "acme", person.id),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_what_was_changed_is_refused_after_the_next_look(office, change):
    person = await users.create(office.desk, "acme", "eve@example.com", "member")
    key, record = await office.make(user=person.id)
    assert await office.keys.principal(key)
    await CHANGES[change](office, record, person)
    await office.keys.look()
    assert await office.refused(key) == "unauthenticated"


async def test_a_suspended_account_goes_on_when_it_is_let(office):
    key, _ = await office.make()
    await accounts.set_status(office.desk, "acme", "suspended")
    assert await office.refused(key) == "unauthenticated"
    await accounts.set_status(office.desk, "acme", "active")
    await office.keys.look()
    assert await office.keys.principal(key)


async def test_a_key_ends_at_its_time_without_a_look(office):
    key, _ = await office.make(expires_ms=office.clock.date_ms + 10_000)
    assert await office.keys.principal(key)
    office.clock.pass_s(10)
    assert await office.refused(key) == "unauthenticated"


async def test_a_rotated_key_works_as_long_as_it_was_given(office):
    key, record = await office.make(name="ci", limits={"key_rpm": 7})
    fresh, again = await keys.rotate(office.desk, "acme", record.id, keep_ms=60_000)
    assert (again.name, again.limits) == ("ci", {"key_rpm": 7})
    assert (await office.keys.principal(key)).key == record.id
    assert (await office.keys.principal(fresh)).key == again.id
    office.clock.pass_s(60)
    assert await office.refused(key) == "unauthenticated"
    assert await office.keys.principal(fresh)


async def test_a_persons_role_bounds_their_keys_at_once(office):
    person = await users.create(office.desk, "house", "ops@example.com", "operator")
    key, _ = await keys.make(office.desk, keys.Wish(account="house", user=person.id, scopes=SCOPES))
    assert (await office.keys.principal(key)).scopes == set(SCOPES)
    await users.set_role(office.desk, "house", person.id, "metrics")
    await office.keys.look()
    assert (await office.keys.principal(key)).scopes == {"metrics"}


async def test_scopes_beyond_account_or_role_are_not_given(office):
    member = await users.create(office.desk, "house", "eve@example.com", "member")
    for wish in (
        {"scopes": ("operator",)},
        {"account": "house", "user": member.id, "scopes": ("metrics",)},
    ):
        with pytest.raises(Fault) as refused:
            await office.make(**wish)
        assert refused.value.kind == "forbidden"
    with pytest.raises(Fault) as refused:
        await users.create(office.desk, "acme", "root@example.com", "operator")
    assert refused.value.kind == "forbidden"


async def test_a_key_that_is_in_use_asks_the_store_nothing(office):
    key, _ = await office.make()
    await office.keys.principal(key)
    begun = office.database.begun
    for _ in range(1_000):
        await office.keys.principal(key)
    assert office.database.begun == begun
    office.clock.pass_s(31)
    await office.keys.principal(key)
    assert office.database.begun == begun + 1


async def test_many_unknown_keys_are_one_question(office):
    made = [await office.make() for _ in range(3)]
    before = office.database.begun
    fakes = [key_from(bytes([number]) * RANDOM_BYTES) for number in range(100)]
    asked = await asyncio.gather(
        *(office.keys.principal(key) for key in [*(key for key, _ in made), *fakes]),
        return_exceptions=True,
    )
    assert [one.key for one in asked[:3]] == [record.id for _, record in made]
    assert {one.kind for one in asked[3:]} == {"unauthenticated"}
    assert office.database.begun == before + 1


async def test_an_unknown_key_is_remembered_for_seconds_and_made_known_by_a_change(office):
    assert await office.refused(NOBODYS) == "unauthenticated"
    begun = office.database.begun
    assert await office.refused(NOBODYS) == "unauthenticated"
    assert office.database.begun == begun
    office.clock.pass_s(UNKNOWN_S)
    assert await office.refused(NOBODYS) == "unauthenticated"
    assert office.database.begun == begun + 1


async def test_without_the_store_known_keys_go_on_and_nobody_else_is_called_unknown(office):
    key, record = await office.make()
    other, _ = await office.make()
    await office.keys.principal(key)
    office.database.away = True
    await office.keys.look()
    for seconds in (1, 29, 60, STALE_S - 100):
        office.clock.pass_s(seconds)
        assert await office.keys.principal(key)
        assert await office.refused(other) == "unavailable"
        assert await office.refused(NOBODYS) == "unavailable"
    office.clock.pass_s(100)
    assert await office.refused(key) == "unavailable"
    await keys.revoke(office.desk, "acme", record.id)
    office.database.away = False
    await office.keys.look()
    assert await office.refused(key) == "unauthenticated"
    assert await office.keys.principal(other)


async def test_a_revocation_while_the_store_was_away_is_heard_of_when_it_is_back(office):
    key, record = await office.make()
    await office.keys.principal(key)
    office.database.away = True
    await office.keys.look()
    await keys.revoke(office.desk, "acme", record.id)
    assert await office.keys.principal(key)
    office.database.away = False
    await office.keys.look()
    assert await office.refused(key) == "unauthenticated"


async def test_what_was_read_before_a_change_is_not_believed_after_it(office):
    key, record = await office.make()
    await office.keys.look()
    held = office.database.held = asyncio.Event()
    asking = asyncio.create_task(office.keys.principal(key))
    while not office.database.begun >= 2:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)
    office.database.held = None
    await keys.revoke(office.desk, "acme", record.id)
    await office.keys.look()
    held.set()
    with pytest.raises(Fault, match="revoked"):
        await asking
    assert await office.refused(key) == "unauthenticated"


async def test_the_secret_can_be_changed_while_keys_go_on(office, database):
    key, record = await office.make()
    fresh = Secret("another-secret")
    both = SqlKeys(database, Peppers([fresh, SECRET]), office.clock, Secret(""))
    assert (await both.principal(key)).key == record.id
    assert await keys.strangers(database, Peppers([fresh])) == (0, 0)
    only = SqlKeys(database, Peppers([fresh]), office.clock, Secret(""))
    assert (await only.principal(key)).key == record.id
    for one in (both, only):
        await one.close()


async def test_of_gateways_that_start_at_once_one_makes_the_first_key(office):
    made = await asyncio.gather(
        *(keys.make_bootstrap(office.desk, only_first=True) for _ in range(4))
    )
    assert len([key for key in made if key]) == 1
    replaced = await keys.make_bootstrap(office.desk, only_first=False)
    assert await office.keys.principal(replaced)
    assert await office.refused(next(key for key in made if key)) == "unauthenticated"


async def test_the_key_of_the_environment_works_without_the_store(office, database):
    found = SqlKeys(AwayDatabase(database), office.desk.peppers, office.clock, Secret(NOBODYS))
    found._database.away = True
    assert (await found.principal(NOBODYS)).account == "house"


async def test_others_things_look_as_if_they_were_not_there(office):
    await accounts.create(office.desk, "Other", "prepaid", account="other")
    person = await users.create(office.desk, "acme", "eve@example.com", "member")
    _, record = await office.make()
    await budgets.put(
        office.desk, "acme", budgets.of_key(record.id), budgets.Limit(amount=Nanos(1), period="day")
    )
    some = budgets.Limit(amount=Nanos(1), period="day")
    for work in (
        lambda id: keys.one(office.desk.database, "other", id),
        lambda id: keys.revoke(office.desk, "other", id),
        lambda id: keys.rotate(office.desk, "other", id),
        lambda id: budgets.put(office.desk, "other", budgets.of_key(id), some),
        lambda id: budgets.remove(office.desk, "other", budgets.of_key(id)),
    ):
        said = [await _said(work(record.id)), await _said(work("01HZZZZZZZZZZZZZZZZZZZZZZZ"))]
        assert said[0].replace(record.id, "") == said[1].replace("01HZZZZZZZZZZZZZZZZZZZZZZZ", "")
    for work in (
        lambda id: users.one(office.desk.database, "other", id),
        lambda id: users.set_role(office.desk, "other", id, "admin"),
        lambda id: users.disable(office.desk, "other", id),
    ):
        said = [await _said(work(person.id)), await _said(work("01HZZZZZZZZZZZZZZZZZZZZZZZ"))]
        assert said[0].replace(person.id, "") == said[1].replace("01HZZZZZZZZZZZZZZZZZZZZZZZ", "")
    assert (
        await users.listed(office.desk.database, "other")
        == await keys.listed(office.desk.database, "other")
        == []
    )


async def _said(work):
    with pytest.raises(Fault) as refused:
        await work
    assert refused.value.kind == "unknown_route"
    return refused.value.message


@pytest.mark.parametrize(
    "wish",
    [
        {"scopes": ("everything",)},
        {"scopes": ()},
        {"limits": {"key_rmp": 1}},
        {"limits": {"key_rpm": 0}},
        {"limits": {"account_rpm": 5}},
        {"addresses": ("10.0.0",)},
        {"expires_ms": 1},
        {"models": ("m",) * 1_001},
    ],
)
async def test_a_wish_that_is_none_is_refused_with_a_sentence(office, wish):
    with pytest.raises(Fault) as refused:
        await office.make(**wish)
    assert refused.value.kind == "bad_request"
    assert refused.value.message.endswith(".")


async def test_billing_changes_only_when_nothing_is_held_or_owed(office, database):
    async with database.begin() as connection:
        await connection.exec_driver_sql("UPDATE wallets SET held = 5 WHERE account_id = 'acme'")
    with pytest.raises(Fault) as refused:
        await accounts.set_billing(office.desk, "acme", "house")
    assert refused.value.kind == "in_flight"
    async with database.begin() as connection:
        await connection.exec_driver_sql(
            "UPDATE wallets SET held = 0, paid = -7 WHERE account_id = 'acme'"
        )
    with pytest.raises(Fault, match="owes"):
        await accounts.set_billing(office.desk, "acme", "credit", Nanos(6))
    await accounts.set_billing(office.desk, "acme", "credit", Nanos(7))
    one = await accounts.one(database, "acme")
    assert (one.billing, one.floor) == ("credit", -7)
    with pytest.raises(Fault, match="credit line"):
        await accounts.set_billing(office.desk, "acme", "prepaid", Nanos(7))


def test_the_secret_is_made_once_and_older_ones_are_kept(tmp_path):
    first = peppers(tmp_path / "data", Secret(""))
    assert (tmp_path / "data" / "secret").stat().st_mode & 0o077 == 0
    assert peppers(tmp_path / "data", Secret("")).current == first.current
    given = peppers(tmp_path / "data", Secret("own"), [Secret("older")])
    assert [pepper.secret.reveal() for pepper in given.all] == [
        "own",
        "older",
        first.current.secret.reveal(),
    ]
    assert "own" not in repr(given.current)
