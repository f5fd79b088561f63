"""What `gatewayz doctor` finds."""

from typing import Literal

from msgspec import Struct


class Finding(Struct, frozen=True):
    """One thing looked at. `bad`: something will not work; `note`: something may surprise.

    Example: `Finding("note", "port", "127.0.0.1:8080 is taken")`
    """

    level: Literal["ok", "note", "bad"]
    subject: str
    message: str
