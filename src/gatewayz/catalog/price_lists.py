"""Price lists: the two public collections from which most prices of the package are, read from the
files of their packages, of any version.

What is read is data: a table in JSON, and one in Python of which only the literals are looked at.
A row is a native id at one of our providers, with the rates of a day; `price_sources.toml` says
whose rows are whose, for the package's own rows too.
"""

import ast
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from decimal import ROUND_CEILING, Decimal, InvalidOperation
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from gatewayz.core.faults import Fault

LITELLM, GENAI = "litellm", "genai-prices"
LITELLM_COSTS: Mapping[str, str] = {
    "input_cost_per_token": "input",
    "output_cost_per_token": "output",
    "cache_read_input_token_cost": "cache_read",
    "input_cost_per_token_cache_hit": "cache_read",
    "cache_creation_input_token_cost": "cache_write",
    "cache_creation_input_token_cost_above_1hr": "cache_write_1h",
    "output_cost_per_reasoning_token": "reasoning",
    "input_cost_per_audio_token": "audio_input",
    "output_cost_per_audio_token": "audio_output",
    "input_cost_per_image_token": "image_input",
    "output_cost_per_image_token": "image_output",
    "input_cost_per_request": "requests",
}
"""litellm's field, in US dollars for one → our bucket."""
GENAI_COSTS: Mapping[str, tuple[str, int]] = {
    "input_mtok": ("input", 10**6),
    "output_mtok": ("output", 10**6),
    "cache_read_mtok": ("cache_read", 10**6),
    "cache_write_mtok": ("cache_write", 10**6),
    "cache_write_1h_mtok": ("cache_write_1h", 10**6),
    "output_reasoning_mtok": ("reasoning", 10**6),
    "input_audio_mtok": ("audio_input", 10**6),
    "output_audio_mtok": ("audio_output", 10**6),
    "input_image_mtok": ("image_input", 10**6),
    "output_image_mtok": ("image_output", 10**6),
    "requests_kcount": ("requests", 10**3),
    "web_searches_kcount": ("searches", 10**3),
}
"""genai-prices' field → our bucket, and for how many of its units the US dollars are."""
LITELLM_MODES = frozenset({"chat", "responses", "embedding"})
"""Modes whose price is one of tokens; the others are read when the package is made."""
SIGNIFICANT_DIGITS = 6
"""Digits of a figure that a price list means; what comes after them is how a float was printed."""
UNREADABLE = (
    AttributeError,
    KeyError,
    MemoryError,
    RecursionError,
    SyntaxError,
    TypeError,
    ValueError,
)
"""What reading a file that is none may raise; JSON's error is a `ValueError`."""
MAX_ID_CHARS = 200
MAX_FIGURE_CHARS = 40
MAX_DIGITS = 15


class ListedRates(NamedTuple):
    """A native id with its rates, pico-dollars by bucket. `is_native`: the list's ids are those of
    the provider, so that one which the package does not know is a model that it has not.

    Example: `ListedRates("gpt-4o", {"input": 2_500_000, "output": 10_000_000})`
    """

    native: str
    rates: dict[str, int]
    is_native: bool = True


class PriceSource(Struct, frozen=True, kw_only=True):
    """Where the prices of one provider are, as price_sources.toml has it; the file says what its
    keys mean. What only matters when the package is made is not among these.
    """

    litellm: tuple[str, ...] = ()
    prefix: tuple[str, ...] = ()
    genai: tuple[str, ...] = ()
    ids: str = ""
    suffix_after: str = ""
    only: str = ""
    never: str = r"(?!)"
    told: str = ""
    listed: bool = True
    hold: dict[str, str] = {}

    def takes(self, native: str) -> bool:
        """Whether a list may speak of this id here."""
        return bool(
            self.listed
            and 0 < len(native) <= MAX_ID_CHARS
            and native.isprintable()
            and " " not in native
            and re.search(self.only, native)
            and not re.search(self.never, native)
            and not any(re.search(pattern, native) for pattern in self.hold)
        )


@cache
def price_sources() -> dict[str, PriceSource]:
    """The sources of this version, by provider."""
    text = files("gatewayz.catalog").joinpath("price_sources.toml").read_text("utf-8")
    return msgspec.convert(tomllib.loads(text), dict[str, PriceSource])


Rows = dict[str, list[ListedRates]]
"""Provider → what a list says of its ids, each once."""


def rows_from_list(name: str, content: bytes, today: date) -> Rows:
    """What one of the lists says on a day, from the file of its package.

    Faults: `upstream_broken` for a file that is none, `bad_request` for a list that nobody reads.
    """
    if name not in READERS:
        raise Fault(
            "bad_request", f"No prices are read from {name!r}; there are {', '.join(READERS)}."
        )
    try:
        return READERS[name](content, today)
    except UNREADABLE as error:
        raise Fault(
            "upstream_broken", f"{name}'s table is not what it was: {type(error).__name__}"
        ) from None


def _litellm_rows(content: bytes, today: date) -> Rows:
    table = msgspec.json.decode(content)
    found: Rows = {}
    for provider, source in price_sources().items():
        rows: dict[str, ListedRates] = {}
        for name, row in table.items():
            if not _is_litellm_row(row, source, today):
                continue
            prefix = next((each for each in source.prefix if name.startswith(each)), "")
            native = name.removeprefix(prefix)
            rates = {
                bucket: _pico(row[field], 1)
                for field, bucket in LITELLM_COSTS.items()
                if isinstance(row.get(field), int | float) and not isinstance(row[field], bool)
            }
            if source.takes(native) and any(rates.values()):
                rows.setdefault(native, ListedRates(native, rates, source.ids != "genai"))
        found[provider] = list(rows.values())
    return found


def _is_litellm_row(row: Any, source: PriceSource, today: date) -> bool:
    return (
        isinstance(row, dict)
        and row.get("litellm_provider") in source.litellm
        and row.get("mode") in LITELLM_MODES
        and str(row.get("deprecation_date") or "9999") > today.isoformat()
        and re.search(source.told, str(row.get("source") or "")) is not None
    )


def _genai_rows(content: bytes, today: date) -> Rows:
    by_id = {one["id"]: one.get("models", []) for one in _providers_of_module(content)}
    found: Rows = {}
    for provider, source in price_sources().items():
        rows: dict[str, ListedRates] = {}
        for name in source.genai:
            suffix = f":{name.removeprefix(source.suffix_after)}" if source.suffix_after else ""
            for model in by_id.get(name, ()):
                rates = _genai_rates(model, today)
                for id in _genai_ids(model) if rates else ():
                    native = id + suffix
                    is_native = source.ids != "litellm" and id == model["id"]
                    if source.takes(native):
                        rows.setdefault(native, ListedRates(native, rates, is_native))
        found[provider] = list(rows.values())
    return found


def _genai_ids(model: Mapping[str, Any]) -> Iterator[str]:
    """The ids that a row names in full: its own, and those of its rule; patterns tell too little."""
    yield model["id"]
    match = model.get("match") or {}
    for clause in match.get("or_", [match]):
        if clause.get("call") == "ClauseEquals":
            yield clause["equals"]


def _genai_rates(model: Mapping[str, Any], today: date) -> dict[str, int]:
    """The rates that hold on a day; none for what changes with the hour, or is going to end."""
    prices = model.get("prices")
    if model.get("deprecated") or not prices:
        return {}
    if isinstance(prices, list):
        begun = [one for one in prices if _has_begun(one.get("constraint"), today)]
        if len(begun) < len([one for one in prices if not _is_later(one.get("constraint"), today)]):
            return {}
        prices = begun[-1]["prices"] if begun else {}
    rates: dict[str, int] = {}
    for field, (bucket, per) in GENAI_COSTS.items():
        value = prices.get(field)
        figure = value.get("base") if isinstance(value, dict) else value
        if isinstance(figure, Decimal | int | float):
            rates[bucket] = _pico(figure, per)
    return rates if any(rates.values()) else {}


def _has_begun(constraint: Any, today: date) -> bool:
    if constraint is None:
        return True
    is_dated = constraint.get("call") == "StartDateConstraint"
    return bool(is_dated and constraint["start_date"] <= today)


def _is_later(constraint: Any, today: date) -> bool:
    is_dated = constraint is not None and constraint.get("call") == "StartDateConstraint"
    return bool(is_dated and constraint["start_date"] > today)


def _providers_of_module(content: bytes) -> list[dict[str, Any]]:
    """The value of `providers` in the module, of which nothing is run."""
    for node in ast.parse(content).body:
        target = node.target if isinstance(node, ast.AnnAssign) else None
        if (
            isinstance(target, ast.Name)
            and target.id == "providers"
            and isinstance(node, ast.AnnAssign)
        ):
            value = _literal(node.value)
            return value if isinstance(value, list) else []
    raise ValueError("no providers")


def _literal(node: ast.AST | None) -> Any:
    """What an expression of literals means: a call is its keywords, and its name under `call`."""
    match node:
        case ast.Constant(value=value):
            return value
        case ast.List(elts=elements) | ast.Tuple(elts=elements):
            return [_literal(element) for element in elements]
        case ast.Dict(keys=keys, values=values):
            return {_literal(key): _literal(value) for key, value in zip(keys, values, strict=True)}
        case ast.Call(func=ast.Name(id="Decimal"), args=[ast.Constant(value=text)]):
            return _decimal(text)
        case ast.Call(func=ast.Attribute(attr="date"), args=arguments):
            return date(*(int(_literal(argument)) for argument in arguments))
        case ast.Call(func=ast.Name(id=name), keywords=keywords):
            named = {one.arg: _literal(one.value) for one in keywords if one.arg}
            return {"call": name, **named}
        case _:
            return None


def _decimal(text: Any) -> Decimal:
    try:
        return Decimal(str(text)[:MAX_FIGURE_CHARS])
    except InvalidOperation:
        return Decimal(0)


def _pico(usd: Any, per: int) -> int:
    """US dollars for `per` units as pico-dollars for one, what is finer rounded up."""
    figure = _decimal(usd)
    if not figure.is_finite() or abs(figure.adjusted()) > MAX_DIGITS:
        return 0
    plain = Decimal(f"{figure:.{SIGNIFICANT_DIGITS - 1}e}") if figure else figure
    return max(int((plain * 10**12 / per).to_integral_value(ROUND_CEILING)), 0)


READERS: Mapping[str, Callable[[bytes, date], Rows]] = {
    LITELLM: _litellm_rows,
    GENAI: _genai_rows,
}
"""List → what reads the file of its package."""
LIST_FILES: Mapping[str, str] = {
    LITELLM: "litellm/model_prices_and_context_window_backup.json",
    GENAI: "genai_prices/data.py",
}
"""List → the file in its package's wheel."""
