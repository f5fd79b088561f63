"""Settings: none is needed. One file, `.env`, the environment and flags, in rising order.

This is the only reader of them all. The environment has `section.key` as `GATEWAYZ_SECTION__KEY`;
`${NAME}` in a text is replaced from the environment.
"""

import os
import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import msgspec
import yaml
from dotenv import dotenv_values
from msgspec import Struct

from gatewayz.catalog.operator_models import check_markup, operator_models_from_settings
from gatewayz.catalog.price_gate import check_file_prices
from gatewayz.catalog.seed import seed_files, seed_names
from gatewayz.catalog.settings import CatalogSettings, ModelSettings
from gatewayz.catalog.sources import CatalogSources, Listing
from gatewayz.core.faults import Fault
from gatewayz.core.keys import is_well_formed
from gatewayz.core.redaction import password_from_url
from gatewayz.core.renamed import find_renamed_setting
from gatewayz.core.secrets import Secret
from gatewayz.dialects.kit.jsontext import MAX_VALUES
from gatewayz.limits.rules import LimitRules
from gatewayz.providers.spec import Provider, ProviderSettings
from gatewayz.routing.rules import RoutingRules

PREFIX = "GATEWAYZ_"
FILES = ("gatewayz.yaml", "/etc/gatewayz/gatewayz.yaml")
TOP_LEVEL_VARIABLES = {
    "GATEWAYZ_CONFIG": "",
    "GATEWAYZ_BOOTSTRAP_KEY": "bootstrap_key",
    "GATEWAYZ_SECRET_KEY": "secret_key",
}
VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
MAX_SQLITE_WORKERS = 2
MIN_SECRET_KEY_CHARS = 16
OPTIONAL_VARIABLES = re.compile(r"^providers\.[^.]+\.(key|credentials\.\d+\.key)$")
"""A provider's key whose variable is not set is no key, and the provider says so."""


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


class DatabaseSettings(Struct, frozen=True, kw_only=True):
    """Where everything is stored."""

    url: str = ""
    transaction_pooler: bool = False


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
    """Settings, the environment that providers look for keys in, and where they came from."""

    settings: Settings
    environment: dict[str, str]
    source: str

    @property
    def bootstrap_key(self) -> Secret:
        return Secret(self.settings.bootstrap_key)

    @property
    def secret_key(self) -> Secret:
        return Secret(self.settings.secret_key)

    @property
    def old_secret_keys(self) -> tuple[Secret, ...]:
        return tuple(Secret(key) for key in self.settings.old_secret_keys)

    def every_secret(self, providers: Iterable[Provider]) -> list[str]:
        """Every secret that the settings hold, and those of these providers."""
        settings = self.settings
        secrets = [settings.bootstrap_key, settings.secret_key, *settings.old_secret_keys]
        secrets.append(password_from_url(settings.database.url))
        for provider in providers:
            secrets += [credential.key.reveal() for credential in provider.credentials]
            # Whichever header it is, its value may be the provider's key.
            secrets += [value for _, value in provider.headers]
        return secrets


def load_settings(config: str = "", flags: Mapping[str, Any] | None = None) -> LoadedSettings:
    """The settings of this process. Faults: `bad_request` says what is wrong, and where."""
    dotenv = {name: value for name, value in dotenv_values(".env").items() if value is not None}
    environment = {**dotenv, **os.environ}
    path = _config_path(config or environment.get("GATEWAYZ_CONFIG", ""))
    values = _file_values(path) if path is not None else {}
    _merge(values, _environment_values(environment))
    _merge(values, dict(flags or {}))
    values = _expand_variables(values, environment, "")

    # Before the conversion: it would say of a misspelled name that a value is missing.
    _check_names(values, Settings, "")
    try:
        settings = msgspec.convert(values, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise _invalid_setting(error, path) from None
    _check_values(settings)
    return LoadedSettings(
        settings=settings,
        environment=environment,
        source=str(path) if path is not None else "defaults",
    )


def _config_path(name: str) -> Path | None:
    """The file that is named, or the first of the usual ones. Faults: `bad_request`."""
    if name:
        if not Path(name).is_file():
            raise Fault("bad_request", f"The configuration file {name} does not exist.")
        return Path(name)
    return next((Path(name) for name in FILES if Path(name).is_file()), None)


def _file_values(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise Fault("bad_request", f"{path} cannot be read as YAML: {reason}") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise Fault(
            "bad_request", f"{path} must hold sections with keys, such as 'web: {{port: 8080}}'."
        )
    return values


def _environment_values(environment: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, text in environment.items():
        if name in TOP_LEVEL_VARIABLES:
            if TOP_LEVEL_VARIABLES[name]:
                values[TOP_LEVEL_VARIABLES[name]] = text
        elif name.startswith(PREFIX):
            _set_path(values, name[len(PREFIX) :].lower().split("__"), text)
    return values


def _set_path(values: dict[str, Any], path: list[str], text: str) -> None:
    for step in path[:-1]:
        inner = values.setdefault(step, {})
        if not isinstance(inner, dict):
            raise Fault("bad_request", f"{PREFIX}{'__'.join(path).upper()}: {step} has no keys.")
        values = inner
    is_structured = text.strip()[:1] in {"[", "{"}
    values[path[-1]] = yaml.safe_load(text) if is_structured else text


def _merge(under: dict[str, Any], over: Mapping[str, Any]) -> None:
    for name, value in over.items():
        if isinstance(value, dict):
            inner = under.setdefault(name, {})
            if isinstance(inner, dict):
                _merge(inner, value)
                continue
        if value is not None:
            under[name] = value


def _expand_variables(value: Any, environment: Mapping[str, str], path: str) -> Any:
    if isinstance(value, dict):
        return {
            name: _expand_variables(inner, environment, f"{path}.{name}".lstrip("."))
            for name, inner in value.items()
        }
    if isinstance(value, list):
        return [
            _expand_variables(inner, environment, f"{path}.{number}")
            for number, inner in enumerate(value)
        ]
    if not isinstance(value, str):
        return value

    def replace_variable(match: re.Match[str]) -> str:
        text = environment.get(match[1])
        if text is None and not OPTIONAL_VARIABLES.match(path):
            raise Fault(
                "bad_request",
                f"{path}: the environment has no {match[1]}; set it, or write the value itself.",
            )
        return text or ""

    return VARIABLE.sub(replace_variable, value)


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


def _invalid_setting(error: msgspec.ValidationError, path: Path | None) -> Fault:
    """The words of the library, with the setting's own path in front."""
    what, _, where = str(error).partition(" - at `$")
    setting = where.rstrip("`").lstrip(".") or "the settings"
    hint = " (quote it: money is text)" if "price" in setting and "str" in what else ""
    file = f" in {path}" if path is not None else ""
    return Fault("bad_request", f"{setting}: {what[:1].lower()}{what[1:]}{hint}{file}")


def _check_values(settings: Settings) -> None:
    if not 0 <= settings.web.port <= 65_535:
        raise Fault(
            "bad_request", f"web.port: {settings.web.port} is no port; ports are from 0 to 65535."
        )
    if settings.bootstrap_key and not is_well_formed(settings.bootstrap_key):
        raise Fault(
            "bad_request",
            "GATEWAYZ_BOOTSTRAP_KEY is not a gatewayz key; "
            "`gatewayz keys create --print` makes one.",
        )
    _check_secret_key(settings)
    _check_workers(settings)
    if settings.routing.attempts < 1:
        raise Fault("bad_request", "routing.attempts: must be 1 or more.")
    check_markup("catalog", settings.catalog.markup_bp)
    for name, provider in settings.providers.items():
        check_markup(f"providers.{name}", provider.markup_bp)
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
    if workers < 1:
        raise Fault("bad_request", "web.workers: must be 1 or more.")
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
    )
