"""Files: what a provider names by its address, fetched as steps where the client wants the bytes.

Bounds and redirects are here; where a request may go at all is decided below, from the address that it resolves to.
"""

from collections.abc import Generator
from typing import NamedTuple
from urllib.parse import urljoin

from gatewayz.core.faults import Fault
from gatewayz.dialects.base import Answer, Draft, Send, Step

MAX_FILE_BYTES = 20 * 2**20
FILE_MS = 10_000
MAX_REDIRECTS = 3
REDIRECTS = frozenset({301, 302, 303, 307, 308})


class Fetched(NamedTuple):
    """A file: its content type in lower case, and its bytes."""

    kind: str
    content: bytes


def fetched(url: str) -> Generator[Step, Answer | None, Fetched]:
    """The file at an address of the web. Faults: `upstream_broken` when it is not to be had."""
    for _ in range(MAX_REDIRECTS + 1):
        if not url.startswith(("https://", "http://")):
            raise Fault(
                "upstream_broken",
                "The provider named a file at an address that is none of the web's.",
            )
        answer = yield Send(
            Draft(url, None, method="GET"),
            whole=True,
            limit_bytes=MAX_FILE_BYTES,
            within_ms=FILE_MS,
        )
        if answer is None or (answer.status != 200 and answer.status not in REDIRECTS):
            status = answer.status if answer is not None else 0
            raise Fault(
                "upstream_broken",
                f"The provider named a file that cannot be fetched (HTTP {status}).",
            )
        if answer.status == 200:
            kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
            return Fetched(kind, answer.body)
        url = urljoin(url, answer.headers.get("location", ""))
    raise Fault(
        "upstream_broken",
        f"The provider named a file that is redirected more than {MAX_REDIRECTS} times.",
    )
