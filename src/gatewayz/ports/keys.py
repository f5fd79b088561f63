"""The port to the keys: who a caller is."""

from typing import Protocol

from gatewayz.core.calls import Principal


class Keys(Protocol):
    """Looks keys up."""

    async def principal(self, key: str) -> Principal:
        """Who owns `key`. Faults: `unauthenticated` for unknown or revoked, `unavailable` when nobody can tell."""
        ...
