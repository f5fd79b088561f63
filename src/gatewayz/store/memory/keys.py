"""Keys without a store: the bootstrap key alone, for an installation that stores nothing."""

from gatewayz.core.access import HOUSE, SCOPES
from gatewayz.core.calls import Principal
from gatewayz.core.faults import Fault
from gatewayz.core.keys import mask_key


class BootstrapKeys:
    """The port `Keys` with the operator's key and no other."""

    def __init__(self, key: str) -> None:
        self._principals = {key: Principal(HOUSE, "bootstrap", frozenset(SCOPES))}

    async def principal(self, key: str) -> Principal:
        principal = self._principals.get(key)
        if principal is None:
            raise Fault(
                "unauthenticated", f"Incorrect API key provided: {mask_key(key)} is unknown."
            )
        return principal
