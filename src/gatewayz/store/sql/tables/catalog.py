"""What is sold where the operator changed it, and how it fares."""

from sqlalchemy import Column, Index, Integer, Table, Text, UniqueConstraint

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
