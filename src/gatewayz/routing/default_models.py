"""Default models: which model a request means that names none."""

from collections.abc import Mapping

from gatewayz.catalog.catalog import Catalog
from gatewayz.catalog.report import callable_offers, why_not_sold
from gatewayz.core.calls import Principal
from gatewayz.core.requests import Surface

DefaultModels = Mapping[str, str | tuple[str, ...]]
"""Surface → its default model, or several in the order in which they are preferred."""


def default_model(
    defaults: DefaultModels, catalog: Catalog, surface: Surface, principal: Principal
) -> str:
    """The first of the default models that this caller can have now; where there is none, the first
    of all, so that the refusal says what is missing. Empty for a surface without any.

    Example: `stabilityai/sd3.5`, or with a key of OpenAI alone `openai/gpt-image-1-mini`
    """
    named = defaults.get(surface, ())
    names = (named,) if isinstance(named, str) else named
    usable = (name for name in names if _is_usable(name, catalog, surface, principal))
    return next(usable, names[0] if names else "")


def _is_usable(name: str, catalog: Catalog, surface: Surface, principal: Principal) -> bool:
    resolved = catalog.find(name)
    model = catalog.models.get(resolved.model) if resolved is not None else None
    if model is None or (principal.models and model.id not in principal.models):
        return False
    return any(
        (not offer.serves or surface in offer.serves)
        and (principal.billing == "house" or not why_not_sold(offer))
        for offer in callable_offers(model, catalog)
    )
