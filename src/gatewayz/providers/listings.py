"""How providers list their own models, as data: where the list is, where its figures stand, in which unit.

A path is names with dots; `[]` goes into every element, `[0]` into one, `[key=value]` into the first that has it;
`|max` and `|min` choose among several. Of several paths the first that finds something holds.
"""

import re
import tomllib
from collections.abc import Callable, Iterator
from functools import cache
from importlib.resources import files
from typing import Any, Literal

import msgspec
from msgspec import Struct

from gatewayz.providers.spec import Provider

Unit = Literal[
    "none",
    "usd_per_token",
    "usd_per_million",
    "cents_per_100m_tokens",
    "ten_thousandths_per_million",
]
PICO_PER: dict[Unit, int] = {
    "none": 0,
    "usd_per_token": 10**12,
    "usd_per_million": 10**6,
    "cents_per_100m_tokens": 100,
    "ten_thousandths_per_million": 100,
}
"""Unit → pico-dollars a token for one of it. Prices a request or an image are always in dollars."""

Paths = tuple[str, ...]


class Format(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One provider's list. `url` is put after its base URL, unless it is whole; `root` leads to the rows.

    `only`: a field that must not be false. `free`: the ending of ids that may cost nothing. `strip`: what
    stands before its ids. Prices are keyed by bucket.
    """

    url: str = "/models"
    root: str = "data"
    auth: bool = True
    headers: dict[str, str] = {}
    id: Paths = ("id",)
    strip: str = ""
    only: str = ""
    name: Paths = ()
    created: Paths = ("created",)
    context: Paths = ()
    max_output: Paths = ()
    inputs: Paths = ()
    outputs: Paths = ()
    parameters: Paths = ()
    unit: Unit = "none"
    prices: dict[str, Paths] = {}
    free: str = ""


@cache
def formats() -> dict[str, Format]:
    """The tables of listings.toml."""
    text = files("gatewayz.providers").joinpath("listings.toml").read_text("utf-8")
    return msgspec.convert(tomllib.loads(text), dict[str, Format])


def address(provider: Provider, form: Format) -> str:
    """Where this provider's list is. `{above}` is its base URL without the last step of the path."""
    if "{above}" in form.url:
        return form.url.replace("{above}", provider.base_url.rpartition("/")[0])
    return form.url if "://" in form.url else provider.base_url + form.url


def first(row: Any, paths: Paths) -> Any:
    """What the first path finds that finds anything; `None` when none does."""
    for path in paths:
        found = _compiled(path)(row)
        if found is not None:
            return found
    return None


STEP = re.compile(r"([^.\[\]]+)|\[([^\]]*)\]")
CHOICES: dict[str, Callable[[list[Any]], Any]] = {"max": max, "min": min}
Walk = Callable[[Any], Any]


@cache
def _compiled(path: str) -> Walk:
    text, _, choice = path.partition("|")
    steps = [(match[1], match[2]) for match in STEP.finditer(text)]

    def walk(row: Any) -> Any:
        values = [row]
        for name, inside in steps:
            values = [value for one in values for value in _step(one, name, inside)]
        if not choice:
            return next((value for value in values if value is not None), None)
        numbers = [
            value
            for value in values
            if isinstance(value, int | float) and not isinstance(value, bool)
        ]
        texts = [value for value in values if isinstance(value, str)]
        return CHOICES[choice](numbers or texts) if numbers or texts else None

    return walk


def _step(value: Any, name: str | None, inside: str | None) -> Iterator[Any]:
    if name is not None:
        if isinstance(value, dict) and name in value:
            yield value[name]
        return
    if not isinstance(value, list):
        return
    text = inside or ""
    if text == "":
        yield from value
    elif text.isdigit():
        yield from value[int(text) : int(text) + 1]
    else:
        key, _, wanted = text.partition("=")
        yield from [one for one in value if isinstance(one, dict) and one.get(key) == wanted][:1]
