"""The port to the keys: who a caller is."""

from typing import Protocol

from gatewayz.core.calls import Principal


class Keys(Protocol):
    """Finds the principal of a key."""

    async def principal(self, key: str) -> Principal:
        """Who calls with `key`.

        Faults: `unauthenticated` for unknown or revoked, `unavailable` when nobody can say.
        """
        ...
