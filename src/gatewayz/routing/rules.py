"""The rules of routing as data: chain, locks, deadlines, bounds.

Rank comes from an operator's priority first, then from the chain; what is not in the chain comes after it.
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


class Lock(Struct, frozen=True):
    """Models whose id matches are served only by `only`; `first` come first, whatever the chain says."""

    pattern: str
    only: tuple[str, ...] = ()
    first: tuple[str, ...] = ()


LOCKS = (
    # A suffix beats a prefix: openai/x:free is OpenRouter's.
    Lock(r":(free|exacto|extended)$", only=("openrouter",)),
    Lock(r"^openrouter/", only=("openrouter",)),
    # Open weights are nobody's own.
    Lock(r"^(openai/)?gpt-oss"),
    Lock(r"^(openai/|gpt-)", only=("openai", "openrouter", "azure-openai")),
    Lock(
        r"^(anthropic/|claude-)", only=("anthropic", "openrouter", "google-vertex", "aws-bedrock")
    ),
    Lock(r"^(google/)?gemini-", first=("google-vertex", "google-ai-studio")),
)
"""The first pattern that matches a model's canonical id holds."""

DEFAULT_MODELS = {"image": "stabilityai/sd3.5"}
"""Surface → the model of a request that names none."""
DEFAULT_PROVIDERS = {"image": "deepinfra"}
"""Surface → who is asked for a model that is in no catalogue, under the id that the client gave."""

UNLOCKED = Lock("")


def shut_out(lock: Lock, provider: Provider) -> str:
    """Why the lock keeps this provider out; empty when it does not. An operator's own providers are never shut out."""
    if lock.only and not provider.own and provider.id not in lock.only:
        return f"locked to {', '.join(lock.only)}"
    return ""


REASONING_MODEL = re.compile(
    r"(^|/)(o[0-9]|gpt-5|deepseek-r|.*(reason|think|magistral))", re.IGNORECASE
)


class Deadlines(Struct, frozen=True, kw_only=True):
    """Seconds; `first_event_s` and `idle_s` count content, not keep-alives."""

    connect_s: float = 3.0
    tls_s: float = 3.0
    pool_s: float = 2.0
    first_event_s: float = 60.0
    reasoning_first_event_s: float = 300.0
    image_s: float = 180.0
    idle_s: float = 60.0
    total_s: float = 600.0
    stream_total_s: float = 1_800.0

    def first_event_for(self, request: Request) -> float:
        """How long the first content may take; models that think first may take longer, and so may images."""
        if request.surface == "image":
            return self.image_s
        thinks = request.thinks or _thinks(request.model)
        return (
            max(self.reasoning_first_event_s, self.first_event_s) if thinks else self.first_event_s
        )


@lru_cache(maxsize=10_000)
def _thinks(model: str) -> bool:
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
    """Everything that routing obeys. `attempts` bounds those that reached a provider and failed there."""

    chain: tuple[str, ...] = CHAIN
    attempts: int = 3
    max_candidates: int = 16
    retry_share: float = 0.1
    retry_floor_per_s: float = 3.0
    breaker: BreakerRule = BreakerRule()
    deadlines: Deadlines = Deadlines()
    locks: tuple[Lock, ...] = LOCKS
    default_models: dict[str, str] = field(default_factory=DEFAULT_MODELS.copy)
    default_providers: dict[str, str] = field(default_factory=DEFAULT_PROVIDERS.copy)

    def shut_out(self, model: str, provider: Provider) -> str:
        """Why this provider may not serve this model unless it is asked for by name; empty when it may."""
        return shut_out(self.lock_for(model), provider)

    def lock_for(self, model: str) -> Lock:
        return next((lock for lock in self.locks if re.search(lock.pattern, model)), UNLOCKED)
