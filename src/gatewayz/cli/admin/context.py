"""What commands on the store have in common: they open it, work, say the result, and close it.

They work beside a running gateway and without one.
"""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TypeVar

from msgspec import Struct

from gatewayz.cli.actor import command_actor
from gatewayz.cli.location import existing_location
from gatewayz.cli.loop import run_loop
from gatewayz.cli.output import print_note
from gatewayz.control import accounts
from gatewayz.control.open import Store, open_peppers, open_store
from gatewayz.control.transactions import ControlTransaction
from gatewayz.core.clock import SystemClock
from gatewayz.core.facts import Fact
from gatewayz.settings import LoadedSettings, load_settings
from gatewayz.store.secret import load_peppers
from gatewayz.store.sql.database import Database

T = TypeVar("T")


class AdminContext(Struct, frozen=True):
    """The open store, and the transaction in which it is changed."""

    transaction: ControlTransaction
    store: Store
    data_dir: Path
    allow_private_webhooks: bool = False

    @property
    def database(self) -> Database:
        return self.transaction.database

    @property
    def now_ms(self) -> int:
        return self.transaction.clock.wall_ms()

    async def account_id(self, account: str) -> str:
        """The id of an account that is named by its id or its name. Faults: `bad_request`."""
        return await accounts.resolve_account(self.database, account)


def run_with_store(
    config: str,
    data_dir: str | None,
    work: Callable[[AdminContext], Awaitable[T]],
    *,
    has_lost_secret: bool = False,
) -> T:
    """Does the work with the store open, and says which it is.

    `has_lost_secret`: the secret here need not be the one of the database's keys. Faults:
    `bad_request` also where there is no store yet, `unavailable`, the work's own.
    """
    loaded = load_settings(config, {"data_dir": data_dir})
    return run_loop(lambda: _run_with_store(loaded, work, has_lost_secret=has_lost_secret))


async def _run_with_store(
    loaded: LoadedSettings, work: Callable[[AdminContext], Awaitable[T]], *, has_lost_secret: bool
) -> T:
    location = existing_location(loaded)
    print_note(f"database: {location.shown}")
    data_dir, clock = Path(loaded.settings.data_dir), SystemClock()
    secret, older = loaded.secret_key, loaded.old_secret_keys
    async with AsyncExitStack() as stack:
        store = await open_store(location, data_dir, clock, _ignore_fact, stack, serving=False)
        if has_lost_secret:
            peppers = load_peppers(data_dir, secret, older)
        else:
            peppers = await open_peppers(store.database, data_dir, secret, older)
        return await work(
            AdminContext(
                transaction=ControlTransaction(store.database, clock, peppers, command_actor()),
                store=store,
                data_dir=data_dir,
                allow_private_webhooks=loaded.settings.notifications.private_addresses,
            )
        )


def _ignore_fact(fact: Fact) -> None:
    """A command says what it did itself."""
