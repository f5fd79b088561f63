"""Makes the kept database of this version's schema: `python -m tests.store.databases.make`.

What it holds is what the product writes, so that the file is what an installation of this version
would have. A file that is there is left as it is.
"""

import asyncio
import gzip
import sys
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

from sqlalchemy import update

from gatewayz.control import accounts, budgets, keys, overrides, tokens, users, webhooks
from gatewayz.control.accounts import AccountRules
from gatewayz.control.credits import Credits
from gatewayz.control.idempotency import SqlClaims, SqlReplays
from gatewayz.control.open import Store, open_store
from gatewayz.control.outbox import SqlOutbox
from gatewayz.control.provider_keys import put_provider_key, switch_provider
from gatewayz.control.transactions import ControlTransaction
from gatewayz.core.ceiling import Ceiling
from gatewayz.core.clock import DAY_MS
from gatewayz.core.keys import mask_key
from gatewayz.core.money import Nanos
from gatewayz.ports.books import ReplayRecord
from gatewayz.ports.replays import StoredReply
from gatewayz.providers.registry import provider_rows, providers_from
from gatewayz.store.sql.database import FILE, Location
from gatewayz.store.sql.migrate import REVISION, migrate
from gatewayz.store.sql.tables import API_KEYS, TOKENS
from tests.store.databases.content import (
    CALL_IDS,
    COST,
    DATE_MS,
    FAULTS,
    GRANTED,
    IDEMPOTENCY_KEY,
    KEY,
    KEY_ID,
    MODELS,
    PAID,
    PRICE,
    PROVIDER_KEY,
    REPLY,
    TOKEN,
    WEBHOOK_SECRET,
    call_named,
    outcome_named,
)
from tests.support.clocks import ManualClock
from tests.support.control_transaction import control_transaction

FOLDER = Path(__file__).parent


async def fill(path: Path) -> None:
    """Everything that this version stores, in a new SQLite file."""
    clock = ManualClock()
    async with AsyncExitStack() as stack:
        location = Location("sqlite", path=str(path))
        await migrate(location)
        store = await open_store(
            location, path.parent, clock, lambda fact: None, stack, serving=False
        )
        transaction = control_transaction(store.database, clock)
        await fill_accounts(store, transaction)
        await fill_calls(store, transaction)
        await fill_surroundings(store, transaction)


async def fill_accounts(store: Store, transaction: ControlTransaction) -> None:
    """Who, and money, with a call under way: all that the first schema had tables for."""
    database = store.database
    await accounts.create_account(transaction, "Acme Ltd", "prepaid", account="acme")
    await accounts.create_account(
        transaction, "On credit", "credit", credit_line=Nanos(10**9), account="on-credit"
    )
    rules = AccountRules(limits={"account_rpm": 500}, models=MODELS)
    await accounts.set_rules(transaction, "acme", rules)
    await accounts.set_caching(transaction, "acme", "auto")
    user = await users.create_user(transaction, "acme", "eve@acme.example", "admin", "Eve")

    spec = keys.KeySpec(account="acme", user=user.id, name="ci", limits={"key_rpm": 60})
    _, key = await keys.create_key(transaction, spec)
    digest = transaction.peppers.current.digest(KEY)
    known = {"id": KEY_ID, "digest": digest, "shown": mask_key(KEY)}
    async with database.begin() as connection:
        await connection.execute(update(API_KEYS).where(API_KEYS.c.id == key.id).values(known))

    movements = Credits(transaction, store.books.commits)
    await movements.topup("acme", PAID, "bank", "invoice-7")
    await movements.grant("acme", GRANTED, DATE_MS + 30 * DAY_MS, "welcome")
    await movements.adjust("acme", Nanos(-(10**9)), "Counted twice", "march")
    daily = budgets.BudgetLimit(amount=Nanos(20 * 10**9), period="day")
    await budgets.put_budget(transaction, "acme", budgets.key_subject(KEY_ID), daily)
    total = budgets.BudgetLimit(amount=Nanos(40 * 10**9), period="total")
    await budgets.put_budget(transaction, "acme", budgets.account_subject("acme"), total)
    await store.books.hold(call_named("open"), Ceiling(Nanos(7_000_000)))


async def fill_calls(store: Store, transaction: ControlTransaction) -> None:
    """Calls that ended in every way, one of them refunded, one with a stored reply."""
    replays = SqlReplays(
        SqlClaims(store.database, transaction.peppers, transaction.clock, store.books.owner),
        transaction.clock,
    )
    for name in FAULTS:
        call, replay = call_named(name), None
        if name == "replayed":
            call = call_named(name, idempotency_key=IDEMPOTENCY_KEY, fingerprint="fingerprint")
            await replays.claim(call)
            reply = StoredReply(call=call.id, received_ms=DATE_MS, provider="groq", reply=REPLY)
            replay = ReplayRecord(IDEMPOTENCY_KEY, replays.encrypt_reply(call, reply))
        hold = await store.books.hold(call, Ceiling(Nanos(3 * COST)))
        await store.books.settle(call, hold, outcome_named(name), replay)

    movements = Credits(transaction, store.books.commits)
    await movements.refund_call("acme", CALL_IDS["served"], Nanos(500_000), "ticket-12")


async def fill_surroundings(store: Store, transaction: ControlTransaction) -> None:
    """A webhook with notifications, a token, overrides of the catalog."""
    spec = webhooks.WebhookSpec(
        url="https://acme.example/hook", secret=WEBHOOK_SECRET, low_balance=Nanos(90 * 10**9)
    )
    await webhooks.put_webhook(transaction, "acme", spec, private=False)
    await webhooks.enqueue_test(transaction, "acme")
    outbox = SqlOutbox(
        store.database, transaction.peppers, transaction.clock, store.books.owner, set()
    )
    await outbox.enqueue_notifications()

    token_spec = tokens.TokenSpec(
        account="acme",
        key=KEY_ID,
        origins=("https://app.example.com",),
        ttl_s=tokens.MAX_TTL_S,
        limit=Nanos(10**9),
    )
    _, token = await tokens.create_token(transaction, token_spec)
    digest = transaction.peppers.current.digest(TOKEN)
    known = {"digest": digest, "shown": mask_key(TOKEN)}
    async with store.database.begin() as connection:
        await connection.execute(update(TOKENS).where(TOKENS.c.id == token.id).values(known))

    await overrides.put_model(transaction, overrides.ModelOverride(id="acme/fast", name="Fast"))
    offer = overrides.OfferOverride(model="acme/fast", provider="groq", upstream_id="model")
    await overrides.put_offer(transaction, offer)
    await overrides.set_price(transaction, ("groq", "model"), PRICE)

    rows = providers_from(provider_rows(), {}, {})
    await put_provider_key(transaction, rows["groq"], PROVIDER_KEY, weight=1, beside=False)
    await switch_provider(transaction, rows["mistral"], on=False, reason="maintenance")


def main() -> None:
    target = FOLDER / f"r{REVISION}.db.gz"
    if target.exists():
        sys.exit(f"{target} exists already: the database of a revision is made once.")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / FILE
        asyncio.run(fill(path))
        target.write_bytes(gzip.compress(path.read_bytes(), mtime=0))
    sys.stdout.write(f"{target} is made: {target.stat().st_size} bytes.\n")


if __name__ == "__main__":
    main()
