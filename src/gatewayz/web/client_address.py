"""The address that a request comes from: the peer's, unless that is a proxy that is trusted.

`X-Forwarded-For` is walked from right to left over trusted proxies; what a client wrote itself is
further left than what the proxies added.
"""

from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from gatewayz.web.asgi import Scope


@lru_cache(maxsize=64)
def _networks(trusted: tuple[str, ...]) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(ip_network(item, strict=False) for item in trusted)


def address_from_scope(scope: Scope, headers: dict[str, str], trusted: tuple[str, ...]) -> str:
    """The client's address as text; empty if it is not known."""
    client = scope.get("client")
    address: str = client[0] if client else ""
    if not trusted:
        return address
    hops = [hop.strip() for hop in headers.get("x-forwarded-for", "").split(",") if hop.strip()]
    while hops and _is_trusted(address, trusted):
        address = hops.pop()
    return address if _is_address(address) else ""


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _is_trusted(address: str, trusted: tuple[str, ...]) -> bool:
    return _is_address(address) and any(
        ip_address(address) in network for network in _networks(trusted)
    )
