"""Which native ids are one model: curated rules, used where a list is read and never for a request.

Two ids are one model when their families are the same and their names differ only in case, dashes, dots and
underscores, or when families.toml says so. Everything else stays apart: a model is never another than the one asked.
"""

import re
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

import msgspec
from msgspec import Struct

POINT = re.compile(r"(?<=\d)p(?=\d)")
DATE = re.compile(r"[-@](20\d{6})(?=$|:)|@default$")
SPELLING = str.maketrans("", "", "-_. ")


class Rules(Struct, frozen=True, kw_only=True):
    """families.toml, as written there."""

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


class Spelled(Struct, frozen=True):
    """A native id, taken apart; `family` is empty when nobody knows it. `route`: whom an aggregator is to ask."""

    family: str
    name: str
    quantization: str = ""
    route: str = ""

    @property
    def id(self) -> str:
        return f"{self.family}/{self.name}" if self.family else self.name

    @property
    def key(self) -> str:
        """What spellings of one model have in common."""
        return f"{self.family}/{self.name.translate(SPELLING)}"


@cache
def rules() -> Rules:
    """The rules of this version."""
    return msgspec.convert(
        tomllib.loads(files("gatewayz.catalog").joinpath("families.toml").read_text("utf-8")), Rules
    )


@cache
def _families() -> dict[str, str]:
    found = {
        spelling: family for family, spellings in rules().families.items() for spelling in spellings
    }
    return found | {family: family for family in rules().families if family not in found}


@cache
def _same() -> dict[str, str]:
    """Key → canonical id, for the spellings that families.toml lists and for the canonical ids themselves."""
    return {
        key_of(spelling): canonical
        for canonical, spellings in rules().same.items()
        for spelling in (canonical, *spellings)
    }


def key_of(model: str) -> str:
    """The key of a canonical id or of any other `family/name`."""
    family, _, name = model.partition("/")
    return Spelled(family, name).key


def spelled(provider: str, native: str) -> Spelled:
    """A provider's native id, taken apart by the rules."""
    held = rules()
    text = native
    for beginning in held.strip.get(provider, ()):
        text = text.removeprefix(beginning)
    text, _, route = (
        text.lower().partition(":")
        if provider in held.routed["providers"]
        else (text.lower(), "", "")
    )
    if provider in held.points["providers"]:
        text = POINT.sub(".", text)
    family, slash, name = text.partition("/") if "/" in text else ("", "", text)
    name = name.rpartition("/models/")[2] if slash else name
    house = held.houses.get(provider, "")
    family = _families().get(family, family) if slash else _family_of(name) or house
    for beginning in held.beginning_words.get(family, ()):
        if name.startswith(beginning):
            name = held.beginning_words_to.get(beginning, "") + name.removeprefix(beginning)
            break
    if family in held.dated["families"]:
        name = DATE.sub("", name)
    for ending, quantization in held.quantizations.items():
        if name.endswith(ending):
            return Spelled(family, name.removesuffix(ending), quantization, route)
    return Spelled(family, name, "", route)


def _family_of(name: str) -> str:
    beginnings = rules().beginnings
    fits = [beginning for beginning in beginnings if name.startswith(beginning)]
    return beginnings[max(fits, key=len)] if fits else ""


def canonical_of(provider: str, native: str, known: Mapping[str, str]) -> str:
    """The canonical id of a provider's native id. `known` has the canonical ids there are already, by key.

    What nobody else is known to serve is a model of its own, under its family or else under its provider.
    """
    said = rules().native.get(provider, {}).get(native)
    if said is not None:
        return said
    parts = spelled(provider, native)
    found = _same().get(parts.key) or known.get(parts.key)
    return found or (parts.id if parts.family else f"{provider}/{native}")
