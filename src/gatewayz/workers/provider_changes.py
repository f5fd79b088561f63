"""Providers with what operators have set of them in the store, made anew after each change."""

from collections.abc import Mapping

from msgspec.structs import replace

from gatewayz.catalog.sources import Overrides
from gatewayz.control.provider_keys import changes_from_overrides
from gatewayz.core.redaction import Redactor
from gatewayz.providers.registry import provider_rows, providers_from
from gatewayz.providers.spec import Provider, ProviderSettings
from gatewayz.store.secret import Peppers
from gatewayz.workers.catalog_sync import ProviderBuilder


def provider_builder(
    environment: Mapping[str, str],
    settings: Mapping[str, ProviderSettings],
    peppers: Peppers,
    redactor: Redactor,
    simulator: Provider,
) -> ProviderBuilder:
    """What makes the providers of an `Overrides`. The redactor knows a key before it is used.

    `simulator` stays at the address at which it was started.
    """

    def build(overrides: Overrides) -> dict[str, Provider]:
        changes = changes_from_overrides(overrides, peppers)
        redactor.learn(
            credential.key.reveal()
            for change in changes.values()
            for credential in change.credentials
        )
        providers = providers_from(provider_rows(), environment, settings, changes)
        kept = replace(providers[simulator.id], base_url=simulator.base_url)
        return {**providers, simulator.id: kept}

    return build
