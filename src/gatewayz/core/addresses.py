"""Which addresses are on the public internet: a request whose host others than the operator named
may go nowhere else.
"""

import ipaddress

NOT_PUBLIC = tuple(
    map(
        ipaddress.ip_network,
        ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32", "fec0::/10"),
    )
)
"""IPv6 ranges that carry an IPv4 address inside (NAT64, 6to4, Teredo), which may be any; the old
site-local one.
"""


def is_public(text: str) -> bool:
    """Whether everybody on the internet can reach this address; a zone (`%eth0`) is ignored."""
    address = ipaddress.ip_address(text.partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    if mapped is not None:
        address = mapped
    if address.is_multicast or address.is_reserved or not address.is_global:
        return False
    return not any(
        address in network for network in NOT_PUBLIC if network.version == address.version
    )
