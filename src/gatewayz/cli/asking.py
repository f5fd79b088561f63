"""One question to a running gateway over its own port: the whole path, as a client sees it."""

import time

import aiohttp
from msgspec import Struct

from gatewayz.core.faults import Fault

TIMEOUT_S = 30.0


class Asked(Struct, frozen=True):
    """A question and what came of it."""

    question: str
    answer: str
    provider: str
    attempts: int
    took_ms: float
    cost_usd: str
    request_id: str


async def question(url: str, key: str, model: str, text: str) -> Asked:
    """Asks and waits for the answer. Faults: `unavailable` with what the gateway said."""
    body = {"model": model, "messages": [{"role": "user", "content": text}]}
    headers = {"Authorization": f"Bearer {key}"}
    began = time.monotonic()
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.post(f"{url}/v1/chat/completions", json=body, headers=headers) as response,
        ):
            reply = await response.json()
            told = response.headers
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise Fault("unavailable", f"{url} does not answer: {error}") from error
    if "error" in reply:
        raise Fault("unavailable", str(reply["error"].get("message")))
    return Asked(
        question=text,
        answer=str(reply["choices"][0]["message"]["content"]),
        provider=told.get("x-gatewayz-provider", ""),
        attempts=int(told.get("x-gatewayz-attempts", "1")),
        took_ms=(time.monotonic() - began) * 1000,
        cost_usd=told.get("x-gatewayz-cost", "0"),
        request_id=told.get("x-request-id", ""),
    )
