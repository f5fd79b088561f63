"""The outbox, on both databases: a crossing is written once whoever looks, and a notice is sent by one process at a time."""

import asyncio

import pytest
from msgspec.json import decode
from sqlalchemy import select, text, update

from gatewayz.core.facts import NoticeTried
from gatewayz.core.faults import Fault
from gatewayz.core.money import Nanos
from gatewayz.core.secrets import Secret
from gatewayz.engine.notices import WAITS_S, Notices
from gatewayz.routing.rules import Deadlines
from gatewayz.store.sql import accounts, budgets, webhooks
from gatewayz.store.sql.outbox import HOMELESS, KEPT_MS, LEASE_MS, SEALED, SqlOutbox
from gatewayz.store.sql.slices import Cut
from gatewayz.store.sql.tables import BUDGETS, NOTICE_MARKS, NOTICES, WALLETS, WEBHOOKS
from gatewayz.upstream.http1 import HttpTransport
from tests.contract.test_public_addresses import Names
from tests.support.clocks import ManualClock
from tests.support.desks import desk_at
from tests.support.receiver import Receiver

DAY_S = 86_400
QUICK = Deadlines(connect_s=0.4, tls_s=0.4, pool_s=0.2)


class Bus:
    """Keeps what it is told."""

    def __init__(self):
        self.facts = []

    def emit(self, fact):
        self.facts.append(fact)

    @property
    def outcomes(self):
        return [fact.outcome for fact in self.facts if isinstance(fact, NoticeTried)]


class Here:
    """A store with the account `acme`, looked at by as many processes as a test wants."""

    def __init__(self, database):
        self.database, self.clock, self.bus, self.used_up = database, ManualClock(), Bus(), set()
        self.desk = desk_at(database, self.clock)

    def outbox(self, owner="one", *, secrets=()):
        return SqlOutbox(
            self.database,
            desk_at(self.database, self.clock, *secrets).peppers,
            self.clock,
            owner,
            self.used_up,
        )

    def notices(self, transport, outbox=None, *, private=True):
        return Notices(outbox or self.outbox(), transport, self.clock, self.bus, private=private)

    async def hook(self, url="https://hooks.example/", low=None, secret=""):
        wish = webhooks.Wish(
            url=url, low_balance=None if low is None else Nanos(low), secret=secret
        )
        return await webhooks.put(self.desk, "acme", wish, private=True)

    async def sets(self, table, **values):
        async with self.database.begin() as connection:
            await connection.execute(
                update(table).where(table.c.account_id == "acme").values(**values)
            )

    async def told(self):
        """(kind, data) of every notice, oldest first."""
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
        return (await webhooks.notices(self.database, "acme", Cut())).rows

    async def budget(self, limit, period="day", subject=""):
        subject = subject or budgets.of_account("acme")
        await budgets.put(
            self.desk, "acme", subject, budgets.Limit(amount=Nanos(limit), period=period)
        )


@pytest.fixture
async def here(database):
    found = Here(database)
    await accounts.create(found.desk, "Acme", "prepaid", account="acme")
    return found


@pytest.fixture
async def transport():
    found = HttpTransport(QUICK)
    yield found
    await found.close()


async def test_a_balance_is_told_when_it_falls_below_and_again_only_after_it_rose(here):
    await here.sets(WALLETS, paid=1_000)
    await here.hook(low=500)
    outbox = here.outbox()
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
        await here.sets(WALLETS, paid=paid, held=held)
        for _ in range(2):
            await outbox.look()
        assert len(await here.told()) == count, (paid, held)
    kind, told = (await here.told())[0]
    assert (kind, told) == (
        "balance.low",
        {
            "account": "acme",
            "balance": "0.000000499",
            "balance_nanos": 499,
            "threshold": "0.0000005",
            "threshold_nanos": 500,
        },
    )


async def test_what_is_held_is_not_missing_and_a_credit_line_counts(here):
    await here.hook(low=500)
    await here.sets(WALLETS, paid=100, held=400)
    assert await here.outbox().look() == 0
    await here.sets(WALLETS, paid=-600, held=0, floor=-1_000)
    assert await here.outbox().look() == 1
    await here.sets(WALLETS, paid=-500)
    await here.outbox().look()
    assert [told["balance_nanos"] for _, told in await here.told()] == [400]


async def test_without_a_threshold_or_for_the_house_no_balance_is_low(here):
    await here.hook()
    assert await here.outbox().look() == 0
    await here.hook(low=500)
    await here.sets(WALLETS, billing="house")
    assert await here.outbox().look() == 0


async def test_a_budget_is_told_at_80_and_100_percent_once_in_a_period(here):
    await here.hook()
    await here.budget(1_003)
    outbox = here.outbox()
    for spent, percents in (
        (0, []),
        (802, []),
        (803, [80]),
        (900, [80]),
        (1_002, [80]),
        (1_003, [80, 100]),
        (2_000, [80, 100]),
    ):
        await here.sets(BUDGETS, spent=spent)
        for _ in range(2):
            await outbox.look()
        assert [told["percent"] for _, told in await here.told()] == percents, spent
    here.clock.pass_s(DAY_S)
    await outbox.look()
    assert len(await here.told()) == 2
    [now] = await budgets.listed(here.database, "acme", here.clock.wall_ms())
    await here.sets(BUDGETS, spent=1_500, period_ms=now.period_ms)
    await outbox.look()
    kind, told = (await here.told())[-1]
    assert (
        kind,
        told["percent"],
        told["period"],
        told["since_ms"],
        told["spent_nanos"],
        told["limit"],
    ) == ("budget.reached", 100, "day", now.period_ms, 1_500, "0.000001003")
    assert (told["account"], told["key"], told["end_user"]) == ("acme", None, None)


async def test_a_period_that_is_over_is_not_told(here):
    await here.budget(100)
    await here.sets(BUDGETS, spent=90)
    here.clock.pass_s(DAY_S)
    await here.hook()
    for _ in range(3):
        assert await here.outbox().look() == 0
    assert await here.told() == []


async def test_another_limit_begins_anew(here):
    await here.hook()
    await here.budget(100)
    await here.sets(BUDGETS, spent=100)
    await here.outbox().look()
    await here.budget(1_000)
    await here.outbox().look()
    await here.sets(BUDGETS, spent=850)
    await here.outbox().look()
    assert [(told["percent"], told["limit_nanos"]) for _, told in await here.told()] == [
        (100, 100),
        (80, 1_000),
    ]


async def test_end_users_and_keys_are_named(here):
    await here.hook()
    await here.budget(100, subject=budgets.of_end_user("acme", "eve/x:y"))
    await here.sets(BUDGETS, spent=80)
    await here.outbox().look()
    [(_, told)] = await here.told()
    assert (told["key"], told["end_user"]) == (None, "eve/x:y")


async def test_a_budget_that_refuses_calls_is_used_up_if_most_of_it_is_spent(here):
    await here.hook()
    await here.budget(1_000)
    subject = budgets.of_account("acme")
    for spent, percents in ((790, []), (850, [100]), (860, [100])):
        await here.sets(BUDGETS, spent=spent)
        here.used_up.add(subject)
        for _ in range(2):
            await here.outbox().look()
        assert here.used_up == set()
        assert [told["percent"] for _, told in await here.told()] == percents
    here.used_up.add("user:nobody/at all")
    await here.outbox().look()
    assert here.used_up == set()


async def test_an_account_without_a_webhook_is_told_nothing_and_one_that_gets_one_is_told_how_it_stands(
    here,
):
    await here.budget(100)
    await here.sets(BUDGETS, spent=100)
    assert await here.outbox().look() == 0
    await here.hook(low=500)
    assert await here.outbox().look() == 2
    await webhooks.remove(here.desk, "acme")
    await here.hook(low=500)
    assert await here.outbox().look() == 4


async def test_many_processes_that_look_at_once_write_a_crossing_once(here):
    await here.hook(low=500)
    for name in "abcdefgh":
        await here.budget(100, subject=budgets.of_end_user("acme", name))
    await here.sets(BUDGETS, spent=100)
    await asyncio.gather(*(here.outbox(f"process {number}").look() for number in range(8)))
    assert sorted(told.get("end_user") or "" for _, told in await here.told()) == ["", *"abcdefgh"]


async def test_many_processes_claim_each_notice_once(here):
    await here.hook()
    ids = []
    for _ in range(10):
        for _ in range(4):
            ids.append(await webhooks.test(here.desk, "acme"))
        await here.sets(NOTICES, kind="other")
    outboxes = [here.outbox(f"process {number}") for number in range(6)]
    claimed = [
        letter.id
        for letters in await asyncio.gather(*(one.claim() for one in outboxes))
        for letter in letters
    ]
    claimed += [letter.id for one in outboxes for letter in await one.claim()]
    assert sorted(claimed) == sorted(ids)


async def test_a_claim_runs_out_with_its_owner_and_who_comes_late_changes_nothing(here):
    await here.hook()
    await webhooks.test(here.desk, "acme")
    dead, heir = here.outbox("dead"), here.outbox("heir")
    [first] = await dead.claim()
    assert await heir.claim() == []
    here.clock.pass_s(LEASE_MS / 1000)
    [second] = await heir.claim()
    assert (first.id, first.body, first.attempt, second.attempt) == (second.id, second.body, 1, 2)
    await dead.delivered(first, 200)
    assert [row["state"] for row in await here.rows()] == ["waiting"]
    await heir.delivered(second, 204)
    await dead.failed(first, 500, "late", None)
    assert [(row["state"], row["status"]) for row in await here.rows()] == [("delivered", 204)]
    here.clock.pass_s(LEASE_MS)
    assert await heir.claim() == []


async def test_a_notice_is_tried_again_later_and_later_and_then_has_failed(here, transport):
    async with Receiver(500, 302, 404, 429, 503) as receiver:
        secret = await here.hook(receiver.url)
        await webhooks.test(here.desk, "acme")
        notices = here.notices(transport)
        for number, wait_s in enumerate(WAITS_S, 1):
            await notices.round()
            await notices.round()
            assert len(receiver.posted) == number
            [row] = await here.rows()
            assert (row["state"], row["attempts"], row["next_ms"] - here.clock.wall_ms()) == (
                "waiting",
                number,
                wait_s * 1000,
            )
            here.clock.pass_s(wait_s - 1)
            await notices.round()
            assert len(receiver.posted) == number
            here.clock.pass_s(1)
        await notices.round()
        here.clock.pass_s(10 * DAY_S)
        await notices.round()
        [row] = await here.rows()
        assert (row["state"], row["attempts"], row["status"], row["why"]) == (
            "failed",
            len(WAITS_S) + 1,
            503,
            "it answered 503",
        )
        assert len({(one.body, one.headers["webhook-id"]) for one in receiver.posted}) == 1
        assert (
            len({one.headers["webhook-signature"] for one in receiver.posted}) == len(WAITS_S) + 1
        )
        assert {one.head for one in receiver.posted} == {"POST /hooks?of=acme HTTP/1.1"}
        assert secret not in str(receiver.posted)
    assert here.bus.outcomes == ["retried"] * len(WAITS_S) + ["failed"]


async def test_what_is_delivered_is_not_sent_again_and_is_forgotten_after_a_month(here, transport):
    async with Receiver(503, 200) as receiver:
        await here.hook(receiver.url)
        await webhooks.test(here.desk, "acme")
        notices = here.notices(transport)
        for _ in range(4):
            await notices.round()
            here.clock.pass_s(DAY_S)
        assert (len(receiver.posted), here.bus.outcomes) == (2, ["retried", "delivered"])
        assert [(row["state"], row["why"]) for row in await here.rows()] == [("delivered", "")]
        here.clock.pass_s(KEPT_MS / 1000)
        await notices.round()
        assert await here.rows() == []


async def test_a_receiver_that_is_gone_is_asked_once_and_one_that_is_silent_only_so_long(
    here, transport
):
    async with Receiver(410) as gone, Receiver(0) as silent:
        notices = here.notices(transport)
        notices.attempt_s = 0.2
        for receiver, state, why in (
            (gone, "failed", "it answered 410"),
            (silent, "waiting", "it did not answer in time"),
        ):
            await here.hook(receiver.url)
            await webhooks.test(here.desk, "acme")
            await notices.round()
            row = (await here.rows())[0]
            assert (row["state"], row["why"], len(receiver.posted)) == (state, why, 1)


async def test_redirects_are_not_followed(here, transport):
    async with Receiver() as inside, Receiver(307, more=f"Location: {inside.url}\r\n") as receiver:
        await here.hook(receiver.url)
        await webhooks.test(here.desk, "acme")
        await here.notices(transport).round()
        assert (len(receiver.posted), inside.connections) == (1, 0)
        assert (await here.rows())[0]["why"] == "it answered 307"


@pytest.mark.parametrize("host", ["localhost", "inside.example", "mixed.example"])
async def test_nothing_is_sent_to_an_address_that_is_not_public(here, host):
    names = Names(
        **{
            "localhost": ["127.0.0.1"],
            "inside.example": ["10.0.0.1"],
            "mixed.example": ["8.8.8.8", "127.0.0.1"],
        }
    )
    transport = HttpTransport(QUICK, addresses=names)
    async with Receiver() as receiver:
        await webhooks.put(
            here.desk, "acme", webhooks.Wish(url=f"https://{host}:{receiver.port}/"), private=False
        )
        await webhooks.test(here.desk, "acme")
        await here.notices(transport, private=False).round()
        assert (names.asked, receiver.connections) == ([host], 0)
        assert (await here.rows())[0][
            "why"
        ] == "it cannot be reached at a public address, or does not speak HTTP"
    await transport.close()


async def test_what_was_allowed_once_is_not_sent_to_when_it_is_allowed_no_more(here, transport):
    async with Receiver() as receiver:
        await here.hook(receiver.url)
        await webhooks.test(here.desk, "acme")
        await here.notices(transport, private=False).round()
        assert receiver.connections == 0
        assert (await here.rows())[0]["why"] == "its address is not allowed (any more)"


async def test_a_webhook_that_was_removed_gets_nothing_any_more(here, transport):
    async with Receiver() as receiver:
        await here.hook(receiver.url)
        await webhooks.test(here.desk, "acme")
        await webhooks.remove(here.desk, "acme")
        await here.notices(transport).round()
        assert (
            [(row["state"], row["why"]) for row in await here.rows()],
            receiver.connections,
        ) == ([("failed", HOMELESS)], 0)


async def test_the_secret_is_encrypted_for_its_account_and_read_with_the_secrets_of_before(
    here, transport
):
    secret = await here.hook(low=1)
    async with here.database.begin() as connection:
        kept = (await connection.execute(select(WEBHOOKS.c.secret))).scalar_one()
        assert secret.removeprefix("whsec_").encode() not in kept
    other, old = Secret("another secret of the installation"), here.desk.peppers.all[0].secret
    for secrets, why in (((other, old), ""), ((other,), SEALED)):
        await webhooks.test(here.desk, "acme")
        letters = await here.outbox(secrets=secrets).claim()
        assert [letter.secret.reveal() for letter in letters] == ([secret] if not why else [])
        assert secret not in repr(letters)
        assert (await here.rows())[0]["why"] == why
    async with here.database.begin() as connection:
        await connection.execute(text("UPDATE webhooks SET account_id = 'other'"))
        await connection.execute(
            text("UPDATE notices SET account_id = 'other', state = 'waiting', lease_until_ms = 0")
        )
    assert await here.outbox().claim() == []


async def test_a_secret_stays_until_another_is_given(here):
    made = await here.hook()
    assert made.startswith("whsec_")
    assert await here.hook("https://hooks.example/other", low=7) == ""
    await webhooks.test(here.desk, "acme")
    [letter] = await here.outbox().claim()
    assert (letter.secret.reveal(), letter.url) == (made, "https://hooks.example/other")
    given = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    assert await here.hook(secret=given) == ""
    here.clock.pass_s(LEASE_MS)
    [letter] = await here.outbox().claim()
    assert letter.secret.reveal() == given


async def test_tests_that_wait_are_bounded(here):
    await here.hook()
    for _ in range(webhooks.MAX_TESTS):
        await webhooks.test(here.desk, "acme")
    with pytest.raises(Fault) as refused:
        await webhooks.test(here.desk, "acme")
    assert refused.value.kind == "rate_limited"


async def test_what_was_told_of_a_budget_that_is_gone_is_forgotten(here):
    await here.hook(low=5)
    await here.budget(100)
    await here.sets(BUDGETS, spent=100)
    outbox = here.outbox()
    await outbox.look()
    await budgets.remove(here.desk, "acme", budgets.of_account("acme"))
    here.clock.pass_s(DAY_S)
    await outbox.look()
    async with here.database.begin(reading=True) as connection:
        assert (await connection.execute(select(NOTICE_MARKS.c.subject))).scalars().all() == [
            "balance"
        ]
