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
    """A copy with the seals opened for `provider`; of a list the items without a stranger's, else nothing at all."""
    if isinstance(value, list):
        opened_items = [(item, _opened(item, provider, is_seal)) for item in value]
        return [inner for item, inner in opened_items if inner is not None or item is None]
    return _opened(value, provider, is_seal)


def _opened(value: Any, provider: str, is_seal: IsSeal) -> Any:
    """The same for a value that is only good whole: nothing when a seal anywhere in it is a stranger's."""
    if isinstance(value, list):
        items = [_opened(item, provider, is_seal) for item in value]
        strange = any(
            inner is None and item is not None for inner, item in zip(items, value, strict=True)
        )
        return None if strange else items
    if not isinstance(value, dict):
        return value
    result: dict[str, Any] = {}
    for key, inner in value.items():
        sealed_here = isinstance(inner, str) and inner and is_seal(value, key)
        result[key] = opened(provider, inner) if sealed_here else _opened(inner, provider, is_seal)
        if result[key] is None and inner is not None:
            return None
    return result
