"""Metrics: counters and histograms in plain dictionaries; `exposition` shows them in Prometheus' text format.

Own dictionaries, because a labelled counter of the library costs 2.5 microseconds and one of these 0.2. Names follow
OpenTelemetry's GenAI conventions where these have one. Histograms carry no model; model labels are bounded.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence

from gatewayz.core.facts import (
    AttemptEnded,
    BreakerMoved,
    CallEnded,
    CallRefused,
    Fact,
    ListingRead,
    NoticeTried,
)
from gatewayz.core.money import cost
from gatewayz.observe.counts import Counts, Histogram, Labels

MAX_MODELS = 200
"""Models that get a label value of their own; the others are `other`."""
BOUNDS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)

FAMILIES: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "gatewayz_calls": (
        "counter",
        "Calls that ended.",
        ("endpoint", "provider", "model", "status", "fault"),
    ),
    "gatewayz_refused": (
        "counter",
        "Requests refused before they became calls.",
        ("endpoint", "fault"),
    ),
    "gen_ai_server_request_duration_seconds": (
        "histogram",
        "Seconds from a call's coming to its end.",
        ("endpoint", "provider"),
    ),
    "gen_ai_server_time_to_first_token_seconds": (
        "histogram",
        "Seconds from a call's coming to its first content.",
        ("endpoint", "provider"),
    ),
    "gen_ai_client_token_usage": ("counter", "Tokens, by type.", ("provider", "model", "type")),
    "gatewayz_images": ("counter", "Images that were made.", ("provider", "model")),
    "gatewayz_cost_usd": ("counter", "What calls cost, in US dollars.", ("provider", "model")),
    "gatewayz_upstream_cost_usd": (
        "counter",
        "What providers say that calls cost them.",
        ("provider", "model"),
    ),
    "gatewayz_compared_cost_usd": (
        "counter",
        "What those same calls cost by our prices, without markup: what differs has drifted.",
        ("provider", "model"),
    ),
    "gatewayz_unpriced_calls": ("counter", "Calls served without a price.", ("provider",)),
    "gatewayz_attempts": (
        "counter",
        "Attempts, by how they ended.",
        ("endpoint", "provider", "fault"),
    ),
    "gatewayz_failovers": (
        "counter",
        "Attempts that followed a failed one.",
        ("endpoint", "provider"),
    ),
    "gatewayz_breaker_moves": ("counter", "Changes of breakers.", ("provider", "state")),
    "gatewayz_breaker_open": ("gauge", "Breakers that are not closed now.", ("provider",)),
    "gatewayz_calls_running": ("gauge", "Calls under way now.", ()),
    "gatewayz_worker_up": ("gauge", "Whether the worker process answers.", ("worker",)),
    "gatewayz_worker_started_seconds": (
        "gauge",
        "When the worker process started, in Unix time.",
        ("worker",),
    ),
    "gatewayz_worker_restarts": (
        "counter",
        "Workers that ended unasked and were started again.",
        ("worker",),
    ),
    "gatewayz_facts_dropped": (
        "gauge",
        "Facts that no observer was told, because they came too fast.",
        (),
    ),
    "gatewayz_listings_read": (
        "counter",
        "Readings of providers' own lists, by their end.",
        ("provider", "fault"),
    ),
    "gatewayz_listing_age_seconds": ("level", "How old the list is that holds.", ("provider",)),
    "gatewayz_prices_quarantined": ("level", "Listed prices that are not believed.", ("provider",)),
    "gatewayz_notices": (
        "counter",
        "Notices that were sent to webhooks, by what came of it.",
        ("kind", "outcome"),
    ),
    "gatewayz_notices_waiting": ("level", "Notices that wait to be sent, or to be sent again.", ()),
    "gatewayz_build": ("gauge", "The version that runs.", ("version",)),
}
"""Name → type, help, labels. A level is a gauge that every process reads alike: of several the largest is shown."""


class Metrics:
    """Takes facts and counts them. Gauges are read when somebody looks."""

    def __init__(self) -> None:
        self._counters: dict[str, dict[Labels, float]] = {
            name: {} for name, (kind, _, _) in FAMILIES.items() if kind == "counter"
        }
        self._histograms: dict[str, dict[Labels, Histogram]] = {
            name: {} for name, (kind, _, _) in FAMILIES.items() if kind == "histogram"
        }
        self._gauges: dict[str, Callable[[], dict[Labels, float]]] = {}
        self._models: set[str] = set()

    def gauge(self, name: str, read: Callable[[], dict[Labels, float]]) -> None:
        """Where the numbers of a gauge come from."""
        self._gauges[name] = read

    def take(self, facts: Sequence[Fact]) -> None:
        for fact in facts:
            match fact:
                case CallEnded():
                    self._call(fact)
                case AttemptEnded(endpoint=endpoint, attempt=attempt, failover=failover):
                    self._add(
                        "gatewayz_attempts", (endpoint, attempt.provider, attempt.fault or "none")
                    )
                    if failover:
                        self._add("gatewayz_failovers", (endpoint, attempt.provider))
                case BreakerMoved(provider=provider, state=state):
                    self._add("gatewayz_breaker_moves", (provider, state))
                case ListingRead(provider=provider, fault=fault):
                    self._add("gatewayz_listings_read", (provider, fault or "none"))
                case NoticeTried(kind=kind, outcome=outcome):
                    self._add("gatewayz_notices", (kind, outcome))
                case CallRefused(endpoint=endpoint, fault=fault):
                    self._add("gatewayz_refused", (endpoint, fault))

    def _call(self, fact: CallEnded) -> None:
        outcome = fact.outcome
        provider = outcome.served or "none"
        model = self._model(outcome.model) if outcome.model else "none"
        fault = outcome.fault or "none"
        self._add("gatewayz_calls", (fact.endpoint, provider, model, str(outcome.status), fault))
        self._observe(
            "gen_ai_server_request_duration_seconds",
            (fact.endpoint, provider),
            outcome.duration_ms / 1000,
        )
        if outcome.first_event_ms is not None:
            first_s = outcome.first_event_ms / 1000
            self._observe(
                "gen_ai_server_time_to_first_token_seconds", (fact.endpoint, provider), first_s
            )
        usage = outcome.usage
        for kind, count in (
            ("input", usage.prompt - usage.cache_read),
            ("cache_read", usage.cache_read),
            ("output", usage.completion - usage.reasoning),
            ("reasoning", usage.reasoning),
        ):
            if count:
                self._add("gen_ai_client_token_usage", (provider, model, kind), count)
        if usage.images:
            self._add("gatewayz_images", (provider, model), usage.images)
        if outcome.cost:
            self._add("gatewayz_cost_usd", (provider, model), outcome.cost / 1e9)
        if outcome.upstream_cost_usd and outcome.price is not None:
            self._add(
                "gatewayz_upstream_cost_usd", (provider, model), float(outcome.upstream_cost_usd)
            )
            ours = cost(outcome.usage, outcome.price, 0)
            self._add("gatewayz_compared_cost_usd", (provider, model), ours / 1e9)
        if outcome.unpriced:
            self._add("gatewayz_unpriced_calls", (provider,))

    def _model(self, model: str) -> str:
        if model in self._models:
            return model
        if len(self._models) >= MAX_MODELS:
            return "other"
        self._models.add(model)
        return model

    def _add(self, name: str, labels: Labels, amount: float = 1) -> None:
        table = self._counters[name]
        table[labels] = table.get(labels, 0) + amount

    def _observe(self, name: str, labels: Labels, value: float) -> None:
        table = self._histograms[name]
        counts, total = table.get(labels) or ([0] * (len(BOUNDS_S) + 1), 0.0)
        counts[bisect_left(BOUNDS_S, value)] += 1
        table[labels] = (counts, total + value)

    def counts(self) -> Counts:
        """Everything as of now; the tables are this object's own, to be read at once."""
        read = {name: gauge() for name, gauge in self._gauges.items()}
        levels = {name: table for name, table in read.items() if FAMILIES[name][0] == "level"}
        gauges = {name: table for name, table in read.items() if name not in levels}
        return Counts(self._counters, self._histograms, gauges, levels)


def _reference_row(name: str, kind: str, text: str, labels: tuple[str, ...]) -> str:
    shown = name + "_total" * (kind == "counter")
    return f"| `{shown}` | {'gauge' if kind == 'level' else kind} | {', '.join(labels) or '–'} | {text} |"


def reference() -> str:
    """docs/reference/metrics.md, from the table above."""
    rows = [_reference_row(name, *family) for name, family in FAMILIES.items()]
    head = [
        "# Metrics",
        "",
        "`GET /metrics` shows these in Prometheus' text format, to a key with the scope `metrics` or `operator`.",
        "",
        "| name | type | labels | what |",
        "|---|---|---|---|",
    ]
    return "\n".join([*head, *rows]) + "\n"
