"""`gatewayz prices`: prices that are set in the store, over every list and under the configuration file."""

from collections.abc import Sequence
from typing import Any

import msgspec
import typer

from gatewayz.catalog.merge import Place, set_in_file
from gatewayz.catalog.own import TierSettings, priced
from gatewayz.catalog.report import shown_price
from gatewayz.cli.office import Config, DataDir, Json, Office, at_office, note, say
from gatewayz.cli.spelling import moment_ms, shown_time
from gatewayz.core.faults import Fault
from gatewayz.core.money import Price
from gatewayz.settings import lists_from, loaded
from gatewayz.store.sql.catalog import price_history, set_price

app = typer.Typer(
    name="prices", no_args_is_help=True, help="Set what an offer costs, now or from a day on."
)

Offer = typer.Argument(help="Whose price: PROVIDER/ITS-OWN-ID, such as openai/gpt-4o.")
Figures = typer.Argument(
    help="USD per million tokens, or an image, request, second: input=2.50 output=10."
)
Above = typer.Option(
    None, "--tier", "-t", help="Other figures: '>200000:input=5,output=15' or 'priority:input=5'."
)


@app.command("set")
def put(
    offer: str = Offer,
    figures: list[str] = Figures,
    tier: list[str] = Above,
    since: str = typer.Option(
        "", "--from", help="When it begins to hold: a date, or a span such as 7d; else now."
    ),
    config: str = Config,
    data_dir: str = DataDir,
) -> None:
    """Set a price. Calls that are under way keep the one that they were admitted with."""
    place = _place(offer)
    price = (
        _free()
        if figures == ["free"]
        else priced(_figures(figures), [_tier(text) for text in tier or ()])
    )
    _refuse_what_the_file_says(config, place)

    async def work(office: Office) -> str:
        begins = moment_ms(since, office.desk.clock.wall_ms()) if since else None
        kept = await set_price(office.desk, place, price, begins)
        when = f" from {shown_time(begins)}" if begins is not None else ""
        return f"{offer} costs {shown_price(kept)}{when}; running gateways know within two seconds."

    note(at_office(config, data_dir, work))


@app.command("clear")
def clear(offer: str = Offer, config: str = Config, data_dir: str = DataDir) -> None:
    """Give an offer back to the lists: their price holds again."""
    place = _place(offer)

    async def work(office: Office) -> str:
        await set_price(office.desk, place, None)
        return f"The price of {offer} is again what lists say."

    note(at_office(config, data_dir, work))


@app.command("show")
def show(
    offer: str = Offer, config: str = Config, data_dir: str = DataDir, json: bool = Json
) -> None:
    """Every price that was ever set for an offer, the latest first."""
    place = _place(offer)

    async def work(office: Office) -> Sequence[dict[str, Any]]:
        return [_shown(row) for row in await price_history(office.desk.database, place)]

    say(at_office(config, data_dir, work), as_json=json)


def _shown(row: Any) -> dict[str, Any]:
    price = msgspec.json.decode(row.price, type=Price | None)
    said = shown_price(price) if price is not None else "as lists say"
    return {
        "from": shown_time(row.valid_from_ms),
        "price": said,
        "set_by": row.source,
        "id": row.id,
    }


def _place(text: str) -> Place:
    provider, slash, upstream_id = text.partition("/")
    if not (provider and slash and upstream_id):
        raise Fault(
            "bad_request",
            f"{text!r} names no offer; write PROVIDER/ITS-OWN-ID, such as openai/gpt-4o.",
        )
    return provider, upstream_id


def _figures(pairs: Sequence[str]) -> dict[str, str]:
    found = {}
    for pair in pairs:
        name, sign, figure = pair.partition("=")
        if not sign:
            raise Fault("bad_request", f"{pair!r} is no figure; write input=2.50, or 'free' alone.")
        found[name.replace("-", "_")] = figure
    return found


def _tier(text: str) -> TierSettings:
    head, sign, figures = text.partition(":")
    service, _, above = head.partition(">")
    if not sign or (above and not above.isdecimal()):
        raise Fault(
            "bad_request",
            f"{text!r} is no tier; write '>200000:input=5,output=15' or 'priority:input=5'.",
        )
    return TierSettings(service=service, above=int(above or 0), price=_figures(figures.split(",")))


def _free() -> Price:
    return Price(free=True)


def _refuse_what_the_file_says(config: str, place: Place) -> None:
    """Faults: `bad_request` where the file has set this price: it would hold, and this one would not."""
    lists = lists_from(loaded(config).settings)
    for own in lists.own:
        said = set_in_file(lists, own.model.id, place)
        if said:
            raise Fault(
                "bad_request", f"The configuration file sets this price ({said}); change it there."
            )
