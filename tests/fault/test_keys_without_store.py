"""The database is stopped under a running gateway: known keys go on, about others nobody can tell, nobody is lost."""

import asyncio
import secrets

import openai
import pytest

from gatewayz.core.keys import RANDOM_BYTES, key_from
from gatewayz.store.sql import keys
from gatewayz.store.sql.database import Location
from tests.support.house import house, offers
from tests.support.paying import asked
from tests.support.postgres import running_postgres

TRIES = 100
"""Of a client that comes back every 0.2 s."""


async def answered_again(client):
    """Returns when the client is served; until then it is only asked to come back."""
    for _ in range(TRIES):
        try:
            return await asked(client)
        except openai.APIStatusError as error:
            assert error.status_code == 503
            await asyncio.sleep(0.2)
    raise AssertionError


async def refusal(client):
    with pytest.raises(openai.APIStatusError) as refused:
        await asked(client)
    return refused.value.status_code, refused.value.response.headers.get("retry-after")


async def test_known_keys_go_on_while_the_database_is_stopped_and_unknown_ones_are_asked_to_come_back(
    tmp_path,
):
    with running_postgres() as server:
        location = Location("postgresql", dsn=server.dsn())
        async with house(
            tmp_path, database={"url": location.dsn}, models=[offers(("first", "echo"))]
        ) as here:
            made = [
                await keys.make(here.built.desk, keys.Wish(account="house", name=name))
                for name in ("known", "new", "revoked")
            ]
            known, new, revoked = (here.client(api_key=key) for key, _ in made)
            stranger = here.client(api_key=key_from(secrets.token_bytes(RANDOM_BYTES)))
            assert await asked(known) == await asked(revoked)
            await keys.revoke(here.built.desk, "house", made[2][1].id)
            await asyncio.sleep(2)
            await asyncio.to_thread(server.stop)
            for client in (new, stranger):
                status, wait = await refusal(client)
                assert status == 503
                assert int(wait) >= 1
            assert (await refusal(revoked))[0] in {401, 503}
            said = await asyncio.gather(*(asked(known) for _ in range(10)))
            assert len(said) == 10
            assert (await refusal(new))[0] == 503
            await asyncio.to_thread(server.start)
            await answered_again(new)
            assert await asked(known)
            assert (await refusal(stranger))[0] == 401
            assert (await refusal(revoked))[0] == 401
