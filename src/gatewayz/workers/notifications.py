"""Notifications: a worker that sends signed webhooks for the thresholds that wallets and budgets
have crossed.

A delivery is tried until it is taken, for three days. Answers are judged by their status alone: 2xx
took it, 410 wants no more, all else is tried again. Redirects are not followed.
"""

import asyncio

from gatewayz.core.calls import HttpRequest
from gatewayz.core.clock import Clock
from gatewayz.core.facts import NotificationAttempted, Warned
from gatewayz.core.faults import Fault
from gatewayz.core.webhooks import secret_from_text, validate_webhook_url, webhook_headers
from gatewayz.engine.background import WorkerTasks
from gatewayz.ports.facts import Bus
from gatewayz.ports.outbox import Outbox, WebhookDelivery
from gatewayz.ports.transport import Transport
from gatewayz.providers.headers import USER_AGENT

POLL_EVERY_S = 5.0
ATTEMPT_S = 15.0
"""The longest that one attempt may take, from resolving the name to the status."""
RETRY_WAITS_S = (5.0, 300.0, 1_800.0, 7_200.0, 18_000.0, 36_000.0, 50_400.0, 72_000.0, 86_400.0)
"""Before each further attempt, as Standard Webhooks proposes; after the last one a notification has
failed.
"""
MAX_ANSWER_BYTES = 4_096
"""What is read of an answer, so that its connection can be used again."""
GONE = 410
MAX_CLAIMS = 50
"""Claims in a row before thresholds are looked at again."""

REASONS = {
    "upstream_timeout": "it did not answer in time",
    "bad_request": "its address is not allowed (any more)",
}
UNREACHABLE = "it cannot be reached at a public address, or does not speak HTTP"
"""One sentence for all of these: whoever sets a URL must not learn from it what is where in our
network.
"""


class Notifications:
    """Sends what is in the outbox.

    `private`: also to addresses that are not public, and without TLS.
    """

    def __init__(
        self, outbox: Outbox, transport: Transport, clock: Clock, bus: Bus, *, private: bool
    ) -> None:
        self._outbox = outbox
        self._transport = transport
        self._clock = clock
        self._bus = bus
        self._private = private
        self.tasks = WorkerTasks(bus.emit)
        self.poll_every_s = POLL_EVERY_S
        self.attempt_s = ATTEMPT_S
        self.pending = 0

    def start(self) -> None:
        """Looks and sends now and then, until `stop`."""
        self.tasks.repeat("notifications", self.run_once, lambda: self.poll_every_s, self._warn)

    async def stop(self) -> None:
        """Ends the loop; what is being sent is claimed again later."""
        await self.tasks.stop()

    async def run_once(self) -> None:
        """Looks once, and sends all that is due. Faults: `unavailable`."""
        self.pending = await self._outbox.enqueue_notifications()
        for _ in range(MAX_CLAIMS):
            deliveries = await self._outbox.claim()
            if not deliveries:
                return
            await asyncio.gather(*map(self._send, deliveries))

    async def _send(self, delivery: WebhookDelivery) -> None:
        """One attempt, and what came of it written to the outbox."""
        status, why = await self._attempt(delivery)
        wait_s = None
        if 200 <= status < 300:
            outcome, why = "delivered", ""
        elif status == GONE or delivery.attempt > len(RETRY_WAITS_S):
            outcome = "failed"
        else:
            outcome, wait_s = "retried", RETRY_WAITS_S[delivery.attempt - 1]

        try:
            if outcome == "delivered":
                await self._outbox.mark_delivered(delivery, status)
            else:
                await self._outbox.mark_failed(delivery, status, why, wait_s)
        except Fault as fault:
            # The store is away: the claim runs out, and it is sent again.
            self._warn(fault)
            return
        self._bus.emit(
            NotificationAttempted(
                account=delivery.account,
                id=delivery.id,
                kind=delivery.kind,
                outcome=outcome,
                status=status,
                why=why,
            )
        )

    async def _attempt(self, delivery: WebhookDelivery) -> tuple[int, str]:
        """The status, 0 without one, and why it is none that takes the notification."""
        try:
            async with asyncio.timeout(self.attempt_s):
                status = await self._post(delivery)
        except TimeoutError:
            return 0, REASONS["upstream_timeout"]
        except Fault as fault:
            return 0, REASONS.get(fault.kind, UNREACHABLE)
        return status, f"it answered {status}"

    async def _post(self, delivery: WebhookDelivery) -> int:
        url = validate_webhook_url(delivery.url, private=self._private)
        at_s = self._clock.wall_ms() // 1_000
        headers = (
            ("Content-Type", "application/json"),
            ("User-Agent", USER_AGENT),
            *webhook_headers(
                secret_from_text(delivery.secret.reveal()), delivery.id, at_s, delivery.body
            ),
        )
        request = HttpRequest("POST", url, headers, delivery.body, public=not self._private)
        async with self._transport.send(request) as exchange:
            if 200 <= exchange.status < 300:
                await exchange.read(MAX_ANSWER_BYTES)
            return exchange.status

    def _warn(self, fault: Fault) -> None:
        self._bus.emit(Warned(subject="notifications", message=fault.operator_message))
