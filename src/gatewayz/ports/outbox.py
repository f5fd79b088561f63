"""The port to the outbox: notifications that accounts are to be sent, each written once and claimed
by one process.
"""

from typing import Protocol

from msgspec import Struct

from gatewayz.core.secrets import Secret


class WebhookDelivery(Struct, frozen=True, kw_only=True):
    """A notification to be sent now. `attempt` counts from one; `body` is the same bytes each time.

    Example: `WebhookDelivery(id="msg_01JX…", account="acme", kind="budget.exhausted", body=b"{…}",
    url="https://acme.example/hooks", secret=Secret("whsec_…"), attempt=1)`
    """

    id: str
    account: str
    kind: str
    body: bytes
    url: str
    secret: Secret
    attempt: int


class Outbox(Protocol):
    """Notifications are sent at least once, under one id: a process that dies while it sends has
    its claim run out.
    """

    async def enqueue_notifications(self) -> int:
        """Writes a notification for each threshold that wallets and budgets have crossed since; how
        many wait now.

        Faults: `unavailable`.
        """
        ...

    async def claim(self) -> list[WebhookDelivery]:
        """Notifications that are due, for this process alone, for as long as an attempt may take.

        Faults: `unavailable`.
        """
        ...

    async def mark_delivered(self, delivery: WebhookDelivery, status: int) -> None:
        """Its receiver took it, with this HTTP status. Faults: `unavailable`."""
        ...

    async def mark_failed(
        self, delivery: WebhookDelivery, status: int, why: str, wait_s: float | None
    ) -> None:
        """An attempt failed, with status 0 if there was no answer; the next is due in `wait_s`, or
        none follows.

        Faults: `unavailable`.
        """
        ...
