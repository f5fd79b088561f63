"""A circuit breaker, as a function.

Closed until enough failures in a row, or half of enough outcomes in a window; then open for a while; then one probe
holds a lease and decides. After closing, traffic comes back in steps. Cooling is a provider's own request to wait: it
is no failure. Law: open offers get no calls but probes, and only the owner of the probe closes or reopens.
"""

from enum import StrEnum
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from gatewayz.routing.rules import BreakerRule

SLOTS = 6
UNKNOWN_IN_A_ROW = 2
SHAKY_OUTCOMES, SHAKY_SHARE = 8, 0.25
STEPS = ((0.25, 0.10), (0.50, 0.25), (0.75, 0.50))
"""Slow start: until this share of the time, this share of the calls."""

State = Literal["closed", "open", "half_open", "cooling"]


class Told(StrEnum):
    """What an attempt tells a breaker."""

    OK = "ok"
    FAILED = "failed"
    TRIPPED = "tripped"
    UNKNOWN_MODEL = "unknown_model"
    LIMITED = "limited"
    NEUTRAL = "neutral"


class Breaker(Struct, frozen=True):
    """`open_until` is 0 while closed; `window` holds (slot, outcomes, failures) of the last slots. Times: seconds."""

    failures: int = 0
    open_until: float = 0.0
    probe: str = ""
    probe_until: float = 0.0
    closed_at: float = 0.0
    cool_until: float = 0.0
    unknown: int = 0
    window: tuple[tuple[int, int, int], ...] = ()


def state_of(breaker: Breaker, now: float) -> State:
    """The state as of `now`; half-open means that a probe may be, or is, under way."""
    if breaker.open_until:
        return "open" if now < breaker.open_until else "half_open"
    return "cooling" if now < breaker.cool_until else "closed"


def admitted(
    breaker: Breaker, caller: str, now: float, rule: BreakerRule, dice: float
) -> tuple[Breaker, bool]:
    """The breaker after `caller` asked to go through, and whether it may. `dice` is random in [0, 1)."""
    match state_of(breaker, now):
        case "open" | "cooling":
            return breaker, False
        case "half_open":
            if breaker.probe and now < breaker.probe_until:
                return breaker, False
            return replace(breaker, probe=caller, probe_until=now + rule.lease_s), True
        case "closed":
            return breaker, dice < _share(breaker, now, rule)


def shaky(breaker: Breaker, now: float, rule: BreakerRule) -> bool:
    """Whether a closed breaker has seen enough failures lately that others should be asked first."""
    slot = int(now / rule.window_s * SLOTS)
    lately = [item for item in breaker.window if slot - SLOTS < item[0] <= slot]
    total, bad = sum(item[1] for item in lately), sum(item[2] for item in lately)
    return total >= SHAKY_OUTCOMES and bad >= SHAKY_SHARE * total


def _share(breaker: Breaker, now: float, rule: BreakerRule) -> float:
    if not breaker.closed_at or now >= breaker.closed_at + rule.slow_start_s:
        return 1.0
    passed = (now - breaker.closed_at) / rule.slow_start_s
    return next((share for until, share in STEPS if passed < until), 1.0)


def step(  # noqa: PLR0913 - a transition: state, event, and everything it may depend on
    breaker: Breaker,
    caller: str,
    told: Told,
    now: float,
    rule: BreakerRule,
    *,
    dice: float,
    wait_s: float | None = None,
) -> Breaker:
    """The breaker after an attempt of `caller` has ended; `wait_s` is how long a limited provider asked us to wait."""
    if breaker.open_until:
        return _probed(breaker, caller, told, now, rule, dice)
    match told:
        case Told.NEUTRAL:
            return breaker
        case Told.LIMITED:
            return replace(
                breaker,
                cool_until=max(
                    breaker.cool_until, now + (rule.cool_s if wait_s is None else wait_s)
                ),
            )
        case Told.TRIPPED:
            return _opened(breaker, now, rule, dice)
        case Told.UNKNOWN_MODEL:
            known = replace(breaker, unknown=breaker.unknown + 1)
            return _opened(breaker, now, rule, dice) if known.unknown >= UNKNOWN_IN_A_ROW else known
    return _counted(breaker, told, now, rule, dice)


def _probed(
    breaker: Breaker, caller: str, told: Told, now: float, rule: BreakerRule, dice: float
) -> Breaker:
    if breaker.probe != caller or now < breaker.open_until:
        return breaker
    if told is Told.OK:
        return Breaker(closed_at=now)
    if told in {Told.NEUTRAL, Told.LIMITED}:
        # The probe learnt nothing: the next one may come at once, or when the provider's wait is over.
        return replace(breaker, probe="", probe_until=0.0)
    return _opened(breaker, now, rule, dice)


def _counted(breaker: Breaker, told: Told, now: float, rule: BreakerRule, dice: float) -> Breaker:
    failed = told is Told.FAILED
    window = _window(breaker.window, int(now / rule.window_s * SLOTS), failed=failed)
    failures = breaker.failures + 1 if failed else 0
    total, bad = sum(slot[1] for slot in window), sum(slot[2] for slot in window)
    if failed and (
        failures >= rule.failures
        or (total >= rule.window_outcomes and bad >= rule.window_share * total)
    ):
        return _opened(breaker, now, rule, dice)
    return replace(breaker, failures=failures, unknown=0, window=window)


def _window(
    window: tuple[tuple[int, int, int], ...], slot: int, *, failed: bool
) -> tuple[tuple[int, int, int], ...]:
    kept = tuple(item for item in window if slot - SLOTS < item[0] < slot)
    _, outcomes, failures = next((item for item in window if item[0] == slot), (slot, 0, 0))
    return (*kept, (slot, outcomes + 1, failures + failed))


def _opened(breaker: Breaker, now: float, rule: BreakerRule, dice: float) -> Breaker:
    # Jitter keeps the replicas from probing a recovering provider in the same second.
    open_s = rule.open_s * (1 + rule.jitter * (2 * dice - 1))
    return Breaker(open_until=now + open_s)
