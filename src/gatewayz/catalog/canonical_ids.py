"""Which native ids are one model: curated rules, used where a list is read and never for a request.

Two ids are one model when their families are the same and their names differ only in case, dashes,
dots and underscores, or when families.toml says so. Everything else stays apart: a model is never
another than the one asked for.
"""

import re
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

import msgspec
from msgspec import Struct

POINT_AS_P = re.compile(r"(?<=\d)p(?=\d)")
DATE_SUFFIX = re.compile(r"[-@](20\d{6})(?=$|:)|@default$")
IGNORED_CHARACTERS = str.maketrans("", "", "-_. ")


class FamilyRules(Struct, frozen=True, kw_only=True):
    """families.toml, as written there. Tables are keyed by provider, but for those of families."""

    families: dict[str, tuple[str, ...]]
    houses: dict[str, str]
    beginnings: dict[str, str]
    strip: dict[str, tuple[str, ...]]
    points: dict[str, tuple[str, ...]]
    routed: dict[str, tuple[str, ...]]
    beginning_words: dict[str, tuple[str, ...]]
    beginning_words_to: dict[str, str]
    dated: dict[str, tuple[str, ...]]
    quantizations: dict[str, str]
    same: dict[str, tuple[str, ...]]
    native: dict[str, dict[str, str]]
    aliases: dict[str, tuple[str, ...]]


class NativeId(Struct, frozen=True):
    """A native id, taken apart; `family` is empty when nobody knows it.

    `route`: whom an aggregator is to ask.

    Example: `Qwen/Qwen3-32B:groq` is `NativeId("qwen", "qwen3-32b", route="groq")`
    """

    family: str
    name: str
    quantization: str = ""
    route: str = ""

    @property
    def id(self) -> str:
        return f"{self.family}/{self.name}" if self.family else self.name

    @property
    def key(self) -> str:
        """What all spellings of one model have in common."""
        return f"{self.family}/{self.name.translate(IGNORED_CHARACTERS)}"


@cache
def family_rules() -> FamilyRules:
    """The rules of this version."""
    text = files("gatewayz.catalog").joinpath("families.toml").read_text("utf-8")
    return msgspec.convert(tomllib.loads(text), FamilyRules)


@cache
def _families_by_spelling() -> dict[str, str]:
    families = family_rules().families
    by_spelling = {
        spelling: family for family, spellings in families.items() for spelling in spellings
    }
    return {family: family for family in families} | by_spelling


@cache
def _canonical_ids_by_key() -> dict[str, str]:
    """Key → canonical id, for the canonical ids and other spellings that families.toml lists."""
    return {
        grouping_key(spelling): canonical
        for canonical, spellings in family_rules().same.items()
        for spelling in (canonical, *spellings)
    }


def grouping_key(model: str) -> str:
    """The key of a canonical id or of any other `family/name`."""
    family, _, name = model.partition("/")
    return NativeId(family, name).key


def parse_native_id(provider: str, native: str) -> NativeId:
    """A provider's native id, taken apart by the rules."""
    rules = family_rules()
    text = native
    for prefix in rules.strip.get(provider, ()):
        text = text.removeprefix(prefix)
    text, route = text.lower(), ""
    if provider in rules.routed["providers"]:
        text, _, route = text.partition(":")
    if provider in rules.points["providers"]:
        text = POINT_AS_P.sub(".", text)

    family, name = _split_family(provider, text)
    name = _without_redundant_prefix(family, name)
    if family in rules.dated["families"]:
        name = DATE_SUFFIX.sub("", name)
    for suffix, quantization in rules.quantizations.items():
        if name.endswith(suffix):
            return NativeId(family, name.removesuffix(suffix), quantization, route)
    return NativeId(family, name, "", route)


def _split_family(provider: str, text: str) -> tuple[str, str]:
    """The family by its canonical name, as the id says it or as its name begins; and the name."""
    family, slash, name = text.partition("/")
    if not slash:
        return _family_of(text) or family_rules().houses.get(provider, ""), text
    return _families_by_spelling().get(family, family), name.rpartition("/models/")[2]


def _family_of(name: str) -> str:
    """The family of a name by its longest known beginning; empty when nobody knows it."""
    families = family_rules().beginnings
    prefixes = [prefix for prefix in families if name.startswith(prefix)]
    return families[max(prefixes, key=len)] if prefixes else ""


def _without_redundant_prefix(family: str, name: str) -> str:
    rules = family_rules()
    for prefix in rules.beginning_words.get(family, ()):
        if name.startswith(prefix):
            return rules.beginning_words_to.get(prefix, "") + name.removeprefix(prefix)
    return name


def canonical_id(provider: str, native: str, known: Mapping[str, str]) -> str:
    """The canonical id of a provider's native id. `known` has the canonical ids so far, by key.

    What nobody else is known to serve is a model of its own, under its family or its provider.
    """
    listed = family_rules().native.get(provider, {}).get(native)
    if listed is not None:
        return listed
    parts = parse_native_id(provider, native)
    canonical = _canonical_ids_by_key().get(parts.key) or known.get(parts.key)
    return canonical or (parts.id if parts.family else f"{provider}/{native}")
