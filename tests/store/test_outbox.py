"""The outbox, on both databases: a crossing is written once whoever looks.

A notification is sent by one process at a time.
"""

import asyncio

import pytest
from msgspec.json import decode
from sqlalchemy import select, text, update

from gatewayz.control import accounts, budgets, webhooks
from gatewayz.control.outbox import LEASE_MS, NO_WEBHOOK, RETENTION_MS, UNREADABLE, SqlOutbox
from gatewayz.core.facts import NotificationAttempted
from gatewayz.core.faults import Fault
from gatewayz.core.money import Nanos
from gatewayz.core.pagination import Cursor
from gatewayz.core.secrets import Secret
from gatewayz.routing.rules import Deadlines
from gatewayz.store.sql.tables import BUDGETS, NOTICE_MARKS, NOTICES, WALLETS, WEBHOOKS
from gatewayz.upstream.http1 import HttpTransport
from gatewayz.workers.notifications import RETRY_WAITS_S, Notifications
from tests.contract.test_public_addresses import Names
from tests.support.clocks import ManualClock
from tests.support.control_transaction import control_transaction
from tests.support.databases import on_sqlite
from tests.support.webhook_receiver import WebhookReceiver

DAY_S = 86_400
QUICK = Deadlines(connect_s=2.0, tls_s=2.0, pool_s=2.0)


class Bus:
    """Keeps what it is told."""

    def __init__(self):
        self.facts = []

    def emit(self, fact):
        self.facts.append(fact)

    @property
    def outcomes(self):
        return [fact.outcome for fact in self.facts if isinstance(fact, NotificationAttempted)]


class OutboxSetup:
    """A store with the account `acme`, looked at by as many processes as a test wants."""

    def __init__(self, database):
        self.database, self.clock, self.bus = database, ManualClock(), Bus()
        self.exhausted_budgets = set()
        self.transaction = control_transaction(database, self.clock)

    def outbox(self, owner="one", *, secrets=()):
        return SqlOutbox(
            self.database,
            control_transaction(self.database, self.clock, *secrets).peppers,
            self.clock,
            owner,
            self.exhausted_budgets,
        )

    def notifications(self, transport, outbox=None, *, private=True):
        return Notifications(
            outbox or self.outbox(), transport, self.clock, self.bus, private=private
        )

    async def hook(self, url="https://hooks.example/", low=None, secret=""):
        spec = webhooks.WebhookSpec(
            url=url, low_balance=None if low is None else Nanos(low), secret=secret
        )
        return await webhooks.put_webhook(self.transaction, "acme", spec, private=True)

    async def update_rows(self, table, **values):
        async with self.database.begin() as connection:
            await connection.execute(
                update(table).where(table.c.account_id == "acme").values(**values)
            )

    async def payloads(self):
        """(kind, data) of every notification, oldest first."""
        async with self.database.begin(reading=True) as connection:
            rows = (
                await connection.execute(
                    select(NOTICES.c.kind, NOTICES.c.body).order_by(
                        NOTICES.c.created_ms, NOTICES.c.id
                    )
                )
            ).all()
        return [(kind, decode(body)["data"]) for kind, body in rows]

    async def rows(self):
        return (await webhooks.list_notifications(self.database, "acme", Cursor())).rows

    async def budget(self, limit, period="day", subject=""):
        subject = subject or budgets.account_subject("acme")
        await budgets.put_budget(
            self.transaction,
            "acme",
            subject,
            budgets.BudgetLimit(amount=Nanos(limit), period=period),
        )


@pytest.fixture
async def outbox_setup(database):
    setup = OutboxSetup(database)
    await accounts.create_account(setup.transaction, "Acme", "prepaid", account="acme")
    return setup


@pytest.fixture
async def transport():
    transport = HttpTransport(QUICK)
    yield transport
    await transport.close()


async def test_a_low_balance_is_notified_when_it_falls_below_and_again_only_after_it_rose(
    outbox_setup,
):
    await outbox_setup.update_rows(WALLETS, paid=1_000)
    await outbox_setup.hook(low=500)
    outbox = outbox_setup.outbox()
    for paid, held, count in (
        (500, 0, 0),
        (499, 0, 1),
        (100, 0, 1),
        (0, 0, 1),
        (450, 50, 1),
        (400, 0, 2),
        (499, 0, 2),
        (10_000, 0, 2),
        (1, 0, 3),
    ):
        await outbox_setup.update_rows(WALLETS, paid=paid, held=held)
        for _ in range(2):
            await outbox.enqueue_notifications()
        assert len(await outbox_setup.payloads()) == count, (paid, held)
    assert (await outbox_setup.payloads())[0] == (
        "balance.low",
        {
            "account": "acme",
            "balance": "0.000000499",
            "balance_nanos": 499,
            "threshold": "0.0000005",
            "threshold_nanos": 500,
        },
    )


async def test_what_is_held_is_not_missing_and_a_credit_line_counts(outbox_setup):
    await outbox_setup.hook(low=500)
    await outbox_setup.update_rows(WALLETS, paid=100, held=400)
    assert await outbox_setup.outbox().enqueue_notifications() == 0
    await outbox_setup.update_rows(WALLETS, paid=-600, held=0, floor=-1_000)
    assert await outbox_setup.outbox().enqueue_notifications() == 1
    await outbox_setup.update_rows(WALLETS, paid=-500)
    await outbox_setup.outbox().enqueue_notifications()
    assert [payload["balance_nanos"] for _, payload in await outbox_setup.payloads()] == [400]


async def test_without_a_threshold_or_for_the_house_no_balance_is_low(outbox_setup):
    await outbox_setup.hook()
    assert await outbox_setup.outbox().enqueue_notifications() == 0
    await outbox_setup.hook(low=500)
    await outbox_setup.update_rows(WALLETS, billing="house")
    assert await outbox_setup.outbox().enqueue_notifications() == 0


async def test_a_budget_is_notified_at_80_and_100_percent_once_in_a_period(outbox_setup):
    await outbox_setup.hook()
    await outbox_setup.budget(1_003)
    outbox = outbox_setup.outbox()
    for spent, percents in (
        (0, []),
        (802, []),
        (803, [80]),
        (900, [80]),
        (1_002, [80]),
        (1_003, [80, 100]),
        (2_000, [80, 100]),
    ):
        await outbox_setup.update_rows(BUDGETS, spent=spent)
        for _ in range(2):
            await outbox.enqueue_notifications()
        assert [payload["percent"] for _, payload in await outbox_setup.payloads()] == percents, (
            spent
        )
    outbox_setup.clock.advance(DAY_S)
    await outbox.enqueue_notifications()
    assert len(await outbox_setup.payloads()) == 2
    [now] = await budgets.list_budgets(outbox_setup.database, "acme", outbox_setup.clock.wall_ms())
    await outbox_setup.update_rows(BUDGETS, spent=1_500, period_ms=now.period_start_ms)
    await outbox.enqueue_notifications()
    kind, payload = (await outbox_setup.payloads())[-1]
    assert (
        kind,
        payload["percent"],
        payload["period"],
        payload["since_ms"],
        payload["spent_nanos"],
        payload["limit"],
    ) == ("budget.reached", 100, "day", now.period_start_ms, 1_500, "0.000001003")
    assert (payload["account"], payload["key"], payload["end_user"]) == ("acme", None, None)


async def test_a_period_that_is_over_is_not_notified(outbox_setup):
    await outbox_setup.budget(100)
    await outbox_setup.update_rows(BUDGETS, spent=90)
    outbox_setup.clock.advance(DAY_S)
    await outbox_setup.hook()
    for _ in range(3):
        assert await outbox_setup.outbox().enqueue_notifications() == 0
    assert await outbox_setup.payloads() == []


async def test_another_limit_begins_anew(outbox_setup):
    await outbox_setup.hook()
    await outbox_setup.budget(100)
    await outbox_setup.update_rows(BUDGETS, spent=100)
    await outbox_setup.outbox().enqueue_notifications()
    await outbox_setup.budget(1_000)
    await outbox_setup.outbox().enqueue_notifications()
    await outbox_setup.update_rows(BUDGETS, spent=850)
    await outbox_setup.outbox().enqueue_notifications()
    assert [
        (payload["percent"], payload["limit_nanos"]) for _, payload in await outbox_setup.payloads()
    ] == [
        (100, 100),
        (80, 1_000),
    ]


async def test_end_users_and_keys_are_named(outbox_setup):
    await outbox_setup.hook()
    await outbox_setup.budget(100, subject=budgets.end_user_subject("acme", "eve/x:y"))
    await outbox_setup.update_rows(BUDGETS, spent=80)
    await outbox_setup.outbox().enqueue_notifications()
    [(_, payload)] = await outbox_setup.payloads()
    assert (payload["key"], payload["end_user"]) == (None, "eve/x:y")


async def test_a_budget_that_refuses_calls_is_used_up_if_most_of_it_is_spent(outbox_setup):
    await outbox_setup.hook()
    await outbox_setup.budget(1_000)
    subject = budgets.account_subject("acme")
    for spent, percents in ((790, []), (850, [100]), (860, [100])):
        await outbox_setup.update_rows(BUDGETS, spent=spent)
        outbox_setup.exhausted_budgets.add(subject)
        for _ in range(2):
            await outbox_setup.outbox().enqueue_notifications()
        assert outbox_setup.exhausted_budgets == set()
        assert [payload["percent"] for _, payload in await outbox_setup.payloads()] == percents
    outbox_setup.exhausted_budgets.add("user:nobody/at all")
    await outbox_setup.outbox().enqueue_notifications()
    assert outbox_setup.exhausted_budgets == set()


async def test_an_account_without_a_webhook_gets_nothing_until_it_has_one_and_then_how_it_stands(
    outbox_setup,
):
    await outbox_setup.budget(100)
    await outbox_setup.update_rows(BUDGETS, spent=100)
    assert await outbox_setup.outbox().enqueue_notifications() == 0
    await outbox_setup.hook(low=500)
    assert await outbox_setup.outbox().enqueue_notifications() == 2
    await webhooks.delete_webhook(outbox_setup.transaction, "acme")
    await outbox_setup.hook(low=500)
    assert await outbox_setup.outbox().enqueue_notifications() == 4


async def test_many_processes_that_look_at_once_write_a_crossing_once(outbox_setup):
    await outbox_setup.hook(low=500)
    for name in "abcdefgh":
        await outbox_setup.budget(100, subject=budgets.end_user_subject("acme", name))
    await outbox_setup.update_rows(BUDGETS, spent=100)
    await asyncio.gather(
        *(outbox_setup.outbox(f"process {number}").enqueue_notifications() for number in range(8))
    )
    assert sorted(
        payload.get("end_user") or "" for _, payload in await outbox_setup.payloads()
    ) == [
        "",
        *"abcdefgh",
    ]


async def test_many_processes_claim_each_notification_once(outbox_setup):
    await outbox_setup.hook()
    ids = []
    for _ in range(10):
        for _ in range(4):
            ids.append(await webhooks.enqueue_test(outbox_setup.transaction, "acme"))
        await outbox_setup.update_rows(NOTICES, kind="other")
    outboxes = [outbox_setup.outbox(f"process {number}") for number in range(6)]
    claimed = [
        delivery.id
        for deliveries in await asyncio.gather(*(outbox.claim() for outbox in outboxes))
        for delivery in deliveries
    ]
    claimed += [delivery.id for outbox in outboxes for delivery in await outbox.claim()]
    assert sorted(claimed) == sorted(ids)


async def test_a_claim_runs_out_with_its_owner_and_who_comes_late_changes_nothing(outbox_setup):
    await outbox_setup.hook()
    await webhooks.enqueue_test(outbox_setup.transaction, "acme")
    dead, heir = outbox_setup.outbox("dead"), outbox_setup.outbox("heir")
    [first] = await dead.claim()
    assert await heir.claim() == []
    outbox_setup.clock.advance(LEASE_MS / 1000)
    [second] = await heir.claim()
    assert (first.id, first.body, first.attempt, second.attempt) == (second.id, second.body, 1, 2)
    await dead.mark_delivered(first, 200)
    assert [row["state"] for row in await outbox_setup.rows()] == ["waiting"]
    await heir.mark_delivered(second, 204)
    await dead.mark_failed(first, 500, "late", None)
    assert [(row["state"], row["status"]) for row in await outbox_setup.rows()] == [
        ("delivered", 204)
    ]
    outbox_setup.clock.advance(LEASE_MS)
    assert await heir.claim() == []


async def test_a_notification_is_tried_again_later_and_later_and_then_has_failed(
    outbox_setup, transport
):
    async with WebhookReceiver(500, 302, 404, 429, 503) as receiver:
        secret = await outbox_setup.hook(receiver.url)
        await webhooks.enqueue_test(outbox_setup.transaction, "acme")
        notifications = outbox_setup.notifications(transport)
        for number, wait_s in enumerate(RETRY_WAITS_S, 1):
            await notifications.run_once()
            await notifications.run_once()
            assert len(receiver.requests) == number
            [row] = await outbox_setup.rows()
            assert (
                row["state"],
                row["attempts"],
                row["next_ms"] - outbox_setup.clock.wall_ms(),
            ) == (
                "waiting",
                number,
                wait_s * 1000,
            )
            outbox_setup.clock.advance(wait_s - 1)
            await notifications.run_once()
            assert len(receiver.requests) == number
            outbox_setup.clock.advance(1)
        await notifications.run_once()
        outbox_setup.clock.advance(10 * DAY_S)
        await notifications.run_once()
        [row] = await outbox_setup.rows()
        assert (row["state"], row["attempts"], row["status"], row["why"]) == (
            "failed",
            len(RETRY_WAITS_S) + 1,
            503,
            "it answered 503",
        )
        assert (
            len({(request.body, request.headers["webhook-id"]) for request in receiver.requests})
            == 1
        )
        assert (
            len({request.headers["webhook-signature"] for request in receiver.requests})
            == len(RETRY_WAITS_S) + 1
        )
        assert {request.head for request in receiver.requests} == {"POST /hooks?of=acme HTTP/1.1"}
        assert secret not in str(receiver.requests)
    assert outbox_setup.bus.outcomes == ["retried"] * len(RETRY_WAITS_S) + ["failed"]


async def test_what_is_delivered_is_not_sent_again_and_is_forgotten_after_a_month(
    outbox_setup, transport
):
    async with WebhookReceiver(503, 200) as receiver:
        await outbox_setup.hook(receiver.url)
        await webhooks.enqueue_test(outbox_setup.transaction, "acme")
        notifications = outbox_setup.notifications(transport)
        for _ in range(4):
            await notifications.run_once()
            outbox_setup.clock.advance(DAY_S)
        assert (len(receiver.requests), outbox_setup.bus.outcomes) == (2, ["retried", "delivered"])
        assert [(row["state"], row["why"]) for row in await outbox_setup.rows()] == [
            ("delivered", "")
        ]
        outbox_setup.clock.advance(RETENTION_MS / 1000)
        await notifications.run_once()
        assert await outbox_setup.rows() == []


async def test_a_receiver_that_is_gone_is_asked_once_and_one_that_is_silent_only_so_long(
    outbox_setup, transport
):
    async with WebhookReceiver(410) as gone, WebhookReceiver(0) as silent:
        notifications = outbox_setup.notifications(transport)
        notifications.attempt_s = 2.0
        for receiver, state, why in (
            (gone, "failed", "it answered 410"),
            (silent, "waiting", "it did not answer in time"),
        ):
            await outbox_setup.hook(receiver.url)
            await webhooks.enqueue_test(outbox_setup.transaction, "acme")
            await notifications.run_once()
            row = (await outbox_setup.rows())[0]
            assert (row["state"], row["why"], len(receiver.requests)) == (state, why, 1)


async def test_redirects_are_not_followed(outbox_setup, transport):
    async with (
        WebhookReceiver() as inside,
        WebhookReceiver(307, more=f"Location: {inside.url}\r\n") as receiver,
    ):
        await outbox_setup.hook(receiver.url)
        await webhooks.enqueue_test(outbox_setup.transaction, "acme")
        await outbox_setup.notifications(transport).run_once()
        assert (len(receiver.requests), inside.connections) == (1, 0)
        assert (await outbox_setup.rows())[0]["why"] == "it answered 307"


@on_sqlite
@pytest.mark.parametrize("host", ["localhost", "inside.example", "mixed.example"])
async def test_nothing_is_sent_to_an_address_that_is_not_public(outbox_setup, host):
    names = Names(
        **{
            "localhost": ["127.0.0.1"],
            "inside.example": ["10.0.0.1"],
            "mixed.example": ["8.8.8.8", "127.0.0.1"],
        }
    )
    transport = HttpTransport(QUICK, resolver=names)
    async with WebhookReceiver() as receiver:
        await webhooks.put_webhook(
            outbox_setup.transaction,
            "acme",
            webhooks.WebhookSpec(url=f"https://{host}:{receiver.port}/"),
            private=False,
        )
        await webhooks.enqueue_test(outbox_setup.transaction, "acme")
        await outbox_setup.notifications(transport, private=False).run_once()
        assert (names.looked_up, receiver.connections) == ([host], 0)
        assert (await outbox_setup.rows())[0][
            "why"
        ] == "it cannot be reached at a public address, or does not speak HTTP"
    await transport.close()


async def test_what_was_allowed_once_is_not_sent_to_when_it_is_allowed_no_more(
    outbox_setup, transport
):
    async with WebhookReceiver() as receiver:
        await outbox_setup.hook(receiver.url)
        await webhooks.enqueue_test(outbox_setup.transaction, "acme")
        await outbox_setup.notifications(transport, private=False).run_once()
        assert receiver.connections == 0
        assert (await outbox_setup.rows())[0]["why"] == "its address is not allowed (any more)"


async def test_a_webhook_that_was_removed_gets_nothing_any_more(outbox_setup, transport):
    async with WebhookReceiver() as receiver:
        await outbox_setup.hook(receiver.url)
        await webhooks.enqueue_test(outbox_setup.transaction, "acme")
        await webhooks.delete_webhook(outbox_setup.transaction, "acme")
        await outbox_setup.notifications(transport).run_once()
        assert (
            [(row["state"], row["why"]) for row in await outbox_setup.rows()],
            receiver.connections,
        ) == ([("failed", NO_WEBHOOK)], 0)


async def test_the_secret_is_encrypted_for_its_account_and_read_with_the_secrets_of_before(
    outbox_setup, transport
):
    secret = await outbox_setup.hook(low=1)
    async with outbox_setup.database.begin() as connection:
        stored = (await connection.execute(select(WEBHOOKS.c.secret))).scalar_one()
        assert secret.removeprefix("whsec_").encode() not in stored
    other, old = (
        Secret("another secret of the installation"),
        outbox_setup.transaction.peppers.all[0].secret,
    )
    for secrets, why in (((other, old), ""), ((other,), UNREADABLE)):
        await webhooks.enqueue_test(outbox_setup.transaction, "acme")
        deliveries = await outbox_setup.outbox(secrets=secrets).claim()
        revealed = [delivery.secret.reveal() for delivery in deliveries]
        assert revealed == ([secret] if not why else [])
        assert secret not in repr(deliveries)
        assert (await outbox_setup.rows())[0]["why"] == why
    async with outbox_setup.database.begin() as connection:
        await connection.execute(text("UPDATE webhooks SET account_id = 'other'"))
        await connection.execute(
            text("UPDATE notices SET account_id = 'other', state = 'waiting', lease_until_ms = 0")
        )
    assert await outbox_setup.outbox().claim() == []


async def test_a_secret_stays_until_another_is_given(outbox_setup):
    made = await outbox_setup.hook()
    assert made.startswith("whsec_")
    assert await outbox_setup.hook("https://hooks.example/other", low=7) == ""
    await webhooks.enqueue_test(outbox_setup.transaction, "acme")
    [delivery] = await outbox_setup.outbox().claim()
    assert (delivery.secret.reveal(), delivery.url) == (made, "https://hooks.example/other")
    given = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    assert await outbox_setup.hook(secret=given) == ""
    outbox_setup.clock.advance(LEASE_MS)
    [delivery] = await outbox_setup.outbox().claim()
    assert delivery.secret.reveal() == given


async def test_tests_that_wait_are_bounded(outbox_setup):
    await outbox_setup.hook()
    for _ in range(webhooks.MAX_TESTS):
        await webhooks.enqueue_test(outbox_setup.transaction, "acme")
    with pytest.raises(Fault) as refused:
        await webhooks.enqueue_test(outbox_setup.transaction, "acme")
    assert refused.value.kind == "rate_limited"


async def test_the_mark_of_a_budget_that_is_gone_is_deleted(outbox_setup):
    await outbox_setup.hook(low=5)
    await outbox_setup.budget(100)
    await outbox_setup.update_rows(BUDGETS, spent=100)
    outbox = outbox_setup.outbox()
    await outbox.enqueue_notifications()
    await budgets.delete_budget(outbox_setup.transaction, "acme", budgets.account_subject("acme"))
    outbox_setup.clock.advance(DAY_S)
    await outbox.enqueue_notifications()
    async with outbox_setup.database.begin(reading=True) as connection:
        assert (await connection.execute(select(NOTICE_MARKS.c.subject))).scalars().all() == [
            "balance"
        ]
