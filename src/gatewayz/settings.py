"""Settings: none is needed. One file, `.env`, the environment and flags, in rising order.

This is the only reader of them all. The environment has `section.key` as `GATEWAYZ_SECTION__KEY`;
`${NAME}` in a text is replaced from the environment, `${file:/path}` by what is in a file.
"""

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Struct

from gatewayz.catalog.operator_models import operator_models_from_settings
from gatewayz.catalog.price_gate import check_file_prices
from gatewayz.catalog.seed import SeedFile, seed_files, seed_names
from gatewayz.catalog.seed_update import newer_than_package
from gatewayz.catalog.settings import CatalogSettings, ModelSettings
from gatewayz.catalog.sources import CatalogSources, Listing, SeedUpdate
from gatewayz.core.faults import Fault
from gatewayz.core.keys import is_well_formed
from gatewayz.core.redaction import password_from_url
from gatewayz.core.renamed import find_renamed_setting
from gatewayz.core.secrets import Secret
from gatewayz.dialects.kit.jsontext import MAX_VALUES
from gatewayz.limits.rules import LimitRules
from gatewayz.providers.registry import provider_rows
from gatewayz.providers.spec import Provider, ProviderSettings
from gatewayz.routing.rules import RoutingRules
from gatewayz.settings_checks import check_settings
from gatewayz.settings_sources import (
    PREFIX,
    config_path,
    expand_references,
    merge_values,
    put_value,
    read_environment,
    setting_variables,
    values_from_file,
)
from gatewayz.store.files.listings import FileSeedUpdate
from gatewayz.upstream.network import Network, network_from
from gatewayz.upstream.proxies import environment_proxy_secrets, proxy_secrets
from gatewayz.web.tls import ListenerTlsSettings

FLAT_VARIABLES = {
    "GATEWAYZ_CONFIG": "",
    "GATEWAYZ_BOOTSTRAP_KEY": "bootstrap_key",
    "GATEWAYZ_SECRET_KEY": "secret_key",
    "GATEWAYZ_OLD_SECRET_KEYS": "old_secret_keys",
    "GATEWAYZ_DATA_DIR": "data_dir",
    "GATEWAYZ_MODELS": "models",
}
"""Variables without a section → the setting. All others have `__`."""
MAX_SQLITE_WORKERS = 2
MIN_SECRET_KEY_CHARS = 16
ARRAY = re.compile(r"expected `array`", re.IGNORECASE)


class WebSettings(Struct, frozen=True, kw_only=True):
    """Where the gateway listens, and which clients and proxies it trusts."""

    host: str = "127.0.0.1"
    port: int = 8080
    hosts: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ()
    cors_origins: tuple[str, ...] = ()
    grace_s: float = 30.0
    body_values: int = MAX_VALUES
    workers: int = 1
    worker_silent_s: float = 20.0
    tls: ListenerTlsSettings = ListenerTlsSettings()


class TlsSettings(Struct, frozen=True, kw_only=True):
    """Whom TLS towards upstreams trusts."""

    ca_file: str = ""


class DatabaseSettings(Struct, frozen=True, kw_only=True):
    """Where everything is stored, and how long calls and the audit log are."""

    url: str = ""
    transaction_pooler: bool = False
    retention_days: int = 0
    audit_retention_days: int = 0


class ObserveSettings(Struct, frozen=True, kw_only=True):
    """Where the log goes."""

    log: str = "stdout"


class NotificationSettings(Struct, frozen=True, kw_only=True):
    """Where accounts' notifications may go."""

    private_addresses: bool = False


class Settings(Struct, frozen=True, kw_only=True):
    """Everything that can be set.

    Example: `Settings(web=WebSettings(port=9000), database=DatabaseSettings(url="memory:"))`
    """

    web: WebSettings = WebSettings()
    tls: TlsSettings = TlsSettings()
    data_dir: str = "./data"
    database: DatabaseSettings = DatabaseSettings()
    providers: dict[str, ProviderSettings] = {}
    models: tuple[ModelSettings, ...] = ()
    catalog: CatalogSettings = CatalogSettings()
    routing: RoutingRules = RoutingRules()
    limits: LimitRules = LimitRules()
    observe: ObserveSettings = ObserveSettings()
    notifications: NotificationSettings = NotificationSettings()
    bootstrap_key: str = ""
    secret_key: str = ""
    old_secret_keys: tuple[str, ...] = ()


class LoadedSettings(Struct, frozen=True, kw_only=True):
    """Settings, the environment that providers look for keys in, and where they came from.

    `warnings`: variables that look like settings and are none.
    """

    settings: Settings
    environment: dict[str, str]
    source: str
    warnings: tuple[str, ...] = ()

    @property
    def bootstrap_key(self) -> Secret:
        return Secret(self.settings.bootstrap_key)

    @property
    def secret_key(self) -> Secret:
        return Secret(self.settings.secret_key)

    @property
    def old_secret_keys(self) -> tuple[Secret, ...]:
        return tuple(Secret(key) for key in self.settings.old_secret_keys)

    def open_network(self) -> Network:
        """How upstreams are reached. Faults: `bad_request` for a file or a proxy that is none."""
        return network_from(self.settings.tls.ca_file, self.environment)

    def every_secret(self, providers: Iterable[Provider]) -> list[str]:
        """Every secret that the settings hold, and those of these providers."""
        settings = self.settings
        secrets = [settings.bootstrap_key, settings.secret_key, *settings.old_secret_keys]
        secrets.append(password_from_url(settings.database.url))
        secrets.append(password_from_url(settings.catalog.index_url))
        secrets += environment_proxy_secrets(self.environment)
        for provider in providers:
            secrets += proxy_secrets(provider.proxy)
            secrets += [credential.key.reveal() for credential in provider.credentials]
            # Whichever header it is, its value may be the provider's key.
            secrets += [value for _, value in provider.headers]
        return secrets


def load_settings(config: str = "", flags: Mapping[str, Any] | None = None) -> LoadedSettings:
    """The settings of this process. Faults: `bad_request` says what is wrong, and where."""
    environment = read_environment()
    path = config_path(config or environment.get("GATEWAYZ_CONFIG", ""))
    values = values_from_file(path) if path is not None else {}
    warnings = _merge_environment(values, environment)
    merge_values(values, dict(flags or {}))
    try:
        values = expand_references(values, environment)
    except RecursionError:
        raise Fault("bad_request", f"{path}: a value holds itself (an alias of YAML).") from None

    # Before the conversion: it would say of a misspelled name that a value is missing.
    _check_names(values, Settings, "")
    try:
        settings = msgspec.convert(values, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise _invalid_setting(error, path, environment) from None
    _check_values(settings)
    return LoadedSettings(
        settings=settings,
        environment=environment,
        source=str(path) if path is not None else "defaults",
        warnings=warnings,
    )


def _merge_environment(values: dict[str, Any], environment: Mapping[str, str]) -> tuple[str, ...]:
    """Puts the environment's settings over the file's; what to say of variables that are none."""
    merged: dict[str, Any] = {}
    unknown = set(environment) & {
        name for name in environment if name.startswith(PREFIX) and name not in FLAT_VARIABLES
    }
    for name, path in setting_variables(environment, FLAT_VARIABLES):
        if _is_setting(path, Settings):
            unknown.discard(name)
            put_value(merged, name, path, environment[name])
    merge_values(values, merged)
    return tuple(_unknown_variable(name) for name in sorted(unknown))


def _is_setting(path: list[str], kind: Any) -> bool:
    """Whether a path of names leads to a setting, or into one that has names of its own."""
    if not path or kind is Any:
        return True
    struct = _struct_in(kind)
    if struct is not None:
        hints = get_type_hints(struct)
        return path[0] in hints and _is_setting(path[1:], hints[path[0]])
    return get_origin(kind) is dict and _is_setting(path[1:], get_args(kind)[1])


def _unknown_variable(name: str) -> str:
    """What to say of a variable that is no setting, with the nearest that is one."""
    known = [*FLAT_VARIABLES, *_variable_names(Settings, PREFIX)]
    near = get_close_matches(name, known, 1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"{name} is no setting and is passed over{hint}"


def _variable_names(struct: Any, prefix: str) -> list[str]:
    names: list[str] = []
    for field, kind in get_type_hints(struct).items():
        inner = _struct_in(kind)
        name = f"{prefix}{field.upper()}"
        names += [name] if inner is None else _variable_names(inner, f"{name}__")
    return names


def _check_names(value: Any, kind: Any, path: str) -> None:
    """Faults: `bad_request` for an unknown name, with the nearest known one."""
    struct = _struct_in(kind)
    if struct is not None and isinstance(value, dict):
        hints = get_type_hints(struct)
        for name, inner in value.items():
            if name not in hints:
                raise _unknown_setting(f"{path}.{name}".lstrip("."), str(name), tuple(hints))
            _check_names(inner, hints[name], f"{path}.{name}".lstrip("."))
    elif get_origin(kind) is dict and isinstance(value, dict):
        for name, inner in value.items():
            _check_names(inner, get_args(kind)[1], f"{path}.{name}".lstrip("."))
    elif get_origin(kind) is tuple and isinstance(value, list):
        for number, inner in enumerate(value):
            _check_names(inner, get_args(kind)[0], f"{path}.{number}")


def _struct_in(kind: Any) -> Any:
    options = get_args(kind) if get_origin(kind) in {Union, UnionType} else (kind,)
    return next(
        (option for option in options if isinstance(option, type) and issubclass(option, Struct)),
        None,
    )


def _unknown_setting(path: str, name: str, known: tuple[str, ...]) -> Fault:
    renamed = find_renamed_setting(path)
    if renamed is not None:
        return Fault(
            "bad_request",
            f"{path}: this setting is called {renamed.new} since version {renamed.since}; rename it.",
        )
    near = get_close_matches(name, known, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(known)}"
    return Fault("bad_request", f"{path}: no such setting; {hint}")


def _invalid_setting(
    error: msgspec.ValidationError, path: Path | None, environment: Mapping[str, str]
) -> Fault:
    """The words of the library, with the setting's own path in front, and where it was set."""
    what, _, where = str(error).partition(" - at `$")
    setting = where.rstrip("`").lstrip(".") or "the settings"
    hint = " (quote it: money is text)" if "price" in setting and "str" in what else ""
    hint += " (a list is written as [a, b])" if ARRAY.search(what) else ""
    variable = f"{PREFIX}{setting.replace('.', '__').upper()}"
    origin = f" in {path}" if path is not None else ""
    origin = f" in {variable}" if variable in environment else origin
    return Fault("bad_request", f"{setting}: {what[:1].lower()}{what[1:]}{hint}{origin}")


def _check_values(settings: Settings) -> None:
    if settings.bootstrap_key and not is_well_formed(settings.bootstrap_key):
        raise Fault(
            "bad_request",
            "GATEWAYZ_BOOTSTRAP_KEY is not a gatewayz key; "
            "`gatewayz keys create --print` makes one.",
        )
    # The rules that come with this version may name providers that it does not have yet.
    built_in = {name for lock in RoutingRules().locks for name in (*lock.only, *lock.first)}
    check_settings(settings, {*provider_rows(), *settings.providers, *built_in})
    _check_secret_key(settings)
    _check_workers(settings)
    operator_models_from_settings(settings.models)


def _check_secret_key(settings: Settings) -> None:
    """Faults: `bad_request` for a secret that can be guessed: whoever has it can make digests.

    Older ones only verify what was made with them, so that a short one can be replaced.
    """
    secret = settings.secret_key
    if secret and len(secret) < MIN_SECRET_KEY_CHARS:
        raise Fault(
            "bad_request",
            f"GATEWAYZ_SECRET_KEY: {len(secret)} characters can be guessed; use "
            f"{MIN_SECRET_KEY_CHARS} or more, such as what `openssl rand -hex 32` prints "
            "(the one that was used until now goes into old_secret_keys).",
        )


def _check_workers(settings: Settings) -> None:
    """Faults: `bad_request` for more processes than can share the database."""
    workers, url = settings.web.workers, settings.database.url
    if url == "memory:" and workers > 1:
        raise Fault(
            "bad_request",
            "web.workers: memory: belongs to one process; leave database.url empty for a file.",
        )
    if (not url or url.startswith("sqlite:")) and workers > MAX_SQLITE_WORKERS:
        raise Fault(
            "bad_request",
            f"web.workers: {MAX_SQLITE_WORKERS} processes can share a SQLite file, not {workers}."
            " For more set database.url to a PostgreSQL database"
            " (`gatewayz move --to URL` takes everything along).",
        )


def load_seed_update(settings: Settings, seed: Mapping[str, SeedFile]) -> SeedUpdate | None:
    """The prices that an operator had read since this version was made, if any."""
    update = FileSeedUpdate(Path(settings.data_dir)).load()
    return newer_than_package(update, seed) if update is not None else None


def catalog_sources_from_settings(
    settings: Settings, listings: Mapping[str, Listing] | None = None
) -> CatalogSources:
    """Everything that the catalogue is made of. Faults: `bad_request` for prices that are none."""
    catalog = settings.catalog
    seed = seed_files() if catalog.seed else {}
    check_file_prices(settings.models, seed)
    return CatalogSources(
        seed=seed,
        listings=listings or {},
        operator_models=operator_models_from_settings(settings.models),
        markup_bp=catalog.markup_bp,
        names=seed_names() if catalog.seed else {},
        update=load_seed_update(settings, seed) if catalog.seed else None,
    )
