"""Reading a client's JSON object field by field, with errors that name the field.

Each method takes the field out, so that what remains at the end is what nobody knows: the `extra`.
"""

from typing import Any, NoReturn

from gatewayz.core.faults import Fault

MAX_SAFE_INTEGER = 2**53
"""Beyond it JSON numbers are not the same in every language (RFC 8259, section 6)."""

TYPE_NAMES = {
    str: "a string",
    bool: "a boolean",
    int: "an integer",
    float: "a number",
    list: "an array",
    dict: "an object",
    type(None): "null",
}


class Fields:
    """A JSON object being read; `path` stands before its field names in messages.

    Example: `Fields({"temperature": "hot"}).number("temperature")` raises "Invalid type for
    'temperature': expected a number, but got a string."
    """

    def __init__(self, values: dict[str, Any], path: str = "") -> None:
        self.rest = dict(values)
        self._values = values
        self._path = path

    def path_inside(self, name: str) -> str:
        """The path of what stands inside a field."""
        return f"{self._path}{name}."

    def raise_invalid(self, name: str, why: str) -> NoReturn:
        param = f"{self._path}{name}"
        raise Fault("bad_request", f"Invalid value for '{param}': {why}.", param=param)

    def raise_wrong_type(self, name: str, expected: str, value: Any) -> NoReturn:
        param = f"{self._path}{name}"
        actual = TYPE_NAMES.get(type(value), "something else")
        raise Fault(
            "bad_request",
            f"Invalid type for '{param}': expected {expected}, but got {actual}.",
            param=param,
        )

    def raise_missing(self, name: str) -> NoReturn:
        """For a field that is needed: it is not there, or it is and holds nothing."""
        if isinstance(self._values.get(name), str | list | dict):
            self.raise_invalid(name, "it is empty")
        param = f"{self._path}{name}"
        raise Fault("bad_request", f"Missing required parameter: '{param}'.", param=param)

    def text(self, name: str) -> str:
        """A string; empty for a missing field or null."""
        value = self.rest.pop(name, None)
        if value is None:
            return ""
        if not isinstance(value, str):
            self.raise_wrong_type(name, "a string", value)
        return value

    def flag(self, name: str) -> bool | None:
        """A boolean; `None` for a missing field, as in all that follow."""
        value = self.rest.pop(name, None)
        if value is None or isinstance(value, bool):
            return value
        self.raise_wrong_type(name, "a boolean", value)

    def number(self, name: str) -> float | None:
        value = self.rest.pop(name, None)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.raise_wrong_type(name, "a number", value)
        return value

    def integer(
        self, name: str, low: int = -MAX_SAFE_INTEGER, high: int = MAX_SAFE_INTEGER
    ) -> int | None:
        value = self.rest.pop(name, None)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int):
            self.raise_wrong_type(name, "an integer", value)
        if not low <= value <= high:
            self.raise_invalid(name, f"expected an integer from {low} to {high}, but got {value}")
        return value

    def object(self, name: str) -> dict[str, Any] | None:
        """A JSON object."""
        value = self.rest.pop(name, None)
        if value is None or isinstance(value, dict):
            return value
        self.raise_wrong_type(name, "an object", value)

    def objects(self, name: str, most: int) -> list[dict[str, Any]]:
        """An array of at most `most` JSON objects; empty for a missing field."""
        value = self.rest.pop(name, None)
        if value is None:
            return []
        if not isinstance(value, list):
            self.raise_wrong_type(name, "an array of objects", value)
        self._check_length(name, value, most)
        for index, item in enumerate(value):
            if not isinstance(item, dict):
                self.raise_wrong_type(f"{name}[{index}]", "an object", item)
        return value

    def texts(self, name: str, most: int = 256) -> tuple[str, ...]:
        """A string or an array of at most `most` strings; empty for a missing field."""
        value = self.rest.pop(name, None)
        if value is None:
            return ()
        if isinstance(value, str):
            return (value,)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            self.raise_wrong_type(name, "a string or an array of strings", value)
        self._check_length(name, value, most)
        return tuple(value)

    def _check_length(self, name: str, value: list[Any], most: int) -> None:
        if len(value) > most:
            self.raise_invalid(name, f"expected at most {most} items, but got {len(value)}")

    def one_of(self, name: str, allowed: tuple[str, ...]) -> str:
        """One of these words; empty for a missing field."""
        value = self.text(name)
        if value and value not in allowed:
            self.raise_invalid(name, f"expected one of {', '.join(allowed)}, but got {value!r}")
        return value
