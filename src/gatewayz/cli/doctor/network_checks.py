"""What the doctor says of the network: authorities, proxies, the listener's certificate, and whether
servers of one's own listen.
"""

import os
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from gatewayz.cli.doctor.findings import Finding, Level
from gatewayz.core.faults import Fault
from gatewayz.core.http_syntax import parse_url
from gatewayz.providers.spec import Provider
from gatewayz.settings import LoadedSettings
from gatewayz.upstream.proxies import DIRECT, Proxy, proxy_from_url
from gatewayz.web.tls import certificate_end, open_listener_tls

CONNECT_TIMEOUT_S = 2.0
RENEW_BEFORE = timedelta(days=14)
"""A certificate that ends sooner should have been renewed."""


def network_findings(loaded: LoadedSettings, providers: dict[str, Provider]) -> Iterator[Finding]:
    """The file of authorities, and each proxy that is named."""
    try:
        network = loaded.open_network()
    except Fault as fault:
        yield Finding("bad", "network", fault.message)
        return
    ca_file = loaded.settings.tls.ca_file
    authorities = network.tls.cert_store_stats()["x509_ca"]
    if ca_file:
        yield Finding(
            "ok", "TLS", f"{authorities} certificate authorities, with those of {ca_file}"
        )
    elif not authorities and not os.environ.get("SSL_CERT_DIR"):
        yield Finding(
            "note", "TLS", "no certificate authorities were found; install ca-certificates"
        )
    for scheme, proxy in (("https", network.proxies.https), ("http", network.proxies.http)):
        if proxy is not None:
            yield _proxy_finding(f"{scheme} proxy", proxy)
    for provider in providers.values():
        named = proxy_from_url(provider.proxy) if provider.proxy not in {"", DIRECT} else None
        if named is not None and not provider.off:
            yield _proxy_finding(f"{provider.id} proxy", named)


def listener_findings(loaded: LoadedSettings, providers: dict[str, Provider]) -> Iterator[Finding]:
    """Whether the listener's certificate can be used, and how long."""
    settings = loaded.settings.web.tls
    try:
        tls = open_listener_tls(settings, lambda _: None)
    except Fault as fault:
        yield Finding("bad", "listener's TLS", fault.message)
        return
    end = certificate_end(settings)
    if tls is None or end is None:
        return
    left = end - datetime.now(UTC)
    level: Level = "ok" if left > RENEW_BEFORE else "note"
    verb = "ends" if left > timedelta() else "has ended"
    yield Finding(
        level if left > timedelta() else "bad",
        "listener's TLS",
        f"the certificate in {settings.cert_file} {verb} on {end:%Y-%m-%d %H:%M} UTC"
        + ("" if level == "ok" else "; renew it"),
    )


def connection_finding(loaded: LoadedSettings, provider: Provider) -> Finding:
    """Whether a server of the operator's own listens, or is behind a proxy."""
    url = parse_url(provider.base_url)
    if url is None:
        return Finding("bad", provider.id, "its base_url is no http or https URL; fix base_url")
    try:
        rules = loaded.open_network().proxies
        proxy = rules.choose(provider.proxy, url.host, url.port, tls=url.tls)
    except Fault as fault:
        return Finding("bad", provider.id, fault.message)
    if proxy is not None:
        return Finding("ok", provider.id, f"is asked at {url.authority} through {proxy.name}")
    try:
        socket.create_connection((url.host, url.port), CONNECT_TIMEOUT_S).close()
    except OSError as error:
        why = f"nothing answers at {url.host}:{url.port} ({error}); start it, or fix base_url"
        return Finding("bad", provider.id, why)
    return Finding("ok", provider.id, f"something listens at {url.host}:{url.port}")


def _proxy_finding(subject: str, proxy: Proxy) -> Finding:
    try:
        socket.create_connection((proxy.host, proxy.port), CONNECT_TIMEOUT_S).close()
    except OSError as error:
        return Finding("bad", subject, f"nothing answers at {proxy.name} ({error})")
    return Finding("ok", subject, f"something listens at {proxy.name}")
