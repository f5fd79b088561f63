"""The rules of routing as data: chain, locks, deadlines, bounds.

Rank comes from an operator's priority first, then from the chain; what is not in the chain comes
after it.
"""

import re
from functools import lru_cache

from msgspec import Struct, field

from gatewayz.core.requests import Request
from gatewayz.providers.spec import Provider

CHAIN = (
    "onerouter",
    "openai",
    "anthropic",
    "google-vertex",
    "openrouter",
    "cerebras",
    "huggingface",
    "featherless",
    "vercel-ai-gateway",
    "aihubmix",
    "anannas",
    "alibaba-cloud",
    "fireworks",
    "together",
)
"""The default failover order; every other provider that offers the model follows."""


class ProviderLock(Struct, frozen=True):
    """Models whose id matches are served only by `only`; `first` come first, whatever the chain
    says.

    Example: `ProviderLock(r"^(google/)?gemini-", first=("google-vertex", "google-ai-studio"))`
    """

    pattern: str
    only: tuple[str, ...] = ()
    first: tuple[str, ...] = ()


LOCKS = (
    # A suffix beats a prefix: openai/x:free is OpenRouter's.
    ProviderLock(
        r":(batch|exacto|extended|floor|free|nitro|online|thinking)$", only=("openrouter",)
    ),
    ProviderLock(r"^openrouter/", only=("openrouter",)),
    # Open weights are nobody's own.
    ProviderLock(r"^(openai/)?gpt-oss"),
    ProviderLock(r"^(openai/|gpt-)", only=("openai", "openrouter", "azure-openai")),
    ProviderLock(
        r"^(anthropic/|claude-)", only=("anthropic", "openrouter", "google-vertex", "aws-bedrock")
    ),
    ProviderLock(r"^(google/)?gemini-", first=("google-vertex", "google-ai-studio")),
)
"""The first pattern that matches a model's canonical id holds."""

DEFAULT_MODELS: dict[str, str | tuple[str, ...]] = {
    "image": (
        "stabilityai/sd3.5",
        "openai/gpt-image-1-mini",
        "google/gemini-2.5-flash-image",
        "x-ai/grok-imagine-image",
        "fal-ai/flux/schnell",
    )
}
"""Surface → the models of a request that names none, best first: each is sold by another provider,
so that the key of one of them is enough.
"""
DEFAULT_PROVIDERS = {"image": "deepinfra"}
"""Surface → the provider of a model that is in no catalogue, under the id that the client gave; not
of a name whose lock keeps that provider out.
"""

UNLOCKED = ProviderLock("")


def provider_rank(
    lock: ProviderLock, provider: Provider, chain: tuple[str, ...]
) -> tuple[int, ...]:
    """By the lock, by the operator's priority, by the chain."""
    return position(provider.id, lock.first), provider.priority, position(provider.id, chain)


def position(name: str, names: tuple[str, ...]) -> int:
    """Where the name stands among the names; after all of them when it does not."""
    return names.index(name) if name in names else len(names)


def lockout_reason(lock: ProviderLock, provider: Provider) -> str:
    """Why the lock keeps this provider out; empty when it does not.

    An operator's own providers are never locked out.
    """
    if lock.only and not provider.own and provider.id not in lock.only:
        return f"locked to {', '.join(lock.only)}"
    return ""


REASONING_MODEL = re.compile(
    r"(^|/)(o[0-9]|gpt-5|deepseek-r|.*(reason|think|magistral))", re.IGNORECASE
)


class Deadlines(Struct, frozen=True, kw_only=True):
    """How long each phase of an attempt may take, in seconds; `total_s` and `stream_total_s` bound
    the whole call.

    `first_event_s` and `idle_s` count content, not keep-alives.
    """

    connect_s: float = 3.0
    tls_s: float = 3.0
    pool_s: float = 2.0
    first_event_s: float = 60.0
    reasoning_first_event_s: float = 300.0
    image_s: float = 180.0
    idle_s: float = 60.0
    total_s: float = 600.0
    stream_total_s: float = 1_800.0

    def first_event_s_for(self, request: Request) -> float:
        """How long the first content may take: longer for images, and for models that think
        first.
        """
        if request.surface == "image":
            return self.image_s
        if request.wants_reasoning or _is_reasoning_model(request.model):
            return max(self.reasoning_first_event_s, self.first_event_s)
        return self.first_event_s


@lru_cache(maxsize=10_000)
def _is_reasoning_model(model: str) -> bool:
    return REASONING_MODEL.search(model) is not None


class BreakerRule(Struct, frozen=True, kw_only=True):
    """When a breaker opens, for how long, and how it closes again."""

    failures: int = 5
    open_s: float = 300.0
    jitter: float = 0.1
    window_s: float = 60.0
    window_outcomes: int = 20
    window_share: float = 0.5
    lease_s: float = 30.0
    slow_start_s: float = 30.0
    cool_s: float = 5.0


class RoutingRules(Struct, frozen=True, kw_only=True):
    """Everything that routing obeys.

    `attempts` bounds those that reached a provider and failed there.
    """

    chain: tuple[str, ...] = CHAIN
    attempts: int = 3
    max_candidates: int = 16
    retry_share: float = 0.1
    retry_floor_per_s: float = 3.0
    breaker: BreakerRule = BreakerRule()
    deadlines: Deadlines = Deadlines()
    locks: tuple[ProviderLock, ...] = LOCKS
    default_models: dict[str, str | tuple[str, ...]] = field(default_factory=DEFAULT_MODELS.copy)
    default_providers: dict[str, str] = field(default_factory=DEFAULT_PROVIDERS.copy)

    def lockout_reason(self, model: str, provider: Provider) -> str:
        """Why this provider serves this model only if it is asked for by name; empty if it need
        not.
        """
        return lockout_reason(self.lock_for(model), provider)

    def rank(self, model: str, provider: Provider) -> tuple[int, ...]:
        """Where a provider stands for a model when nobody prefers one, lowest first."""
        return provider_rank(self.lock_for(model), provider, self.chain)

    def lock_for(self, model: str) -> ProviderLock:
        """The lock of a canonical model id; `UNLOCKED` when no pattern matches."""
        return next((lock for lock in self.locks if re.search(lock.pattern, model)), UNLOCKED)
