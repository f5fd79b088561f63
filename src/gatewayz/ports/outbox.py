"""The port to the outbox: notices that accounts are to be sent, each written once and claimed by one process."""

from typing import Protocol

from msgspec import Struct

from gatewayz.core.secrets import Secret


class Letter(Struct, frozen=True, kw_only=True):
    """A notice to be sent now. `attempt` counts from one; `body` is the same bytes each time."""

    id: str
    account: str
    kind: str
    body: bytes
    url: str
    secret: Secret
    attempt: int


class Outbox(Protocol):
    """Notices are sent at least once, under one id: a process that dies while it sends has its claim run out."""

    async def look(self) -> int:
        """Writes down what wallets and budgets have crossed since; how many notices wait. Faults: `unavailable`."""
        ...

    async def claim(self) -> list[Letter]:
        """Notices that are due, for this process alone, for as long as an attempt may take. Faults: `unavailable`."""
        ...

    async def delivered(self, letter: Letter, status: int) -> None:
        """Faults: `unavailable`."""
        ...

    async def failed(self, letter: Letter, status: int, why: str, wait_s: float | None) -> None:
        """An attempt that came to nothing; the next one in `wait_s`, or none. Faults: `unavailable`."""
        ...
