"""The providers of this installation: rows, the operator's settings, the environment's keys."""

import re
import tomllib
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

import msgspec

from gatewayz.core.faults import Fault
from gatewayz.core.http_syntax import mask_userinfo, parse_url
from gatewayz.core.secrets import Secret
from gatewayz.dialects.registry import UPSTREAMS
from gatewayz.providers.header_values import has_odd_header, keep_sendable
from gatewayz.providers.spec import (
    Credential,
    KeysFrom,
    Locations,
    Provider,
    ProviderChange,
    ProviderRow,
    ProviderSettings,
    Quirks,
)

ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
"""No dot: seals carry the id in front of one."""
UNSET_VARIABLE = re.compile("\0([^\0]*)\0")
"""Within a key: a variable that it refers to, and that the environment does not have."""
OPENAI_EXTRA_DIALECTS = ("openai_images", "openai_embeddings")
"""What an operator's own server with the OpenAI Chat API is taken to serve besides."""
MAX_SHOWN_CHARS = 200
STORED_KEYS = "set by command or API"
UNREADABLE_KEYS = (
    "its stored key was encrypted under another secret; set GATEWAYZ_SECRET_KEY or "
    "old_secret_keys, or set the key again"
)


@cache
def provider_rows() -> dict[str, ProviderRow]:
    """The rows of providers.toml."""
    text = files("gatewayz.providers").joinpath("providers.toml").read_text("utf-8")
    return msgspec.convert(tomllib.loads(text), dict[str, ProviderRow])


def providers_from(
    rows: Mapping[str, ProviderRow],
    environment: Mapping[str, str],
    settings: Mapping[str, ProviderSettings],
    changes: Mapping[str, ProviderChange] = MappingProxyType({}),
) -> dict[str, Provider]:
    """Every provider, on or off with the reason. Faults: `bad_request` for unusable settings.

    Keys of the settings hold over those of `changes`, and these over the environment's; a provider
    is on where neither the settings nor `changes` switch it off.
    """
    own = {
        name: provider_settings for name, provider_settings in settings.items() if name not in rows
    }
    for name, provider_settings in own.items():
        _check_new_provider(name, provider_settings, rows)

    table = {**rows, **{name: _own_row(name, each) for name, each in own.items()}}
    providers = {
        name: _provider(
            name, row, environment, settings.get(name), changes.get(name) or ProviderChange()
        )
        for name, row in table.items()
    }
    for name in own:
        provider = providers[name]
        providers[name] = msgspec.structs.replace(provider, own=True)
    return providers


def _own_row(name: str, settings: ProviderSettings) -> ProviderRow:
    """The row of a provider that only the settings know."""
    return ProviderRow(
        name=settings.name or name,
        dialect=settings.dialect,
        more_dialects=OPENAI_EXTRA_DIALECTS if settings.dialect == "openai_chat" else (),
        base_url=settings.base_url,
        auth="optional_bearer",
    )


def _check_new_provider(
    name: str, settings: ProviderSettings, rows: Mapping[str, ProviderRow]
) -> None:
    if settings.dialect and settings.base_url:
        if not ID.fullmatch(name):
            raise Fault(
                "bad_request",
                f"providers.{name}: an id has lower-case letters, digits, '-' and '_' only",
            )
        if settings.dialect not in UPSTREAMS:
            raise Fault(
                "bad_request",
                f"providers.{name}.dialect: {settings.dialect!r} is none of {', '.join(UPSTREAMS)}",
            )
        return

    near = get_close_matches(name, rows, 1)
    hint = (
        f"did you mean {near[0]!r}?"
        if near
        else "a provider of your own needs a base_url and a dialect: "
        "openai_chat, if it is a server with OpenAI's API"
    )
    raise Fault("bad_request", f"providers.{name}: no such provider; {hint}")


def _provider(
    name: str,
    row: ProviderRow,
    environment: Mapping[str, str],
    configured: ProviderSettings | None,
    change: ProviderChange,
) -> Provider:
    settings = configured or ProviderSettings()
    _check_patterns(f"providers.{name}.dialect_by_model", settings.dialect_by_model or ())
    row = _row_with_account_auth(row, environment, settings, change)
    base_urls, missing = _base_urls(row, environment, settings)
    credentials, keys_from, key_source = _credentials(name, row, environment, settings, change)
    provider = Provider(
        id=name,
        name=settings.name or row.name,
        dialect=settings.dialect or row.dialect,
        more_dialects=row.more_dialects
        if settings.more_dialects is None
        else settings.more_dialects,
        path_by_model=row.path_by_model,
        dialect_by_model=row.dialect_by_model
        if settings.dialect_by_model is None
        else settings.dialect_by_model,
        base_url=base_urls[0],
        fallback_base_urls=base_urls[1:],
        fallback_statuses=row.locations.statuses if row.locations is not None else (),
        auth=settings.auth or row.auth,
        credentials=credentials,
        headers=(*_headers(row, environment), *settings.headers.items()),
        proxy=settings.proxy,
        priority=settings.priority,
        markup_bp=settings.markup_bp,
        free=row.free if settings.free is None else settings.free,
        local=row.local,
        built_in=row.built_in,
        verified=row.verified,
        checked_on=row.checked_on,
        ends_on=row.ends_on,
        ends_source=row.ends_source,
        quirks=_quirks(name, _quirks_at(row, base_urls[0]), settings.quirks),
        errors=row.errors,
        key_env=_unset_variables(settings) or row.key_env,
        keys_from=keys_from,
        key_source=key_source,
        disabled_in_settings=not settings.enabled,
    )
    provider = keep_sendable(provider)
    has_url = bool(_base_url_from_environment(row, environment))
    known = configured is not None or has_url or bool(change.credentials)
    off = _why_off(provider, change, missing, configured=known)
    return msgspec.structs.replace(provider, off=off)


def _row_with_account_auth(
    row: ProviderRow,
    environment: Mapping[str, str],
    settings: ProviderSettings,
    change: ProviderChange,
) -> ProviderRow:
    """The row as it is without a key: where the settings say so, or only an account is there."""
    account = row.account
    if account is None:
        return row
    has_account = any(environment.get(name) for name in account.env)
    has_key = bool(_settings_keys(row, settings) or change.credentials) or any(
        environment.get(name) for name in row.key_env
    )
    if settings.auth != account.auth and (settings.auth is not None or has_key or not has_account):
        return row
    return msgspec.structs.replace(
        row,
        auth=account.auth,
        base_url=account.base_url,
        key_env=account.env,
        variables=account.variables,
    )


def _why_off(
    provider: Provider, change: ProviderChange, missing: tuple[str, ...], *, configured: bool
) -> str:
    if provider.disabled_in_settings:
        return "switched off in the settings (enabled: false)"
    if change.off:
        return change.off
    if provider.dialect not in UPSTREAMS:
        return f"its dialect {provider.dialect} is not supported by this version"
    if provider.unsendable and (not provider.credentials or has_odd_header(provider)):
        return provider.unsendable
    if provider.auth not in {"none", "optional_bearer"} and not provider.credentials:
        if change.unreadable:
            return UNREADABLE_KEYS
        return (
            f"set {provider.key_env[0]}" if provider.key_env else f"set providers.{provider.id}.key"
        )
    if provider.local and not configured:
        return f"local server: set providers.{provider.id}.base_url"
    if missing:
        return f"set {' and '.join(missing)}"
    # What is built in gets its address when it is started.
    urls = () if provider.built_in else (provider.base_url, *provider.fallback_base_urls)
    return next(filter(None, map(_url_problem, urls)), "")


def _url_problem(url: str) -> str:
    """Why a URL, which variables may be part of, leads nowhere; empty where it does not."""
    if parse_url(url) is not None:
        return ""
    return f"its base URL {mask_userinfo(url)[:MAX_SHOWN_CHARS]!r} is no http or https URL"


def _base_urls(
    row: ProviderRow, environment: Mapping[str, str], settings: ProviderSettings
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The base URLs in the order in which they are asked, and the variables that are missing."""
    template = settings.base_url or _base_url_from_environment(row, environment) or row.base_url
    missing: list[str] = []
    for variable, names in row.variables.items():
        value = next((environment[name] for name in names if environment.get(name)), "")
        if value:
            template = template.replace(f"{{{variable}}}", value)
        elif f"{{{variable}}}" in template:
            missing.append(names[0])
    return _urls_by_location(template.rstrip("/"), row.locations, environment, settings), tuple(
        missing
    )


def _base_url_from_environment(row: ProviderRow, environment: Mapping[str, str]) -> str:
    """The base URL that a variable names, or the endpoint that one names with the API's path."""
    for variable in row.base_url_env:
        if environment.get(variable):
            return environment[variable]
    named = ((environment.get(name, ""), path) for name, path in row.endpoint_env.items())
    return next((_url_of_endpoint(text, path, row) for text, path in named if text.strip()), "")


def _url_of_endpoint(text: str, path: str, row: ProviderRow) -> str:
    """An endpoint as other programs take it: with or without scheme, port and path.

    Example: at Ollama `0.0.0.0` is `http://127.0.0.1:11434/v1`
    """
    own = urlsplit(row.base_url)
    text = text.strip().rstrip("/")
    parts = urlsplit(text if "://" in text else f"{own.scheme}://{text}")
    host = parts.netloc.replace("0.0.0.0", "127.0.0.1")  # noqa: S104 - replaced, not bound
    if row.local and own.port and ":" not in host.rpartition("]")[2]:
        host = f"{host}:{own.port}"
    whole = parts.path.rstrip("/")
    return f"{parts.scheme}://{host}{whole if whole.endswith(path) else whole + path}"


def _urls_by_location(
    template: str,
    locations: Locations | None,
    environment: Mapping[str, str],
    settings: ProviderSettings,
) -> tuple[str, ...]:
    """The template for every location."""
    if locations is None:
        return (template,)
    text = next(
        (environment[name] for name in locations.env if environment.get(name)), locations.otherwise
    )
    names = settings.locations or (*text.replace(" ", "").split(","), *locations.then)
    default_host = locations.hosts.get("*", "")
    urls = [
        template.replace("{host}", locations.hosts.get(name, default_host)).replace(
            "{location}", name
        )
        for name in names
    ]
    return tuple(dict.fromkeys(urls))


def _credentials(
    name: str,
    row: ProviderRow,
    environment: Mapping[str, str],
    settings: ProviderSettings,
    change: ProviderChange,
) -> tuple[tuple[Credential, ...], KeysFrom, str]:
    """The keys of the first place that has one, and which place that is."""
    keys = [(credential.key, credential.weight) for credential in settings.credentials]
    path = f"providers.{name}.credentials"
    if not keys:
        keys, path = [(settings.key, 1)], f"providers.{name}.key"
    if configured := _numbered_credentials(row, keys):
        return configured, "settings", path
    if change.credentials:
        return change.credentials, "store", STORED_KEYS

    variable = next((each for each in row.key_env if environment.get(each)), "")
    if variable and not settings.credentials:
        keys = [(environment[variable], 1)]
        if found := _numbered_credentials(row, keys):
            return found, "environment", variable
    return (), "", ""


def _settings_keys(row: ProviderRow, settings: ProviderSettings) -> tuple[Credential, ...]:
    keys = [(credential.key, credential.weight) for credential in settings.credentials]
    return _numbered_credentials(row, keys or [(settings.key, 1)])


def _numbered_credentials(
    row: ProviderRow, keys: Iterable[tuple[str, int]]
) -> tuple[Credential, ...]:
    usable = [
        (key.strip(), weight)
        for key, weight in keys
        if key.strip() and not UNSET_VARIABLE.search(key)
    ]
    return tuple(
        Credential(id=f"{row.name}#{number}", key=Secret(key), weight=max(weight, 1))
        for number, (key, weight) in enumerate(usable, 1)
    )


def _unset_variables(settings: ProviderSettings) -> tuple[str, ...]:
    """The variables that its keys refer to and that the environment does not have."""
    keys = (settings.key, *(credential.key for credential in settings.credentials))
    return tuple(dict.fromkeys(name for key in keys for name in UNSET_VARIABLE.findall(key)))


def _headers(row: ProviderRow, environment: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(
        (header, environment[name])
        for header, name in row.header_env.items()
        if environment.get(name)
    )


def _quirks_at(row: ProviderRow, base_url: str) -> Quirks:
    """The row's quirks; where an operator says where the provider is, its queue is there too."""
    quirks = row.quirks
    if not quirks.queue_url or base_url == row.base_url:
        return quirks
    return msgspec.structs.replace(quirks, queue_url=base_url)


def _quirks(name: str, base: Quirks, changes: dict[str, Any]) -> Quirks:
    for field in changes:
        if field not in Quirks.__struct_fields__:
            near = get_close_matches(field, Quirks.__struct_fields__, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise Fault("bad_request", f"providers.{name}.quirks.{field}: no such quirk{hint}")
    try:
        quirks = msgspec.convert(msgspec.to_builtins(base) | changes, Quirks)
    except msgspec.ValidationError as error:
        raise Fault("bad_request", f"providers.{name}.quirks: {error}") from None
    for field, value in changes.items():
        if field.endswith("_by_model"):
            _check_patterns(f"providers.{name}.quirks.{field}", value)
        elif field == "cache_marks" and value is not None:
            _check_patterns(f"providers.{name}.quirks.{field}", (value,))
    return quirks


def _check_patterns(path: str, patterns: Iterable[str]) -> None:
    """Faults: `bad_request` for what is no regular expression."""
    for pattern in patterns:
        try:
            re.compile(pattern)
        except re.error as error:
            message = f"{path}: {pattern!r} is no regular expression: {error}"
            raise Fault("bad_request", message) from None
