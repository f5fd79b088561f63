"""A batch of orders: what it needs of the books, and what carrying it out changes.

Pure: the same function decides for SQLite, PostgreSQL and memory. Whoever calls has locked the
wallets of the batch. Laws: transfers sum to zero; no prepaid wallet goes below its floor by a call;
a hold ends once; a call is settled once; doing an order again changes nothing.
"""

from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from gatewayz.core.ceiling import Ceiling
from gatewayz.core.faults import Fault
from gatewayz.core.money import Nanos, usd_text
from gatewayz.ledger.orders import (
    ExpireGrantsOrder,
    ExtendOrder,
    HoldOrder,
    MoveOrder,
    Order,
    OrderResult,
    ReleaseOrder,
    SettleOrder,
)
from gatewayz.ledger.shortfall import find_shortfall, free_amount
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
    wallet_held,
    wallet_paid,
    wallet_promo,
)

UNCHANGED = OrderResult(applied=False)


class LedgerBatch:
    """State in, state and transfers out.

    Whoever loads a batch fills the first seven fields; the others are what it has changed. `stamp`
    names the batch, uniquely.
    """

    def __init__(self, now_ms: int, stamp: str = "") -> None:
        self.now_ms = now_ms
        self._stamp = stamp
        self.wallets: dict[str, Wallet] = {}
        self.holds: dict[str, OpenHold] = {}
        self.budgets: dict[str, Budget] = {}
        self.grants: dict[str, tuple[Grant, ...]] = {}
        self.settled_calls: set[str] = set()
        self.applied_moves: set[str] = set()
        self.charges: dict[tuple[str, str], int] = {}
        """By call and side of a wallet: what the call took from there and was not given back."""

        self.transfers: list[Transfer] = []
        self.changed_holds: dict[str, OpenHold] = {}
        self.ended_holds: set[str] = set()
        self.new_grants: list[tuple[str, Grant]] = []
        self.records: list[SettleOrder] = []
        self.changed_wallets: set[str] = set()
        self.changed_budgets: set[str] = set()

    def apply(self, orders: Sequence[Order]) -> list[OrderResult]:
        """Every order in turn; a refused one changes nothing."""
        return [self._apply_order(order) for order in orders]

    def _apply_order(self, order: Order) -> OrderResult:
        wallet = self.wallets.get(order.account)
        if wallet is None:
            fault = Fault("forbidden", f"There is no account {order.account}.")
            return OrderResult(applied=False, fault=fault)

        # Before anything else: what a grant that has ended still had cannot be held or spent.
        self._expire_grants(wallet)
        match order:
            case HoldOrder():
                return self._hold(order)
            case ExtendOrder():
                return self._extend(order)
            case SettleOrder():
                return self._settle(order)
            case ReleaseOrder():
                return self._release(order)
            case MoveOrder():
                return self._move(order)
            case ExpireGrantsOrder():
                return UNCHANGED

    # Calls begin

    def _hold(self, order: HoldOrder) -> OrderResult:
        if order.call in self.holds or order.call in self.settled_calls:
            return UNCHANGED
        wallet, budgets = self.wallets[order.account], self._current_budgets(order.budgets)
        refusal = find_shortfall(wallet, budgets, order.ceiling)
        if refusal is not None:
            return refusal

        free = free_amount(wallet, budgets)
        amount = order.ceiling.amount(free)
        promo, paid = self._hold_from_wallet(
            order.account, amount, f"{order.call}:h", "hold", order.call
        )
        self._reserve_budgets(order.budgets, amount)
        self._put_hold(
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
        return OrderResult(moved=amount, free=free)

    def _extend(self, order: ExtendOrder) -> OrderResult:
        hold = self.holds.get(order.call)
        if hold is None:
            return UNCHANGED
        wallet, budgets = self.wallets[order.account], self._current_budgets(hold.budgets)
        refusal = find_shortfall(wallet, budgets, Ceiling(order.amount))
        if refusal is not None:
            return refusal

        # What is held so far names the extension: the same one again has the same id.
        stem = f"{order.call}:x{hold.amount}"
        promo, paid = self._hold_from_wallet(
            order.account, order.amount, stem, "extend", order.call
        )
        self._reserve_budgets(hold.budgets, order.amount)
        self._put_hold(replace(hold, promo=hold.promo + promo, paid=hold.paid + paid))
        return OrderResult(moved=order.amount)

    def _hold_from_wallet(
        self, account: str, amount: int, stem: str, kind: str, call: str
    ) -> tuple[int, int]:
        """Moves from the wallet to what is held, promo before paid: how much of each.

        The house's comes out of its expenses, which have no end.
        """
        wallet = self.wallets[account]
        held = wallet_held(account)
        if wallet.billing == "house":
            self._add_transfer(f"{stem}d", account, (HOUSE_EXPENSE, held), amount, kind, call)
            self._put_wallet(replace(wallet, held=wallet.held + amount))
            return 0, amount

        promo = min(wallet.promo, amount)
        paid = amount - promo
        self._add_transfer(f"{stem}p", account, (wallet_promo(account), held), promo, kind, call)
        self._add_transfer(f"{stem}d", account, (wallet_paid(account), held), paid, kind, call)
        self._put_wallet(
            replace(
                wallet,
                promo=wallet.promo - promo,
                paid=wallet.paid - paid,
                held=wallet.held + promo + paid,
            )
        )
        return promo, paid

    # Calls end

    def _settle(self, order: SettleOrder) -> OrderResult:
        if order.call in self.settled_calls:
            return UNCHANGED
        self.settled_calls.add(order.call)
        self.records.append(order)

        hold = self.holds.get(order.call)
        if hold is not None:
            self._end_hold(hold, min(order.cost, hold.amount), "usage", "u")
        overrun = order.cost - (hold.amount if hold is not None else 0)
        if overrun > 0:
            self._charge_overrun(order, overrun, first=hold is None)
        self._spend_budgets(hold.budgets if hold is not None else order.budgets, order.cost)
        return OrderResult(moved=order.cost)

    def _charge_overrun(self, order: SettleOrder, overrun: int, *, first: bool) -> None:
        """What the hold does not cover: the wallet as far as it reaches; the rest is written off.

        `first`: nothing was held, so this is the whole charge.
        """
        account, call = order.account, order.call
        wallet = self.wallets[account]
        kind = "usage" if first else "overrun"
        if wallet.billing == "house":
            self._add_transfer(f"{call}:o", account, (HOUSE_EXPENSE, INCOME), overrun, kind, call)
            return

        promo = min(wallet.promo, overrun)
        paid = min(max(wallet.paid - wallet.floor, 0), overrun - promo)
        lost = overrun - promo - paid
        sides = (wallet_promo(account), INCOME)
        self._add_transfer(f"{call}:op", account, sides, promo, kind, call)
        sides = (wallet_paid(account), INCOME)
        self._add_transfer(f"{call}:od", account, sides, paid, kind, call)
        self._add_transfer(f"{call}:ow", account, (WRITEOFF, INCOME), lost, "writeoff", call)
        self._put_wallet(replace(wallet, promo=wallet.promo - promo, paid=wallet.paid - paid))

    def _release(self, order: ReleaseOrder) -> OrderResult:
        hold = self.holds.get(order.call)
        if hold is None:
            return UNCHANGED
        self._end_hold(hold, 0, order.how, "e" if order.how == "expire" else "r")
        return OrderResult(moved=hold.amount)

    def _end_hold(self, hold: OpenHold, cost: int, kind: str, mark: str) -> None:
        """Takes `cost` of what is held, promo first, and gives the rest back where it came from.

        `mark` tells the ids of the transfers of one ending from those of another.
        """
        account, call = hold.account, hold.call
        held = wallet_held(account)
        wallet = self.wallets[account]
        promo_used = min(hold.promo, cost)
        promo_back, paid_back = hold.promo - promo_used, hold.paid - (cost - promo_used)
        back = "return" if kind == "usage" else kind

        self._add_transfer(f"{call}:{mark}", account, (held, INCOME), cost, kind, call)
        if wallet.billing == "house":
            sides = (held, HOUSE_EXPENSE)
            self._add_transfer(f"{call}:{mark}b", account, sides, paid_back, back, call)
            self._put_wallet(replace(wallet, held=wallet.held - hold.amount))
        else:
            sides = (held, wallet_promo(account))
            self._add_transfer(f"{call}:{mark}p", account, sides, promo_back, back, call)
            sides = (held, wallet_paid(account))
            self._add_transfer(f"{call}:{mark}d", account, sides, paid_back, back, call)
            self._put_wallet(
                replace(
                    wallet,
                    promo=wallet.promo + promo_back,
                    paid=wallet.paid + paid_back,
                    held=wallet.held - hold.amount,
                )
            )

        for budget in self._current_budgets(hold.budgets):
            self._put_budget(replace(budget, held=budget.held - hold.amount))
        del self.holds[call]
        self.changed_holds.pop(call, None)
        self.ended_holds.add(call)
        # What came back may be of a grant that ended while the call held it.
        self._expire_grants(self.wallets[account])

    # Money in and out

    def _move(self, order: MoveOrder) -> OrderResult:
        if order.id in self.applied_moves:
            return UNCHANGED
        wallet = self.wallets[order.account]
        amount = self._movable_amount(order, wallet)
        if isinstance(amount, Fault):
            return OrderResult(applied=False, fault=amount)

        side = wallet_side(order)
        debit, credit = (order.counter, side) if amount > 0 else (side, order.counter)
        self.applied_moves.add(order.id)
        self.transfers.append(
            Transfer(
                id=order.id,
                account=order.account,
                debit=debit,
                credit=credit,
                amount=Nanos(abs(amount)),
                kind=order.kind,
                call=order.refunds,
                note=order.note,
            )
        )
        if order.refunds:
            self.charges[order.refunds, side] = self.charges.get((order.refunds, side), 0) - amount

        if order.side == "paid":
            self._put_wallet(replace(wallet, paid=wallet.paid + amount))
        else:
            self._put_wallet(replace(wallet, promo=wallet.promo + amount))
            if order.kind == "grant":
                self._add_grant(order)
        return OrderResult(moved=Nanos(amount))

    def _movable_amount(self, order: MoveOrder, wallet: Wallet) -> int | Fault:
        """How much of a movement may happen: what goes out is clamped to what is there."""
        if order.refunds:
            charge = self.charges.get((order.refunds, wallet_side(order)), 0)
            if order.amount > charge:
                left = usd_text(Nanos(charge))
                return Fault(
                    "bad_request", f"Only ${left} of that call's charge is left to refund."
                )
        if order.amount > 0:
            return order.amount
        if not order.amount:
            return Fault("bad_request", "An amount of nothing moves nothing.")

        available = wallet.promo if order.side == "promo" else max(wallet.paid - wallet.floor, 0)
        if order.exact and -order.amount > available:
            return Fault("bad_request", f"The account has only ${usd_text(Nanos(available))}.")
        taken = min(-order.amount, available)
        return -taken if taken else Fault("bad_request", "There is nothing in the account to take.")

    def _add_grant(self, order: MoveOrder) -> None:
        grant = Grant(id=order.id, amount=order.amount, expires_ms=order.expires_ms)
        self.grants[order.account] = (*self.grants.get(order.account, ()), grant)
        self.new_grants.append((order.account, grant))
        wallet = self.wallets[order.account]
        ends_ms = [end for end in (wallet.promo_until_ms, order.expires_ms) if end is not None]
        self._put_wallet(replace(wallet, promo_until_ms=min(ends_ms, default=None)))

    def _expire_grants(self, wallet: Wallet) -> None:
        """Takes back what grants that have ended still have.

        They were spent first, so what is left of promo is at most what the living ones gave.
        """
        until_ms = wallet.promo_until_ms
        if until_ms is None or until_ms > self.now_ms:
            return
        living = [
            grant
            for grant in self.grants.get(wallet.account, ())
            if grant.expires_ms is None or grant.expires_ms > self.now_ms
        ]
        ended = max(wallet.promo - sum(grant.amount for grant in living), 0)
        sides = (wallet_promo(wallet.account), PROMO_EXPENSE)
        transfer_id = f"{self._stamp}:{len(self.transfers)}"
        self._add_transfer(transfer_id, wallet.account, sides, ended, "expire_grant")

        # What is held of an ended grant comes back later: this moment is looked at again then.
        ends_ms = [grant.expires_ms for grant in living if grant.expires_ms is not None]
        next_ms = until_ms if wallet.held else min(ends_ms, default=None)
        self._put_wallet(replace(wallet, promo=wallet.promo - ended, promo_until_ms=next_ms))

    # State

    def _add_transfer(
        self, id: str, account: str, sides: tuple[str, str], amount: int, kind: str, call: str = ""
    ) -> None:
        """A movement between `sides`, debit and credit in that order; nothing moves nothing."""
        if amount:
            self.transfers.append(Transfer(id, account, *sides, Nanos(amount), kind, call))

    def _put_wallet(self, wallet: Wallet) -> None:
        self.wallets[wallet.account] = wallet
        self.changed_wallets.add(wallet.account)

    def _put_hold(self, hold: OpenHold) -> None:
        self.holds[hold.call] = self.changed_holds[hold.call] = hold

    def _put_budget(self, budget: Budget) -> None:
        self.budgets[budget.subject] = budget
        self.changed_budgets.add(budget.subject)

    def _current_budgets(self, subjects: Iterable[str]) -> list[Budget]:
        return [
            self.budgets[subject].at(self.now_ms) for subject in subjects if subject in self.budgets
        ]

    def _reserve_budgets(self, subjects: Iterable[str], amount: int) -> None:
        for budget in self._current_budgets(subjects):
            self._put_budget(replace(budget, held=budget.held + amount))

    def _spend_budgets(self, subjects: Iterable[str], cost: int) -> None:
        for budget in self._current_budgets(subjects):
            self._put_budget(replace(budget, spent=budget.spent + cost))


def wallet_side(order: MoveOrder) -> str:
    """The side of the wallet that a movement goes into, or comes out of."""
    return wallet_promo(order.account) if order.side == "promo" else wallet_paid(order.account)
