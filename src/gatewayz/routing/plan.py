"""Which candidates, in what order, and why: a plan is a pure function of request, offers and health."""

from msgspec import Struct

from gatewayz.catalog.offers import Offer
from gatewayz.providers.spec import Credential, Provider


class Candidate(Struct, frozen=True, kw_only=True):
    """An offer considered for this call, with the credential to use; `credential` is `None` where none is needed."""

    offer: Offer
    provider: Provider
    credential: Credential | None = None


class Reason(Struct, frozen=True):
    """Why a candidate stands where it stands, or why an offer was left out."""

    provider: str
    upstream_id: str
    kept: bool
    why: str


class Plan(Struct, frozen=True, kw_only=True):
    """Candidates in order, with reasons. `model` is the canonical id that was understood."""

    model: str
    candidates: tuple[Candidate, ...]
    reasons: tuple[Reason, ...] = ()
    retry_after_s: float | None = None
