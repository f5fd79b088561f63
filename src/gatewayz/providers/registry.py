"""The providers of this installation: rows, the operator's settings, and the keys in the environment, as one table."""

import re
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from typing import Any

import msgspec

from gatewayz.core.faults import Fault
from gatewayz.core.secrets import Secret
from gatewayz.dialects.registry import UPSTREAMS
from gatewayz.providers.spec import Credential, Locations, Provider, ProviderSettings, Quirks, Row

ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
"""No dot: seals carry the id in front of one."""
OPENAI_WIRES = ("openai_images", "openai_embeddings")
"""What a server of one's own that speaks OpenAI Chat is taken to speak besides."""


@cache
def rows() -> dict[str, Row]:
    """The rows of providers.toml."""
    text = files("gatewayz.providers").joinpath("providers.toml").read_text("utf-8")
    return msgspec.convert(tomllib.loads(text), dict[str, Row])


def providers_from(
    table: Mapping[str, Row],
    environment: Mapping[str, str],
    settings: Mapping[str, ProviderSettings],
) -> dict[str, Provider]:
    """Every provider, on or off with the reason. Faults: `bad_request` for settings that make no sense."""
    for name, given in settings.items():
        if name not in table:
            _check_new(name, given, table)
    merged = {
        name: _provider(name, row, environment, settings.get(name)) for name, row in table.items()
    }
    for name, given in settings.items():
        if name not in table:
            more = OPENAI_WIRES if given.dialect == "openai_chat" else ()
            row = Row(
                name=given.name or name,
                dialect=given.dialect,
                more_dialects=more,
                base_url=given.base_url,
                auth="optional_bearer",
            )
            merged[name] = msgspec.structs.replace(
                _provider(name, row, environment, given), own=True
            )
    return merged


def _check_new(name: str, given: ProviderSettings, table: Mapping[str, Row]) -> None:
    if given.dialect and given.base_url:
        if not ID.fullmatch(name):
            raise Fault(
                "bad_request",
                f"providers.{name}: an id has lower-case letters, digits, '-' and '_' only",
            )
        if given.dialect not in UPSTREAMS:
            raise Fault(
                "bad_request",
                f"providers.{name}.dialect: {given.dialect!r} is none of {', '.join(UPSTREAMS)}",
            )
        return
    near = get_close_matches(name, table, 1)
    hint = (
        f"did you mean {near[0]!r}?"
        if near
        else "a provider of your own needs a dialect and a base_url"
    )
    raise Fault("bad_request", f"providers.{name}: no such provider; {hint}")


def _provider(
    name: str, row: Row, environment: Mapping[str, str], given: ProviderSettings | None
) -> Provider:
    said = given or ProviderSettings()
    row = _by_account(row, environment, said)
    base_urls, missing = _base_urls(row, environment, said)
    credentials = _credentials(row, environment, said)
    auth = said.auth or row.auth
    provider = Provider(
        id=name,
        name=said.name or row.name,
        dialect=said.dialect or row.dialect,
        more_dialects=row.more_dialects if said.more_dialects is None else said.more_dialects,
        path_by_model=row.path_by_model,
        dialect_by_model=row.dialect_by_model
        if said.dialect_by_model is None
        else said.dialect_by_model,
        base_url=base_urls[0],
        elsewhere=base_urls[1:],
        elsewhere_on=row.locations.statuses if row.locations is not None else (),
        auth=auth,
        credentials=credentials,
        headers=(*_headers(row, environment), *said.headers.items()),
        priority=said.priority,
        markup_bp=said.markup_bp,
        free=row.free if said.free is None else said.free,
        local=row.local,
        built_in=row.built_in,
        verified=row.verified,
        quirks=_quirks(name, row.quirks, said.quirks),
        errors=row.errors,
        key_env=row.key_env,
    )
    configured = given is not None or any(
        environment.get(variable) for variable in row.base_url_env
    )
    return msgspec.structs.replace(
        provider, off=_why_off(provider, said, missing, configured=configured)
    )


def _by_account(row: Row, environment: Mapping[str, str], said: ProviderSettings) -> Row:
    """The row as it is without a key: where the settings ask for that, or only an account is to be found."""
    account = row.account
    if account is None:
        return row
    named = any(environment.get(name) for name in account.env)
    keyed = bool(said.key or said.credentials) or any(environment.get(name) for name in row.key_env)
    if said.auth != account.auth and (said.auth is not None or keyed or not named):
        return row
    return msgspec.structs.replace(
        row,
        auth=account.auth,
        base_url=account.base_url,
        key_env=account.env,
        variables=account.variables,
    )


def _why_off(
    provider: Provider, said: ProviderSettings, missing: tuple[str, ...], *, configured: bool
) -> str:
    if not said.enabled:
        return "switched off in the settings (enabled: false)"
    if provider.dialect not in UPSTREAMS:
        return f"its dialect {provider.dialect} is not spoken by this version"
    if provider.auth not in {"none", "optional_bearer"} and not provider.credentials:
        return (
            f"set {provider.key_env[0]}" if provider.key_env else f"set providers.{provider.id}.key"
        )
    if provider.local and not configured:
        return f"local server: set providers.{provider.id}.base_url"
    return f"set {' and '.join(missing)}" if missing else ""


def _base_urls(
    row: Row, environment: Mapping[str, str], said: ProviderSettings
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The base URLs in the order in which they are asked, filled in, and the variables that are missing."""
    named = next(
        (environment[variable] for variable in row.base_url_env if environment.get(variable)), ""
    )
    template = said.base_url or named or row.base_url
    missing: list[str] = []
    for variable, names in row.variables.items():
        value = next((environment[name] for name in names if environment.get(name)), "")
        if value:
            template = template.replace(f"{{{variable}}}", value)
        elif f"{{{variable}}}" in template:
            missing.append(names[0])
    return _located(template.rstrip("/"), row.locations, environment, said), tuple(missing)


def _located(
    template: str,
    locations: Locations | None,
    environment: Mapping[str, str],
    said: ProviderSettings,
) -> tuple[str, ...]:
    """The template for every location."""
    if locations is None:
        return (template,)
    first = next(
        (environment[name] for name in locations.env if environment.get(name)), locations.otherwise
    )
    named = said.locations or (*first.replace(" ", "").split(","), *locations.then)
    hosts = {
        location: locations.hosts.get(location, locations.hosts.get("*", "")) for location in named
    }
    filled = [
        template.replace("{host}", host).replace("{location}", location)
        for location, host in hosts.items()
    ]
    return tuple(dict.fromkeys(filled))


def _credentials(
    row: Row, environment: Mapping[str, str], said: ProviderSettings
) -> tuple[Credential, ...]:
    given = [(item.key, item.weight) for item in said.credentials] or (
        [(said.key, 1)] if said.key else []
    )
    if not given and not said.credentials:
        found = next((environment[name] for name in row.key_env if environment.get(name)), "")
        given = [(found, 1)]
    kept = [(key.strip(), weight) for key, weight in given if key.strip()]
    return tuple(
        Credential(id=f"{row.name}#{number}", key=Secret(key), weight=max(weight, 1))
        for number, (key, weight) in enumerate(kept, 1)
    )


def _headers(row: Row, environment: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(
        (header, environment[name])
        for header, name in row.header_env.items()
        if environment.get(name)
    )


def _quirks(name: str, base: Quirks, changes: dict[str, Any]) -> Quirks:
    for field in changes:
        if field not in Quirks.__struct_fields__:
            near = get_close_matches(field, Quirks.__struct_fields__, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise Fault("bad_request", f"providers.{name}.quirks.{field}: no such quirk{hint}")
    try:
        return msgspec.convert(msgspec.to_builtins(base) | changes, Quirks)
    except msgspec.ValidationError as wrong:
        raise Fault("bad_request", f"providers.{name}.quirks: {wrong}") from None
