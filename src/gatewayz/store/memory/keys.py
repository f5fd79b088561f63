"""Keys without a store: the bootstrap key alone, for an installation that keeps nothing."""

from gatewayz.core.access import HOUSE, SCOPES
from gatewayz.core.calls import Principal
from gatewayz.core.faults import Fault
from gatewayz.core.keys import masked


class BootstrapKeys:
    """The port `Keys` of an operator who is alone."""

    def __init__(self, key: str) -> None:
        self._operator = {key: Principal(HOUSE, "bootstrap", frozenset(SCOPES))}

    async def principal(self, key: str) -> Principal:
        found = self._operator.get(key)
        if found is None:
            raise Fault("unauthenticated", f"Incorrect API key provided: {masked(key)} is unknown.")
        return found
