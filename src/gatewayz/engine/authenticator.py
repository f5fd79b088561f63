"""Authentication: who calls, and from where.

One function for the three headers that may carry a key.
"""

from collections.abc import Mapping
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from gatewayz.core.calls import Principal
from gatewayz.core.faults import Fault
from gatewayz.core.keys import is_well_formed
from gatewayz.ports.keys import Keys

HEADERS = ("x-api-key", "api-key")
HOW_TO_SEND_A_KEY = (
    "send it as 'Authorization: Bearer <key>', 'x-api-key' or 'api-key'; "
    "`gatewayz keys create` makes one"
)


def key_from_headers(headers: Mapping[str, str]) -> str:
    """The one key that the headers carry.

    Faults: `unauthenticated` for none, `bad_request` for two.

    Of two different values the one that has our format counts, if exactly one has: SDKs insist on
    sending theirs.
    """
    values = {_bearer(headers), *(headers.get(name, "").strip() for name in HEADERS)} - {""}
    if not values:
        raise Fault("unauthenticated", f"No API key was given: {HOW_TO_SEND_A_KEY}.")
    if len(values) > 1:
        values = {value for value in values if is_well_formed(value)}
        if len(values) != 1:
            raise Fault("bad_request", "Two different credentials were given; send one.")
    return values.pop()


def _bearer(headers: Mapping[str, str]) -> str:
    scheme, _, value = headers.get("authorization", "").partition(" ")
    return value.strip() if scheme.lower() == "bearer" else ""


class Authenticator:
    """Finds out who calls, by the key that a request carries."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    async def principal_from_headers(self, headers: Mapping[str, str], address: str) -> Principal:
        """Who calls.

        Faults: `unauthenticated`, `bad_request`, `unavailable`, `forbidden` from this address.
        """
        key = key_from_headers(headers)
        if not is_well_formed(key):
            raise Fault(
                "unauthenticated",
                f"Incorrect API key provided: it is not a gatewayz key; {HOW_TO_SEND_A_KEY}.",
            )
        principal = await self._keys.principal(key)
        if principal.addresses and not is_in_networks(address, principal.addresses):
            raise Fault(
                "forbidden", f"This key may not be used from {address or 'an unknown address'}."
            )
        if principal.origins and headers.get("origin", "") not in principal.origins:
            raise Fault(
                "forbidden", "This token may only be used by the web pages that it was issued for."
            )
        return principal


def is_in_networks(address: str, networks: tuple[str, ...]) -> bool:
    """Whether the address is in one of the networks; one that nobody knows is in none."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    # An IPv4 client of a dual-stack listener comes as ::ffff:a.b.c.d; the networks say a.b.c.d.
    client = getattr(parsed, "ipv4_mapped", None) or parsed
    return any(client in network for network in _networks(networks))


@lru_cache(maxsize=10_000)
def _networks(texts: tuple[str, ...]) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(ip_network(text, strict=False) for text in texts)
