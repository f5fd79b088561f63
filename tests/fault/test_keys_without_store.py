"""The database is stopped under a running gateway: known keys go on, about others nobody can tell, nobody is lost."""

import asyncio
import secrets
from typing import Any

import openai
import pytest

from gatewayz.control import keys
from gatewayz.core.keys import RANDOM_BYTES, key_from_random
from gatewayz.store.sql.database import Location
from tests.support.billing_gateway import complete_chat
from tests.support.postgres import running_postgres
from tests.support.running_gateway import model_with_offers, run_gateway

TRIES = 500
"""Of a client that comes back every 0.2 s."""


async def answered_again(client):
    """Returns when the client is served; until then it is only asked to come back."""
    for _ in range(TRIES):
        try:
            return await complete_chat(client)
        except openai.APIStatusError as error:
            assert error.status_code == 503
            await asyncio.sleep(0.2)
    raise AssertionError


async def refusal(client):
    with pytest.raises(openai.APIStatusError) as refused:
        await complete_chat(client)
    return refused.value.status_code, refused.value.response.headers.get("retry-after")


async def test_known_keys_go_on_while_the_database_is_stopped_and_unknown_ones_are_asked_to_come_back(
    tmp_path,
):
    with running_postgres() as server:
        location = Location("postgresql", dsn=server.dsn())
        async with run_gateway(
            tmp_path, database={"url": location.dsn}, models=[model_with_offers(("first", "echo"))]
        ) as here:
            transaction: Any = here.built.control_transaction
            made = [
                await keys.create_key(transaction, keys.KeySpec(account="house", name=name))
                for name in ("known", "new", "revoked")
            ]
            known, new, revoked = (here.client(api_key=key) for key, _ in made)
            stranger = here.client(api_key=key_from_random(secrets.token_bytes(RANDOM_BYTES)))
            assert await complete_chat(known) == await complete_chat(revoked)
            await keys.revoke_key(transaction, "house", made[2][1].id)
            await here.refresh_keys()
            await asyncio.to_thread(server.stop)
            for client in (new, stranger):
                status, wait = await refusal(client)
                assert status == 503
                assert int(wait) >= 1
            assert (await refusal(revoked))[0] in {401, 503}
            said = await asyncio.gather(*(complete_chat(known) for _ in range(10)))
            assert len(said) == 10
            assert (await refusal(new))[0] == 503
            await asyncio.to_thread(server.start)
            await answered_again(new)
            assert await complete_chat(known)
            assert (await refusal(stranger))[0] == 401
            assert (await refusal(revoked))[0] == 401
