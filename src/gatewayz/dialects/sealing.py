"""Sealing: provider-bound state inside JSON, tagged on its way out and opened on its way back.

Which fields hold a seal is the dialect's affair: it says so with a function of the object and the field's name.
"""

from collections.abc import Callable
from typing import Any

from gatewayz.core.seal import opened, sealed

IsSeal = Callable[[dict[str, Any], str], bool]


def tagged(value: Any, provider: str, is_seal: IsSeal) -> Any:
    """A copy in which every seal carries the name of its provider."""
    if isinstance(value, list):
        return [tagged(item, provider, is_seal) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: sealed(provider, inner)
        if isinstance(inner, str) and inner and is_seal(value, key)
        else tagged(inner, provider, is_seal)
        for key, inner in value.items()
    }


def untagged(value: Any, provider: str, is_seal: IsSeal) -> Any:
    """A copy with the seals opened for `provider`; nothing at all when one in it is a stranger's."""
    if isinstance(value, list):
        opened_items = [(item, untagged(item, provider, is_seal)) for item in value]
        return [below for item, below in opened_items if below is not None or item is None]
    if not isinstance(value, dict):
        return value
    result: dict[str, Any] = {}
    for key, inner in value.items():
        if isinstance(inner, str) and inner and is_seal(value, key):
            plain = opened(provider, inner)
            if plain is None:
                return None
            result[key] = plain
        else:
            below = untagged(inner, provider, is_seal)
            if below is None and inner is not None:
                return None
            result[key] = below
    return result
