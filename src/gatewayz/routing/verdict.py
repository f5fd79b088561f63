"""The verdict: what a fault before the commit point means: another candidate, the same one again,
or the end.

Bounds: at most `attempts` that reached a provider and failed there; refused ones are free, and
bounded by the plan and the deadline, so a list of dead keys never ends a call early.
"""

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

from gatewayz.core.faults import Fault
from gatewayz.providers.refused_parameters import MAX_DROPPED_PARAMETERS, OTHER_LIMIT_NAMES

RetryDecision = Literal["next", "retry", "larger", "stop"]

SEVERITY = {429: 0, 503: 1, 504: 2, 502: 3}
"""When attempts failed differently the client sees 429 before 503 before 504 before 502."""


class RetryState(Struct, frozen=True):
    """The attempts of a call so far: how many count against the bound, and the parameters that were
    dropped for this candidate.

    Example: `RetryState(failed_attempts=1, dropped_parameters=("seed",))`
    """

    failed_attempts: int = 0
    dropped_parameters: tuple[str, ...] = ()


def verdict(fault: Fault, state: RetryState, max_attempts: int) -> RetryDecision:
    """What to do next; `state` includes the attempt that ended in `fault`."""
    match fault.rule.verdict:
        case "next" | "wait":
            return "stop" if state.failed_attempts >= max_attempts else "next"
        case "larger":
            return "larger"
        case "stop":
            return "retry" if parameters_to_drop(fault, state.dropped_parameters) else "stop"


def parameters_to_drop(fault: Fault, before: tuple[str, ...]) -> tuple[str, ...]:
    """The parameters that a rejection names as unsupported and that are not left out yet; empty for
    every other fault, and when as many as may be are left out already.
    """
    if fault.kind != "upstream_rejected" or fault.upstream is None:
        return ()
    names = tuple(
        name
        for name in fault.upstream.unsupported_parameters
        # A limit whose both names are refused is refused.
        if name not in before and OTHER_LIMIT_NAMES.get(name) not in before
    )
    return names[: MAX_DROPPED_PARAMETERS - len(before)]


def fault_for_client(faults: Sequence[Fault]) -> Fault:
    """What the client is told when nothing is left. The last fault, unless they differ."""
    last = faults[-1]
    if last.rule.verdict == "stop" or last.kind == "upstream_too_long":
        return last
    if all(fault.kind == "upstream_unknown_model" for fault in faults):
        return Fault(
            "unknown_model", f"{last.message}, under the id that was asked for.", param="model"
        )

    known = [fault for fault in faults if fault.kind != "upstream_unknown_model"]
    worst = min(known, key=lambda fault: SEVERITY.get(fault.rule.status, len(SEVERITY)))
    waits = [fault.retry_after_s for fault in faults if fault.retry_after_s is not None]
    message = (
        worst.message if len(faults) == 1 else f"{worst.message} ({len(faults)} attempts failed)"
    )
    return Fault(
        worst.kind,
        message,
        retry_after_s=min(waits, default=None),
        provider=worst.provider,
        upstream=worst.upstream,
    )


def last_fault(faults: Sequence[Fault], waiting: Fault | None) -> Fault:
    """What the client is told when nobody has answered: what the attempts came to, with the time
    until somebody can be asked again; or that, where nobody was asked.
    """
    if not faults:
        return waiting or Fault("unavailable", "Nobody could be asked just now; try again.")
    fault = fault_for_client(faults)
    if waiting is not None and fault.retry_after_s is None:
        fault.retry_after_s = waiting.retry_after_s
    return fault
