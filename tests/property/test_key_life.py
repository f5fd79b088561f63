"""The life of keys against a model: made, used, revoked, rotated, expired, suspended, with the
store there and not.

Law: after a gateway has polled, it lets through exactly the keys that work; without the store it
lets through what it knew, and never says of a key that it is unknown when nobody can tell.
"""

import asyncio
import shutil
from functools import partial

import pytest
from hypothesis import HealthCheck, Phase
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from gatewayz.control import accounts, keys
from gatewayz.control.auth.key_cache import FRESH_S, STALE_S, UNKNOWN_S, KeyCache
from gatewayz.core.faults import Fault
from gatewayz.core.keys import RANDOM_BYTES, key_from_random
from gatewayz.core.secrets import Secret
from gatewayz.store.sql.database import Database
from tests.support.clocks import ManualClock
from tests.support.control_transaction import FailingDatabase, control_transaction
from tests.support.databases import KINDS
from tests.support.examples import examples

ACCOUNTS = ("one", "two")
STRANGER = key_from_random(bytes(RANDOM_BYTES))
MAX_USED = 6
WHICH = st.integers(0, 30)
"""Picks one of the keys that were made."""


class ModelKey:
    """What the model knows of a key."""

    def __init__(self, record, account):
        self.id = record.id
        self.account = account
        self.revoked = False
        self.expires_ms = self.made_to_end_ms = record.expires_ms


class KeyLife(RuleBasedStateMachine):
    """One gateway, and changes beside it; `kind`, `databases` and `folder` come from the test."""

    def __init__(self, kind, databases, folder):
        super().__init__()
        self.runner = asyncio.Runner()
        shutil.rmtree(folder, ignore_errors=True)
        self.databases, self.location = databases, databases.create_migrated(kind, folder)
        self.clock = ManualClock()
        self.database = self.run(self._open())
        self.failing = FailingDatabase(self.database)
        self.transaction = control_transaction(self.database, self.clock)
        self.keys = KeyCache(self.failing, self.transaction.peppers, self.clock, Secret(""))
        self.model = {}
        self.suspended = set()
        self.polled = True
        self.seen_at = {}

    async def _open(self):
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
            self.run(accounts.create_account(self.transaction, name, "prepaid", account=name))
            self.make(name, None)
        self.polled = False

    def pick(self, which):
        return list(self.model)[-1 - which % min(len(self.model), MAX_USED)]

    def works(self, key):
        known = self.model[key]
        return not (known.revoked or known.account in self.suspended or self.is_expired(known))

    def is_expired(self, known):
        return known.expires_ms is not None and known.expires_ms <= self.clock.date_ms

    def has_ended_as_made(self, known):
        """An end that was there from the beginning needs no poll to be known."""
        return known.made_to_end_ms is not None and known.made_to_end_ms <= self.clock.date_ms

    @rule(
        what=st.sampled_from(["make", "make", "revoke", "rotate", "suspend", "resume", "resume"]),
        which=WHICH,
        ends_s=st.sampled_from([None, 5, 40]),
    )
    def change(self, what, which, ends_s):
        key = self.pick(which)
        account = self.model[key].account
        match what:
            case "make":
                self.make(ACCOUNTS[which % 2], ends_s)
            case "revoke":
                self.revoke(key)
            case "rotate" if not self.model[key].revoked:
                self.rotate(key, ends_s or 0)
            case "suspend" | "resume":
                self.suspend(account, "suspended" if what == "suspend" else "active")

    def make(self, account, ends_s):
        expires = None if ends_s is None else self.clock.date_ms + ends_s * 1000
        key, record = self.run(
            keys.create_key(self.transaction, keys.KeySpec(account=account, expires_ms=expires))
        )
        self.model[key] = ModelKey(record, account)
        self.polled = False

    def revoke(self, key):
        known = self.model[key]
        try:
            self.run(keys.revoke_key(self.transaction, known.account, known.id))
        except Fault as fault:
            assert fault.kind == "not_found"
            assert known.revoked
        else:
            assert not known.revoked
        known.revoked = True
        self.polled = False

    def rotate(self, key, keep_s):
        known = self.model[key]
        fresh, record = self.run(
            keys.rotate_key(self.transaction, known.account, known.id, keep_s * 1000)
        )
        if keep_s:
            until = self.clock.date_ms + keep_s * 1000
            known.expires_ms = until if known.expires_ms is None else min(known.expires_ms, until)
        else:
            known.revoked = True
        self.model[fresh] = ModelKey(record, known.account)
        self.polled = False

    def suspend(self, account, status):
        self.run(accounts.set_status(self.transaction, account, status))
        (self.suspended.add if status == "suspended" else self.suspended.discard)(account)
        self.polled = False

    @rule(seconds=st.sampled_from([1, UNKNOWN_S, UNKNOWN_S, 21, FRESH_S + 1, STALE_S + 1]))
    def wait(self, seconds):
        self.clock.advance(seconds)

    @rule(away=st.sampled_from([True, False, False]))
    def store(self, away):
        self.failing.away = away

    def poll(self):
        self.run(self.keys.poll())
        self.polled = self.polled or not self.failing.away

    def answer(self, key):
        try:
            principal = self.run(self.keys.principal(key))
        except Fault as fault:
            return fault.kind
        assert principal.account == self.model[key].account
        return "served"

    @rule(polls=st.sampled_from([True, True, False]))
    def use_all(self, polls):
        if polls:
            self.poll()
        for key in list(self.model)[-MAX_USED:]:
            self.use(key)
        self.use_a_strangers()

    def use(self, key):
        answer = self.answer(key)
        if self.has_ended_as_made(self.model[key]):
            assert answer != "served"
        elif self.failing.away:
            known = key in self.seen_at and self.clock.now() - self.seen_at[key] < STALE_S
            if self.polled and self.works(key):
                assert answer == "served" if known else answer in {"served", "unavailable"}
        elif self.polled:
            assert answer == ("served" if self.works(key) else "unauthenticated")
        else:
            assert answer in {"served", "unauthenticated"}
        if answer == "served" and not self.failing.away:
            self.seen_at[key] = self.clock.now()

    def use_a_strangers(self):
        try:
            self.run(self.keys.principal(STRANGER))
        except Fault as fault:
            assert fault.kind in (
                {"unavailable", "unauthenticated"} if self.failing.away else {"unauthenticated"}
            )
        else:
            raise AssertionError

    @invariant()
    def what_is_known_is_bounded(self):
        assert len(self.keys._known) <= len(self.model)
        assert not self.keys._waiting


@pytest.mark.parametrize("kind", KINDS)
def test_a_gateway_that_has_polled_lets_through_exactly_the_keys_that_work(
    kind, databases, tmp_path
):
    # Shrinking would open a store for each trial, for minutes; the steps of the first failure
    # tell enough.
    steps = examples(
        500,
        few=15 if kind == "sqlite" else 5,
        phases=[Phase.generate],
        stateful_step_count=40,
        suppress_health_check=list(HealthCheck),
    )
    machine = partial(KeyLife, kind, databases, tmp_path / "data")
    run_state_machine_as_test(machine, settings=steps)  # type: ignore[arg-type]
