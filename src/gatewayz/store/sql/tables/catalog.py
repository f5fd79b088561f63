"""What is sold where the operator changed it, and how it fares."""

from sqlalchemy import Column, Index, Integer, LargeBinary, Table, Text, UniqueConstraint

from gatewayz.store.sql.columns import METADATA, flag, json, number, optional_number, text

MODELS = Table(
    "models",
    METADATA,
    text("id", key=True),
    text("name"),
    json("aliases", "[]"),
    flag("hidden"),
    number("changed_ms"),
)

OFFERS = Table(
    "offers",
    METADATA,
    text("id", key=True),
    text("model_id"),
    text("provider"),
    text("upstream_id"),
    optional_number("context"),
    optional_number("max_output"),
    Column("can", Text, nullable=True),
    flag("free"),
    flag("hidden"),
    number("changed_ms"),
    UniqueConstraint("model_id", "provider", "upstream_id", name="one_offer"),
)

PRICES = Table(
    "prices",
    METADATA,
    text("id", key=True),
    text("provider"),
    text("upstream_id"),
    Column("price", Text, nullable=False),
    text("source"),
    number("valid_from_ms"),
    number("created_ms"),
    Index("prices_offer", "provider", "upstream_id", "valid_from_ms"),
)

PROVIDER_KEYS = Table(
    "provider_keys",
    METADATA,
    text("id", key=True),
    text("provider"),
    Column("key", LargeBinary, nullable=False),
    text("shown"),
    number("weight", Integer),
    number("created_ms"),
    Index("provider_keys_provider", "provider", "id"),
)
"""Keys of providers that operators set while the gateways serve. The key is encrypted for its row."""

PROVIDER_SWITCHES = Table(
    "provider_switches",
    METADATA,
    text("provider", key=True),
    text("reason"),
    number("changed_ms"),
)
"""Providers that operators have switched off, and why; one that is switched on has no row."""

MODEL_HEALTH = Table(
    "model_health",
    METADATA,
    text("provider", key=True),
    text("upstream_id", key=True),
    Column("window_s", Integer, primary_key=True),
    number("until_ms"),
    number("succeeded"),
    number("failed"),
    number("first_event_ms"),
    number("duration_ms"),
    text("state"),
)
"""How offers fared over windows of time; no version writes it yet."""
