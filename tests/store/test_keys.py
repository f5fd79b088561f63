"""Keys over the store: what a key may do, and how soon a change is heard of, on both databases."""

import asyncio

import pytest

from gatewayz.control import accounts, bootstrap, budgets, keys, users
from gatewayz.control.auth.key_cache import STALE_S, UNKNOWN_S, KeyCache
from gatewayz.control.open import ensure_house_account
from gatewayz.core.access import SCOPES
from gatewayz.core.calls import Principal
from gatewayz.core.faults import Fault
from gatewayz.core.keys import RANDOM_BYTES, is_well_formed, key_from_random
from gatewayz.core.money import Nanos
from gatewayz.core.secrets import Secret
from gatewayz.store.secret import Peppers, load_peppers
from tests.support.clocks import ManualClock
from tests.support.control_transaction import SECRET, FailingDatabase, control_transaction

NOBODYS = key_from_random(bytes(RANDOM_BYTES))
NO_ID = "01HZZZZZZZZZZZZZZZZZZZZZZZ"


class KeyStore:
    """One account that is changed by control transactions, and a gateway's key cache beside it."""

    def __init__(self, database, clock):
        self.clock = clock
        self.transaction = control_transaction(database, clock)
        self.database = FailingDatabase(database)
        self.keys = KeyCache(self.database, self.transaction.peppers, clock, Secret(""))

    async def make(self, **spec):
        return await keys.create_key(
            self.transaction, keys.KeySpec(**{"account": "acme", "name": "test", **spec})
        )

    async def refused(self, key):
        with pytest.raises(Fault) as refused:
            await self.keys.principal(key)
        return refused.value.kind


@pytest.fixture
async def key_store(database):
    clock = ManualClock()
    await ensure_house_account(database, clock)
    setup = KeyStore(database, clock)
    await accounts.create_account(setup.transaction, "Acme", "prepaid", account="acme")
    yield setup
    await setup.keys.close()


async def test_a_key_carries_all_that_it_may_do(key_store):
    await accounts.set_markup(key_store.transaction, "acme", 500)
    await accounts.set_rules(
        key_store.transaction,
        "acme",
        accounts.AccountRules(limits={"account_rpm": 5}, models=("a/one", "a/two")),
    )
    key, record = await key_store.make(
        models=("a/two", "b/three"), addresses=("10.0.0.0/8",), limits={"key_rpm": 3}
    )
    await budgets.put_budget(
        key_store.transaction,
        "acme",
        budgets.key_subject(record.id),
        budgets.BudgetLimit(amount=Nanos(1), period="day"),
    )
    await budgets.put_budget(
        key_store.transaction,
        "acme",
        budgets.end_user_subject("acme", "eve"),
        budgets.BudgetLimit(amount=Nanos(1), period="total"),
    )
    assert is_well_formed(key)
    principal = await key_store.keys.principal(key)
    assert (
        principal.account,
        principal.key,
        principal.billing,
        principal.markup_bp,
    ) == (
        "acme",
        record.id,
        "prepaid",
        500,
    )
    assert principal.scopes == {"inference"}
    assert principal.models == ("a/two",)
    assert principal.addresses == ("10.0.0.0/8",)
    assert principal.key_limits == (("key_rpm", 3),)
    assert principal.account_limits == (("account_rpm", 5),)
    assert principal.budgets == (f"key:{record.id}", "user:acme/")


async def test_a_key_whose_models_its_account_does_not_allow_may_use_none(key_store):
    await accounts.set_rules(
        key_store.transaction, "acme", accounts.AccountRules(models=("a/one",))
    )
    key, _ = await key_store.make(models=("b/two",))
    assert (await key_store.keys.principal(key)).models == ("",)


async def test_only_the_digest_is_kept(key_store, database):
    key, record = await key_store.make()
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
    "revoked": lambda key_store, record, person: keys.revoke_key(
        key_store.transaction, "acme", record.id
    ),
    "rotated": lambda key_store, record, person: keys.rotate_key(
        key_store.transaction, "acme", record.id
    ),
    "suspended": lambda key_store, record, person: accounts.set_status(
        key_store.transaction, "acme", "suspended"
    ),
    "disabled": lambda key_store, record, person: users.disable_user(
        key_store.transaction, "acme", person.id
    ),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_what_was_changed_is_refused_after_the_next_poll(key_store, change):
    person = await users.create_user(key_store.transaction, "acme", "eve@example.com", "member")
    key, record = await key_store.make(user=person.id)
    assert await key_store.keys.principal(key)
    await CHANGES[change](key_store, record, person)
    await key_store.keys.poll()
    assert await key_store.refused(key) == "unauthenticated"


async def test_a_suspended_account_goes_on_when_it_is_let(key_store):
    key, _ = await key_store.make()
    await accounts.set_status(key_store.transaction, "acme", "suspended")
    assert await key_store.refused(key) == "unauthenticated"
    await accounts.set_status(key_store.transaction, "acme", "active")
    await key_store.keys.poll()
    assert await key_store.keys.principal(key)


async def test_a_key_ends_at_its_time_without_a_look(key_store):
    key, _ = await key_store.make(expires_ms=key_store.clock.date_ms + 10_000)
    assert await key_store.keys.principal(key)
    key_store.clock.advance(10)
    assert await key_store.refused(key) == "unauthenticated"


async def test_a_rotated_key_works_as_long_as_it_was_given(key_store):
    key, record = await key_store.make(name="ci", limits={"key_rpm": 7})
    fresh, fresh_record = await keys.rotate_key(
        key_store.transaction, "acme", record.id, keep_ms=60_000
    )
    assert (fresh_record.name, fresh_record.limits) == ("ci", {"key_rpm": 7})
    assert (await key_store.keys.principal(key)).key == record.id
    assert (await key_store.keys.principal(fresh)).key == fresh_record.id
    key_store.clock.advance(60)
    assert await key_store.refused(key) == "unauthenticated"
    assert await key_store.keys.principal(fresh)


async def test_a_persons_role_bounds_their_keys_at_once(key_store):
    person = await users.create_user(key_store.transaction, "house", "ops@example.com", "operator")
    key, _ = await keys.create_key(
        key_store.transaction, keys.KeySpec(account="house", user=person.id, scopes=SCOPES)
    )
    assert (await key_store.keys.principal(key)).scopes == set(SCOPES)
    await users.set_role(key_store.transaction, "house", person.id, "metrics")
    await key_store.keys.poll()
    assert (await key_store.keys.principal(key)).scopes == {"metrics"}


async def test_scopes_beyond_account_or_role_are_not_given(key_store):
    member = await users.create_user(key_store.transaction, "house", "eve@example.com", "member")
    for spec in (
        {"scopes": ("operator",)},
        {"account": "house", "user": member.id, "scopes": ("metrics",)},
    ):
        with pytest.raises(Fault) as refused:
            await key_store.make(**spec)
        assert refused.value.kind == "forbidden"
    with pytest.raises(Fault) as refused:
        await users.create_user(key_store.transaction, "acme", "root@example.com", "operator")
    assert refused.value.kind == "forbidden"


async def test_a_key_that_is_in_use_asks_the_store_nothing(key_store):
    key, _ = await key_store.make()
    await key_store.keys.principal(key)
    begun = key_store.database.begin_count
    for _ in range(1_000):
        await key_store.keys.principal(key)
    assert key_store.database.begin_count == begun
    key_store.clock.advance(31)
    await key_store.keys.principal(key)
    assert key_store.database.begin_count == begun + 1


async def test_many_unknown_keys_are_one_question(key_store):
    made = [await key_store.make() for _ in range(3)]
    before = key_store.database.begin_count
    fakes = [key_from_random(bytes([number]) * RANDOM_BYTES) for number in range(100)]
    answers = await asyncio.gather(
        *(key_store.keys.principal(key) for key in [*(key for key, _ in made), *fakes]),
        return_exceptions=True,
    )
    keys_served = [answer.key for answer in answers if isinstance(answer, Principal)]
    assert keys_served == [record.id for _, record in made]
    kinds = [answer.kind for answer in answers if isinstance(answer, Fault)]
    assert kinds == ["unauthenticated"] * len(fakes)
    assert key_store.database.begin_count == before + 1


async def test_an_unknown_key_is_remembered_for_seconds_and_made_known_by_a_change(key_store):
    assert await key_store.refused(NOBODYS) == "unauthenticated"
    begun = key_store.database.begin_count
    assert await key_store.refused(NOBODYS) == "unauthenticated"
    assert key_store.database.begin_count == begun
    key_store.clock.advance(UNKNOWN_S)
    assert await key_store.refused(NOBODYS) == "unauthenticated"
    assert key_store.database.begin_count == begun + 1


async def test_without_the_store_known_keys_go_on_and_nobody_else_is_called_unknown(key_store):
    key, record = await key_store.make()
    other, _ = await key_store.make()
    await key_store.keys.principal(key)
    key_store.database.away = True
    await key_store.keys.poll()
    for seconds in (1, 29, 60, STALE_S - 100):
        key_store.clock.advance(seconds)
        assert await key_store.keys.principal(key)
        assert await key_store.refused(other) == "unavailable"
        assert await key_store.refused(NOBODYS) == "unavailable"
    key_store.clock.advance(100)
    assert await key_store.refused(key) == "unavailable"
    await keys.revoke_key(key_store.transaction, "acme", record.id)
    key_store.database.away = False
    await key_store.keys.poll()
    assert await key_store.refused(key) == "unauthenticated"
    assert await key_store.keys.principal(other)


async def test_a_revocation_while_the_store_was_away_is_heard_of_when_it_is_back(key_store):
    key, record = await key_store.make()
    await key_store.keys.principal(key)
    key_store.database.away = True
    await key_store.keys.poll()
    await keys.revoke_key(key_store.transaction, "acme", record.id)
    assert await key_store.keys.principal(key)
    key_store.database.away = False
    await key_store.keys.poll()
    assert await key_store.refused(key) == "unauthenticated"


async def test_what_was_read_before_a_change_is_not_believed_after_it(key_store):
    key, record = await key_store.make()
    await key_store.keys.poll()
    gate = key_store.database.commit_gate = asyncio.Event()
    lookup = asyncio.create_task(key_store.keys.principal(key))
    while not key_store.database.begin_count >= 2:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)
    key_store.database.commit_gate = None
    await keys.revoke_key(key_store.transaction, "acme", record.id)
    await key_store.keys.poll()
    gate.set()
    with pytest.raises(Fault, match="revoked"):
        await lookup
    assert await key_store.refused(key) == "unauthenticated"


async def test_the_secret_can_be_changed_while_keys_go_on(key_store, database):
    key, record = await key_store.make()
    fresh = Secret("another-secret")
    both = KeyCache(database, Peppers([fresh, SECRET]), key_store.clock, Secret(""))
    assert (await both.principal(key)).key == record.id
    assert await keys.count_keys_of_old_secrets(database, Peppers([fresh])) == (0, 0)
    only = KeyCache(database, Peppers([fresh]), key_store.clock, Secret(""))
    assert (await only.principal(key)).key == record.id
    for cache in (both, only):
        await cache.close()


async def test_of_gateways_that_start_at_once_one_makes_the_first_key(key_store):
    made = await asyncio.gather(
        *(bootstrap.create_bootstrap_key(key_store.transaction, only_first=True) for _ in range(4))
    )
    assert len([key for key in made if key]) == 1
    replaced = await bootstrap.create_bootstrap_key(key_store.transaction, only_first=False)
    assert await key_store.keys.principal(replaced)
    assert await key_store.refused(next(key for key in made if key)) == "unauthenticated"


async def test_the_key_of_the_environment_works_without_the_store(key_store, database):
    failing = FailingDatabase(database)
    cache = KeyCache(failing, key_store.transaction.peppers, key_store.clock, Secret(NOBODYS))
    failing.away = True
    assert (await cache.principal(NOBODYS)).account == "house"


async def test_others_things_look_as_if_they_were_not_there(key_store):
    await accounts.create_account(key_store.transaction, "Other", "prepaid", account="other")
    person = await users.create_user(key_store.transaction, "acme", "eve@example.com", "member")
    _, record = await key_store.make()
    await budgets.put_budget(
        key_store.transaction,
        "acme",
        budgets.key_subject(record.id),
        budgets.BudgetLimit(amount=Nanos(1), period="day"),
    )
    some = budgets.BudgetLimit(amount=Nanos(1), period="day")
    for work in (
        lambda id: keys.get_key(key_store.transaction.database, "other", id),
        lambda id: keys.revoke_key(key_store.transaction, "other", id),
        lambda id: keys.rotate_key(key_store.transaction, "other", id),
        lambda id: budgets.put_budget(
            key_store.transaction, "other", budgets.key_subject(id), some
        ),
        lambda id: budgets.delete_budget(key_store.transaction, "other", budgets.key_subject(id)),
    ):
        foreign, missing = await _not_found(work(record.id)), await _not_found(work(NO_ID))
        assert foreign.replace(record.id, "") == missing.replace(NO_ID, "")
    for look in (
        lambda id: users.get_user(key_store.transaction.database, "other", id),
        lambda id: users.set_role(key_store.transaction, "other", id, "admin"),
        lambda id: users.disable_user(key_store.transaction, "other", id),
    ):
        foreign, missing = await _not_found(look(person.id)), await _not_found(look(NO_ID))
        assert foreign.replace(person.id, "") == missing.replace(NO_ID, "")
    assert await users.list_all_users(key_store.transaction.database, "other") == []
    assert await keys.list_account_keys(key_store.transaction.database, "other") == []


async def _not_found(work):
    with pytest.raises(Fault) as refused:
        await work
    assert refused.value.kind == "not_found"
    return refused.value.message


@pytest.mark.parametrize(
    "spec",
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
async def test_a_key_that_makes_no_sense_is_refused_with_a_sentence(key_store, spec):
    with pytest.raises(Fault) as refused:
        await key_store.make(**spec)
    assert refused.value.kind == "bad_request"
    assert refused.value.message.endswith(".")


async def test_billing_changes_only_when_nothing_is_held_or_owed(key_store, database):
    async with database.begin() as connection:
        await connection.exec_driver_sql("UPDATE wallets SET held = 5 WHERE account_id = 'acme'")
    with pytest.raises(Fault) as refused:
        await accounts.set_billing(key_store.transaction, "acme", "house")
    assert refused.value.kind == "in_flight"
    async with database.begin() as connection:
        await connection.exec_driver_sql(
            "UPDATE wallets SET held = 0, paid = -7 WHERE account_id = 'acme'"
        )
    with pytest.raises(Fault, match="owes"):
        await accounts.set_billing(key_store.transaction, "acme", "credit", Nanos(6))
    await accounts.set_billing(key_store.transaction, "acme", "credit", Nanos(7))
    account = await accounts.get_account(database, "acme")
    assert (account.billing, account.floor) == ("credit", -7)
    with pytest.raises(Fault, match="credit line"):
        await accounts.set_billing(key_store.transaction, "acme", "prepaid", Nanos(7))


def test_the_secret_is_made_once_and_older_ones_are_kept(tmp_path):
    first = load_peppers(tmp_path / "data", Secret(""))
    assert (tmp_path / "data" / "secret").stat().st_mode & 0o077 == 0
    assert load_peppers(tmp_path / "data", Secret("")).current == first.current
    peppers = load_peppers(tmp_path / "data", Secret("own"), [Secret("older")])
    assert [pepper.secret.reveal() for pepper in peppers.all] == [
        "own",
        "older",
        first.current.secret.reveal(),
    ]
    assert "own" not in repr(peppers.current)
