"""What the doctor says of keys and switches that operators set: which of two keys holds, and what is
stored for nothing.
"""

from collections.abc import Iterator

from gatewayz.catalog.sources import ProviderOverride
from gatewayz.cli.catalog import load_overrides
from gatewayz.cli.doctor.findings import Finding
from gatewayz.providers.registry import UNREADABLE_KEYS
from gatewayz.providers.spec import Provider
from gatewayz.settings import LoadedSettings


def provider_override_findings(
    loaded: LoadedSettings, providers: dict[str, Provider]
) -> Iterator[Finding]:
    """A finding for each provider with a stored key, and for each that is switched off."""
    for name, override in load_overrides(loaded).providers.items():
        provider = providers.get(name)
        if provider is None:
            message = f"something is stored of {name}, and no provider has that name"
            yield Finding("note", "providers", message)
            continue
        if override.off:
            message = f"{override.off}; `gatewayz providers on {name}` ends that"
            yield Finding("note", name, message)
        if override.keys and not provider.unsendable:
            yield _key_finding(loaded, provider, override)


def _key_finding(loaded: LoadedSettings, provider: Provider, override: ProviderOverride) -> Finding:
    if provider.keys_from == "settings":
        message = f"a stored key is not used: {provider.key_source} holds over it"
        return Finding("note", provider.id, message)
    if len(provider.credentials) < len(override.keys) or provider.keys_from != "store":
        return Finding("bad", provider.id, UNREADABLE_KEYS)
    variables = " or ".join(filter(loaded.environment.get, provider.key_env))
    instead = f", which holds over {variables}" if variables else ""
    shown = ", ".join(key.shown for key in override.keys)
    return Finding("ok", provider.id, f"asked with its stored key {shown}{instead}")
