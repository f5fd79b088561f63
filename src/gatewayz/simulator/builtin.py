"""The built-in simulator: a provider that every installation has, so that it can be tried before
there is a key.
"""

from msgspec.structs import replace

from gatewayz.catalog.offers import Model, Offer
from gatewayz.catalog.sources import OperatorModel
from gatewayz.providers.spec import Provider
from gatewayz.simulator.server import Simulator

SIMULATOR = "simulator"
SHOWN_SCENES = ("echo", "hello", "tools", "reasoning", "json", "vision", "long", "slow")
UNSET_HOST = "127.0.0.1:0"
"""In the provider's row: no simulator is configured elsewhere, so one is started in this
process.
"""


def is_configured_elsewhere(row: Provider) -> bool:
    """Whether the simulator is off, or runs at an address of its own."""
    return bool(row.off) or UNSET_HOST not in row.base_url


async def start_builtin_simulator(simulator: Simulator, row: Provider) -> Provider:
    """Starts the simulator; the provider's row with the address that it got."""
    url = await simulator.start()
    return replace(row, base_url=f"{url}/v1")


def simulator_models(row: Provider) -> tuple[OperatorModel, ...]:
    """A few scenes of the simulator as models, for a fresh installation to list."""
    if row.off:
        return ()
    return tuple(
        OperatorModel(
            model=Model(
                id=f"{SIMULATOR}/{scene}",
                name=f"Simulator: {scene}",
                offers=(
                    Offer(model=f"{SIMULATOR}/{scene}", provider=SIMULATOR, upstream_id=scene),
                ),
            )
        )
        for scene in SHOWN_SCENES
    )
