"""What the doctor says of accounts: credentials that are no keys must be readable before a call needs them."""

from collections.abc import Iterator

from gatewayz.cli.findings import Finding
from gatewayz.core.faults import Fault
from gatewayz.providers.spec import TOKEN_AUTHS, Provider
from gatewayz.settings import Loaded
from gatewayz.upstream.google_accounts import Account, AuthorizedUser, Machine, ServiceAccount
from gatewayz.upstream.google_tokens import account_of

NAMES: dict[type[Account], str] = {
    ServiceAccount: "a service account's key",
    AuthorizedUser: "application-default credentials of a user",
    Machine: "the account of this machine",
}


def account_findings(found: Loaded, providers: dict[str, Provider]) -> Iterator[Finding]:
    """One finding for each account of a provider that is on."""
    for provider in providers.values():
        if provider.off or provider.auth not in TOKEN_AUTHS:
            continue
        for held in provider.credentials:
            try:
                account = account_of(held)
            except Fault as fault:
                yield Finding("bad", provider.id, fault.message)
                continue
            yield Finding(
                "ok", provider.id, f"{NAMES[type(account)]} for {', '.join(places_of(provider))}"
            )


def places_of(provider: Provider) -> tuple[str, ...]:
    """The hosts that are asked, in order."""
    urls = (provider.base_url, *provider.elsewhere)
    return tuple(url.partition("://")[2].partition("/")[0] for url in urls)
