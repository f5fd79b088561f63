"""The reference of all settings, generated: what each is, its type and its default."""

import json
from collections.abc import Iterator
from typing import Any, get_args, get_origin, get_type_hints

import msgspec
import yaml
from msgspec import Struct

from gatewayz.settings import Settings

SECRET_FIELDS = (
    "proxy",
    "key",
    "secret_key",
    "old_secret_keys",
    "bootstrap_key",
    "url",
    "index_url",
)
MASK = "***"

DESCRIPTIONS = {
    "web.host": "Address to listen on. Beyond 127.0.0.1 put TLS in front, or set web.tls.",
    "web.tls.cert_file": (
        "The listener's certificate in PEM, with its chain; empty: it speaks HTTP without TLS. "
        "Renewed files are taken up within 10 s."
    ),
    "web.tls.key_file": "The certificate's key in PEM, without a password; empty: it is in cert_file.",
    "web.port": "Port to listen on; 0 takes a free one.",
    "web.hosts": (
        "Host names this server is known by. On loopback only these and localhost are answered."
    ),
    "web.trusted_proxies": "Networks of proxies whose X-Forwarded-For is believed.",
    "web.cors_origins": (
        "Origins of web pages that may call; empty: none, `*`: all. Never with cookies."
    ),
    "web.grace_s": (
        "Seconds that running calls have to end after SIGTERM, before they get a typed end."
    ),
    "web.workers": (
        "Processes that serve together: at most 2 on SQLite, 1 on memory:. Limits are divided "
        "among them."
    ),
    "web.body_values": (
        "Strings, objects and arrays that a call's body may have; numbers: ten times as many."
    ),
    "web.worker_silent_s": (
        "Seconds after which a worker that no longer answers its supervisor is replaced."
    ),
    "tls.ca_file": (
        "A file of certificates in PEM that upstreams may be signed by, besides the system's; "
        "SSL_CERT_FILE takes the system's place."
    ),
    "data_dir": "Where the database, the journal and the installation's secret are kept.",
    "database.url": (
        "postgresql://user:password@host/name, sqlite:///path, or memory: (nothing is kept, "
        "only the bootstrap key works); empty: gatewayz.db in the data directory."
    ),
    "database.transaction_pooler": (
        "True behind a pooler that hands out connections per transaction (PgBouncer)."
    ),
    "database.retention_days": (
        "Days after which records of calls are deleted, with their attempts; 0 keeps them for ever. "
        "Bookings, holds and the sums of each day stay."
    ),
    "database.audit_retention_days": (
        "Days after which entries of the audit log are deleted; 0 keeps them for ever."
    ),
    "providers.NAME.enabled": "False switches a provider off.",
    "providers.NAME.name": "Name shown for a provider of your own.",
    "providers.NAME.dialect": "Wire format of a provider of your own: openai_chat.",
    "providers.NAME.more_dialects": (
        "Dialects that serve what `dialect` does not: images, embeddings."
    ),
    "providers.NAME.locations": "Where the API is asked, in order; the next one on 404 and 429.",
    "providers.NAME.dialect_by_model": (
        "Regular expression of upstream ids → the dialect that serves those models."
    ),
    "providers.NAME.base_url": "Where the provider is.",
    "providers.NAME.key": "Its key, usually as ${VARIABLE}.",
    "providers.NAME.credentials": "Several keys with weights, instead of `key`.",
    "providers.NAME.credentials.key": "One of the keys.",
    "providers.NAME.credentials.weight": "How often it is drawn, relative to the others.",
    "providers.NAME.auth": "bearer, optional_bearer, api_key, x_api_key, key or none.",
    "providers.NAME.headers": "Headers sent with every request to it.",
    "providers.NAME.proxy": (
        "The HTTP proxy that it is asked through, http://host:port, or `direct` for none; empty: "
        "what HTTPS_PROXY, HTTP_PROXY and NO_PROXY say."
    ),
    "providers.NAME.priority": "Lower comes first; equal ones follow the chain.",
    "providers.NAME.markup_bp": (
        "Basis points on top of this provider's prices; a model's own goes before it."
    ),
    "providers.NAME.free": "Models of this provider cost nothing unless they are priced.",
    "providers.NAME.quirks": "Named oddities; docs/reference/providers.md lists them.",
    "models.id": "Canonical id, `family/name`.",
    "models.name": "Name shown to people.",
    "models.aliases": "Other ids that mean this model.",
    "models.context": "Context length in tokens.",
    "models.offers": "Who serves it.",
    "models.offers.provider": "A provider's name.",
    "models.offers.upstream_id": "The model's id there.",
    "models.offers.price": (
        'USD per million tokens as quoted text: {input: "2.50", output: "10.00"}; buckets of usage.'
    ),
    "models.offers.context": "Context length there, where it differs.",
    "models.offers.max_output": "Longest answer there, in tokens.",
    "models.offers.can": (
        "Capabilities there: tools, images, audio, files, choices, json_schema; absent: all."
    ),
    "models.offers.serves": (
        "What it serves: chat, image, embedding, count; absent: what lists say."
    ),
    "models.offers.free": "It costs nothing. Only what says so may be sold at a price of zero.",
    "models.offers.sure": "Its price is meant, though it is 100 times from the one that is known.",
    "models.offers.price_id": (
        "The native id whose known price holds, for deployments with names of their own."
    ),
    "models.offers.tiers": "Other prices for long prompts and for service tiers.",
    "models.offers.tiers.above": "Holds for prompts of more tokens than this.",
    "models.offers.tiers.service": "Holds for this service tier: flex, priority, batch.",
    "models.offers.tiers.price": "As `price`; buckets that are absent keep their proportion.",
    "models.known_offers": "False: only the offers named here, none that lists know.",
    "models.enabled": "False takes the model out of the catalogue.",
    "models.markup_bp": "Basis points on top of this model's prices.",
    "catalog.seed": "The prices that come with this version; false: only listings and this file.",
    "catalog.sync_every_s": "Seconds between readings of the providers' own listings; 0: never.",
    "catalog.index_url": (
        "The package index that `gatewayz models update` asks; where none is set, the one that pip"
        " asks."
    ),
    "catalog.markup_bp": "Basis points on top of every price, where nothing nearer is set.",
    "routing.chain": "Failover order among providers of equal priority; all others follow.",
    "routing.attempts": "Attempts of one call that may reach a provider and fail there.",
    "routing.max_candidates": "Longest plan.",
    "routing.retry_share": "Share of calls that may fail over more than once.",
    "routing.retry_floor_per_s": "Second failovers that are always allowed, per second.",
    "routing.breaker.failures": "Failures in a row that open a breaker.",
    "routing.breaker.open_s": "Seconds it stays open.",
    "routing.breaker.jitter": "Share by which that time varies.",
    "routing.breaker.window_s": "Seconds of the window in which the share of failures counts.",
    "routing.breaker.window_outcomes": "Outcomes that the window must hold.",
    "routing.breaker.window_share": "Share of failures in the window that opens a breaker.",
    "routing.breaker.lease_s": "Seconds a probe may take before another may try.",
    "routing.breaker.slow_start_s": "Seconds until a closed breaker lets everything through again.",
    "routing.breaker.cool_s": (
        "Seconds a provider that limits us rests when it does not say how long."
    ),
    "routing.deadlines.connect_s": "Seconds to connect.",
    "routing.deadlines.tls_s": "Seconds more to agree on TLS.",
    "routing.deadlines.pool_s": "Seconds to wait for a free connection.",
    "routing.deadlines.first_event_s": "Seconds until the first content.",
    "routing.deadlines.reasoning_first_event_s": "The same for models that think first.",
    "routing.deadlines.image_s": "Seconds until images are there, queues included.",
    "routing.deadlines.idle_s": "Seconds between pieces of content.",
    "routing.deadlines.total_s": "Seconds for a whole answer.",
    "routing.deadlines.stream_total_s": "Seconds for a whole stream.",
    "routing.default_models": (
        "Surface (image) → the model of a request that names none, or several: the first that"
        " the caller can have now."
    ),
    "routing.default_providers": "Surface → who is asked, for the house, for models that no catalogue knows.",
    "routing.locks": (
        "Which providers may serve a family of models; docs/guides/routing.md explains them."
    ),
    "routing.locks.pattern": (
        "Regular expression on the model's canonical id; the first that matches holds."
    ),
    "routing.locks.only": "Providers that may serve it; empty: all.",
    "routing.locks.first": "Providers that come first.",
    "limits.key_rpm": "Calls per minute of one key.",
    "limits.account_rpm": "Calls per minute of one account.",
    "limits.key_per_day": "Calls per day of one key.",
    "limits.burst": "Calls at once.",
    "limits.key_concurrency": "Calls of one key at the same time.",
    "limits.account_concurrency": "Calls of one account at the same time.",
    "limits.api_rpm": (
        "Requests that are no calls (models, health, metrics) per minute of one key, or of an "
        "address without one; refused keys count as well."
    ),
    "limits.system_rpm": "Calls per minute of everybody.",
    "limits.lease_s": "Seconds after which the slot of a lost call is free again.",
    "observe.log": "Where the log goes: stdout, stderr, off, or a file.",
    "notifications.private_addresses": (
        "True lets accounts' webhooks be at addresses that are not public, and without TLS."
    ),
    "bootstrap_key": "GATEWAYZ_BOOTSTRAP_KEY: the first key, instead of a generated one.",
    "secret_key": (
        "GATEWAYZ_SECRET_KEY: what key digests are made with, instead of a generated secret."
    ),
    "old_secret_keys": "Secrets that held before: keys made with them go on to work.",
}
"""Path of a setting → what it is. A test holds that none is missing and none is left over."""


def iter_settings() -> Iterator[tuple[str, Any, Any]]:
    """Path, type and default of every setting; items of lists stand under the list's own path."""
    yield from _iter_fields(Settings, "")


def _iter_fields(struct: type[Struct], path: str) -> Iterator[tuple[str, Any, Any]]:
    hints = get_type_hints(struct)
    for field in msgspec.structs.fields(struct):
        kind = hints[field.name]
        field_path = f"{path}{field.name}"
        inner, placeholder = _inner_struct(kind)
        if inner is not None and get_origin(kind) is None:
            yield from _iter_fields(inner, f"{field_path}.")
            continue
        if inner is None or "." in field_path:
            has_default = field.default is not msgspec.NODEFAULT
            yield field_path, kind, field.default if has_default else field.default_factory
        if inner is not None:
            yield from _iter_fields(inner, f"{field_path}.{placeholder}")


def _inner_struct(kind: Any) -> tuple[type[Struct] | None, str]:
    """The struct inside a type, and what stands for its name in a path."""
    arguments = get_args(kind)
    if get_origin(kind) is dict and _is_struct(arguments[1]):
        return arguments[1], "NAME."
    if get_origin(kind) is tuple and _is_struct(arguments[0]):
        return arguments[0], ""
    return (kind, "") if _is_struct(kind) else (None, "")


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Struct)


def _default_text(default: Any) -> str:
    if default is msgspec.NODEFAULT or default is None or callable(default):
        return "–"
    if default in ("", (), {}):
        return "–"
    if not isinstance(default, tuple):
        return f"`{default}`"
    return "built in" if isinstance(default[0], Struct) else f"`{', '.join(default)}`"


def render_settings_reference() -> str:
    """docs/reference/settings.md."""
    head = [
        "# Settings",
        "",
        "None is needed. In rising order: the file (`--config`, `$GATEWAYZ_CONFIG`,",
        "`./gatewayz.yaml`, `/etc/gatewayz/gatewayz.yaml`), `.env`, the environment, flags. The",
        "environment has `section.key` as `GATEWAYZ_SECTION__KEY`, lists as `[a, b]`. `${NAME}` in a",
        "text is taken from the environment, `${file:/path}` from a file; `$${` means `${`.",
        "",
        "| setting | default | what |",
        "|---|---|---|",
    ]
    rows = [
        f"| `{path}` | {_default_text(default)} | {DESCRIPTIONS.get(path, '')} |"
        for path, _, default in iter_settings()
    ]
    return "\n".join([*head, *rows]) + "\n"


def render_settings_schema() -> str:
    """docs/reference/settings.schema.json."""
    return json.dumps(msgspec.json.schema(Settings), indent=2) + "\n"


def render_settings(settings: Settings) -> str:
    """The settings as YAML with every secret hidden."""
    return yaml.safe_dump(settings_without_secrets(settings), sort_keys=False, allow_unicode=True)


def settings_without_secrets(settings: Settings) -> Any:
    """The settings as plain values with every secret hidden."""
    return _hide_secrets(msgspec.to_builtins(settings))


def _hide_secrets(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: MASK if name in SECRET_FIELDS and inner else _hide_secrets(inner)
            for name, inner in _without_headers(value).items()
        }
    return [_hide_secrets(item) for item in value] if isinstance(value, list | tuple) else value


def _without_headers(value: dict[str, Any]) -> dict[str, Any]:
    """A provider's headers by name only: whichever they are, one of them may be its key."""
    headers = value.get("headers")
    if not isinstance(headers, dict):
        return value
    return {**value, "headers": dict.fromkeys(headers, MASK)}
