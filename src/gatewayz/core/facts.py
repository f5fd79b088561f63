"""Facts: things that happened, for observers.

A closed union; no fact holds a prompt, an answer or a secret.
"""

from msgspec import Struct

from gatewayz.core.calls import Attempt, Outcome


class CallEnded(Struct, frozen=True, kw_only=True):
    """A call is over. Emitted once per call, whatever came of it."""

    id: str
    endpoint: str
    dialect: str
    model: str
    streamed: bool
    account: str
    key: str
    received_ms: int
    address: str = ""
    outcome: Outcome
    trace: str = ""


class AttemptEnded(Struct, frozen=True, kw_only=True):
    """One candidate was tried."""

    call: str
    endpoint: str
    attempt: Attempt
    failover: bool = False


class BreakerMoved(Struct, frozen=True, kw_only=True):
    """A breaker changed its state: closed, open, half_open."""

    provider: str
    subject: str
    state: str
    why: str = ""


class CallRefused(Struct, frozen=True, kw_only=True):
    """A request was refused before it became a call: no key, a bad body.

    `endpoint` is one of ours, or `other`; `path` is what was asked for where it is none of ours.
    """

    id: str
    endpoint: str
    fault: str
    status: int
    path: str = ""


class Warned(Struct, frozen=True, kw_only=True):
    """Something that an operator should look at.

    Example: `Warned(subject="store", message="The store does not answer.")`
    """

    subject: str
    message: str


class ListingRead(Struct, frozen=True, kw_only=True):
    """A provider's own list of models was read, or could not be: then `fault` is its kind, and the
    last list holds.
    """

    provider: str
    models: int = 0
    prices: int = 0
    quarantined: int = 0
    doubted: str = ""
    unread: tuple[str, ...] = ()
    """Fields of its prices that nobody reads."""
    fault: str = ""
    message: str = ""


class NotificationAttempted(Struct, frozen=True, kw_only=True):
    """A notification was sent to an account's webhook: `delivered`, to be `retried`, or `failed`
    for good (`why`).
    """

    account: str
    id: str
    kind: str
    outcome: str
    status: int = 0
    why: str = ""


Fact = (
    CallEnded
    | AttemptEnded
    | BreakerMoved
    | CallRefused
    | Warned
    | ListingRead
    | NotificationAttempted
)
