"""Cross-origin requests: off unless origins are configured; never with cookies, because there are none."""

from gatewayz.web.asgi import Message, RawHeaders, Scope, Send

PATHS = (b"/v1/", b"/api/chat/")
ASKS = b"access-control-request-"
ALLOWED = (
    b"authorization, content-type, idempotency-key, x-api-key, x-gatewayz-tags, x-gatewayz-user, x-request-timeout-ms, "
    b"x-session-id, traceparent"
)
EXPOSED = (
    b"x-request-id, request-id, retry-after, x-gatewayz-provider, x-gatewayz-attempts, x-gatewayz-cost, "
    b"idempotent-replayed"
)
SDKS = (b"x-stainless-", b"anthropic-", b"openai-")
"""What the names of the headers begin with that the official SDKs send from a page."""
MAX_ASKED = 2_048
MAX_AGE_S = b"600"


class Cors:
    """Adds the headers for configured `origins`; `*` allows every origin."""

    def __init__(self, origins: tuple[str, ...]) -> None:
        self.origins = frozenset(origins)

    async def applied(self, scope: Scope, send: Send) -> tuple[bool, Send]:
        """Whether the request was a preflight that is answered now, and the `send` to go on with."""
        given = {
            name: value
            for name, value in scope["headers"]
            if name == b"origin" or name.startswith(ASKS)
        }
        origin = given.get(b"origin", b"")
        served = scope["raw_path"].startswith(PATHS)
        if not origin or not served or not self.origins & {"*", origin.decode("latin-1")}:
            return False, send
        headers: RawHeaders = [(b"access-control-allow-origin", origin), (b"vary", b"Origin")]
        if scope["method"] == "OPTIONS" and ASKS + b"method" in given:
            await _preflight(send, headers, given.get(ASKS + b"headers", b""))
            return True, send
        headers.append((b"access-control-expose-headers", EXPOSED))

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *headers]
            await send(message)

        return False, with_headers


async def _preflight(send: Send, headers: RawHeaders, asked: bytes) -> None:
    names = (name.strip().lower() for name in asked[:MAX_ASKED].split(b","))
    allowed = b", ".join(
        (ALLOWED, *(name for name in names if name.startswith(SDKS) and name.isascii()))
    )
    more = [
        (b"access-control-allow-methods", b"GET, POST"),
        (b"access-control-allow-headers", allowed),
        (b"access-control-max-age", MAX_AGE_S),
    ]
    await send({"type": "http.response.start", "status": 204, "headers": [*headers, *more]})
    await send({"type": "http.response.body", "body": b"", "more_body": False})
