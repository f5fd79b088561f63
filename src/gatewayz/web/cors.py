"""Cross-origin requests (CORS): off unless origins are configured; there are no cookies."""

from gatewayz.web.asgi import Message, RawHeaders, Scope, Send

PATHS = (b"/v1/", b"/api/chat/")
REQUEST_HEADER_PREFIX = b"access-control-request-"
ALLOWED_HEADERS = (
    b"authorization, content-type, idempotency-key, x-api-key, x-gatewayz-tags, x-gatewayz-user, "
    b"x-request-timeout-ms, x-session-id, traceparent"
)
EXPOSED_HEADERS = (
    b"x-request-id, request-id, retry-after, x-gatewayz-provider, x-gatewayz-attempts, "
    b"x-gatewayz-cost, x-gatewayz-output-limit, idempotent-replayed"
)
SDK_HEADER_PREFIXES = (b"x-stainless-", b"anthropic-", b"openai-")
"""Prefixes of the headers that the official SDKs send from a page."""
MAX_REQUESTED_BYTES = 2_048
"""Of the header names that a preflight asks for; the rest is ignored."""
MAX_AGE_S = b"600"


class Cors:
    """Adds the headers for configured `origins`; `*` allows every origin."""

    def __init__(self, origins: tuple[str, ...]) -> None:
        self.origins = frozenset(origins)

    async def apply(self, scope: Scope, send: Send) -> tuple[bool, Send]:
        """Whether it was a preflight, which is answered here; and the `send` for all others."""
        cors_headers = {
            name: value
            for name, value in scope["headers"]
            if name == b"origin" or name.startswith(REQUEST_HEADER_PREFIX)
        }
        origin = cors_headers.get(b"origin", b"")
        is_served = scope["raw_path"].startswith(PATHS)
        if not origin or not is_served or not self.origins & {"*", origin.decode("latin-1")}:
            return False, send

        headers: RawHeaders = [(b"access-control-allow-origin", origin), (b"vary", b"Origin")]
        if scope["method"] == "OPTIONS" and REQUEST_HEADER_PREFIX + b"method" in cors_headers:
            requested = cors_headers.get(REQUEST_HEADER_PREFIX + b"headers", b"")
            await _answer_preflight(send, headers, requested)
            return True, send

        headers.append((b"access-control-expose-headers", EXPOSED_HEADERS))

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *headers]
            await send(message)

        return False, send_with_headers


async def _answer_preflight(send: Send, headers: RawHeaders, requested: bytes) -> None:
    names = (name.strip().lower() for name in requested[:MAX_REQUESTED_BYTES].split(b","))
    from_sdks = (name for name in names if name.startswith(SDK_HEADER_PREFIXES) and name.isascii())
    headers = [
        *headers,
        (b"access-control-allow-methods", b"GET, POST"),
        (b"access-control-allow-headers", b", ".join((ALLOWED_HEADERS, *from_sdks))),
        (b"access-control-max-age", MAX_AGE_S),
    ]
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b"", "more_body": False})
