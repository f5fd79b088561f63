"""Prices as price lists write them."""

from collections.abc import Mapping

from msgspec.structs import replace

from gatewayz.core.money import Price, price_from_pico, rates_from_usd


def price_from_usd(listed: Mapping[str, str], version: str = "") -> Price:
    """A price from decimal text: USD per million tokens or pixels; images, requests, seconds, searches in USD each."""
    return replace(price_from_pico(rates_from_usd(listed)), version=version)
