"""Settings: none is needed. One file, `.env`, the environment and flags, in rising order; the only reader of them all.

The environment spells `section.key` as `GATEWAYZ_SECTION__KEY`; `${NAME}` in a text is replaced from the environment.
"""

import os
import re
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import msgspec
import yaml
from dotenv import dotenv_values
from msgspec import Struct

from gatewayz.catalog.merge import Listing, Lists
from gatewayz.catalog.own import CatalogSettings, ModelSettings, checked_markup, own_models
from gatewayz.catalog.seed import seed, seed_names
from gatewayz.core.faults import Fault
from gatewayz.core.keys import well_formed
from gatewayz.core.secrets import Secret
from gatewayz.limits.rules import LimitRules
from gatewayz.providers.spec import ProviderSettings
from gatewayz.routing.rules import RoutingRules

PREFIX = "GATEWAYZ_"
FILES = ("gatewayz.yaml", "/etc/gatewayz/gatewayz.yaml")
FLAT = {
    "GATEWAYZ_CONFIG": "",
    "GATEWAYZ_BOOTSTRAP_KEY": "bootstrap_key",
    "GATEWAYZ_SECRET_KEY": "secret_key",
}
VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
MOST_ON_SQLITE = 2
MAY_BE_MISSING = re.compile(r"^providers\.[^.]+\.(key|credentials\.\d+\.key)$")
"""A provider's key whose variable is not set is a key that is not there, and the provider says so."""


class WebSettings(Struct, frozen=True, kw_only=True):
    """Where the gateway listens, and whom it believes."""

    host: str = "127.0.0.1"
    port: int = 8080
    hosts: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ()
    cors_origins: tuple[str, ...] = ()
    grace_s: float = 30.0
    workers: int = 1


class DatabaseSettings(Struct, frozen=True, kw_only=True):
    """Where everything is kept."""

    url: str = ""
    transaction_pooler: bool = False


class ObserveSettings(Struct, frozen=True, kw_only=True):
    """What is told to whom."""

    log: str = "stdout"


class NoticeSettings(Struct, frozen=True, kw_only=True):
    """Where accounts' notices may go."""

    private_addresses: bool = False


class Settings(Struct, frozen=True, kw_only=True):
    """Everything that can be set."""

    web: WebSettings = WebSettings()
    data_dir: str = "./data"
    database: DatabaseSettings = DatabaseSettings()
    providers: dict[str, ProviderSettings] = {}
    models: tuple[ModelSettings, ...] = ()
    catalog: CatalogSettings = CatalogSettings()
    routing: RoutingRules = RoutingRules()
    limits: LimitRules = LimitRules()
    observe: ObserveSettings = ObserveSettings()
    notices: NoticeSettings = NoticeSettings()
    bootstrap_key: str = ""
    secret_key: str = ""
    old_secret_keys: tuple[str, ...] = ()


class Loaded(Struct, frozen=True, kw_only=True):
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


def loaded(config: str = "", flags: Mapping[str, Any] | None = None) -> Loaded:
    """The settings of this process. Faults: `bad_request` says in plain words what is wrong, and where."""
    dotenv = {name: value for name, value in dotenv_values(".env").items() if value is not None}
    environment = {**dotenv, **os.environ}
    path = _config_path(config or environment.get("GATEWAYZ_CONFIG", ""))
    given = _file_values(path) if path is not None else {}
    _merge(given, _environment_values(environment))
    _merge(given, dict(flags or {}))
    given = _expanded(given, environment, "")
    _check_names(given, Settings, "")
    try:
        settings = msgspec.convert(given, Settings, strict=False)
    except msgspec.ValidationError as wrong:
        raise _misfit(wrong, path) from None
    _check_values(settings)
    return Loaded(
        settings=settings,
        environment=environment,
        source=str(path) if path is not None else "defaults",
    )


def _config_path(named: str) -> Path | None:
    if named:
        if not Path(named).is_file():
            raise Fault("bad_request", f"The configuration file {named} does not exist.")
        return Path(named)
    return next((Path(name) for name in FILES if Path(name).is_file()), None)


def _file_values(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as wrong:
        raise Fault(
            "bad_request", f"{path} cannot be read as YAML: {' '.join(str(wrong).split())}"
        ) from None
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
        if name in FLAT:
            if FLAT[name]:
                values[FLAT[name]] = text
        elif name.startswith(PREFIX):
            _put(values, name[len(PREFIX) :].lower().split("__"), text)
    return values


def _put(values: dict[str, Any], path: list[str], text: str) -> None:
    for step in path[:-1]:
        inner = values.setdefault(step, {})
        if not isinstance(inner, dict):
            raise Fault("bad_request", f"{PREFIX}{'__'.join(path).upper()}: {step} has no keys.")
        values = inner
    listed = text.strip()[:1] in {"[", "{"}
    values[path[-1]] = yaml.safe_load(text) if listed else text


def _merge(under: dict[str, Any], over: Mapping[str, Any]) -> None:
    for name, value in over.items():
        if isinstance(value, dict):
            inner = under.setdefault(name, {})
            if isinstance(inner, dict):
                _merge(inner, value)
                continue
        if value is not None:
            under[name] = value


def _expanded(value: Any, environment: Mapping[str, str], path: str) -> Any:
    if isinstance(value, dict):
        return {
            name: _expanded(inner, environment, f"{path}.{name}".lstrip("."))
            for name, inner in value.items()
        }
    if isinstance(value, list):
        return [
            _expanded(inner, environment, f"{path}.{number}") for number, inner in enumerate(value)
        ]
    if not isinstance(value, str):
        return value

    def found(match: re.Match[str]) -> str:
        text = environment.get(match[1])
        if text is None and not MAY_BE_MISSING.match(path):
            raise Fault(
                "bad_request",
                f"{path}: the environment has no {match[1]}; set it, or write the value itself.",
            )
        return text or ""

    return VARIABLE.sub(found, value)


def _check_names(value: Any, kind: Any, path: str) -> None:
    """Unknown keys are errors, with the nearest known one."""
    struct = _struct_in(kind)
    if struct is not None and isinstance(value, dict):
        hints = get_type_hints(struct)
        for name, inner in value.items():
            if name not in hints:
                raise _unknown(f"{path}.{name}".lstrip("."), str(name), tuple(hints))
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


def _unknown(path: str, name: str, known: tuple[str, ...]) -> Fault:
    near = get_close_matches(name, known, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(known)}"
    return Fault("bad_request", f"{path}: no such setting; {hint}")


def _misfit(wrong: msgspec.ValidationError, path: Path | None) -> Fault:
    text = str(wrong)
    what, _, where = text.partition(" - at `$")
    place = where.rstrip("`").lstrip(".") or "the settings"
    hint = " (quote it: money is text)" if "price" in place and "str" in what else ""
    return Fault(
        "bad_request",
        f"{place}: {what[:1].lower()}{what[1:]}{hint}"
        + (f" in {path}" if path is not None else ""),
    )


def _check_values(settings: Settings) -> None:
    if not 0 <= settings.web.port <= 65_535:
        raise Fault(
            "bad_request", f"web.port: {settings.web.port} is no port; a port is from 0 to 65535."
        )
    if settings.bootstrap_key and not well_formed(settings.bootstrap_key):
        raise Fault(
            "bad_request",
            "GATEWAYZ_BOOTSTRAP_KEY is not a gatewayz key; `gatewayz keys make --print` makes one.",
        )
    _check_workers(settings)
    if settings.routing.attempts < 1:
        raise Fault("bad_request", "routing.attempts: must be 1 or more.")
    checked_markup("catalog", settings.catalog.markup_bp)
    for name, provider in settings.providers.items():
        checked_markup(f"providers.{name}", provider.markup_bp)
    own_models(settings.models)


def _check_workers(settings: Settings) -> None:
    """How many processes can share what the gateway keeps."""
    workers, url = settings.web.workers, settings.database.url
    if workers < 1:
        raise Fault("bad_request", "web.workers: must be 1 or more.")
    if url == "memory:" and workers > 1:
        raise Fault(
            "bad_request",
            "web.workers: memory: belongs to one process; leave database.url empty for a file.",
        )
    if (not url or url.startswith("sqlite:")) and workers > MOST_ON_SQLITE:
        raise Fault(
            "bad_request",
            f"web.workers: {MOST_ON_SQLITE} processes can share a SQLite file, not {workers}. For more set database.url"
            " to a PostgreSQL database (`gatewayz move --to URL` takes everything along).",
        )


def lists_from(settings: Settings, listings: Mapping[str, Listing] | None = None) -> Lists:
    """Everything that the catalogue is made of. Faults: `bad_request` for prices that are none."""
    catalog = settings.catalog
    known, names = (seed(), seed_names()) if catalog.seed else ({}, {})
    return Lists(known, listings or {}, own_models(settings.models), catalog.markup_bp, names=names)
