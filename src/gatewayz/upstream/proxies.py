"""HTTP proxies: which one a connection goes through, by the usual variables or a provider's own.

Names in lower case go before those in upper case. What only this machine can reach (loopback,
link-local addresses and their metadata servers) never goes through one of the variables' proxies.
"""

import base64
from collections.abc import Mapping
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

from msgspec import Struct

from gatewayz.core.faults import Fault
from gatewayz.core.http_syntax import mask_userinfo, parse_url
from gatewayz.core.secrets import Secret

DIRECT = "direct"
"""In the place of a proxy's URL: none, whatever the variables say."""
VARIABLES = {"http": ("http_proxy", "HTTP_PROXY"), "https": ("https_proxy", "HTTPS_PROXY")}
EXCEPTION_VARIABLES = ("no_proxy", "NO_PROXY")
LOCAL_NAMES = ("localhost", "metadata.google.internal")
MAX_EXCEPTIONS = 1_000
MAX_SHOWN_CHARS = 200
NO_PROXY_URL = "is no HTTP proxy; write http://host:port, or http://user:password@host:port"


class Proxy(Struct, frozen=True):
    """A proxy, and the value of `Proxy-Authorization` where it wants one.

    Example: `Proxy("proxy.corp.example", 3128)`
    """

    host: str
    port: int
    authorization: Secret | None = None

    @property
    def name(self) -> str:
        """Host and port, for people."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class ProxyException(Struct, frozen=True):
    """An entry of `NO_PROXY`: a name with those below it, or a network; `*` is the name of all."""

    name: str = ""
    network: IPv4Network | IPv6Network | None = None
    port: int | None = None

    def matches(self, host: str, port: int) -> bool:
        if self.port is not None and self.port != port:
            return False
        if self.network is not None:
            address = _address_from_host(host)
            return address is not None and address in self.network
        return self.name == "*" or host == self.name or host.endswith(f".{self.name}")


class ProxyRules(Struct, frozen=True):
    """What the variables say.

    Example: `ProxyRules(https=Proxy("proxy.corp.example", 3128))`
    """

    http: Proxy | None = None
    https: Proxy | None = None
    exceptions: tuple[ProxyException, ...] = ()

    def choose(self, named: str, host: str, port: int, *, tls: bool) -> Proxy | None:
        """The proxy on the way to a host; `named` is the one that its provider has, if any.

        Faults: `upstream_unreachable` where that one is none.
        """
        if named == DIRECT:
            return None
        if named:
            proxy = proxy_from_url(named)
            if proxy is None:
                raise Fault(
                    "upstream_unreachable",
                    f"The provider at {host} cannot be reached: its proxy is no HTTP proxy.",
                    blame="gateway",
                )
            return proxy
        proxy = self.https if tls else self.http
        if proxy is None or _is_local(host):
            return None
        return None if any(each.matches(host, port) for each in self.exceptions) else proxy


def proxy_rules_from(environment: Mapping[str, str]) -> ProxyRules:
    """What the variables say. Faults: `bad_request` for one that names no HTTP proxy."""
    proxies = {
        scheme: _proxy_from_variables(environment, names) for scheme, names in VARIABLES.items()
    }
    entries = next((environment[name] for name in EXCEPTION_VARIABLES if environment.get(name)), "")
    words = entries.replace(",", " ").split()[:MAX_EXCEPTIONS]
    return ProxyRules(proxies["http"], proxies["https"], tuple(map(_exception_from_text, words)))


def _proxy_from_variables(environment: Mapping[str, str], names: tuple[str, ...]) -> Proxy | None:
    name = next((name for name in names if environment.get(name, "").strip()), "")
    if not name:
        return None
    text = environment[name].strip()
    proxy = proxy_from_url(text)
    if proxy is None:
        shown = mask_userinfo(text)[:MAX_SHOWN_CHARS]
        raise Fault("bad_request", f"{name}: {shown!r} {NO_PROXY_URL}.")
    return proxy


def proxy_from_url(text: str) -> Proxy | None:
    """The proxy that a URL names; nothing for what names none. Its scheme may be left out.

    Example: `proxy_from_url("user:pw@proxy:3128")` is `Proxy("proxy", 3128, Secret("Basic …"))`
    """
    url = parse_url(text if "://" in text else f"http://{text}")
    if url is None or url.tls or url.target != "/" or url.has_fragment:
        return None
    authorization = None
    if url.has_userinfo:
        pair = base64.b64encode(f"{url.user}:{url.password}".encode()).decode()
        authorization = Secret(f"Basic {pair}")
    return Proxy(url.host, url.port, authorization)


def proxy_secrets(text: str) -> list[str]:
    """What must never be shown of a proxy's URL: its password, and the header made of it."""
    url = parse_url(text if "://" in text else f"http://{text}")
    proxy = proxy_from_url(text)
    if url is None or proxy is None or proxy.authorization is None:
        return []
    return [url.password, proxy.authorization.reveal().removeprefix("Basic ")]


def environment_proxy_secrets(environment: Mapping[str, str]) -> list[str]:
    """The same for the proxies of the variables."""
    texts = [environment.get(name, "") for names in VARIABLES.values() for name in names]
    return [secret for text in texts if text for secret in proxy_secrets(text.strip())]


def _exception_from_text(text: str) -> ProxyException:
    """An entry as it is written: `host`, `.host`, `*.host`, `host:port`, an address, a network."""
    try:
        return ProxyException(network=ip_network(text.strip("[]"), strict=False))
    except ValueError:
        pass
    name, colon, digits = text.rpartition(":")
    port = int(digits[:5]) if colon and digits.isascii() and digits.isdecimal() else None
    name = (name if port is not None else text).lower()
    try:
        return ProxyException(network=ip_network(name.strip("[]"), strict=False), port=port)
    except ValueError:
        return ProxyException(name="*" if name == "*" else name.lstrip("*").strip("."), port=port)


def _address_from_host(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host.partition("%")[0])
    except ValueError:
        return None


def _is_local(host: str) -> bool:
    """Whether only this machine can reach a host."""
    address = _address_from_host(host)
    if address is not None:
        return bool(address.is_loopback or address.is_link_local or address.is_unspecified)
    return host in LOCAL_NAMES or host.endswith(".localhost")
