"""Connections to the store: what cannot be had is a fault that tells a client to come back."""

from contextlib import AsyncExitStack

import pytest

from gatewayz.core.faults import Fault
from gatewayz.store.sql.database import POOL_SIZE


async def test_with_every_connection_in_use_a_caller_is_asked_to_come_back(database):
    database.engine.pool._timeout = 0.01
    async with AsyncExitStack() as stack:
        for _ in range(POOL_SIZE):
            await stack.enter_async_context(database.begin(reading=True))
        with pytest.raises(Fault) as refused:
            await stack.enter_async_context(database.begin(reading=True))
    assert refused.value.kind == "unavailable"
    assert refused.value.retry_after_s
    async with database.begin(reading=True):
        pass
