"""Calls, attempts and outcomes: one client request and all that came of it."""

import os
import time
from typing import Literal

from msgspec import Struct

from gatewayz.core.money import Nanos, Price
from gatewayz.core.requests import Request
from gatewayz.core.usage import Usage

CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_BASE32 = str.maketrans(CROCKFORD, "0123456789abcdefghijklmnopqrstuv")
_PAIRS = tuple(high + low for high in CROCKFORD for low in CROCKFORD)


def new_ulid() -> str:
    """A ULID: 48 bits of milliseconds, 80 random bits, 26 characters (github.com/ulid/spec)."""
    value = (time.time_ns() // 1_000_000 << 80) | int.from_bytes(os.urandom(10))
    return "".join([_PAIRS[value >> shift & 1023] for shift in range(120, -1, -10)])


def first_ulid(at_ms: int) -> str:
    """The least ULID of a moment: ids made at it or later are not below, those made before are."""
    value = max(at_ms, 0) << 80
    return "".join([CROCKFORD[value >> shift & 31] for shift in range(125, -1, -5)])


def own_traceparent(call_id: str) -> str:
    """The `traceparent` (W3C Trace Context) of a call whose client sent none: its id, as a number.

    Example: `own_traceparent("01KBX…")` is `00-019afd…-8e1c…-01`. Raises `ValueError` for no ULID.
    """
    digits = f"{int(call_id.translate(_BASE32), 32):032x}"
    return f"00-{digits}-{digits[16:]}-01"


def is_own_traceparent(call_id: str, trace: str) -> bool:
    """Whether this is the `traceparent` that the call has where its client sent none."""
    try:
        return trace == own_traceparent(call_id)
    except ValueError:
        return False


class HttpRequest(Struct, frozen=True):
    """An HTTP request as a value, ours or a client's.

    `url` is a path on the way in and absolute on the way out.

    `public`: it may only go to addresses of the public internet, because others than the operator
    named its host. `proxy` is the URL of the proxy that its provider has, or `direct`; empty: what
    the environment says.

    Example: `HttpRequest("POST", "https://api.openai.com/v1/chat/completions", (("Accept",
    "*/*"),), b"{…}")`
    """

    method: str
    url: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    public: bool = False
    proxy: str = ""


class Principal(Struct, frozen=True):
    """Who calls: account, key, and what they may do.

    `billing` is `house` for an operator's own use.

    `budgets` are the subjects whose budgets a call counts against; one that ends in `/` stands for
    the call's own end user. `account_limits` take the place of the installation's, `key_limits` can
    only be lower. `addresses` are the networks that the key may be used from (none: from anywhere);
    `markup_bp` is the account's own markup in basis points, in the place of the offers'. `origins`
    are those of the pages that a token may be used from; a token calls as its key does, and has its
    key's id. `caching` is `auto` where prompts are marked for caching unless a request says
    otherwise.

    Example: `Principal("acme", "01JX…", billing="prepaid", key_limits=(("key_rpm", 60),))`
    """

    account: str
    key: str
    scopes: frozenset[str] = frozenset({"inference"})
    models: tuple[str, ...] = ()
    billing: Literal["prepaid", "credit", "house"] = "house"
    user: str = ""
    role: str = ""
    budgets: tuple[str, ...] = ()
    key_limits: tuple[tuple[str, int], ...] = ()
    account_limits: tuple[tuple[str, int], ...] = ()
    addresses: tuple[str, ...] = ()
    markup_bp: int | None = None
    origins: tuple[str, ...] = ()
    caching: str = ""


class Call(Struct, frozen=True, kw_only=True):
    """One client request.

    Times are monotonic seconds; `deadline` bounds everything, `received_ms` is the date.

    `idempotency_key` is the client's name for it, and `fingerprint` what another request by that
    name must share. `tags` and `user` are how its client labels it; a user that is named beside the
    request takes the place of the request's.

    Example: `Call(id="01JX…", endpoint="/v1/chat/completions", request=chat, principal=acme,
    received_at=41.5, received_ms=1_764_000_000_000, deadline=641.5)`
    """

    id: str
    endpoint: str
    request: Request
    principal: Principal
    received_at: float
    received_ms: int
    deadline: float
    address: str = ""
    trace: str = ""
    body_bytes: int = 0
    idempotency_key: str = ""
    fingerprint: str = ""
    tags: tuple[str, ...] = ()
    user: str = ""

    @property
    def end_user(self) -> str:
        """The person for whom the client makes this call; empty when it does not say."""
        return self.user or self.request.user

    @property
    def budgets(self) -> tuple[str, ...]:
        """The subjects whose budgets this call counts against."""
        subjects = self.principal.budgets
        if not subjects or not subjects[-1].endswith("/"):
            return subjects
        return (*subjects[:-1], subjects[-1] + self.end_user) if self.end_user else subjects[:-1]


class Attempt(Struct, frozen=True, kw_only=True):
    """One candidate tried. Milliseconds since the call came in; `fault` is empty when it served.
    `message` is the fault's whole one: it may have the provider's own words.

    Example: `Attempt(provider="openai", model="openai/gpt-4o", upstream_id="gpt-4o", status=503,
    fault="upstream_overloaded")`
    """

    provider: str
    model: str
    upstream_id: str
    credential: str = ""
    started_ms: int = 0
    first_event_ms: int | None = None
    ended_ms: int = 0
    status: int = 0
    fault: str = ""
    message: str = ""
    upstream_request: str = ""


class Outcome(Struct, frozen=True, kw_only=True):
    """All that came of a call: who served it, what it used and cost, how it ended.

    `fault` is empty for success.

    `unpriced`: it was served, for an account that is never refused, without anybody knowing a
    price. `reasons` are the plan's: why each offer stood where it stood.

    Example: `Outcome(served="openai", usage=Usage(input=12, output=3), cost=Nanos(60_000),
    stop="stop")`
    """

    served: str = ""
    upstream_id: str = ""
    model: str = ""
    usage: Usage = Usage()
    price: Price | None = None
    cost: Nanos = Nanos(0)
    unpriced: bool = False
    upstream_cost_usd: str = ""
    attempts: tuple[Attempt, ...] = ()
    stop: str = ""
    fault: str = ""
    message: str = ""
    status: int = 200
    first_event_ms: int | None = None
    duration_ms: int = 0
    dropped: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
