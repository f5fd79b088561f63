"""What a catalogue is made of: the values of each source, before they are merged."""

from collections.abc import Mapping
from typing import NamedTuple

from msgspec import Struct

from gatewayz.catalog.offers import Model, Offer
from gatewayz.catalog.price_memory import OfferMemory
from gatewayz.catalog.seed import SeedFile
from gatewayz.core.money import Price

OfferKey = tuple[str, str]
"""Provider and native id, such as `("openai", "gpt-4o")`."""


class QuarantinedPrice(Struct, frozen=True, rename={"reason": "why", "prices": "listed"}):
    """A listed price that was not believed, and why. `prices` are pico-dollars by bucket.

    Example: `QuarantinedPrice("gpt-4o", "openai/gpt-4o", "output is listed at zero", {"input": 1})`
    """

    upstream_id: str
    model: str
    reason: str
    prices: dict[str, int]


class Listing(
    Struct,
    frozen=True,
    kw_only=True,
    rename={
        "quarantined": "held",
        "doubt_reason": "doubted",
        "duplicate_rows": "again",
        "unusable_rows": "odd",
        "unread_fields": "unread",
    },
):
    """What one provider listed, checked and grouped: offers, names and dates of models by id.

    `read_s` is Unix time. `doubt_reason` says why none of its prices is believed; `duplicate_rows`
    repeated an id, `unusable_rows` had none. `unread_fields` are those of its price objects that
    nobody reads, with how many rows have them; `ignored_facts` counts limits and
    abilities that were not believed.
    `memory` has what each offer has cost, by upstream id. The data directory holds it under the
    shorter names.
    """

    provider: str
    read_s: int
    offers: tuple[Offer, ...]
    names: dict[str, str] = {}
    created: dict[str, int] = {}
    quarantined: tuple[QuarantinedPrice, ...] = ()
    doubt_reason: str = ""
    duplicate_rows: int = 0
    unusable_rows: int = 0
    unread_fields: dict[str, int] = {}
    ignored_facts: dict[str, int] = {}
    memory: dict[str, OfferMemory] = {}


class SeedUpdate(Struct, frozen=True, kw_only=True):
    """Prices that are newer than the package's, from public lists that an operator had read.

    `read_s` is Unix time; `sources` are the lists with their versions. A listing has only what
    differs from the package.

    Example: `SeedUpdate(read_s=1_800_000_000, sources={"litellm": "1.111.0"}, listings={})`
    """

    read_s: int
    sources: dict[str, str]
    listings: dict[str, Listing]


class OperatorModel(Struct, frozen=True, kw_only=True):
    """A model as the configuration file sets it; its `markup_bp` goes before the provider's.

    `keep_known_offers`: what lists know of it stays beside the offers named here.
    """

    model: Model
    keep_known_offers: bool = True
    enabled: bool = True
    markup_bp: int | None = None
    price_ids: dict[OfferKey, str] = {}
    """Offer → the native id at its provider whose known price holds for it."""


class StoredKey(Struct, frozen=True, kw_only=True):
    """A provider's key as the store has it: `shown` is what may be seen, `encrypted` all of it.

    Example: `StoredKey(id="01JD…", provider="groq", shown="gsk…9f2c", encrypted=b"…")`
    """

    id: str
    provider: str
    shown: str
    weight: int = 1
    created_ms: int = 0
    encrypted: bytes = b""


class ProviderOverride(Struct, frozen=True, kw_only=True):
    """What operators set of a provider. `off` is the reason for which it is switched off.

    Example: `ProviderOverride(keys=(StoredKey(…),), off="switched off by an operator")`
    """

    keys: tuple[StoredKey, ...] = ()
    off: str = ""


class Overrides(Struct, frozen=True, kw_only=True):
    """What operators set by API, as of a revision. At `next_ms` the next price begins to hold."""

    models: tuple[Model, ...] = ()
    hidden_models: frozenset[str] = frozenset()
    prices: dict[OfferKey, Price] = {}
    hidden_offers: frozenset[OfferKey] = frozenset()
    providers: dict[str, ProviderOverride] = {}
    revision: int = 0
    next_ms: int | None = None


class CatalogSources(NamedTuple):
    """Everything that a catalogue is made of; `operator_models` are the configuration file's.

    `names` are the package's names and dates of models, by canonical id; `update` has prices that
    are newer than the package's.
    """

    seed: Mapping[str, SeedFile]
    listings: Mapping[str, Listing]
    operator_models: tuple[OperatorModel, ...]
    markup_bp: int = 0
    overrides: Overrides = Overrides()
    names: Mapping[str, tuple[str, int]] = {}
    update: SeedUpdate | None = None


def config_lock_path(sources: CatalogSources, model: str, key: OfferKey | None = None) -> str:
    """The path in the file that sets this model, or this offer's price; empty when none does.

    What the file sets cannot be set otherwise. Example: `models.acme/chat.offers.openai`
    """
    for own in sources.operator_models:
        if own.model.id != model:
            continue
        if key is None:
            return f"models.{model}"
        for offer in own.model.offers:
            if (offer.provider, offer.upstream_id) == key and offer.price is not None:
                return f"models.{model}.offers.{offer.provider}"
    return ""


def price_config_lock_path(sources: CatalogSources, key: OfferKey) -> str:
    """The path in the file that sets an offer's price, under any model; empty when none does."""
    paths = (config_lock_path(sources, own.model.id, key) for own in sources.operator_models)
    return next(filter(None, paths), "")
