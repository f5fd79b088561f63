"""What we sell: a model, and the offers of it; an offer is a model at a provider with a price."""

from msgspec import Struct

from gatewayz.core.money import Price
from gatewayz.core.requests import Capability


class Offer(Struct, frozen=True, kw_only=True):
    """A model at a provider. `price` is `None` when nobody has priced it; `can` is `None` when nobody has told."""

    model: str
    provider: str
    upstream_id: str
    price: Price | None = None
    context: int | None = None
    max_output: int | None = None
    can: frozenset[Capability] | None = None
    open_weights: bool = False


class Model(Struct, frozen=True, kw_only=True):
    """An LLM by canonical id `family/name`."""

    id: str
    name: str = ""
    aliases: tuple[str, ...] = ()
    context: int | None = None
    created_s: int = 0
    offers: tuple[Offer, ...] = ()
