"""Files: what a provider names by its URL, fetched as steps where the client wants the bytes.

Bounds and redirects are here; where a request may go at all is decided by the transport, from the
address that the host resolves to.
"""

from collections.abc import Generator
from typing import NamedTuple
from urllib.parse import urljoin

from gatewayz.core.faults import Fault
from gatewayz.dialects.kit.base import HTTP_OK, Draft, Send, Step, UpstreamAnswer
from gatewayz.dialects.kit.decoder import media_type

MAX_FILE_BYTES = 20 * 2**20
FILE_TIMEOUT_MS = 10_000
MAX_REDIRECTS = 3
MAX_SHOWN = 80
"""Characters of a URL in an error."""
REDIRECTS = frozenset({301, 302, 303, 307, 308})


class FetchedFile(NamedTuple):
    """A file: its media type in lower case, and its bytes."""

    media_type: str
    content: bytes


def fetch_file(url: str) -> Generator[Step, UpstreamAnswer | None, FetchedFile]:
    """The file at a URL. Faults: `upstream_broken` when it cannot be fetched."""
    for _ in range(MAX_REDIRECTS + 1):
        if not url.startswith(("https://", "http://")):
            message = f"The provider named a file that is not on the web: {url[:MAX_SHOWN]!r}."
            raise Fault("upstream_broken", message)

        answer = yield Send(
            Draft(url, None, method="GET"),
            read_whole=True,
            limit_bytes=MAX_FILE_BYTES,
            timeout_ms=FILE_TIMEOUT_MS,
        )
        if answer is None or (answer.status != HTTP_OK and answer.status not in REDIRECTS):
            status = answer.status if answer is not None else 0
            raise Fault(
                "upstream_broken",
                f"The provider named a file that cannot be fetched (HTTP {status}).",
            )
        if answer.status == HTTP_OK:
            return FetchedFile(media_type(answer.headers.get("content-type", "")), answer.body)
        url = _redirect_url(url, answer.headers.get("location", ""))
    raise Fault(
        "upstream_broken",
        f"The provider named a file that is redirected more than {MAX_REDIRECTS} times.",
    )


def _redirect_url(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError as error:
        raise Fault(
            "upstream_broken", "The provider named a file that is redirected to no URL."
        ) from error
