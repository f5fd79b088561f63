"""One question to a running gateway over its own port: the whole path, as a client sees it.

It is asked with the product's own client, the transport that reaches providers.
"""

import asyncio
import ssl
import time

import msgspec
from msgspec import Struct

from gatewayz.core.calls import HttpRequest
from gatewayz.core.faults import Fault
from gatewayz.providers.headers import USER_AGENT
from gatewayz.routing.rules import Deadlines
from gatewayz.upstream.http1 import HttpTransport
from gatewayz.upstream.network import Network

TIMEOUT_S = 30.0
MAX_ANSWER_BYTES = 2**20


class SmokeTestResult(Struct, frozen=True):
    """A question and what came of it. `cost_usd` is decimal text."""

    question: str
    answer: str
    provider: str
    took_ms: float
    cost_usd: str


class _Message(Struct):
    content: str | None = None


class _Choice(Struct):
    message: _Message


class _Error(Struct):
    message: str = ""


class _Answer(Struct):
    """What is read of a chat completion, or of the error in its place."""

    choices: tuple[_Choice, ...] = ()
    error: _Error | None = None


def _own_tls() -> ssl.SSLContext:
    """We ask ourselves, by an address that the certificate need not name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def run_smoke_test(url: str, key: str, model: str, question: str) -> SmokeTestResult:
    """Asks and waits for the answer. Faults: `unavailable` with what the gateway said."""
    body = {"model": model, "messages": [{"role": "user", "content": question}]}
    headers = (
        ("Authorization", f"Bearer {key}"),
        ("Content-Type", "application/json"),
        ("Accept", "application/json"),
        ("User-Agent", USER_AGENT),
    )
    request = HttpRequest("POST", f"{url}/v1/chat/completions", headers, msgspec.json.encode(body))
    transport = HttpTransport(Deadlines(), Network(_own_tls()))
    started_at = time.monotonic()
    try:
        async with asyncio.timeout(TIMEOUT_S), transport.send(request) as exchange:
            content = await exchange.read(MAX_ANSWER_BYTES)
        answer = msgspec.json.decode(content, type=_Answer)
    except (Fault, TimeoutError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Fault("unavailable", f"{url} does not answer: {error}") from error
    finally:
        await transport.close()

    if answer.error is not None or not answer.choices:
        message = answer.error.message if answer.error is not None else ""
        raise Fault("unavailable", message or f"{url} answered {exchange.status} without a choice.")
    return SmokeTestResult(
        question=question,
        answer=answer.choices[0].message.content or "",
        provider=exchange.headers.get("x-gatewayz-provider", ""),
        took_ms=(time.monotonic() - started_at) * 1000,
        cost_usd=exchange.headers.get("x-gatewayz-cost", "0"),
    )
