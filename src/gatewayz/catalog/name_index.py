"""Which model a name means, as one table.

A name means one model. Whose word counts, first first: the operator's (the file's, then what was set
by API), the package's aliases, canonical ids, what a house calls its own model, the bare name of an
id. Where several models have an equal claim, the one whose family the name begins like has it, else
the one that was known first, else nobody: a list takes no name away.
"""

from collections.abc import Iterable, Mapping

from msgspec import Struct

from gatewayz.catalog.canonical_ids import family_of, grouping_key, is_house, spelling_key
from gatewayz.catalog.offers import Model

Claims = dict[str, set[str]]
"""Name → ids of the models that it may mean."""


class NameIndex(Struct, frozen=True):
    """Name → model id, by how the name is read.

    `exact`: as it is written. `native`: a provider's id, as it is written. `folded`: either, in any
    case. `keys`: the key that all spellings of a model have in common.

    Example: `NameIndex(exact={"gpt-4o": "openai/gpt-4o"}, native={…}, folded={…}, keys={…})`
    """

    exact: dict[str, str]
    native: dict[str, str]
    folded: dict[str, str]
    keys: dict[str, str]

    def by_spelling(self, text: str) -> str:
        """The model of which the name is another spelling, in its family; empty when it is none."""
        key = spelling_key(text)
        return self.keys.get(key, "") if key else ""


def build_name_index(models: Mapping[str, Model]) -> NameIndex:
    """The names of all models, by id."""
    by_file: Claims = {}
    by_api: Claims = {}
    aliases: Claims = {}
    of_houses: Claims = {}
    bare: Claims = {}
    native: Claims = {}
    keys: Claims = {}
    for model in models.values():
        family, _, name = model.id.partition("/")
        _claim(by_file, model.file_names, model.id)
        _claim(by_api, model.api_names, model.id)
        _claim(aliases, model.aliases, model.id)
        _claim(keys, (grouping_key(model.id),), model.id)
        if name and not _is_foreign_brand(model, family, name):
            _claim(bare, (name,), model.id)
        for offer in (*model.offers, *model.pinned_only_offers):
            _claim(native, (offer.upstream_id,), model.id)
            if is_house(offer.provider, family):
                _claim(of_houses, (offer.upstream_id,), model.id)

    ids: Claims = {id: {id} for id in models}
    exact: dict[str, str] = {}
    for claims in (bare, of_houses, ids, aliases, by_api, by_file):
        exact |= _owners(claims, models)
    natives = _owners(native, models)

    folded: Claims = {}
    for name, id in (*natives.items(), *exact.items()):
        _claim(folded, (name.lower(),), id)
    return NameIndex(exact, natives, _owners(folded, models), _owners(keys, models))


def _claim(claims: Claims, names: Iterable[str], id: str) -> None:
    for name in names:
        claims.setdefault(name, set()).add(id)


def _is_foreign_brand(model: Model, family: str, name: str) -> bool:
    """Whether only a list knows the model, and its name begins like another family's."""
    return bool(model.listed_since_s) and family_of(name) not in {"", family}


def _owners(claims: Claims, models: Mapping[str, Model]) -> dict[str, str]:
    """Name → the one model that has it; names that several have are left out."""
    owners = {}
    for name, ids in claims.items():
        owner = next(iter(ids)) if len(ids) == 1 else _owner(name, ids, models)
        if owner:
            owners[name] = owner
    return owners


def _owner(name: str, ids: Iterable[str], models: Mapping[str, Model]) -> str:
    family = family_of(name)
    own = [id for id in ids if family and id.partition("/")[0] == family]
    claimants = own or list(ids)
    since_s = min(models[id].listed_since_s for id in claimants)
    first = [id for id in claimants if models[id].listed_since_s == since_s]
    return first[0] if len(first) == 1 else ""
