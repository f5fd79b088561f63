"""What HTTP's grammar lets stand where: names and values of headers, URLs of servers, origins.

The one place that says so, for settings, keys, rows, webhooks, proxies and requests alike. What
passes here cannot break a request's head (RFC 9110, sections 5.5 and 5.6.2; RFC 3986).
"""

import re
from urllib.parse import unquote, urlsplit

from msgspec import Struct

MAX_URL_CHARS = 8_192
MAX_HEADER_NAME_CHARS = 128
TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
HOST = re.compile(r"[0-9a-z._~%:-]+")
"""Of a URL, in lower case: a name, an IPv4 address, or an IPv6 address without its brackets."""
ORIGIN = re.compile(
    r"(https?)://(\[[0-9a-f:.]+\]|[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?)(?::([1-9][0-9]{0,4}))?"
)
DEFAULT_PORTS = {"http": 80, "https": 443}
USERINFO = re.compile(r"(?<=//)[^/\s]*@|^[^/\s]*@")


class ServerUrl(Struct, frozen=True):
    """An http or https URL in its parts; `user` and `password` are decoded.

    `authority` is host and port as they stand there, `target` what a request asks for.

    Example: `ServerUrl("https", "api.openai.com", 443, "api.openai.com", "/v1/models")`
    """

    scheme: str
    host: str
    port: int
    authority: str
    target: str
    user: str = ""
    password: str = ""
    has_userinfo: bool = False
    has_fragment: bool = False

    @property
    def tls(self) -> bool:
        return self.scheme == "https"


def parse_url(text: str) -> ServerUrl | None:
    """The parts of an absolute http or https URL; nothing for what is none.

    Only printable ASCII without spaces is one, so none of it can end a line of a request.
    """
    if len(text) > MAX_URL_CHARS or not text.isascii() or not text.isprintable() or " " in text:
        return None
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if parts.scheme not in DEFAULT_PORTS or not host or port == 0 or not HOST.fullmatch(host):
        return None
    return ServerUrl(
        scheme=parts.scheme,
        host=host,
        port=port or DEFAULT_PORTS[parts.scheme],
        authority=parts.netloc.rpartition("@")[2],
        target=(parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        has_userinfo="@" in parts.netloc,
        has_fragment="#" in text,
    )


def mask_userinfo(url: str) -> str:
    """A URL, or what was meant as one, without the name and the password in it.

    Example: `http://***@proxy:3128`
    """
    return USERINFO.sub("***@", url, count=1)


def is_header_name(text: str) -> bool:
    """Whether a header may have this name."""
    return len(text) <= MAX_HEADER_NAME_CHARS and TOKEN.fullmatch(text) is not None


def unsendable_character(text: str, *, spaces: bool = True) -> str:
    """Which character of the text no header carries, in words; empty when it carries all.

    Example: `unsendable_character("sk-“1”")` is `the character U+201C`
    """
    odd = next(
        (each for each in text if not "!" <= each <= "~" and (each != " " or not spaces)), ""
    )
    if not odd:
        return ""
    return "a space or line break" if odd.isspace() else f"the character U+{ord(odd):04X}"


def is_origin(text: str) -> bool:
    """Whether browsers send this as an `Origin`: they leave a default port out."""
    match = ORIGIN.fullmatch(text)
    return match is not None and (match[3] is None or int(match[3]) != DEFAULT_PORTS[match[1]])
