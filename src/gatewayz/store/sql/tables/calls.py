"""What happened: calls, their attempts, what they sum to, and what a client asked for once."""

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, Table

from gatewayz.store.sql.columns import METADATA, flag, json, number, one_of, optional_number, text

CALLS = Table(
    "calls",
    METADATA,
    text("id", key=True),
    text("account_id"),
    text("key_id"),
    text("end_user"),
    text("session_id"),
    text("endpoint"),
    text("dialect"),
    flag("streamed"),
    text("asked_model"),
    text("model"),
    text("provider"),
    text("upstream_id"),
    number("status", Integer),
    text("fault"),
    text("message"),
    text("stop"),
    number("received_ms"),
    optional_number("first_event_ms"),
    number("duration_ms"),
    number("input_tokens"),
    number("output_tokens"),
    json("usage", "{}"),
    json("price", "{}"),
    number("cost"),
    number("held"),
    text("upstream_cost"),
    flag("estimated"),
    flag("unpriced"),
    json("dropped", "[]"),
    json("reasons", "[]"),
    json("tags", "[]"),
    text("trace"),
    text("attempts"),
    Index("calls_account", "account_id", "id"),
)
"""The record of a call, never what was said in it. Written in the transaction that settles.

`fault` may be a code of an older version: `core.renamed` has the code of today. What is stored is
short: `store/sql/ledger/compact.py` says how, and reads it. `attempts` are those of the call; of
calls of an older version they are rows of the table `attempts`.
"""

CALL_TEXTS = Table("call_texts", METADATA, text("id", key=True), text("text"))
"""Texts that many calls have, once: prices, and what was said of the candidates."""

USAGE_MODELS = Table(
    "usage_models",
    METADATA,
    text("account_id", key=True),
    Column("day", BigInteger, primary_key=True, autoincrement=False),
    text("key_id", key=True),
    text("model", key=True),
    text("provider", key=True),
    number("calls"),
    number("failed"),
    number("input_tokens"),
    number("output_tokens"),
    number("cost"),
    Index("usage_models_day", "day"),
)
"""What the records of calls that came in on a day sum to, booked with the records.

By key, and by the model and the provider that answered. `day` counts from 1970, in UTC. The sums
stay when the records are deleted.
"""

USAGE_DAYS = Table(
    "usage_days",
    METADATA,
    text("account_id", key=True),
    text("key_id", key=True),
    Column("day", BigInteger, primary_key=True, autoincrement=False),
    number("calls"),
    number("failed"),
    number("input_tokens"),
    number("output_tokens"),
    number("cost"),
)
"""The sums of an older version, without models; nothing writes or reads them any more."""

ATTEMPTS = Table(
    "attempts",
    METADATA,
    text("call_id", key=True),
    Column("number", Integer, primary_key=True),
    text("provider"),
    text("model"),
    text("upstream_id"),
    text("credential"),
    number("started_ms"),
    optional_number("first_event_ms"),
    number("ended_ms"),
    number("status", Integer),
    text("fault"),
    text("message"),
    text("upstream_request"),
)
"""The attempts of calls of older versions, numbered from 1; those of today are in `calls`."""

IDEMPOTENCY = Table(
    "idempotency",
    METADATA,
    text("account_id", key=True),
    text("key", key=True),
    text("fingerprint"),
    text("call_id"),
    text("owner"),
    *one_of("state", "running", "kept", "not_kept"),
    Column("answer", LargeBinary, nullable=True),
    number("created_ms"),
    number("expires_ms"),
    Index("idempotency_expiry", "expires_ms"),
)
"""Idempotency keys: claimed by a request (`call_id`), and its answer, encrypted."""
