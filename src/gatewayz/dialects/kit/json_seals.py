"""Seals in JSON: provider-bound state, tagged on its way to the client and opened on its way back.

Which fields hold a seal is the dialect's affair: a function of the object and the field's name.
"""

from collections.abc import Callable
from typing import Any

from gatewayz.core.seal import seal, unseal

IsSeal = Callable[[dict[str, Any], str], bool]


def tag_seals(value: Any, provider: str, is_seal: IsSeal) -> Any:
    """A copy in which every seal carries the name of its provider."""
    if isinstance(value, list):
        return [tag_seals(item, provider, is_seal) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: seal(provider, inner)
        if isinstance(inner, str) and inner and is_seal(value, key)
        else tag_seals(inner, provider, is_seal)
        for key, inner in value.items()
    }


def untag_seals(value: Any, provider: str, is_seal: IsSeal) -> Any:
    """A copy with the seals opened for `provider`.

    A list loses the items with a seal of another provider; any other value is `None` with one.
    """
    if isinstance(value, list):
        pairs = [(item, _untag_whole(item, provider, is_seal)) for item in value]
        return [opened for item, opened in pairs if opened is not None or item is None]
    return _untag_whole(value, provider, is_seal)


def _untag_whole(value: Any, provider: str, is_seal: IsSeal) -> Any:
    """The same for a value that is only good whole: `None` with a foreign seal anywhere in it."""
    if isinstance(value, list):
        items = [_untag_whole(item, provider, is_seal) for item in value]
        foreign = any(
            opened is None and item is not None for opened, item in zip(items, value, strict=True)
        )
        return None if foreign else items
    if not isinstance(value, dict):
        return value

    result: dict[str, Any] = {}
    for key, inner in value.items():
        is_sealed = isinstance(inner, str) and inner and is_seal(value, key)
        opened = unseal(provider, inner) if is_sealed else _untag_whole(inner, provider, is_seal)
        if opened is None and inner is not None:
            return None
        result[key] = opened
    return result
