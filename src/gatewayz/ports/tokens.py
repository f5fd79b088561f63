"""The port to whoever issues tokens: a credential that is no key itself becomes the secret that
goes out.
"""

from typing import Protocol

from gatewayz.core.secrets import Secret
from gatewayz.providers.spec import Credential


class AccessTokens(Protocol):
    """Access tokens, kept until shortly before they expire.

    `get_token` faults: `upstream_auth` (the credential is no use), `upstream_timeout`,
    `upstream_unreachable`, `upstream_limited`, `upstream_error`, `upstream_broken` (of the issuer,
    not of the model).
    """

    async def get_token(self, credential: Credential, proxy: str = "") -> Secret:
        """The access token of a credential, fetched through the proxy that its provider has."""
        ...

    def invalidate(self, credential: Credential, token: Secret) -> bool:
        """A provider refused the token: whether a fresh one is worth a second try."""
        ...
