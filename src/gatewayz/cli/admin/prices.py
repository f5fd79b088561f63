"""`gatewayz prices`: prices set in the store, over every list and under the configuration file."""

from collections.abc import Sequence
from typing import Any

import msgspec
import typer

from gatewayz.catalog.operator_models import parse_price
from gatewayz.catalog.price_gate import check_new_price, price_from_quarantine, usual_call_cost
from gatewayz.catalog.report import format_rates
from gatewayz.catalog.settings import TierSettings
from gatewayz.catalog.sources import OfferKey, price_config_lock_path
from gatewayz.cli.admin.context import AdminContext, run_with_store
from gatewayz.cli.admin.parse import format_time, parse_time_ms
from gatewayz.cli.catalog import load_catalog, load_listings
from gatewayz.cli.options import Config, DataDir, Json
from gatewayz.cli.output import print_note, print_table
from gatewayz.control.overrides import clear_price, price_history, set_price
from gatewayz.core.faults import Fault
from gatewayz.core.money import Price
from gatewayz.settings import LoadedSettings, catalog_sources_from_settings, load_settings

app = typer.Typer(
    add_completion=False,
    name="prices",
    no_args_is_help=True,
    help="Set what an offer costs, now or from a day on.",
)

Offer = typer.Argument(help="Whose price: PROVIDER/ITS-OWN-ID, such as openai/gpt-4o.")
Figures = typer.Argument(
    help="USD per million tokens, or an image, request, second: input=2.50 output=10."
)
Tiers = typer.Option(
    None, "--tier", "-t", help="A tier: '>200000:input=5,output=15' or 'priority:input=5'."
)


@app.command("set")
def set_offer_price(
    offer: str = Offer,
    figures: list[str] = Figures,
    tier: list[str] = Tiers,
    since: str = typer.Option(
        "", "--from", help="When it takes effect: a date, or in a time such as 7d; else now."
    ),
    sure: bool = typer.Option(
        False, "--sure", help="It is meant, though it is far from what is known."
    ),
    config: str = Config,
    data_dir: str = DataDir,
) -> None:
    """Set a price. Calls under way keep the one that they were admitted with."""
    offer_key = _parse_offer_key(offer)
    if figures == ["free"]:
        if tier:
            raise Fault("bad_request", "What is free has no tiers.")
        price = Price(free=True)
    else:
        price = parse_price(_parse_figures(figures), [_parse_tier(text) for text in tier or ()])
    _set_price(offer_key, price, since, config, data_dir, sure=sure)


@app.command("accept")
def accept_listed_price(offer: str = Offer, config: str = Config, data_dir: str = DataDir) -> None:
    """Believe a listed price that is quarantined: `gatewayz models report` shows which are."""
    offer_key = _parse_offer_key(offer)
    loaded = load_settings(config, {"data_dir": data_dir})
    price = price_from_quarantine(load_listings(loaded).get(offer_key[0]), offer_key)
    _set_price(offer_key, price, "", config, data_dir, sure=True)


def _set_price(
    offer_key: OfferKey, price: Price, since: str, config: str, data_dir: str, *, sure: bool
) -> None:
    """Sets the price where it may be, and prints what a call costs now."""
    loaded = load_settings(config, {"data_dir": data_dir})
    _refuse_config_locked(loaded, offer_key)
    check_new_price(load_catalog(loaded), offer_key, price, sure=sure)

    async def work(ctx: AdminContext) -> str:
        from_ms = parse_time_ms(since, ctx.now_ms) if since else None
        whole = await set_price(ctx.transaction, offer_key, price, from_ms)
        when = f" from {format_time(from_ms)}" if from_ms is not None else ""
        return f"{'/'.join(offer_key)} costs {format_rates(whole)}{when}"

    said = run_with_store(config, data_dir, work)
    now = usual_call_cost(load_catalog(loaded).index.offers_by_key[offer_key])
    print_note(f"{said}; running gateways know within two seconds. Now {now}.")


@app.command("clear")
def clear_offer_price(offer: str = Offer, config: str = Config, data_dir: str = DataDir) -> None:
    """Unset a price: that of the lists holds again."""
    offer_key = _parse_offer_key(offer)
    loaded = load_settings(config, {"data_dir": data_dir})
    _refuse_config_locked(loaded, offer_key)

    async def work(ctx: AdminContext) -> str:
        await clear_price(ctx.transaction, offer_key)
        return f"The price of {offer} is again what lists say."

    said = run_with_store(config, data_dir, work)
    known = load_catalog(loaded).index.offers_by_key.get(offer_key)
    print_note(f"{said} Now {usual_call_cost(known)}.")


@app.command("show")
def show_price_history(
    offer: str = Offer, config: str = Config, data_dir: str = DataDir, json: bool = Json
) -> None:
    """Every price that was ever set for an offer, the latest first."""
    offer_key = _parse_offer_key(offer)

    async def work(ctx: AdminContext) -> Sequence[dict[str, Any]]:
        return [_price_row(row) for row in await price_history(ctx.database, offer_key)]

    print_table(run_with_store(config, data_dir, work), as_json=json)


def _price_row(row: Any) -> dict[str, Any]:
    price = msgspec.json.decode(row.price, type=Price | None)
    return {
        "from": format_time(row.valid_from_ms),
        "price": format_rates(price) if price is not None else "as lists say",
        "set_by": row.source,
        "id": row.id,
    }


def _parse_offer_key(text: str) -> OfferKey:
    provider, slash, upstream_id = text.partition("/")
    if not (provider and slash and upstream_id):
        raise Fault(
            "bad_request",
            f"{text!r} names no offer; write PROVIDER/ITS-OWN-ID, such as openai/gpt-4o.",
        )
    return provider, upstream_id


def _parse_figures(pairs: Sequence[str]) -> dict[str, str]:
    figures = {}
    for pair in pairs:
        name, sign, figure = pair.partition("=")
        bucket = name.replace("-", "_")
        if not sign:
            raise Fault("bad_request", f"{pair!r} is no figure; write input=2.50, or 'free' alone.")
        if bucket in figures:
            raise Fault("bad_request", f"{bucket} stands twice; write it once.")
        figures[bucket] = figure
    return figures


def _parse_tier(text: str) -> TierSettings:
    head, sign, figures = text.partition(":")
    service, _, above = head.partition(">")
    if not sign or (above and not above.isdecimal()):
        raise Fault(
            "bad_request",
            f"{text!r} is no tier; write '>200000:input=5,output=15' or 'priority:input=5'.",
        )
    return TierSettings(
        service=service, above=int(above or 0), price=_parse_figures(figures.split(","))
    )


def _refuse_config_locked(loaded: LoadedSettings, offer_key: OfferKey) -> None:
    """Faults: `bad_request` where the file sets this price: the file's would hold, not this one."""
    sources = catalog_sources_from_settings(loaded.settings)
    path = price_config_lock_path(sources, offer_key)
    if path:
        raise Fault(
            "bad_request", f"The configuration file sets this price ({path}); change it there."
        )
