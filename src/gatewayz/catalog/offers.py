"""What we sell: a model, and the offers of it; an offer is a model at a provider with a price."""

from msgspec import Struct

from gatewayz.core.money import Price
from gatewayz.core.requests import Capability, Surface

INPUT_CAPABILITIES = {
    "image": Capability.IMAGES,
    "audio": Capability.AUDIO,
    "file": Capability.FILES,
}
PARAMETER_CAPABILITIES = {
    "tools": Capability.TOOLS,
    "structured_outputs": Capability.JSON_SCHEMA,
}


class Offer(
    Struct,
    frozen=True,
    kw_only=True,
    rename={"quarantine_reason": "held", "pinned_only_reason": "only_pinned"},
):
    """A model at a provider. `None` and empty mean that nobody has told.

    `quarantine_reason` says why its listed price is not used; it is then unpriced.
    `pinned_only_reason` says why it is no candidate unless its provider is asked for by name.
    `unserved_reason` says what it does that no surface serves, such as `makes video`.
    `features` are words for people (`tools`, `reasoning`); only `can` and `serves` keep a request
    away. `parameters` are those that the provider lists. Saved listings hold the reasons under
    shorter names.

    Example: `Offer(model="openai/gpt-4o", provider="openai", upstream_id="gpt-4o")`
    """

    model: str
    provider: str
    upstream_id: str
    price: Price | None = None
    quarantine_reason: str = ""
    pinned_only_reason: str = ""
    unserved_reason: str = ""
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
    """An LLM by canonical id `family/name`. `created_s` is Unix time, 0 where nobody knows.

    `pinned_only_offers` are those that only a call for their provider by name may use.
    `listed_since_s` is when a provider's list named it first; 0 for what the package or an operator
    knows. `file_names` and `api_names` are the id and the aliases as the operator wrote them, in the
    file or by API.

    Example: `Model(id="openai/gpt-4o", name="GPT-4o", aliases=("4o",), offers=(offer,))`
    """

    id: str
    name: str = ""
    description: str = ""
    aliases: tuple[str, ...] = ()
    file_names: tuple[str, ...] = ()
    api_names: tuple[str, ...] = ()
    context: int | None = None
    created_s: int = 0
    listed_since_s: int = 0
    offers: tuple[Offer, ...] = ()
    pinned_only_offers: tuple[Offer, ...] = ()


def capabilities(inputs: tuple[str, ...], parameters: tuple[str, ...]) -> frozenset[Capability]:
    """What an offer can do, from the inputs and parameters that its provider lists.

    `CHOICES` is always among them: nobody lists it.
    """
    return frozenset(
        {
            Capability.CHOICES,
            *(able for word, able in INPUT_CAPABILITIES.items() if word in inputs),
            *(able for word, able in PARAMETER_CAPABILITIES.items() if word in parameters),
        }
    )
