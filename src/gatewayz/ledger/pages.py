"""The open pages of the books: what a batch of orders needs, and what carrying them out changes.

Pure: the same function decides for SQLite, PostgreSQL and memory. Whoever calls has locked the wallets of the batch.
Laws: transfers sum to zero; no prepaid wallet goes below its floor by a call; a hold ends once; a call is settled once;
doing an order again changes nothing.
"""

from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from gatewayz.core.faults import Fault
from gatewayz.core.money import Nanos, usd_text
from gatewayz.ledger.orders import Done, Extend, Hold, Move, Order, Release, Settle, Sweep
from gatewayz.ledger.values import (
    HOUSE_EXPENSE,
    INCOME,
    PROMO_EXPENSE,
    WRITEOFF,
    Budget,
    Grant,
    OpenHold,
    Transfer,
    Wallet,
    held_of,
    paid_of,
    promo_of,
)

HELD_RETRY_S = 2.0
"""What a caller is told whose credit is only held by calls that are under way."""
NOTHING = Done(fresh=False)


class Pages:
    """State in, state and transfers out. Whoever loads a batch fills the state; `stamp` names the batch, uniquely."""

    def __init__(self, now_ms: int, stamp: str = "") -> None:
        self.now_ms = now_ms
        self._stamp = stamp
        self.wallets: dict[str, Wallet] = {}
        self.holds: dict[str, OpenHold] = {}
        self.budgets: dict[str, Budget] = {}
        self.grants: dict[str, tuple[Grant, ...]] = {}
        self.settled: set[str] = set()
        self.moved: set[str] = set()
        self.charged: dict[tuple[str, str], int] = {}
        """Call and side of a wallet → what the call took from there and has not been given back, for refunds."""
        self.transfers: list[Transfer] = []
        self.opened: dict[str, OpenHold] = {}
        self.ended: set[str] = set()
        self.granted: list[tuple[str, Grant]] = []
        self.records: list[Settle] = []
        self.changed: set[str] = set()
        self.spent: set[str] = set()

    def carry_out(self, orders: Sequence[Order]) -> list[Done]:
        """Every order in turn; a refused one changes nothing."""
        return [self._one(order) for order in orders]

    def _one(self, order: Order) -> Done:
        wallet = self.wallets.get(order.account)
        if wallet is None:
            return Done(
                fresh=False, fault=Fault("forbidden", f"There is no account {order.account}.")
            )
        self._sweep(wallet)
        match order:
            case Hold():
                return self._hold(order)
            case Extend():
                return self._extend(order)
            case Settle():
                return self._settle(order)
            case Release():
                return self._release(order)
            case Move():
                return self._move(order)
            case Sweep():
                return NOTHING

    # Holding

    def _hold(self, order: Hold) -> Done:
        if order.call in self.holds or order.call in self.settled:
            return NOTHING
        refused = self._refused(order.account, order.amount, order.budgets)
        if refused is not None:
            return refused
        promo, paid = self._take(order.account, order.amount, f"{order.call}:h", "hold", order.call)
        self._reserve(order.budgets, order.amount)
        self._keep_hold(
            OpenHold(
                call=order.call,
                account=order.account,
                key=order.key,
                owner=order.owner,
                promo=promo,
                paid=paid,
                budgets=tuple(subject for subject in order.budgets if subject in self.budgets),
                opened_ms=self.now_ms,
                deadline_ms=order.deadline_ms,
            )
        )
        return Done(moved=order.amount)

    def _extend(self, order: Extend) -> Done:
        hold = self.holds.get(order.call)
        if hold is None:
            return NOTHING
        refused = self._refused(order.account, order.amount, hold.budgets)
        if refused is not None:
            return refused
        stem = f"{order.call}:x{hold.amount}"
        promo, paid = self._take(order.account, order.amount, stem, "extend", order.call)
        self._reserve(hold.budgets, order.amount)
        self._keep_hold(replace(hold, promo=hold.promo + promo, paid=hold.paid + paid))
        return Done(moved=order.amount)

    def _refused(self, account: str, amount: int, subjects: Iterable[str]) -> Done | None:
        """Why this much cannot be held now; nothing when it can."""
        wallet = self.wallets[account]
        may_cost = f"This call may cost ${usd_text(Nanos(amount))}"
        if wallet.billing != "house" and amount > wallet.spendable:
            has = f"the account has ${usd_text(Nanos(wallet.spendable))}"
            if amount <= wallet.spendable + wallet.held:
                return _held(
                    f"{may_cost}; {has} and ${usd_text(Nanos(wallet.held))} is held by calls under way."
                )
            return _short(f"{may_cost}; {has}. Add credit, or ask for fewer output tokens.")
        for budget in self._budgets(subjects):
            left = budget.limit - budget.spent - budget.held
            if amount > left:
                has = f"the {budget.period} budget of {budget.subject.partition('/')[0]} has ${usd_text(Nanos(left))}"
                if amount <= left + budget.held:
                    return _held(
                        f"{may_cost}; {has}, and ${usd_text(Nanos(budget.held))} is held by calls under way."
                    )
                return _short(f"{may_cost}; {has} left.", budget.subject)
        return None

    def _take(self, account: str, amount: int, stem: str, kind: str, call: str) -> tuple[int, int]:
        """Moves from the wallet to what is held, promo before paid; the house's comes out of its expenses."""
        wallet = self.wallets[account]
        if wallet.billing == "house":
            self._post(f"{stem}d", account, (HOUSE_EXPENSE, held_of(account)), amount, kind, call)
            self._keep(replace(wallet, held=wallet.held + amount))
            return 0, amount
        promo = min(wallet.promo, amount)
        paid = amount - promo
        self._post(f"{stem}p", account, (promo_of(account), held_of(account)), promo, kind, call)
        self._post(f"{stem}d", account, (paid_of(account), held_of(account)), paid, kind, call)
        self._keep(
            replace(
                wallet,
                promo=wallet.promo - promo,
                paid=wallet.paid - paid,
                held=wallet.held + promo + paid,
            )
        )
        return promo, paid

    # Ending

    def _settle(self, order: Settle) -> Done:
        if order.call in self.settled:
            return NOTHING
        self.settled.add(order.call)
        self.records.append(order)
        hold = self.holds.get(order.call)
        if hold is not None:
            self._end_hold(hold, min(order.cost, hold.amount), "usage", "u")
        over = order.cost - (hold.amount if hold is not None else 0)
        if over > 0:
            self._take_over(order, over, first=hold is None)
        self._spend(hold.budgets if hold is not None else order.budgets, order.cost)
        return Done(moved=order.cost)

    def _take_over(self, order: Settle, over: int, *, first: bool) -> None:
        """What the hold does not cover: the wallet as far as it reaches, the rest is written off."""
        account, call = order.account, order.call
        wallet = self.wallets[account]
        kind = "usage" if first else "overrun"
        if wallet.billing == "house":
            self._post(f"{call}:o", account, (HOUSE_EXPENSE, INCOME), over, kind, call)
            return
        promo = min(wallet.promo, over)
        paid = min(max(wallet.paid - wallet.floor, 0), over - promo)
        self._post(f"{call}:op", account, (promo_of(account), INCOME), promo, kind, call)
        self._post(f"{call}:od", account, (paid_of(account), INCOME), paid, kind, call)
        self._post(f"{call}:ow", account, (WRITEOFF, INCOME), over - promo - paid, "writeoff", call)
        self._keep(replace(wallet, promo=wallet.promo - promo, paid=wallet.paid - paid))

    def _release(self, order: Release) -> Done:
        hold = self.holds.get(order.call)
        if hold is None:
            return NOTHING
        self._end_hold(hold, 0, order.how, "e" if order.how == "expire" else "r")
        return Done(moved=hold.amount)

    def _end_hold(self, hold: OpenHold, cost: int, kind: str, mark: str) -> None:
        """Takes `cost` of what is held, promo first, and gives the rest back to where it came from."""
        account, call = hold.account, hold.call
        wallet = self.wallets[account]
        promo_used = min(hold.promo, cost)
        promo_back, paid_back = hold.promo - promo_used, hold.paid - (cost - promo_used)
        back = "return" if kind == "usage" else kind
        self._post(f"{call}:{mark}", account, (held_of(account), INCOME), cost, kind, call)
        if wallet.billing == "house":
            self._post(
                f"{call}:{mark}b", account, (held_of(account), HOUSE_EXPENSE), paid_back, back, call
            )
            self._keep(replace(wallet, held=wallet.held - hold.amount))
        else:
            self._post(
                f"{call}:{mark}p",
                account,
                (held_of(account), promo_of(account)),
                promo_back,
                back,
                call,
            )
            self._post(
                f"{call}:{mark}d",
                account,
                (held_of(account), paid_of(account)),
                paid_back,
                back,
                call,
            )
            self._keep(
                replace(
                    wallet,
                    promo=wallet.promo + promo_back,
                    paid=wallet.paid + paid_back,
                    held=wallet.held - hold.amount,
                )
            )
        for budget in self._budgets(hold.budgets):
            self._keep_budget(replace(budget, held=budget.held - hold.amount))
        del self.holds[call]
        self.opened.pop(call, None)
        self.ended.add(call)
        self._sweep(self.wallets[account])

    # Money in and out

    def _move(self, order: Move) -> Done:
        if order.id in self.moved:
            return NOTHING
        wallet = self.wallets[order.account]
        amount = self._allowed(order, wallet)
        if isinstance(amount, Fault):
            return Done(fresh=False, fault=amount)
        mine = side_of(order)
        sides = (order.counter, mine) if amount > 0 else (mine, order.counter)
        self.moved.add(order.id)
        moved = Transfer(
            order.id,
            order.account,
            *sides,
            Nanos(abs(amount)),
            order.kind,
            order.refunds,
            order.note,
        )
        self.transfers.append(moved)
        if order.refunds:
            self.charged[order.refunds, mine] = self.charged.get((order.refunds, mine), 0) - amount
        if order.side == "paid":
            self._keep(replace(wallet, paid=wallet.paid + amount))
            return Done(moved=Nanos(amount))
        self._keep(replace(wallet, promo=wallet.promo + amount))
        if order.kind == "grant":
            self._grant(order)
        return Done(moved=Nanos(amount))

    def _allowed(self, order: Move, wallet: Wallet) -> int | Fault:
        """How much of a movement may happen: what goes out is clamped to what is there."""
        if order.refunds:
            charge = self.charged.get((order.refunds, side_of(order)), 0)
            if order.amount > charge:
                return Fault(
                    "bad_request",
                    f"Only ${usd_text(Nanos(charge))} of that call's charge is left to refund.",
                )
        if order.amount >= 0:
            return (
                order.amount
                if order.amount
                else Fault("bad_request", "An amount of nothing moves nothing.")
            )
        there = wallet.promo if order.side == "promo" else max(wallet.paid - wallet.floor, 0)
        if order.exact and -order.amount > there:
            return Fault("bad_request", f"The account has only ${usd_text(Nanos(there))}.")
        taken = min(-order.amount, there)
        return -taken if taken else Fault("bad_request", "There is nothing in the account to take.")

    def _grant(self, order: Move) -> None:
        given = Grant(id=order.id, amount=order.amount, expires_ms=order.expires_ms)
        self.grants[order.account] = (*self.grants.get(order.account, ()), given)
        self.granted.append((order.account, given))
        wallet = self.wallets[order.account]
        until = [end for end in (wallet.promo_until_ms, order.expires_ms) if end is not None]
        self._keep(replace(wallet, promo_until_ms=min(until, default=None)))

    def _sweep(self, wallet: Wallet) -> None:
        """Grants that have ended: spent first, so what is left of promo is at most what the others gave."""
        until = wallet.promo_until_ms
        if until is None or until > self.now_ms:
            return
        live = [
            grant
            for grant in self.grants.get(wallet.account, ())
            if grant.expires_ms is None or grant.expires_ms > self.now_ms
        ]
        over = max(wallet.promo - sum(grant.amount for grant in live), 0)
        sides = (promo_of(wallet.account), PROMO_EXPENSE)
        self._post(
            f"{self._stamp}:{len(self.transfers)}", wallet.account, sides, over, "expire_grant"
        )
        ends = [grant.expires_ms for grant in live if grant.expires_ms is not None]
        # What is held of an ended grant comes back later: the same moment is looked at again then.
        again = until if wallet.held else min(ends, default=None)
        self._keep(replace(wallet, promo=wallet.promo - over, promo_until_ms=again))

    # Keeping

    def _post(
        self, id: str, account: str, sides: tuple[str, str], amount: int, kind: str, call: str = ""
    ) -> None:
        """Debit and credit, in that order; nothing moves nothing."""
        if amount:
            self.transfers.append(Transfer(id, account, *sides, Nanos(amount), kind, call))

    def _keep(self, wallet: Wallet) -> None:
        self.wallets[wallet.account] = wallet
        self.changed.add(wallet.account)

    def _keep_hold(self, hold: OpenHold) -> None:
        self.holds[hold.call] = self.opened[hold.call] = hold

    def _keep_budget(self, budget: Budget) -> None:
        self.budgets[budget.subject] = budget
        self.spent.add(budget.subject)

    def _budgets(self, subjects: Iterable[str]) -> list[Budget]:
        return [
            self.budgets[subject].at(self.now_ms) for subject in subjects if subject in self.budgets
        ]

    def _reserve(self, subjects: Iterable[str], amount: int) -> None:
        for budget in self._budgets(subjects):
            self._keep_budget(replace(budget, held=budget.held + amount))

    def _spend(self, subjects: Iterable[str], cost: int) -> None:
        for budget in self._budgets(subjects):
            self._keep_budget(replace(budget, spent=budget.spent + cost))


def side_of(order: Move) -> str:
    """The side of the wallet that a movement goes into, or comes out of."""
    return promo_of(order.account) if order.side == "promo" else paid_of(order.account)


def _held(message: str) -> Done:
    return Done(fresh=False, fault=Fault("credit_held", message, retry_after_s=HELD_RETRY_S))


def _short(message: str, budget: str = "") -> Done:
    return Done(fresh=False, fault=Fault("insufficient_credit", message), budget=budget)
