"""`python -m tests.support.mutants NAME serve …`: the gateway with one mistake in it that loses or doubles money."""

import asyncio
import sys

from gatewayz import cli
from gatewayz.core.money import Nanos
from gatewayz.engine.settlement import Settlement
from gatewayz.ports.books import Hold
from gatewayz.store.sql.ledger.books import StoreBooks
from gatewayz.store.sql.ledger.group_commit import GroupCommit

LATE_S = 0.3
settle, put, settle_call = StoreBooks.settle, GroupCommit.put, Settlement.settle
tasks: set[asyncio.Task] = set()


async def _settle_after_the_marker(books, call, hold, outcome, replay=None):
    async def later():
        await asyncio.sleep(LATE_S)
        await settle(books, call, hold, outcome, replay)

    task = asyncio.create_task(later())
    tasks.add(task)
    return True


async def _queue_only_in_memory(books, call, hold, outcome, replay=None):
    task = asyncio.create_task(settle(books, call, hold, outcome, replay))
    tasks.add(task)
    if len(tasks) % 50:
        # The batch is written when it is full; until then it is nowhere but here.
        task.cancel()
        books.late = [*getattr(books, "late", []), (call, hold, outcome)]
    else:
        for one in books.late:
            tasks.add(asyncio.create_task(settle(books, *one)))
        books.late = []
    return True


async def _no_dedupe(books, call, hold, outcome, replay=None):
    import msgspec

    await settle(books, call, hold, outcome, replay)
    twin = msgspec.structs.replace(call, id=call.id[:-1] + ("0" if call.id[-1] != "0" else "1"))
    return await settle(books, twin, Hold(twin.id, hold.account, Nanos(0)), outcome, replay)


async def _skip_on_cancel(settlement, state):
    if state.fault is not None and state.fault.kind == "client_gone":
        return None
    return await settle_call(settlement, state)


MUTANTS = {
    "settled after the marker": (StoreBooks, "settle", _settle_after_the_marker),
    "queued only in memory": (StoreBooks, "settle", _queue_only_in_memory),
    "not deduplicated": (StoreBooks, "settle", _no_dedupe),
    "not settled when the client leaves": (Settlement, "settle", _skip_on_cancel),
}

if __name__ == "__main__":
    owner, name, mistake = MUTANTS[sys.argv.pop(1)]
    # A mistake in what does not exist would be none.
    assert hasattr(owner, name), name
    setattr(owner, name, mistake)
    cli.main()
