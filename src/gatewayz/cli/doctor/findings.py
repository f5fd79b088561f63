"""What `gatewayz doctor` finds."""

from typing import Literal

from msgspec import Struct

Level = Literal["ok", "note", "bad"]


class Finding(Struct, frozen=True):
    """One thing looked at. `bad`: something will not work; `note`: something may surprise.

    Example: `Finding("note", "port", "127.0.0.1:8080 is taken")`
    """

    level: Level
    subject: str
    message: str
