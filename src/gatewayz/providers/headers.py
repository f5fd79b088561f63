"""Headers of requests to providers, built from nothing: what goes out is what is listed here.

The credential goes to a provider's own hosts only.
"""

from functools import lru_cache

from gatewayz import __version__
from gatewayz.providers.spec import Auth, Credential, Provider

Headers = tuple[tuple[str, str], ...]

USER_AGENT = f"gatewayz/{__version__}"
PUBLIC_HEADERS = (("Accept", "*/*"), ("Accept-Encoding", "identity"), ("User-Agent", USER_AGENT))
"""All that a host sees that is not the provider's own, such as one that keeps its files."""
AUTH_HEADERS: dict[Auth, tuple[str, str]] = {
    "bearer": ("Authorization", "Bearer "),
    "optional_bearer": ("Authorization", "Bearer "),
    "api_key": ("api-key", ""),
    "x_api_key": ("x-api-key", ""),
    "key": ("Authorization", "Key "),
    "x_goog_api_key": ("x-goog-api-key", ""),
    "google": ("Authorization", "Bearer "),
}
"""Form of authentication → header and what stands before the key."""
MAX_HOSTS_CACHED = 1_000


def auth_headers(provider: Provider, credential: Credential | None) -> Headers:
    """The header that carries the credential; none where the provider takes none."""
    if credential is None or provider.auth not in AUTH_HEADERS:
        return ()
    name, prefix = AUTH_HEADERS[provider.auth]
    return ((name, prefix + credential.key.reveal()),)


@lru_cache(maxsize=MAX_HOSTS_CACHED)
def own_hosts(*urls: str) -> tuple[str, ...]:
    """Schemes and hosts, each with the slash that ends it, so that no longer host begins with one.

    Example: `own_hosts("https://fal.run/x")` is `("https://fal.run/",)`
    """
    parts = [url.partition("://") for url in urls if url]
    return tuple(f"{scheme}://{rest.partition('/')[0]}/" for scheme, _, rest in parts)
