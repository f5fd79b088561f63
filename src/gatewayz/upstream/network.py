"""The network as the operator has set it up: whom TLS trusts, and which proxies are on the way."""

import ssl
from collections.abc import Mapping

from msgspec import Struct, field

from gatewayz.upstream.proxies import ProxyRules, proxy_rules_from
from gatewayz.upstream.tls import tls_context


class Network(Struct, frozen=True):
    """What connections to upstreams are made with; without anything set, directly."""

    tls: ssl.SSLContext = field(default_factory=tls_context)
    proxies: ProxyRules = ProxyRules()


def network_from(ca_file: str, environment: Mapping[str, str]) -> Network:
    """The network of these settings. Faults: `bad_request` for a file or a proxy that is none."""
    return Network(tls_context(ca_file, environment), proxy_rules_from(environment))
