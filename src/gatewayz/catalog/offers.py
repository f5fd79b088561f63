"""What we sell: a model, and the offers of it; an offer is a model at a provider with a price."""

from msgspec import Struct

from gatewayz.core.money import Price
from gatewayz.core.requests import Capability, Surface


class Offer(Struct, frozen=True, kw_only=True):
    """A model at a provider. `None` and empty mean that nobody has told.

    `held` says why its listed price is quarantined; it is then unpriced. `only_pinned` says why it is no candidate
    unless it is asked for by its provider's name. `features` are words for people (`tools`,
    `reasoning`); only `can` and `serves` keep a request away. `parameters` are those that the provider lists.
    """

    model: str
    provider: str
    upstream_id: str
    price: Price | None = None
    held: str = ""
    only_pinned: str = ""
    context: int | None = None
    max_output: int | None = None
    can: frozenset[Capability] | None = None
    serves: tuple[Surface, ...] = ()
    inputs: tuple[str, ...] = ("text",)
    outputs: tuple[str, ...] = ("text",)
    features: tuple[str, ...] = ()
    parameters: tuple[str, ...] = ()
    quantization: str = ""


class Model(Struct, frozen=True, kw_only=True):
    """An LLM by canonical id `family/name`. `spare` are offers that only a pinned call may use."""

    id: str
    name: str = ""
    description: str = ""
    aliases: tuple[str, ...] = ()
    context: int | None = None
    created_s: int = 0
    offers: tuple[Offer, ...] = ()
    spare: tuple[Offer, ...] = ()
