"""Notices: a worker that looks for what was crossed, and sends signed webhooks until they are taken, or for three days.

Answers are judged by their status alone: 2xx took it, 410 wants no more, all else is tried again. Nothing is followed.
"""

import asyncio
from collections.abc import Awaitable, Callable

from gatewayz.core.calls import Wire
from gatewayz.core.clock import Clock
from gatewayz.core.facts import NoticeTried, Warned
from gatewayz.core.faults import Fault
from gatewayz.core.webhooks import checked_url, secret_from, signature
from gatewayz.ports.facts import Bus
from gatewayz.ports.outbox import Letter, Outbox
from gatewayz.ports.transport import Transport
from gatewayz.providers.asking import USER_AGENT

LOOK_EVERY_S = 5.0
ATTEMPT_S = 15.0
"""The longest that one attempt may take, from resolving the name to the status."""
WAITS_S = (5.0, 300.0, 1_800.0, 7_200.0, 18_000.0, 36_000.0, 50_400.0, 72_000.0, 86_400.0)
"""Before each further attempt, as Standard Webhooks proposes; after the last one a notice has failed."""
MAX_ANSWER_BYTES = 4_096
"""What is read of an answer, so that its connection can be used again."""
GONE = 410
MAX_ROUNDS = 50
"""Claims in a row before crossings are looked for again."""

WHY = {
    "upstream_timeout": "it did not answer in time",
    "bad_request": "its address is not allowed (any more)",
}
UNREACHABLE = "it cannot be reached at a public address, or does not speak HTTP"
"""One sentence for all of these: whoever sets an address must not learn from it what is where in our network."""


class Notices:
    """Sends what is in the outbox. `private`: also to addresses that are not public, and without TLS."""

    def __init__(
        self, outbox: Outbox, transport: Transport, clock: Clock, bus: Bus, *, private: bool
    ) -> None:
        self._outbox = outbox
        self._transport = transport
        self._clock = clock
        self._bus = bus
        self._private = private
        self._task: asyncio.Task[None] | None = None
        self.look_every_s = LOOK_EVERY_S
        self.attempt_s = ATTEMPT_S
        self.waiting = 0

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._again())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _again(self) -> None:
        while True:
            await asyncio.sleep(self.look_every_s)
            try:
                await self.round()
            except Fault as fault:
                self._bus.emit(Warned(subject="notices", message=fault.message))

    async def round(self) -> None:
        """Looks once, and sends all that is due. Faults: `unavailable`."""
        self.waiting = await self._outbox.look()
        for _ in range(MAX_ROUNDS):
            letters = await self._outbox.claim()
            if not letters:
                return
            await asyncio.gather(*(self._send(letter) for letter in letters))

    async def _send(self, letter: Letter) -> None:
        status, why = await self._tried(letter)
        if 200 <= status < 300:
            await self._written(
                letter, "delivered", status, "", lambda: self._outbox.delivered(letter, status)
            )
            return
        over = status == GONE or letter.attempt > len(WAITS_S)
        wait_s = None if over else WAITS_S[letter.attempt - 1]
        outcome = "failed" if over else "retried"
        await self._written(
            letter, outcome, status, why, lambda: self._outbox.failed(letter, status, why, wait_s)
        )  # fmt: skip

    async def _tried(self, letter: Letter) -> tuple[int, str]:
        """The status, 0 without one, and why it is none that takes the notice."""
        try:
            async with asyncio.timeout(self.attempt_s):
                status = await self._posted(letter)
        except TimeoutError:
            return 0, WHY["upstream_timeout"]
        except Fault as fault:
            return 0, WHY.get(fault.kind, UNREACHABLE)
        return status, f"it answered {status}"

    async def _posted(self, letter: Letter) -> int:
        url = checked_url(letter.url, private=self._private)
        at_s = self._clock.wall_ms() // 1_000
        headers = (
            ("Content-Type", "application/json"),
            ("User-Agent", USER_AGENT),
            ("webhook-id", letter.id),
            ("webhook-timestamp", str(at_s)),
            (
                "webhook-signature",
                signature(secret_from(letter.secret.reveal()), letter.id, at_s, letter.body),
            ),
        )
        wire = Wire("POST", url, headers, letter.body, public=not self._private)
        async with self._transport.send(wire) as exchange:
            if 200 <= exchange.status < 300:
                await exchange.read(MAX_ANSWER_BYTES)
            return exchange.status

    async def _written(
        self,
        letter: Letter,
        outcome: str,
        status: int,
        why: str,
        write: Callable[[], Awaitable[None]],
    ) -> None:
        """Books what came of an attempt; a store that is away lets the claim run out, and it is sent again."""
        try:
            await write()
        except Fault as fault:
            self._bus.emit(Warned(subject="notices", message=fault.message))
            return
        self._bus.emit(
            NoticeTried(
                account=letter.account,
                id=letter.id,
                kind=letter.kind,
                outcome=outcome,
                status=status,
                why=why,
            )
        )
