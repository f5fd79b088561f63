"""A request as its handler gets it: the rest of the path, the query, the headers, and who asks."""

from urllib.parse import parse_qsl

from msgspec import Struct

from gatewayz.core.calls import Principal
from gatewayz.core.faults import Fault

MAX_QUERY_BYTES = 4_096
MAX_FIELDS = 50


class HandlerRequest(Struct, frozen=True, kw_only=True):
    """A request. `tail` is what follows the route's path; a query field has all its values.

    Example: `HandlerRequest(tail="openai/gpt-5", query={"provider": ("azure", "openai")})`.
    """

    tail: str = ""
    query: dict[str, tuple[str, ...]] = {}
    headers: dict[str, str] = {}
    principal: Principal | None = None

    def values(self, name: str) -> tuple[str, ...]:
        """The values of a field that is repeated, or whose values have commas between."""
        words = (word.strip() for value in self.query.get(name, ()) for word in value.split(","))
        return tuple(word for word in words if word)

    def integer(self, name: str, default: int, least: int, most: int) -> int:
        """A field's whole number, from `least` to `most`. Faults: `bad_request`."""
        text = self.query.get(name, (str(default),))[-1]
        if not text.isascii() or not text.isdecimal() or not least <= int(text[:20]) <= most:
            raise Fault(
                "bad_request", f"{name} must be a whole number from {least} to {most}.", param=name
            )
        return int(text)


def parse_query(raw: bytes) -> dict[str, tuple[str, ...]]:
    """The fields of a query, each with its values. Faults: `bad_request`.

    Example: `parse_query(b"q=gpt&q=5&free=")` is `{"q": ("gpt", "5"), "free": ("",)}`.
    """
    if not raw:
        return {}
    if len(raw) > MAX_QUERY_BYTES:
        raise Fault("bad_request", f"The query is longer than {MAX_QUERY_BYTES} bytes.")
    try:
        pairs = parse_qsl(
            raw.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS
        )
    except ValueError:
        raise Fault(
            "bad_request", f"The query is not text, or has more than {MAX_FIELDS} fields."
        ) from None
    fields: dict[str, tuple[str, ...]] = {}
    for name, value in pairs:
        fields[name] = (*fields.get(name, ()), value)
    return fields
