"""Grouping: which rows are one model, what their house knows of it, and which prices are held."""

import re
from collections import Counter, defaultdict
from collections.abc import Container, Iterable
from typing import Any

from msgspec import Struct, field
from tools.seed.figures import MODELS_DEV, Figures

from gatewayz.catalog.canonical_ids import canonical_id, family_rules, parse_native_id
from gatewayz.catalog.price_checks import why_implausible, why_outlier

VERSION = re.compile(r"\d\.\d")
NAMING_PROVIDER = "openrouter"
"""Whose spelling of a name becomes the canonical one, where it serves the model."""


class GroupedRow(Struct, kw_only=True):
    """Figures with the model that they are of. `decided`: a person chose them; `held`: why the
    price is quarantined; `spare`: another name for an offer that stands already.
    """

    provider: str
    figures: Figures
    model: str
    quantization: str = ""
    spare: bool = False
    free: bool = False
    decided: bool = False
    held: str = ""

    @property
    def is_sold(self) -> bool:
        return bool(self.figures.price) and not self.held and not self.free

    @property
    def is_of_the_house(self) -> bool:
        return family_rules().houses.get(self.provider) == self.model.partition("/")[0]


class Found(Struct, frozen=True, kw_only=True):
    """What the sources say of one provider: the figures that are believed, and why some of them are
    held.
    """

    figures: list[Figures] = field(default_factory=list)
    held: dict[str, str] = field(default_factory=dict)
    decided: set[str] = field(default_factory=set)


def group(found: dict[str, Found], plans: dict[str, dict[str, Any]]) -> list[GroupedRow]:
    """All rows, each with its model."""
    ids = [(provider, one.id) for provider, said in found.items() for one in said.figures]
    groups: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for provider, native in ids:
        groups[parse_native_id(provider, native).key].append((provider, native))
    known = {
        key: _canonical_name(members) for key, members in groups.items() if not key.startswith("/")
    }
    placed: list[GroupedRow] = []
    taken: set[tuple[str, str, str, str]] = set()
    for provider, said in found.items():
        free = re.compile(plans[provider].get("free", r":free$"))
        for one in sorted(said.figures, key=lambda each: (len(each.id), each.id)):
            parts = parse_native_id(provider, one.id)
            model = canonical_id(provider, one.id, known)
            mark = (provider, model, parts.key, parts.quantization + parts.route)
            row = GroupedRow(
                provider=provider,
                figures=one,
                model=model,
                quantization=parts.quantization,
                spare=mark in taken,
                free=bool(free.search(one.id)),
                decided=one.id in said.decided,
                held=said.held.get(one.id, ""),
            )
            if one.price and not row.held:
                row.held = why_implausible(one.price, one.serves, free=row.free)
            taken.add(mark)
            placed.append(row)
    return placed


def _canonical_name(members: Iterable[tuple[str, str]]) -> str:
    """The canonical id of a group: as NAMING_PROVIDER spells it, else the commonest spelling, with
    points where anybody has them.
    """
    listed = [(provider, parse_native_id(provider, native).id) for provider, native in members]
    spellings = Counter(one for provider, one in listed if provider == NAMING_PROVIDER) or Counter(
        one for _, one in listed
    )
    return min(
        spellings, key=lambda one: (-len(VERSION.findall(one)), -spellings[one], len(one), one)
    )


def hold_outliers(rows: list[GroupedRow], unlisted: Container[str]) -> None:
    """Prices far from the model's other offers are held, but for the house's own and those that a
    person chose. `unlisted` providers judge nobody: what is deployed under a name there is its
    owner's affair.
    """
    by_model: dict[str, list[GroupedRow]] = defaultdict(list)
    for row in rows:
        if row.is_sold:
            by_model[row.model].append(row)
    for members in by_model.values():
        for row in members:
            # The third list is the oldest: it is judged by the other two, and judges none of them.
            judges = [
                one
                for one in members
                if one.provider not in unlisted
                and (row.figures.source == MODELS_DEV or one.figures.source != MODELS_DEV)
            ]
            far = why_outlier(
                row.figures.price, [one.figures.price for one in judges if one is not row]
            )
            only_two = len([one for one in (row, *judges) if one is not row]) == 1
            if far and not row.decided and not (only_two and row.is_of_the_house):
                row.held = far


def hold_twins(rows: list[GroupedRow]) -> None:
    """Two ids of one model at its own house have one price: where they do not, the one that is not
    called as the model is held. Elsewhere several offers of one model are several deployments, each
    at its own price.
    """
    named = {
        (row.provider, row.model): row
        for row in rows
        if row.is_of_the_house and row.model.endswith(f"/{row.figures.id}")
    }
    for row in rows:
        twin = named.get((row.provider, row.model))
        if twin is not None and row.is_sold and not row.decided and not row.quantization:
            mine, theirs = row.figures.price, twin.figures.price
            if any(mine.get(one, 0) != theirs.get(one, 0) for one in ("input", "output")):
                row.held = f"it costs other than {twin.figures.id}, which is the same model"
