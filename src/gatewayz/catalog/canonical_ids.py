"""Which native ids are one model, and which names mean it: curated rules.

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
    common: dict[str, tuple[str, ...]]
    strip: dict[str, tuple[str, ...]]
    points: dict[str, tuple[str, ...]]
    routed: dict[str, tuple[str, ...]]
    beginning_words: dict[str, tuple[str, ...]]
    beginning_words_to: dict[str, str]
    dated: dict[str, tuple[str, ...]]
    dates: dict[str, str]
    typed: dict[str, tuple[str, ...]]
    prefixes: dict[str, str]
    variants: dict[str, bool]
    moving: dict[str, tuple[str, ...]]
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


@cache
def _dates_by_key() -> dict[str, str]:
    return {grouping_key(model): date for model, date in family_rules().dates.items()}


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
        name = _without_date(family, name)
    for suffix, quantization in rules.quantizations.items():
        if name.endswith(suffix):
            return NativeId(family, name.removesuffix(suffix), quantization, route)
    return NativeId(family, name, "", route)


def _split_family(provider: str, text: str) -> tuple[str, str]:
    """The family by its canonical name, as the id says it or as its name begins; and the name."""
    family, slash, name = text.partition("/")
    if slash:
        return _families_by_spelling().get(family, family), name.rpartition("/models/")[2]
    rules = family_rules()
    house, beginning = rules.houses.get(provider, ""), _beginning_of(text)
    if house and beginning in rules.common["beginnings"]:
        return house, text
    return rules.beginnings.get(beginning, house), text


def _beginning_of(name: str) -> str:
    """The longest known beginning of a name; empty when nobody knows it."""
    beginnings = [word for word in family_rules().beginnings if name.startswith(word)]
    return max(beginnings, key=len, default="")


def family_of(text: str) -> str:
    """The family that a name says or begins like; empty when nobody knows it.

    Example: `family_of("Claude-Sonnet-9")` is `anthropic`, `family_of("xai/grok-4")` is `x-ai`
    """
    word, slash, _ = text.lower().partition("/")
    if slash:
        return _families_by_spelling().get(word, "")
    return family_rules().beginnings.get(_beginning_of(word), "")


def is_house(provider: str, family: str) -> bool:
    """Whether a provider is the family's own house: its id is a word for the family.

    Example: `is_house("xai", "x-ai")`; Azure and Vertex are nobody's house.
    """
    return _families_by_spelling().get(provider, "") == family != ""


def _without_date(family: str, name: str, *, is_known: bool = False) -> str:
    """The name without the date of its one snapshot; another date than that is another model.

    Where nobody knows the date it says nothing, unless it must be known.
    """
    match = DATE_SUFFIX.search(name)
    if match is None:
        return name
    undated = DATE_SUFFIX.sub("", name)
    date = _dates_by_key().get(NativeId(family, undated).key, "" if is_known else match[1])
    return undated if match[1] in (None, date) else name


def spelling_key(text: str) -> str:
    """The key of a model that a name which is nobody's id may mean; empty when it names no family.

    Example: `spelling_key("models/Gemini-2.5-flash")` is `google/gemini25flash`
    """
    rules = family_rules()
    for prefix in rules.typed["prefixes"]:
        text = text.removeprefix(prefix)
    family, name = family_of(text), text.lower()
    if not family:
        return ""
    if "/" in name:
        name = name.partition("/")[2].rpartition("/models/")[2]
    name = _without_redundant_prefix(family, name)
    if family in rules.dated["families"]:
        name = _without_date(family, name, is_known=True)
    key = NativeId(family, name).key
    canonical = _canonical_ids_by_key().get(key)
    return key if canonical is None else grouping_key(canonical)


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
