"""A model at a provider: the id that its API takes, and the dialect in which it is served."""

import re

from gatewayz.core.requests import Surface
from gatewayz.dialects.registry import UPSTREAMS
from gatewayz.providers.spec import Provider


def native_id(upstream_id: str, provider: Provider) -> str:
    """The model's id as the provider's API takes it."""
    quirks = provider.quirks
    if quirks.model_prefix and "/" not in upstream_id:
        return quirks.model_prefix + upstream_id
    return upstream_id.removeprefix(quirks.model_prefix_strip)


def dialect_for(provider: Provider, upstream_id: str, surface: Surface) -> str:
    """The dialect in which this provider serves such requests for this model; empty for none."""
    if provider.dialect_by_model:
        for pattern, name in provider.dialect_by_model.items():
            if re.search(pattern, upstream_id):
                return name if _serves(name, surface) else ""
    if _serves(provider.dialect, surface):
        return provider.dialect
    return next((name for name in provider.more_dialects if _serves(name, surface)), "")


def _serves(dialect: str, surface: Surface) -> bool:
    role = UPSTREAMS.get(dialect)
    return role is not None and surface in role.serves
