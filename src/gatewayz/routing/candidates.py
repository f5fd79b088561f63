"""Candidates: offers that may serve a call, how they do now, and in what order they stay."""

from collections.abc import Iterable, Sequence
from typing import Protocol

from msgspec import Struct

from gatewayz.catalog.offers import Offer
from gatewayz.core.faults import Fault
from gatewayz.providers.spec import Credential, Provider
from gatewayz.routing.refusals import waiting_fault


class Candidate(Struct, frozen=True, kw_only=True):
    """An offer considered for this call, with the credential to use; `credential` is `None` where
    none is needed.

    `output_limit`: the tokens of each answer that its provider is told to keep within, because no
    more is paid for; the offer's `max_output` is the same then. `None` where the call sets it.
    """

    offer: Offer
    provider: Provider
    credential: Credential | None = None
    output_limit: int | None = None


class OfferHealth(Struct, frozen=True):
    """How an offer or a credential does now. `wait_s` is until its breaker lets a probe through, or,
    where it is `limited`, until its provider wants to be asked again.

    Example: `OfferHealth(usable=False, why="its breaker is open", wait_s=41.5)`
    """

    usable: bool = True
    degraded: bool = False
    why: str = ""
    wait_s: float = 0.0
    limited: bool = False
    latency_ms: float = 0.0


class HealthView(Protocol):
    """What a plan reads of health."""

    def offer_health(self, provider: str, upstream_id: str, account: str = "") -> OfferHealth: ...

    def credential_health(self, provider: str, credential: str) -> OfferHealth: ...


def candidate_health(candidate: Candidate, account: str, health: HealthView) -> OfferHealth:
    """How a candidate does now: its offer, and its credential where the offer does well."""
    provider = candidate.provider.id
    standing = health.offer_health(provider, candidate.offer.upstream_id, account)
    if standing.usable and candidate.credential is not None:
        standing = health.credential_health(provider, candidate.credential.id)
    return standing


def wait_fault(
    model: str, candidates: Sequence[Candidate], account: str, health: HealthView
) -> Fault | None:
    """What a caller is told who can ask none of them now; nothing where one can be asked.

    It is told as what the first one waits for who can be asked again.
    """
    standings = [candidate_health(candidate, account, health) for candidate in candidates]
    if not standings or any(standing.usable for standing in standings):
        return None
    nearest = min(standings, key=lambda standing: standing.wait_s)
    return waiting_fault(model, nearest.wait_s, limited=nearest.limited)


def elsewhere_first(queue: Iterable[Candidate], provider: str) -> list[Candidate]:
    """The queue after a failure that is the provider's: others come before its other routes."""
    return sorted(queue, key=lambda candidate: candidate.provider.id == provider)


def deduplicate(candidates: Iterable[Candidate]) -> tuple[Candidate, ...]:
    """Each offer with each credential once, where it stands first."""
    first: dict[tuple[str, str, str], Candidate] = {}
    for candidate in candidates:
        credential = candidate.credential.id if candidate.credential is not None else ""
        key = candidate.provider.id, candidate.offer.upstream_id, credential
        first.setdefault(key, candidate)
    return tuple(first.values())


def within_bound(candidates: tuple[Candidate, ...], bound: int) -> tuple[Candidate, ...]:
    """At most so many, in their order: of every provider one before a second of any, so that one
    with many routes keeps nobody out.
    """
    if len(candidates) <= bound:
        return candidates
    counts: dict[str, int] = {}
    ranks: list[tuple[int, int]] = []
    for number, candidate in enumerate(candidates):
        count = counts[candidate.provider.id] = counts.get(candidate.provider.id, 0) + 1
        ranks.append((count, number))
    return tuple(candidates[number] for number in sorted(n for _, n in sorted(ranks)[:bound]))
