"""What a request lost on its way into a dialect: the names of what could not be said there.

Each dialect declares in its own `dropped.py` what it cannot say, as `DROPPED`: name → why, in the
words of its specification. The names reach the client in the header `X-Gatewayz-Dropped`, and the
record of the call.
"""

from collections.abc import Iterable

from gatewayz.core.requests import BaseRequest


class Dropped:
    """Names of what could not be said, each once, in the order of adding.

    Example: `("logit_bias", "tools.web_search", "seal")`.
    """

    def __init__(self) -> None:
        self._names: dict[str, None] = {}

    def add(self, *names: str) -> None:
        self._names.update(dict.fromkeys(names))

    def names(self) -> tuple[str, ...]:
        return tuple(self._names)


def names_to_drop(request: BaseRequest, fields: Iterable[str]) -> tuple[str, ...]:
    """Those of `fields` that the request sets, and its `extra`: for dialects that have neither."""
    return (*(name for name in fields if getattr(request, name)), *request.extra)
