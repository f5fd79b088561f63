"""What a fault before the commit point means: another candidate, the same one later, or the end.

Bounds: at most `attempts` that reached a provider and failed there; refused ones are free, and bounded by the plan
and the deadline, so a list of dead keys never ends a call early.
"""

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

from gatewayz.core.faults import Fault
from gatewayz.providers.classify import unsupported_parameter

Decision = Literal["next", "again", "larger", "stop"]

SEVERITY = {429: 0, 503: 1, 504: 2, 502: 3}
"""When attempts failed differently the client sees 429 before 503 before 504 before 502."""


class Tried(Struct, frozen=True):
    """The attempts of a call so far. `without` are the parameters that were already left out."""

    counted: int = 0
    without: tuple[str, ...] = ()


def verdict(fault: Fault, tried: Tried, attempts: int) -> Decision:
    """What to do next; `counted` includes the attempt that ended in `fault`."""
    match fault.rule.verdict:
        case "next" | "wait":
            return "stop" if tried.counted >= attempts else "next"
        case "larger":
            return "larger"
        case "stop":
            named = named_parameter(fault)
            return "again" if named and named not in tried.without and not tried.without else "stop"


def named_parameter(fault: Fault) -> str:
    """The parameter that a rejection names as unsupported; empty for every other fault."""
    if fault.kind != "upstream_rejected" or fault.upstream is None:
        return ""
    return unsupported_parameter(fault.upstream)


def client_fault(faults: Sequence[Fault]) -> Fault:
    """What the client is told when nothing is left. The last fault, unless they differ."""
    last = faults[-1]
    if last.rule.verdict == "stop" or last.kind == "upstream_too_long":
        return last
    if all(fault.kind == "upstream_unknown_model" for fault in faults):
        return Fault(
            "unknown_model", f"{last.message}, under the id that was asked for.", param="model"
        )
    told = [fault for fault in faults if fault.kind != "upstream_unknown_model"] or list(faults)
    worst = min(told, key=lambda fault: SEVERITY.get(fault.rule.status, len(SEVERITY)))
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
