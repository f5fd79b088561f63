"""What a quirk does: a step that changes the body of a request for one model."""

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from gatewayz.providers.spec import Quirks

Body = dict[str, Any]
BodyStep = Callable[[Body, Quirks, str], tuple[str, ...] | None]
"""Changes a body in place, for the provider's own id of a model. Returns the client's fields whose
value is not what was asked, where the absence of the field does not say so."""
T = TypeVar("T")


def value_for_model(table: Mapping[str, T], model: str) -> T | None:
    """The value of the first pattern that is found in a model's id.

    Example: `value_for_model({"^o[0-9]": 1, "": 2}, "o3-mini")` → `1`.
    """
    for pattern, value in table.items():
        if re.search(pattern, model):
            return value
    return None
