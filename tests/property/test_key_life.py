"""The life of keys against a model: made, used, revoked, rotated, expired, suspended, with the store there and not.

Law: after a gateway has looked, it lets through exactly the keys that work; without the store it lets through what it
knew, and never says of a key that it is unknown when nobody can tell.
"""

import asyncio
import shutil

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from gatewayz.core.faults import Fault
from gatewayz.core.keys import RANDOM_BYTES, key_from
from gatewayz.core.secrets import Secret
from gatewayz.store.sql import accounts, keys
from gatewayz.store.sql.database import Database
from gatewayz.store.sql.known_keys import FRESH_S, STALE_S, UNKNOWN_S, SqlKeys
from tests.support.clocks import ManualClock
from tests.support.databases import KINDS
from tests.support.desks import AwayDatabase, desk_at

ACCOUNTS = ("one", "two")
STRANGER = key_from(bytes(RANDOM_BYTES))
MAX_USED = 6
WHICH = st.integers(0, 30)
"""Picks one of the keys that were made."""


class Lived:
    """What the model knows of a key."""

    def __init__(self, record, account):
        self.id = record.id
        self.account = account
        self.revoked = False
        self.expires_ms = self.made_to_end_ms = record.expires_ms


class KeyLife(RuleBasedStateMachine):
    """One gateway beside a desk; `kind`, `databases` and `folder` come from the test."""

    def __init__(self, kind, databases, folder):
        super().__init__()
        self.runner = asyncio.Runner()
        shutil.rmtree(folder, ignore_errors=True)
        self.databases, self.location = databases, databases.fresh(kind, folder)
        self.clock = ManualClock()
        self.database = self.run(self._opened())
        self.door = AwayDatabase(self.database)
        self.desk = desk_at(self.database, self.clock)
        self.keys = SqlKeys(self.door, self.desk.peppers, self.clock, Secret(""))
        self.lived = {}
        self.suspended = set()
        self.heard = True
        self.seen_at = {}

    async def _opened(self):
        return Database(self.location)

    def run(self, work):
        return self.runner.run(work)

    def teardown(self):
        self.run(self.keys.close())
        self.run(self.database.close())
        self.runner.close()
        self.databases.drop(self.location)

    @initialize()
    def open_accounts(self):
        for name in ACCOUNTS:
            self.run(accounts.create(self.desk, name, "prepaid", account=name))
            self.make(name, None)
        self.heard = False

    def picked(self, which):
        return list(self.lived)[-1 - which % min(len(self.lived), MAX_USED)]

    def works(self, key):
        lived = self.lived[key]
        return not (lived.revoked or lived.account in self.suspended or self.expired(lived))

    def expired(self, lived):
        return lived.expires_ms is not None and lived.expires_ms <= self.clock.date_ms

    def ended_as_made(self, lived):
        """An end that was there from the beginning needs no look to be known."""
        return lived.made_to_end_ms is not None and lived.made_to_end_ms <= self.clock.date_ms

    @rule(
        what=st.sampled_from(["make", "make", "revoke", "rotate", "suspend", "resume", "resume"]),
        which=WHICH,
        ends_s=st.sampled_from([None, 5, 40]),
    )
    def change(self, what, which, ends_s):
        key = self.picked(which)
        account = self.lived[key].account
        match what:
            case "make":
                self.make(ACCOUNTS[which % 2], ends_s)
            case "revoke":
                self.revoke(key)
            case "rotate" if not self.lived[key].revoked:
                self.rotate(key, ends_s or 0)
            case "suspend" | "resume":
                self.suspend(account, "suspended" if what == "suspend" else "active")

    def make(self, account, ends_s):
        expires = None if ends_s is None else self.clock.date_ms + ends_s * 1000
        key, record = self.run(keys.make(self.desk, keys.Wish(account=account, expires_ms=expires)))
        self.lived[key] = Lived(record, account)
        self.heard = False

    def revoke(self, key):
        lived = self.lived[key]
        try:
            self.run(keys.revoke(self.desk, lived.account, lived.id))
        except Fault as fault:
            assert fault.kind == "unknown_route"
            assert lived.revoked
        else:
            assert not lived.revoked
        lived.revoked = True
        self.heard = False

    def rotate(self, key, keep_s):
        lived = self.lived[key]
        fresh, record = self.run(keys.rotate(self.desk, lived.account, lived.id, keep_s * 1000))
        if keep_s:
            until = self.clock.date_ms + keep_s * 1000
            lived.expires_ms = until if lived.expires_ms is None else min(lived.expires_ms, until)
        else:
            lived.revoked = True
        self.lived[fresh] = Lived(record, lived.account)
        self.heard = False

    def suspend(self, account, status):
        self.run(accounts.set_status(self.desk, account, status))
        (self.suspended.add if status == "suspended" else self.suspended.discard)(account)
        self.heard = False

    @rule(seconds=st.sampled_from([1, UNKNOWN_S, UNKNOWN_S, 21, FRESH_S + 1, STALE_S + 1]))
    def wait(self, seconds):
        self.clock.pass_s(seconds)

    @rule(away=st.sampled_from([True, False, False]))
    def store(self, away):
        self.door.away = away

    def look(self):
        self.run(self.keys.look())
        self.heard = self.heard or not self.door.away

    def asked(self, key):
        try:
            found = self.run(self.keys.principal(key))
        except Fault as fault:
            return fault.kind
        assert found.account == self.lived[key].account
        return "served"

    @rule(looked=st.sampled_from([True, True, False]))
    def use_all(self, looked):
        if looked:
            self.look()
        for key in list(self.lived)[-MAX_USED:]:
            self.use(key)
        self.use_a_strangers()

    def use(self, key):
        said = self.asked(key)
        if self.ended_as_made(self.lived[key]):
            assert said != "served"
        elif self.door.away:
            known = key in self.seen_at and self.clock.now() - self.seen_at[key] < STALE_S
            if self.heard and self.works(key):
                assert said == "served" if known else said in {"served", "unavailable"}
        elif self.heard:
            assert said == ("served" if self.works(key) else "unauthenticated")
        else:
            assert said in {"served", "unauthenticated"}
        if said == "served" and not self.door.away:
            self.seen_at[key] = self.clock.now()

    def use_a_strangers(self):
        try:
            self.run(self.keys.principal(STRANGER))
        except Fault as fault:
            assert fault.kind in (
                {"unavailable", "unauthenticated"} if self.door.away else {"unauthenticated"}
            )
        else:
            raise AssertionError

    @invariant()
    def what_is_known_is_bounded(self):
        assert len(self.keys._known) <= len(self.lived)
        assert not self.keys._waiting


@pytest.mark.parametrize("kind", KINDS)
def test_a_gateway_that_has_looked_lets_through_exactly_the_keys_that_work(
    kind, databases, tmp_path
):
    # Shrinking would open a store for each trial, for minutes; the steps of the first failure tell enough.
    steps = settings(
        phases=[Phase.generate],
        max_examples=60 if kind == "sqlite" else 15,
        stateful_step_count=40,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(lambda: KeyLife(kind, databases, tmp_path / "data"), settings=steps)
