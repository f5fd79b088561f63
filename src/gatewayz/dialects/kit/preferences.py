"""Routing preferences: OpenRouter's `provider` object, in the body of any dialect."""

from gatewayz.core.requests import RoutingPreferences
from gatewayz.dialects.kit.fields import Fields


def preferences_from_fields(fields: Fields) -> RoutingPreferences:
    """Takes `provider` out of the fields. Faults: `bad_request` names what is wrong in it."""
    preferences = fields.object("provider")
    if preferences is None:
        return RoutingPreferences()
    inner = Fields(preferences, "provider.")
    sort = inner.rest.pop("sort", None)
    prices = inner.object("max_price") or {}
    return RoutingPreferences(
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
