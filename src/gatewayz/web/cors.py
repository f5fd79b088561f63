"""Cross-origin requests: off unless origins are configured; never with cookies, because there are none."""

from gatewayz.web.asgi import Message, RawHeaders, Scope, Send

PATHS = (b"/v1/", b"/api/chat/")
ALLOWED = (
    b"authorization, content-type, idempotency-key, x-api-key, x-gatewayz-tags, x-gatewayz-user, x-request-timeout-ms, "
    b"x-session-id, traceparent"
)
EXPOSED = (
    b"x-request-id, request-id, retry-after, x-gatewayz-provider, x-gatewayz-attempts, x-gatewayz-cost, "
    b"idempotent-replayed"
)
MAX_AGE_S = b"600"


class Cors:
    """Adds the headers for configured `origins`; `*` allows every origin."""

    def __init__(self, origins: tuple[str, ...]) -> None:
        self.origins = frozenset(origins)

    async def applied(self, scope: Scope, send: Send) -> tuple[bool, Send]:
        """Whether the request was a preflight that is answered now, and the `send` to go on with."""
        given = {
            name: value for name, value in scope["headers"] if name in {b"origin", b"access-control-request-method"}
        }
        origin = given.get(b"origin", b"")
        served = scope["raw_path"].startswith(PATHS)
        if not origin or not served or not self.origins & {"*", origin.decode("latin-1")}:
            return False, send
        headers: RawHeaders = [(b"access-control-allow-origin", origin), (b"vary", b"Origin")]
        if scope["method"] == "OPTIONS" and b"access-control-request-method" in given:
            await _preflight(send, headers)
            return True, send
        headers.append((b"access-control-expose-headers", EXPOSED))

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *headers]
            await send(message)

        return False, with_headers


async def _preflight(send: Send, headers: RawHeaders) -> None:
    more = [
        (b"access-control-allow-methods", b"GET, POST"),
        (b"access-control-allow-headers", ALLOWED),
        (b"access-control-max-age", MAX_AGE_S),
    ]
    await send({"type": "http.response.start", "status": 204, "headers": [*headers, *more]})
    await send({"type": "http.response.body", "body": b"", "more_body": False})
