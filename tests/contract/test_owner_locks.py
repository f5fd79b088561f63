"""A process that died in this data directory is known to be dead at once: its claims are free, its holds given back."""

import os
import signal
import subprocess
import sys
from contextlib import AsyncExitStack

import pytest
from sqlalchemy import select

from gatewayz.control.idempotency import SqlClaims
from gatewayz.control.open import open_store
from gatewayz.core.ceiling import Ceiling
from gatewayz.core.clock import SystemClock
from gatewayz.core.faults import Fault
from gatewayz.core.money import Nanos
from gatewayz.core.secrets import Secret
from gatewayz.ports.replays import Claim
from gatewayz.store.secret import load_peppers
from gatewayz.store.sql.database import upsert
from gatewayz.store.sql.ledger.owner_locks import OwnerLock
from gatewayz.store.sql.tables import HOLDS, OWNERS
from tests.support.money import call_of, open_account

LIVE = """
import sys, time
from pathlib import Path
from gatewayz.store.sql.ledger.owner_locks import OwnerLock
lock = OwnerLock(Path(sys.argv[1]), sys.argv[2])
print("here", flush=True)
time.sleep(600)
"""


def process_with_lock(data_dir, owner):
    process = subprocess.Popen(
        [sys.executable, "-c", LIVE, str(data_dir), owner], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "here\n"
    return process


def end(process, how=signal.SIGKILL):
    process.send_signal(how)
    process.wait()
    process.stdout.close()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_a_process_is_dead_when_the_system_says_so_however_it_died(tmp_path, how):
    dying, living = process_with_lock(tmp_path, "dying"), process_with_lock(tmp_path, "living")
    lock = OwnerLock(tmp_path, "me")
    assert lock.dead_owners() == []
    end(dying, how)
    assert lock.dead_owners() == ["dying"]
    lock.forget("dying")
    assert lock.dead_owners() == []
    os.kill(living.pid, signal.SIGSTOP)
    # A frozen process is not a dead one.
    assert lock.dead_owners() == []
    end(living)
    lock.close()
    assert [path.name for path in (tmp_path / "owners").iterdir()] == ["living.lock"]


async def test_after_a_crash_a_restarted_process_frees_claims_and_holds_at_once(
    store, database, location, tmp_path
):
    data_dir, clock = tmp_path / "data", SystemClock()
    await open_account(database, store.books, "payer", paid=1_000)
    peppers = load_peppers(data_dir, Secret(""))
    processes = {name: process_with_lock(data_dir, name) for name in ("dead", "alive")}
    for name in processes:
        beat = {"id": name, "started_ms": clock.wall_ms(), "beat_ms": clock.wall_ms()}
        async with database.begin() as connection:
            await connection.execute(upsert(connection, OWNERS, beat))
        store.books.owner = name
        await store.books.hold(call_of("payer"), Ceiling(Nanos(100)))
        claims = SqlClaims(database, peppers, clock, name)
        await claims.acquire(claim(name, clock))
    end(processes["dead"])

    async with AsyncExitStack() as stack:
        restarted = await open_store(
            location, data_dir, clock, lambda fact: None, stack, serving=True
        )
        assert restarted.upkeep is not None
        again = SqlClaims(database, peppers, clock, restarted.books.owner)
        assert await again.acquire(claim("dead", clock)) is None
        with pytest.raises(Fault) as refused:
            await again.acquire(claim("alive", clock))
        assert refused.value.kind == "in_flight"

        await restarted.upkeep.expire()
        async with database.begin(reading=True) as connection:
            held = (await connection.execute(select(HOLDS.c.owner))).scalars().all()
        assert held == ["alive"]
    end(processes["alive"])


def claim(key, clock):
    return Claim(
        account="payer",
        key=key,
        fingerprint="f",
        request=f"{key}-1",
        until_ms=clock.wall_ms() + 60_000,
    )
