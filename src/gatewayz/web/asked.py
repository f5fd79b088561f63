"""What a page is asked: the rest of the path, the query, the headers, and who asks."""

from urllib.parse import parse_qsl

from msgspec import Struct

from gatewayz.core.calls import Principal
from gatewayz.core.faults import Fault

MAX_QUERY_BYTES = 4_096
MAX_FIELDS = 50


class Asked(Struct, frozen=True, kw_only=True):
    """A request for a page. `tail` is what follows the route's path; of a repeated field the values are in turn."""

    tail: str = ""
    query: dict[str, tuple[str, ...]] = {}
    headers: dict[str, str] = {}
    principal: Principal | None = None

    def words(self, name: str) -> tuple[str, ...]:
        """The values of a field, however they are listed: repeated, or with commas between."""
        listed = (word.strip() for value in self.query.get(name, ()) for word in value.split(","))
        return tuple(word for word in listed if word)

    def number(self, name: str, default: int, least: int, most: int) -> int:
        """A whole number. Faults: `bad_request` names the field and its bounds."""
        text = self.query.get(name, (str(default),))[-1]
        if not text.isascii() or not text.isdecimal() or not least <= int(text[:20]) <= most:
            raise Fault(
                "bad_request", f"{name} must be a whole number from {least} to {most}.", param=name
            )
        return int(text)


def query_of(raw: bytes) -> dict[str, tuple[str, ...]]:
    """The fields of a query. Faults: `bad_request` for one that is too long or no text."""
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
