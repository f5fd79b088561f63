"""What the kept databases hold, by the names of today: what a test may ask each of them for."""

from msgspec.structs import replace

from gatewayz.core.calls import Attempt, Call, Outcome, first_ulid
from gatewayz.core.events import Kind, Stop
from gatewayz.core.keys import RANDOM_BYTES, key_from_random
from gatewayz.core.money import Nanos, Price
from gatewayz.core.replies import Block, Choice, Reply
from gatewayz.core.usage import Usage
from tests.support.clocks import ManualClock
from tests.support.money import call_of

DATE_MS = ManualClock().date_ms
KEY = key_from_random(b"\x01" * RANDOM_BYTES)
TOKEN = key_from_random(b"\x02" * RANDOM_BYTES)
KEY_ID = "01K00000000000000000000KEY"
PROVIDER_KEY = "gsk_kept-in-the-database"
WEBHOOK_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
IDEMPOTENCY_KEY = "once"
MODELS = ("family/model",)
PAID, GRANTED, COST = Nanos(50 * 10**9), Nanos(5 * 10**9), Nanos(1_500_000)
PRICE = Price(input=2_500_000, output=10_000_000, version="v1", source="settings")
FAULTS = {
    "served": "",
    "replayed": "",
    "mismatch": "idempotency_mismatch",
    "locked": "config_locked",
    "missing": "not_found",
    "cut": "upstream_cut",
}
"""Calls by a name of ours, and the faults that ended them."""
CALL_IDS = {
    name: f"{first_ulid(DATE_MS)[:-1]}{number}" for number, name in enumerate((*FAULTS, "open"))
}
REPLY = Reply(
    id="chatcmpl-1",
    model="family/model",
    choices=(Choice(blocks=(Block(Kind.TEXT, "Hello!"),), stop=Stop.END, raw="stop"),),
    usage=Usage(input=12, output=3),
)


def call_named(name: str, **changes: object) -> Call:
    """A call of the account's key at the date of the content."""
    call = call_of("acme", budgets=(f"key:{KEY_ID}", "account:acme"))
    call = replace(
        call,
        id=CALL_IDS[name],
        received_ms=DATE_MS,
        deadline=call.received_at + 600,
        principal=replace(call.principal, key=KEY_ID),
        tags=("team-a",),
    )
    return replace(call, **changes)


def outcome_named(name: str) -> Outcome:
    """What came of it: served ones cost something, others nothing."""
    fault = FAULTS[name]
    attempt = Attempt(
        provider="groq",
        model="family/model",
        upstream_id="model",
        status=502 if fault else 200,
        fault="upstream_cut" if fault == "upstream_cut" else "",
    )
    return Outcome(
        served="" if fault else "groq",
        model="family/model",
        upstream_id="model",
        usage=Usage() if fault else Usage(input=12, output=3),
        price=PRICE,
        cost=Nanos(0) if fault else COST,
        attempts=(attempt,),
        fault=fault,
        status=422 if fault else 200,
        duration_ms=700,
        reasons=("groq: the only one",),
    )
