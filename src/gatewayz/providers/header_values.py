"""Header values: what of a provider's keys and headers a request can carry.

A key that was pasted with curly quotes, or with the end of its line in the middle, is no key; whoever
set it is told which character, and never what stands around it.
"""

from msgspec.structs import replace

from gatewayz.core.http_syntax import is_header_name, unsendable_character
from gatewayz.providers.spec import TOKEN_AUTH_FORMS, Credential, Provider


def keep_sendable(provider: Provider) -> Provider:
    """The provider with the keys that a header carries; `unsendable` says what is wrong with others,
    or with the provider's own headers.
    """
    problems = [_key_problem(provider, credential) for credential in provider.credentials]
    pairs = zip(provider.credentials, problems, strict=True)
    kept = tuple(credential for credential, problem in pairs if not problem)
    unsendable = next(
        (problem for problem in (*problems, _header_problem(provider)) if problem), ""
    )
    return replace(provider, credentials=kept, unsendable=unsendable) if unsendable else provider


def has_odd_header(provider: Provider) -> bool:
    """Whether no request to this provider can be sent, whichever key it has."""
    return bool(_header_problem(provider))


def _key_problem(provider: Provider, credential: Credential) -> str:
    if provider.auth in TOKEN_AUTH_FORMS or provider.auth == "none":
        return ""
    odd = unsendable_character(credential.key.reveal())
    where = provider.key_source or "its key"
    return f"{where} contains {odd}, which no header carries; paste the key alone" if odd else ""


def _header_problem(provider: Provider) -> str:
    for name, value in provider.headers:
        if not is_header_name(name):
            return f"{name[:40]!r} is no name of a header"
        if odd := unsendable_character(value):
            return f"its header {name} contains {odd}, which no header carries"
    return ""
