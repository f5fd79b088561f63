"""What the doctor says of accounts: credentials that are no keys must be readable before a call."""

from collections.abc import Iterator

from gatewayz.cli.doctor.findings import Finding
from gatewayz.core.faults import Fault
from gatewayz.providers.spec import TOKEN_AUTH_FORMS, Provider
from gatewayz.settings import LoadedSettings
from gatewayz.upstream.google_accounts import AccountKind
from gatewayz.upstream.google_tokens import load_account

CREDENTIAL_NAMES: dict[AccountKind, str] = {
    "service_account": "a service account's key",
    "authorized_user": "application-default credentials of a user",
    "external_account": "workload identity federation",
    "metadata": "the account of this machine",
}


def account_findings(loaded: LoadedSettings, providers: dict[str, Provider]) -> Iterator[Finding]:
    """One finding for each account of a provider that is on."""
    for provider in providers.values():
        if provider.off or provider.auth not in TOKEN_AUTH_FORMS:
            continue
        hosts = ", ".join(provider_hosts(provider))
        for credential in provider.credentials:
            try:
                account = load_account(credential)
            except Fault as fault:
                yield Finding("bad", provider.id, fault.message)
                continue
            yield Finding("ok", provider.id, f"{CREDENTIAL_NAMES[account.kind]} for {hosts}")


def provider_hosts(provider: Provider) -> tuple[str, ...]:
    """The hosts that are asked, in order."""
    urls = (provider.base_url, *provider.fallback_base_urls)
    return tuple(url.partition("://")[2].partition("/")[0] for url in urls)
