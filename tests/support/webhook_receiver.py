"""A receiver of webhooks on a real socket: it keeps what it was sent and answers as its script says."""

import asyncio
import json
from typing import Any, NamedTuple

import openai

TOLERANCE_S = 300


class WebhookRequest(NamedTuple):
    """A request as it came in: headers with lower-case names, the body byte for byte."""

    head: str
    headers: dict[str, str]
    body: bytes

    @property
    def payload(self) -> Any:
        return json.loads(self.body)

    def verify(self, secret: str) -> None:
        """Verifies the signature as OpenAI's SDK does; raises what it raises."""
        client = openai.OpenAI(api_key="none", webhook_secret=secret)
        client.webhooks.verify_signature(self.body, self.headers, tolerance=TOLERANCE_S)


class WebhookReceiver:
    """Answers each request with the next status of its script, then with the last one; 0 never answers."""

    def __init__(self, *statuses: int, more: str = "") -> None:
        self.statuses = list(statuses) or [204]
        self.more = more
        self.requests: list[WebhookRequest] = []
        self.connections = 0

    async def __aenter__(self) -> "WebhookReceiver":
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/hooks?of=acme"
        return self

    async def __aexit__(self, *_: object) -> None:
        self.server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                headers = {
                    name.lower(): value.strip()
                    for name, _, value in (line.partition(":") for line in head[1:] if line)
                }
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                self.requests.append(WebhookRequest(head[0], headers, body))
                status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
                if status:
                    writer.write(
                        f"HTTP/1.1 {status} Whatever\r\nContent-Length: 0\r\n{self.more}\r\n".encode()
                    )
                    await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()
