"""Reading a client's JSON object field by field, with errors that name the field.

Each method takes the field out, so that what remains at the end is what nobody knew: the `extra`.
"""

from typing import Any, NoReturn

from gatewayz.core.faults import Fault

MAX_SAFE_INTEGER = 2**53
"""Beyond it JSON numbers are not the same in every language (RFC 8259, section 6)."""

NAMES = {
    str: "a string",
    bool: "a boolean",
    int: "an integer",
    float: "a number",
    list: "an array",
    dict: "an object",
    type(None): "null",
}


class Fields:
    """A JSON object being read; `path` stands before its field names in messages."""

    def __init__(self, values: dict[str, Any], path: str = "") -> None:
        self.rest = dict(values)
        self._path = path

    def inside(self, name: str) -> str:
        """The path of what stands inside a field."""
        return f"{self._path}{name}."

    def wrong(self, name: str, why: str) -> NoReturn:
        param = f"{self._path}{name}"
        raise Fault("bad_request", f"Invalid value for '{param}': {why}.", param=param)

    def mistyped(self, name: str, expected: str, value: Any) -> NoReturn:
        param = f"{self._path}{name}"
        got = NAMES.get(type(value), "something else")
        raise Fault(
            "bad_request",
            f"Invalid type for '{param}': expected {expected}, but got {got}.",
            param=param,
        )

    def missing(self, name: str) -> NoReturn:
        param = f"{self._path}{name}"
        raise Fault("bad_request", f"Missing required parameter: '{param}'.", param=param)

    def text(self, name: str) -> str:
        value = self.rest.pop(name, None)
        if value is None:
            return ""
        if not isinstance(value, str):
            self.mistyped(name, "a string", value)
        return value

    def flag(self, name: str) -> bool | None:
        value = self.rest.pop(name, None)
        if value is None or isinstance(value, bool):
            return value
        self.mistyped(name, "a boolean", value)

    def number(self, name: str) -> float | None:
        value = self.rest.pop(name, None)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.mistyped(name, "a number", value)
        return value

    def integer(
        self, name: str, low: int = -MAX_SAFE_INTEGER, high: int = MAX_SAFE_INTEGER
    ) -> int | None:
        value = self.rest.pop(name, None)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int):
            self.mistyped(name, "an integer", value)
        if not low <= value <= high:
            self.wrong(name, f"expected an integer from {low} to {high}, but got {value}")
        return value

    def object(self, name: str) -> dict[str, Any] | None:
        value = self.rest.pop(name, None)
        if value is None or isinstance(value, dict):
            return value
        self.mistyped(name, "an object", value)

    def objects(self, name: str, most: int) -> list[dict[str, Any]]:
        value = self.rest.pop(name, None)
        if value is None:
            return []
        if not isinstance(value, list):
            self.mistyped(name, "an array of objects", value)
        if len(value) > most:
            self.wrong(name, f"expected at most {most} items, but got {len(value)}")
        for index, item in enumerate(value):
            if not isinstance(item, dict):
                self.mistyped(f"{name}[{index}]", "an object", item)
        return value

    def texts(self, name: str, most: int = 256) -> tuple[str, ...]:
        """A string or an array of strings."""
        value = self.rest.pop(name, None)
        if value is None:
            return ()
        if isinstance(value, str):
            return (value,)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            self.mistyped(name, "a string or an array of strings", value)
        if len(value) > most:
            self.wrong(name, f"expected at most {most} items, but got {len(value)}")
        return tuple(value)

    def one_of(self, name: str, allowed: tuple[str, ...]) -> str:
        value = self.text(name)
        if value and value not in allowed:
            self.wrong(name, f"expected one of {', '.join(allowed)}, but got {value!r}")
        return value
