"""A circuit breaker, as a function.

Closed until enough failures in a row, or half of enough outcomes in a window; then open for a
while; then one probe holds a lease and decides. After closing, traffic comes back in steps, by
going last more often than not. Cooling is a provider's own request to wait: it is no failure. Law:
open offers get no calls but probes, and only the owner of the probe closes or reopens.

A failure that a request's body may have caused (`SUSPECTED`) closes the offer to its own account,
and to everybody only once a second account has seen one: no account can close an offer to others.
"""

from collections.abc import Iterator
from enum import StrEnum
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from gatewayz.routing.rules import BreakerRule

WINDOW_SLOTS = 6
MAX_UNKNOWN_MODEL = 2
DEGRADED_OUTCOMES, DEGRADED_SHARE = 8, 0.25
SLOW_START_STEPS = ((0.25, 0.10), (0.50, 0.25), (0.75, 0.50))
"""Slow start: until this share of the time, this share of the calls go where they would."""
MAX_ACCOUNTS = 8
"""Accounts whose failures a breaker tells apart; the one that failed longest ago is forgotten."""
MIN_ACCOUNTS = 2
"""How many accounts must have seen a failure that a body may have caused, before it counts for
all."""

BreakerState = Literal["closed", "open", "half_open", "cooling"]


class Signal(StrEnum):
    """What an attempt tells a breaker.

    `FAILED` is the provider's doing, `SUSPECTED` may be the request's.
    """

    OK = "ok"
    FAILED = "failed"
    SUSPECTED = "suspected"
    TRIPPED = "tripped"
    UNKNOWN_MODEL = "unknown_model"
    LIMITED = "limited"
    NEUTRAL = "neutral"


class LeaseOwner(Struct, frozen=True):
    """Who asks: the call, which is one owner of a lease, and its account."""

    call: str
    account: str = ""


class AccountStreak(Struct, frozen=True):
    """Suspected failures of one account. `in_streak`: since anybody's last success.

    `open_until`: until then this account goes elsewhere. Times: seconds.
    """

    account: str
    failures: int = 0
    failed_at: float = 0.0
    in_streak: bool = False
    open_until: float = 0.0


class WindowSlot(Struct, frozen=True):
    """Outcomes of a part of the window: failures of the provider, and suspected ones."""

    slot: int
    outcomes: int = 0
    failures: int = 0
    suspected: int = 0


class Breaker(Struct, frozen=True):
    """`open_until` is 0 while closed; `accounts` are in the order of their last failures.

    Times: seconds. It is bounded, so that it can be one flat hash anywhere: see `fields_of`.
    """

    failures: int = 0
    suspected: int = 0
    open_until: float = 0.0
    probe: str = ""
    probe_until: float = 0.0
    closed_at: float = 0.0
    cool_until: float = 0.0
    unknown: int = 0
    window: tuple[WindowSlot, ...] = ()
    accounts: tuple[AccountStreak, ...] = ()


def fields_of(breaker: Breaker) -> dict[str, float | str]:
    """The breaker as one flat hash of numbers and a name: what a store shared by replicas keeps.

    Example: `{"failures": 0, …, "account:acme:failures": 3, "window:8:outcomes": 12}`
    """
    flat: dict[str, float | str] = {
        name: getattr(breaker, name)
        for name in breaker.__struct_fields__
        if name not in {"window", "accounts"}
    }
    for slot in breaker.window:
        for name in ("outcomes", "failures", "suspected"):
            flat[f"window:{slot.slot}:{name}"] = getattr(slot, name)
    for streak in breaker.accounts:
        for name in ("failures", "failed_at", "in_streak", "open_until"):
            flat[f"account:{streak.account}:{name}"] = getattr(streak, name)
    return flat


def state_of(breaker: Breaker, now: float) -> BreakerState:
    """The state as of `now`; half-open means that a probe may be, or is, under way."""
    if breaker.open_until:
        return "open" if now < breaker.open_until else "half_open"
    return "cooling" if now < breaker.cool_until else "closed"


def account_open_until(breaker: Breaker, account: str, now: float) -> float:
    """Until when this account alone goes elsewhere; 0 when it need not."""
    until = _streak_of(breaker, account).open_until
    return until if now < until else 0.0


def count_closed_accounts(breaker: Breaker, now: float) -> int:
    """For how many accounts alone the breaker is open."""
    return sum(now < streak.open_until for streak in breaker.accounts)


def admit(
    breaker: Breaker, caller: LeaseOwner, now: float, rule: BreakerRule
) -> tuple[Breaker, bool]:
    """The breaker after `caller` asked to go through, and whether it may."""
    if account_open_until(breaker, caller.account, now):
        return breaker, False
    match state_of(breaker, now):
        case "open" | "cooling":
            return breaker, False
        case "half_open":
            if breaker.probe and now < breaker.probe_until:
                return breaker, False
            return replace(breaker, probe=caller.call, probe_until=now + rule.lease_s), True
        case "closed":
            return breaker, True


def is_degraded(breaker: Breaker, now: float, rule: BreakerRule) -> bool:
    """Whether a closed breaker has seen so many failures lately that others should go first."""
    slot = _slot_at(now, rule)
    recent = [item for item in breaker.window if slot - WINDOW_SLOTS < item.slot <= slot]
    total = sum(item.outcomes for item in recent)
    return total >= DEGRADED_OUTCOMES and (
        _window_failures(breaker, recent, now, rule) >= DEGRADED_SHARE * total
    )


def goes_last(breaker: Breaker, now: float, rule: BreakerRule, draw: float) -> bool:
    """Whether a call should try others first, because this one has only just closed.

    `draw` is random in [0, 1). Nobody is refused for it.
    """
    if not breaker.closed_at or now >= breaker.closed_at + rule.slow_start_s:
        return False
    passed = (now - breaker.closed_at) / rule.slow_start_s
    return draw >= next((share for until, share in SLOW_START_STEPS if passed < until), 1.0)


def after_attempt(  # noqa: PLR0913 - a transition: state, event, and everything it may depend on
    breaker: Breaker,
    caller: LeaseOwner,
    signal: Signal,
    now: float,
    rule: BreakerRule,
    *,
    draw: float,
    wait_s: float | None = None,
) -> Breaker:
    """The breaker after an attempt of `caller` has ended; `wait_s` is how long a limited provider
    asked us to wait.
    """
    if breaker.open_until:
        return _after_probe(breaker, caller, signal, now, rule, draw)
    match signal:
        case Signal.NEUTRAL:
            return breaker
        case Signal.LIMITED:
            return replace(
                breaker,
                cool_until=max(
                    breaker.cool_until, now + (rule.cool_s if wait_s is None else wait_s)
                ),
            )
        case Signal.TRIPPED:
            return _open(breaker, now, rule, draw)
        case Signal.UNKNOWN_MODEL:
            counted = replace(breaker, unknown=breaker.unknown + 1)
            if counted.unknown >= MAX_UNKNOWN_MODEL:
                return _open(breaker, now, rule, draw)
            return counted
    return _count_outcome(breaker, caller.account, signal, now, rule, draw)


def _after_probe(
    breaker: Breaker, caller: LeaseOwner, signal: Signal, now: float, rule: BreakerRule, draw: float
) -> Breaker:
    if breaker.probe != caller.call or now < breaker.open_until:
        return breaker
    free = replace(breaker, probe="", probe_until=0.0)
    match signal:
        case Signal.OK:
            others = tuple(
                streak
                for streak in breaker.accounts
                if now < streak.open_until and streak.account != caller.account
            )
            return Breaker(closed_at=now, accounts=others)
        case Signal.NEUTRAL | Signal.LIMITED:
            # The probe learnt nothing: the next one may come at once, or when the provider's wait
            # is over.
            return free
        case Signal.SUSPECTED:
            # One account's probe decides for itself; another's is needed to decide for all.
            failed = _count_suspected(free, caller.account, now, rule, draw, trips=True)
            if sum(streak.in_streak for streak in failed.accounts) < MIN_ACCOUNTS:
                return failed
            return _open(failed, now, rule, draw)
    return _open(breaker, now, rule, draw)


def _count_outcome(
    breaker: Breaker, account: str, signal: Signal, now: float, rule: BreakerRule, draw: float
) -> Breaker:
    window = _window(breaker.window, _slot_at(now, rule), signal)
    if signal is Signal.OK:
        accounts = _accounts_after_success(breaker, account, now, rule)
        return replace(
            breaker, failures=0, suspected=0, unknown=0, window=window, accounts=accounts
        )

    if signal is Signal.SUSPECTED:
        breaker = _count_suspected(breaker, account, now, rule, draw)
        breaker = replace(breaker, suspected=breaker.suspected + 1, unknown=0, window=window)
    else:
        breaker = replace(breaker, failures=breaker.failures + 1, unknown=0, window=window)

    total = sum(slot.outcomes for slot in window)
    share = rule.window_share * total
    by_streak = _streak_failures(breaker) >= rule.failures
    by_window = (
        total >= rule.window_outcomes and _window_failures(breaker, window, now, rule) >= share
    )
    return _open(breaker, now, rule, draw) if by_streak or by_window else breaker


def _streak_failures(breaker: Breaker) -> int:
    """Failures in a row that count for all."""
    several = sum(streak.in_streak for streak in breaker.accounts) >= MIN_ACCOUNTS
    return breaker.failures + (breaker.suspected if several else 0)


def _window_failures(
    breaker: Breaker,
    slots: "tuple[WindowSlot, ...] | list[WindowSlot]",
    now: float,
    rule: BreakerRule,
) -> int:
    """Failures of the window that count for all."""
    since = now - rule.window_s
    several = sum(streak.failed_at > since for streak in breaker.accounts) >= MIN_ACCOUNTS
    return sum(slot.failures + (slot.suspected if several else 0) for slot in slots)


def _streak_of(breaker: Breaker, account: str) -> AccountStreak:
    for streak in breaker.accounts:
        if streak.account == account:
            return streak
    return AccountStreak(account)


def _others(breaker: Breaker, account: str) -> Iterator[AccountStreak]:
    return (streak for streak in breaker.accounts if streak.account != account)


def _count_suspected(
    breaker: Breaker,
    account: str,
    now: float,
    rule: BreakerRule,
    draw: float,
    *,
    trips: bool = False,
) -> Breaker:
    """Counts a failure for its account; at the limit, or where it `trips`, for it alone it opens.

    After that time its calls are tried again, and one more failure opens it anew.
    """
    old = _streak_of(breaker, account)
    failures = old.failures + 1
    opens = trips or failures >= rule.failures
    streak = AccountStreak(
        account,
        failures=failures,
        failed_at=now,
        in_streak=True,
        open_until=now + _open_s(rule, draw) if opens else old.open_until,
    )
    return replace(breaker, accounts=(*_others(breaker, account), streak)[-MAX_ACCOUNTS:])


def _accounts_after_success(
    breaker: Breaker, account: str, now: float, rule: BreakerRule
) -> tuple[AccountStreak, ...]:
    """A success ends its account's streak, and the one that all have in common."""
    if not breaker.accounts:
        return ()
    since = now - rule.window_s
    kept = []
    for streak in breaker.accounts:
        own = streak.account == account
        failures, open_until = (0, 0.0) if own else (streak.failures, streak.open_until)
        if failures or streak.failed_at > since:
            changed = replace(streak, failures=failures, in_streak=False, open_until=open_until)
            kept.append(changed)
    return tuple(kept)


def _slot_at(now: float, rule: BreakerRule) -> int:
    return int(now / rule.window_s * WINDOW_SLOTS)


def _window(window: tuple[WindowSlot, ...], slot: int, signal: Signal) -> tuple[WindowSlot, ...]:
    recent = tuple(item for item in window if slot - WINDOW_SLOTS < item.slot < slot)
    last = next((item for item in window if item.slot == slot), WindowSlot(slot))
    counted = WindowSlot(
        slot,
        outcomes=last.outcomes + 1,
        failures=last.failures + (signal is Signal.FAILED),
        suspected=last.suspected + (signal is Signal.SUSPECTED),
    )
    return (*recent, counted)


def _open(breaker: Breaker, now: float, rule: BreakerRule, draw: float) -> Breaker:
    accounts = tuple(
        replace(streak, in_streak=False) for streak in breaker.accounts if now < streak.open_until
    )
    return Breaker(open_until=now + _open_s(rule, draw), accounts=accounts)


def _open_s(rule: BreakerRule, draw: float) -> float:
    # Jitter keeps the replicas from probing a recovering provider in the same second.
    return rule.open_s * (1 + rule.jitter * (2 * draw - 1))
