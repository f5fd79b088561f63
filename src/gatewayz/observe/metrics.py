"""Metrics: counters and histograms in plain dictionaries; `exposition` renders them for Prometheus.

Own dictionaries, because a labelled counter of the library costs 2.5 microseconds and one of these
0.2. Names follow OpenTelemetry's GenAI conventions where these have one. Histograms carry no model;
model labels are bounded.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from gatewayz.core.facts import (
    AttemptEnded,
    BreakerMoved,
    CallEnded,
    CallRefused,
    Fact,
    ListingRead,
    NotificationAttempted,
    Warned,
)
from gatewayz.core.money import cost
from gatewayz.observe.metrics_snapshot import Histogram, Labels, MetricsSnapshot

MAX_MODEL_LABELS = 200
"""Models that get a label value of their own; the others are `other`."""
BUCKET_BOUNDS_S = (
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    60.0,
    120.0,
    300.0,
    600.0,
)


class MetricFamily(NamedTuple):
    """A metric with its labels. A level is a gauge that every process reads alike.

    Of several processes' levels the largest is shown, of their gauges the sum.
    """

    kind: Literal["counter", "histogram", "gauge", "level"]
    help: str
    labels: tuple[str, ...] = ()


FAMILIES = {
    "gatewayz_calls": MetricFamily(
        kind="counter",
        help="Calls that ended.",
        labels=("endpoint", "provider", "model", "status", "fault"),
    ),
    "gatewayz_refused": MetricFamily(
        kind="counter",
        help="Requests refused before they became calls.",
        labels=("endpoint", "fault"),
    ),
    "gen_ai_server_request_duration_seconds": MetricFamily(
        kind="histogram",
        help="Seconds from a call's coming to its end.",
        labels=("endpoint", "provider"),
    ),
    "gen_ai_server_time_to_first_token_seconds": MetricFamily(
        kind="histogram",
        help="Seconds from a call's coming to its first content.",
        labels=("endpoint", "provider"),
    ),
    "gen_ai_client_token_usage": MetricFamily(
        kind="counter",
        help="Tokens, by type.",
        labels=("provider", "model", "type"),
    ),
    "gatewayz_images": MetricFamily(
        kind="counter",
        help="Images that were made.",
        labels=("provider", "model"),
    ),
    "gatewayz_cost_usd": MetricFamily(
        kind="counter",
        help="What calls cost, in US dollars.",
        labels=("provider", "model"),
    ),
    "gatewayz_upstream_cost_usd": MetricFamily(
        kind="counter",
        help="What providers say that calls cost them.",
        labels=("provider", "model"),
    ),
    "gatewayz_compared_cost_usd": MetricFamily(
        kind="counter",
        help="What those same calls cost by our prices, without markup: what differs has drifted.",
        labels=("provider", "model"),
    ),
    "gatewayz_unpriced_calls": MetricFamily(
        kind="counter",
        help="Calls served without a price.",
        labels=("provider",),
    ),
    "gatewayz_warnings": MetricFamily(
        kind="counter",
        help="Warnings in the log, by subject: `usage_beyond_bounds`, `clock`, `books` and others.",
        labels=("subject",),
    ),
    "gatewayz_attempts": MetricFamily(
        kind="counter",
        help="Attempts, by how they ended.",
        labels=("endpoint", "provider", "fault"),
    ),
    "gatewayz_failovers": MetricFamily(
        kind="counter",
        help="Attempts that followed a failed one.",
        labels=("endpoint", "provider"),
    ),
    "gatewayz_breaker_moves": MetricFamily(
        kind="counter",
        help="Changes of breakers.",
        labels=("provider", "state"),
    ),
    "gatewayz_breaker_open": MetricFamily(
        kind="gauge",
        help="Breakers that are not closed now.",
        labels=("provider",),
    ),
    "gatewayz_calls_running": MetricFamily(
        kind="gauge",
        help="Calls under way now.",
    ),
    "gatewayz_worker_up": MetricFamily(
        kind="gauge",
        help="Whether the worker process answers.",
        labels=("worker",),
    ),
    "gatewayz_worker_started_seconds": MetricFamily(
        kind="gauge",
        help="When the worker process started, in Unix time.",
        labels=("worker",),
    ),
    "gatewayz_worker_restarts": MetricFamily(
        kind="counter",
        help="Workers that ended unasked and were started again.",
        labels=("worker",),
    ),
    "gatewayz_facts_dropped": MetricFamily(
        kind="gauge",
        help="Facts that no observer was told, because they came too fast.",
    ),
    "gatewayz_listings_read": MetricFamily(
        kind="counter",
        help="Readings of providers' own lists, by their end.",
        labels=("provider", "fault"),
    ),
    "gatewayz_background_age_seconds": MetricFamily(
        kind="level",
        help="Seconds since a background task last ended a turn, well or not.",
        labels=("task",),
    ),
    "gatewayz_listing_age_seconds": MetricFamily(
        kind="level",
        help="How old the list is that holds.",
        labels=("provider",),
    ),
    "gatewayz_seed_age_seconds": MetricFamily(
        kind="level",
        help="How old the prices are that are known before a provider is asked.",
    ),
    "gatewayz_prices_quarantined": MetricFamily(
        kind="level",
        help="Listed prices that are not believed.",
        labels=("provider",),
    ),
    "gatewayz_notifications": MetricFamily(
        kind="counter",
        help="Notifications that were sent to webhooks, by what came of it.",
        labels=("kind", "outcome"),
    ),
    "gatewayz_notifications_waiting": MetricFamily(
        kind="level",
        help="Notifications that wait to be sent, or to be sent again.",
    ),
    "gatewayz_build": MetricFamily(
        kind="gauge",
        help="The version that runs.",
        labels=("version",),
    ),
}
"""Every metric by its name."""


class Metrics:
    """Takes facts and counts them. Gauges are read when somebody looks."""

    def __init__(self) -> None:
        self._counters: dict[str, dict[Labels, float]] = {
            name: {} for name, family in FAMILIES.items() if family.kind == "counter"
        }
        self._histograms: dict[str, dict[Labels, Histogram]] = {
            name: {} for name, family in FAMILIES.items() if family.kind == "histogram"
        }
        self._gauges: dict[str, Callable[[], dict[Labels, float]]] = {}
        self._models: set[str] = set()

    def register_gauge(self, name: str, read: Callable[[], dict[Labels, float]]) -> None:
        """Sets where the numbers of a gauge come from."""
        self._gauges[name] = read

    def on_facts(self, facts: Sequence[Fact]) -> None:
        for fact in facts:
            match fact:
                case CallEnded():
                    self._count_call(fact)
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
                case NotificationAttempted(kind=kind, outcome=outcome):
                    self._add("gatewayz_notifications", (kind, outcome))
                case Warned(subject=subject):
                    self._add("gatewayz_warnings", (subject,))
                case CallRefused(endpoint=endpoint, fault=fault):
                    self._add("gatewayz_refused", (endpoint, fault))

    def _count_call(self, fact: CallEnded) -> None:
        outcome = fact.outcome
        provider = outcome.served or "none"
        model = self._model_label(outcome.model) if outcome.model else "none"
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

    def _model_label(self, model: str) -> str:
        if model in self._models:
            return model
        if len(self._models) >= MAX_MODEL_LABELS:
            return "other"
        self._models.add(model)
        return model

    def _add(self, name: str, labels: Labels, amount: float = 1) -> None:
        table = self._counters[name]
        table[labels] = table.get(labels, 0) + amount

    def _observe(self, name: str, labels: Labels, value: float) -> None:
        table = self._histograms[name]
        counts, total = table.get(labels) or ([0] * (len(BUCKET_BOUNDS_S) + 1), 0.0)
        counts[bisect_left(BUCKET_BOUNDS_S, value)] += 1
        table[labels] = (counts, total + value)

    def snapshot(self) -> MetricsSnapshot:
        """Everything as of now; the tables are this object's own, to be used at once."""
        read = {name: read_gauge() for name, read_gauge in self._gauges.items()}
        levels = {name: table for name, table in read.items() if FAMILIES[name].kind == "level"}
        gauges = {name: table for name, table in read.items() if name not in levels}
        return MetricsSnapshot(self._counters, self._histograms, gauges, levels)


def _reference_row(name: str, family: MetricFamily) -> str:
    shown = name + "_total" * (family.kind == "counter")
    kind = "gauge" if family.kind == "level" else family.kind
    return f"| `{shown}` | {kind} | {', '.join(family.labels) or '–'} | {family.help} |"


def render_metrics_reference() -> str:
    """docs/reference/metrics.md, from the table above."""
    rows = [_reference_row(name, family) for name, family in FAMILIES.items()]
    head = [
        "# Metrics",
        "",
        "`GET /metrics` shows these in Prometheus' text format, to a key with the scope `metrics`",
        "or `operator`.",
        "",
        "| name | type | labels | what |",
        "|---|---|---|---|",
    ]
    return "\n".join([*head, *rows]) + "\n"
