"""How providers list their own models, as data: where the list is, its fields, its unit.

A path is names with dots; `[]` goes into every element, `[0]` into one, `[key=value]` into the
first that has it; `|max` and `|min` choose among several. Of several paths the first that finds
something holds. Example: `pricing.tiers[].input|max`
"""

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from gatewayz.providers.registry import provider_rows
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


class ListingFormat(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One provider's list. `url` follows its base URL, unless absolute; `root` leads to the rows.

    `only`: a field that must not be false. `free`: the ending of ids that may cost nothing.
    `kind`: fields that say what a model does. `strip`: what stands before its ids. Prices are keyed by bucket.
    """

    url: str = "/models"
    root: str = "data"
    auth: bool = True
    headers: dict[str, str] = {}
    id: Paths = ("id",)
    strip: str = ""
    only: str = ""
    kind: Paths = ()
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
def listing_formats() -> dict[str, ListingFormat]:
    """The tables of listings.toml."""
    text = files("gatewayz.providers").joinpath("listings.toml").read_text("utf-8")
    return msgspec.convert(tomllib.loads(text), dict[str, ListingFormat])


OWN_SERVER = ListingFormat(
    name=("name", "display_name"),
    context=(
        "max_model_len",
        "context_length",
        "context_window",
        "max_context_length",
        "meta.n_ctx_train",
    ),
)
"""How a server with OpenAI's API that the operator made lists its models, as vLLM, llama.cpp, LM
Studio, Ollama, LiteLLM and OpenRouter spell the length of a context."""
OWN_SERVER_DIALECT = "openai_chat"


def own_server_format(provider: Provider) -> ListingFormat | None:
    """How a provider that only the settings know lists its models; nothing where it is none of
    OpenAI's kind.
    """
    return OWN_SERVER if provider.own and provider.dialect == OWN_SERVER_DIALECT else None


def listing_url(provider: Provider, form: ListingFormat) -> str:
    """Where this provider's list is. `{above}` is its base URL less the last part of its path.

    A list with an address of its own is asked for where the provider is, if that is elsewhere than
    its row says: whoever sends calls through a server of their own sends this too.
    """
    if "{above}" in form.url:
        return form.url.replace("{above}", provider.base_url.rpartition("/")[0])
    if "://" not in form.url:
        return provider.base_url + form.url
    if not is_moved(provider):
        return form.url
    own, there, listed = map(urlsplit, (_row_url(provider), provider.base_url, form.url))
    above = there.path.removesuffix(own.path.rstrip("/")) if own.path.strip("/") else there.path
    start = above if above != there.path else ""
    query = f"?{listed.query}" if listed.query else ""
    return f"{there.scheme}://{there.netloc}{start.rstrip('/')}{listed.path}{query}"


def is_moved(provider: Provider) -> bool:
    """Whether the operator has set where this provider is."""
    return provider.id in provider_rows() and provider.base_url != _row_url(provider)


def _row_url(provider: Provider) -> str:
    return provider_rows()[provider.id].base_url.rstrip("/")


def first_value(row: Any, paths: Paths) -> Any:
    """What the first path finds that finds anything; `None` when none does."""
    for path in paths:
        value = _compile_path(path)(row)
        if value is not None:
            return value
    return None


PRICE_FIELD = re.compile(r"pric|cost|fee", re.IGNORECASE)
"""Fields that are prices where they stand among a row's other fields."""


def price_objects(form: ListingFormat) -> dict[str, frozenset[str]]:
    """Where the price objects of a row are, and which of their fields are read; `""` is the row."""
    read: dict[str, set[str]] = {}
    for path in (path for paths in form.prices.values() for path in paths):
        parent, _, field = path.partition("|")[0].rpartition(".")
        if not parent.endswith("]") or parent.endswith("[]"):
            read.setdefault(parent, set()).add(field)
    return {parent: frozenset(fields) for parent, fields in read.items()}


def unread_price_fields(row: Any, objects: Mapping[str, frozenset[str]]) -> list[str]:
    """The fields of a row's price objects that say something and that nobody reads.

    Example: `["pricing.discount"]`
    """
    found = []
    for parent, read in objects.items():
        prices = first_value(row, (parent,)) if parent else row
        for name, value in prices.items() if isinstance(prices, dict) else ():
            if name not in read and _says_something(value) and (parent or PRICE_FIELD.search(name)):
                found.append(f"{parent}.{name}" if parent else name)
    return found


def _says_something(value: Any) -> bool:
    """Whether it is more than nothing, zero, or a flag."""
    if isinstance(value, str):
        return bool(value.strip("0. ")) and value.replace(".", "", 1).isdigit()
    return bool(value) and not isinstance(value, bool)


STEP = re.compile(r"([^.\[\]]+)|\[([^\]]*)\]")
AGGREGATES: dict[str, Callable[[list[Any]], Any]] = {"max": max, "min": min}
PathReader = Callable[[Any], Any]


@cache
def _compile_path(path: str) -> PathReader:
    text, _, aggregate = path.partition("|")
    steps = [(match[1], match[2]) for match in STEP.finditer(text)]

    def walk(row: Any) -> Any:
        values = [row]
        for name, inside in steps:
            values = [inner for value in values for inner in _apply_step(value, name, inside)]
        if not aggregate:
            return next((value for value in values if value is not None), None)

        numbers = [
            value
            for value in values
            if isinstance(value, int | float) and not isinstance(value, bool)
        ]
        texts = [value for value in values if isinstance(value, str)]
        return AGGREGATES[aggregate](numbers or texts) if numbers or texts else None

    return walk


def _apply_step(value: Any, name: str | None, inside: str | None) -> Iterator[Any]:
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
        key, _, expected = text.partition("=")
        rows = (inner for inner in value if isinstance(inner, dict))
        yield from [row for row in rows if row.get(key) == expected][:1]
