"""Wishes: how a client wants its call routed, OpenRouter's `provider` object, in the body of any dialect."""

from gatewayz.core.requests import Wishes
from gatewayz.dialects.fields import Fields


def wishes_from(fields: Fields) -> Wishes:
    """Takes `provider` out of the fields. Faults: `bad_request` names what is wrong in it."""
    given = fields.object("provider")
    if given is None:
        return Wishes()
    inner = Fields(given, "provider.")
    sort = inner.rest.pop("sort", None)
    prices = inner.object("max_price") or {}
    return Wishes(
        order=inner.texts("order"),
        only=inner.texts("only"),
        ignore=inner.texts("ignore"),
        allow_fallbacks=inner.flag("allow_fallbacks") is not False,
        require_parameters=inner.flag("require_parameters") or False,
        sort=str(sort.get("by", "") if isinstance(sort, dict) else sort or ""),
        max_price={name: str(value) for name, value in prices.items()},
        data_collection=inner.one_of("data_collection", ("allow", "deny")),
        zdr=inner.flag("zdr") or False,
    )
