"""`python -m tests.support.mutants NAME serve …`: the gateway with one mistake in it that loses or doubles money."""

import asyncio
import sys

from gatewayz import cli
from gatewayz.core.money import Nanos
from gatewayz.engine.settling import Settling
from gatewayz.ports.books import Hold
from gatewayz.store.sql.books import StoreBooks
from gatewayz.store.sql.commits import GroupCommit

LATE_S = 0.3
settle, put, settled = StoreBooks.settle, GroupCommit.put, Settling.settled
kept = set()


async def _settle_after_the_marker(books, call, hold, outcome, replay=None):
    async def later():
        await asyncio.sleep(LATE_S)
        await settle(books, call, hold, outcome, replay)

    task = asyncio.create_task(later())
    kept.add(task)
    return True


async def _queue_only_in_memory(books, call, hold, outcome, replay=None):
    task = asyncio.create_task(settle(books, call, hold, outcome, replay))
    kept.add(task)
    if len(kept) % 50:
        # The batch is written when it is full; until then it is nowhere but here.
        task.cancel()
        books.late = [*getattr(books, "late", []), (call, hold, outcome)]
    else:
        for one in books.late:
            kept.add(asyncio.create_task(settle(books, *one)))
        books.late = []
    return True


async def _no_dedupe(books, call, hold, outcome, replay=None):
    import msgspec

    await settle(books, call, hold, outcome, replay)
    twin = msgspec.structs.replace(call, id=call.id[:-1] + ("0" if call.id[-1] != "0" else "1"))
    return await settle(books, twin, Hold(twin.id, hold.account, Nanos(0)), outcome, replay)


async def _skipped_on_cancel(settling, call, tally):
    if tally.fault is not None and tally.fault.kind == "client_gone":
        return None
    return await settled(settling, call, tally)


MUTANTS = {
    "settled after the marker": (StoreBooks, "settle", _settle_after_the_marker),
    "queued only in memory": (StoreBooks, "settle", _queue_only_in_memory),
    "not deduplicated": (StoreBooks, "settle", _no_dedupe),
    "not settled when the client leaves": (Settling, "settled", _skipped_on_cancel),
}

if __name__ == "__main__":
    owner, name, mistake = MUTANTS[sys.argv.pop(1)]
    setattr(owner, name, mistake)
    cli.main()
